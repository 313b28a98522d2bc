//! Reading links (RFC 6690 §2): strict, without white space between the parts.

use alloc::string::String;
use alloc::vec::Vec;

use super::{Link, LinkError, LinkFault, MAX_LINKS, is_name_byte};

/// Reads a document of links; an empty one has none.
pub fn parse(document: &str) -> Result<Vec<Link>, LinkError> {
    let mut reader = Reader { document, rest: document };
    let mut links = Vec::new();
    if document.is_empty() {
        return Ok(links);
    }
    loop {
        if links.len() >= MAX_LINKS {
            return Err(reader.error(LinkFault::TooMany));
        }
        links.push(reader.link()?);
        if reader.rest.is_empty() {
            return Ok(links);
        }
        reader.expect(',')?;
    }
}

struct Reader<'a> {
    document: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn link(&mut self) -> Result<Link, LinkError> {
        self.expect('<')?;
        let (target, rest) =
            self.rest.split_once('>').ok_or_else(|| self.error(LinkFault::Syntax))?;
        let mut link = Link::new(target).map_err(|fault| self.error(fault))?;
        self.rest = rest;
        while let Some(rest) = self.rest.strip_prefix(';') {
            let before = self.rest;
            self.rest = rest;
            let name = self.take(is_name_byte);
            let added = match self.rest.strip_prefix('=') {
                None => link.with_flag(name),
                Some(rest) => {
                    self.rest = rest;
                    let value = self.value()?;
                    link.with(name, &value)
                }
            };
            link = added.map_err(|fault| {
                let at = self.document.len() - before.len();
                LinkError { at, fault }
            })?;
        }
        Ok(link)
    }

    /// A token or a quoted string.
    fn value(&mut self) -> Result<String, LinkError> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let token = self.take(is_token_byte);
            return if token.is_empty() {
                Err(self.error(LinkFault::Syntax))
            } else {
                Ok(token.into())
            };
        };
        let mut value = String::new();
        let mut characters = quoted.chars();
        loop {
            match characters.next() {
                Some('"') => break,
                Some('\\') => value.extend(characters.next()),
                Some(character) => value.push(character),
                None => return Err(self.error(LinkFault::Syntax)),
            }
        }
        self.rest = characters.as_str();
        Ok(value)
    }

    fn expect(&mut self, character: char) -> Result<(), LinkError> {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.ok_or_else(|| self.error(LinkFault::Syntax))?;
        Ok(())
    }

    fn take(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let len = self.rest.bytes().take_while(|&byte| belongs(byte)).count();
        let (taken, rest) = self.rest.split_at_checked(len).unwrap_or_default();
        self.rest = rest;
        taken
    }

    const fn error(&self, fault: LinkFault) -> LinkError {
        LinkError { at: self.document.len() - self.rest.len(), fault }
    }
}

/// RFC 6690 §2: ptokenchar.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'()*+-./:<=>?@[]^_`{|}~".contains(&byte)
}
