//! The CoRE link format (RFC 6690): what resources a server has, as `/.well-known/core` says it.
//!
//! A [`Link`] cannot be one that does not read back: its parts are checked when it is made.
//! [`parse()`] is strict, [`write()`] its inverse, and [`discover()`] answers a request for links with
//! the filters of its query (§4.1).

mod discover;
mod filter;
mod parse;

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

pub use self::discover::discover;
pub use self::filter::Filter;
pub use self::parse::parse;

/// Links in a document; more are an error.
pub const MAX_LINKS: usize = 4096;
/// Attributes of a link; more are an error.
pub const MAX_ATTRIBUTES: usize = 64;

/// Attributes that may stand only once in a link (RFC 6690 §3, RFC 7252 §7.2.1).
const ONCE: &[&str] = &["rt", "if", "sz", "ct"];
/// Attributes whose value is a list with spaces between its items (RFC 6690 §2, RFC 7252 §7.2.1).
const LISTS: &[&str] = &["rel", "rev", "rt", "if", "ct"];

/// A link to a resource, with attributes that describe it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    target: String,
    attributes: Vec<Attribute>,
}

/// What is said of a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Attribute {
    name: String,
    value: Option<String>,
}

/// What is wrong with a part of a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum LinkFault {
    /// RFC 3986 §2
    #[error("a target has characters of a URI only, others as % and two hexadecimal digits")]
    Target,
    /// RFC 6690 §2
    #[error("the name of an attribute is letters, digits and !#$&+-.^_`|~")]
    Name,
    /// RFC 6690 §2
    #[error("the value of an attribute is text without control characters")]
    Value,
    /// RFC 6690 §3
    #[error("rt, if, sz and ct may stand only once in a link")]
    Repeated,
    /// RFC 6690 §2
    #[error("a link is <target>, then attributes with ; before each, and , before the next link")]
    Syntax,
    /// A limit of this reader.
    #[error("more than {MAX_LINKS} links, or {MAX_ATTRIBUTES} attributes of one")]
    TooMany,
}

/// A document that is not links.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("byte {at}: {fault}")]
pub struct LinkError {
    /// Where, from the beginning.
    pub at: usize,
    /// What is wrong there.
    pub fault: LinkFault,
}

impl Link {
    /// A link to `target`, a URI or the path of one, such as `/sensors/temp`.
    pub fn new(target: &str) -> Result<Self, LinkFault> {
        if is_reference(target.as_bytes()) {
            Ok(Self { target: target.to_owned(), attributes: Vec::new() })
        } else {
            Err(LinkFault::Target)
        }
    }

    /// Adds an attribute.
    pub fn with(self, name: &str, value: &str) -> Result<Self, LinkFault> {
        if value.chars().any(char::is_control) {
            return Err(LinkFault::Value);
        }
        self.push(name, Some(value.to_owned()))
    }

    /// Adds an attribute that has no value, such as `obs` (RFC 7641 §6).
    pub fn with_flag(self, name: &str) -> Result<Self, LinkFault> {
        self.push(name, None)
    }

    /// Where the link leads.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The first value of an attribute, empty for one that has none.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// All attributes in their order; the value of one that has none is `None`.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.attributes.iter().map(|attribute| (&*attribute.name, attribute.value.as_deref()))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.attributes.iter().filter(move |attribute| attribute.name == name);
        named.map(|attribute| attribute.value.as_deref().unwrap_or_default())
    }

    fn push(mut self, name: &str, value: Option<String>) -> Result<Self, LinkFault> {
        if name.is_empty() || !name.bytes().all(is_name_byte) {
            return Err(LinkFault::Name);
        }
        if ONCE.contains(&name) && self.attribute(name).is_some() {
            return Err(LinkFault::Repeated);
        }
        if self.attributes.len() >= MAX_ATTRIBUTES {
            return Err(LinkFault::TooMany);
        }
        self.attributes.push(Attribute { name: name.to_owned(), value });
        Ok(self)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.target)?;
        for Attribute { name, value } in &self.attributes {
            write!(f, ";{name}")?;
            match value.as_deref() {
                None => {}
                // RFC 6690 §3.3, RFC 7252 §7.2.1: sz and a single ct are numbers.
                Some(number) if is_number(number) => write!(f, "={number}")?,
                Some(text) => {
                    f.write_str("=\"")?;
                    for character in text.chars() {
                        if matches!(character, '"' | '\\') {
                            f.write_char('\\')?;
                        }
                        f.write_char(character)?;
                    }
                    f.write_char('"')?;
                }
            }
        }
        Ok(())
    }
}

/// The document of some links.
pub fn write<'a>(links: impl IntoIterator<Item = &'a Link>) -> String {
    let mut document = String::new();
    for link in links {
        let separator = if document.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(document, "{separator}{link}");
    }
    document
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 6690 §2: parmname, which is attr-char of RFC 5987 §3.2.1.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~*".contains(&byte)
}

/// RFC 3986 §2: characters of a URI reference.
fn is_reference(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            (b'%', _) => return false,
            _ if byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte) => after,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests;
