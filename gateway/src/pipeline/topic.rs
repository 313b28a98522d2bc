//! Topic templates: `site/{gateway}/{device}/{name}`.

use std::fmt::{self, Write as _};
use std::str::FromStr;

/// The longest topic that MQTT can carry (MQTT 3.1.1 §1.5.3).
pub(crate) const MAX_TOPIC: usize = 65_535;

/// A topic with fields to fill in; what it renders always is a valid topic name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Gateway,
    Source,
    Device,
    Name,
}

/// What a topic's fields are filled with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TopicFields<'a> {
    pub(crate) gateway: &'a str,
    pub(crate) source: &'a str,
    pub(crate) device: &'a str,
    pub(crate) name: &'a str,
}

/// Why a text is no topic template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicError {
    #[error("a topic cannot be empty")]
    Empty,
    #[error("a topic cannot hold `{0}`, which only subscriptions use")]
    Wildcard(char),
    #[error("a topic cannot hold the character U+0000")]
    Nul,
    #[error("a topic cannot start with `$`, which brokers keep for themselves")]
    Dollar,
    #[error("unknown field `{{{0}}}`, expected {{gateway}}, {{source}}, {{device}} or {{name}}")]
    UnknownField(String),
    #[error("`{{` without `}}`")]
    Unclosed,
    #[error("longer than the 65535 bytes that MQTT carries")]
    TooLong,
}

impl TopicTemplate {
    /// Fills in the fields.
    ///
    /// A field fills one topic level or a part of it: `/`, `+`, `#`, `%` and what MQTT may not
    /// carry in it are percent-encoded, so that no device can write outside its own level, and two devices
    /// never share a topic.
    pub(crate) fn render(&self, fields: &TopicFields<'_>) -> String {
        let mut topic = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            match part {
                Part::Literal(text) => topic.push_str(text),
                Part::Gateway => push_level(&mut topic, fields.gateway),
                Part::Source => push_level(&mut topic, fields.source),
                Part::Device => push_level(&mut topic, fields.device),
                Part::Name => push_level(&mut topic, fields.name),
            }
        }
        topic
    }
}

/// Adds a field as one level of a topic, or a part of one; see [`TopicTemplate::render`].
pub(crate) fn push_level(topic: &mut String, field: &str) {
    if field.bytes().all(is_plain) {
        return topic.push_str(field);
    }
    for c in field.chars() {
        let first = topic.is_empty();
        match c {
            '/' | '+' | '#' | '%' => push_encoded(topic, c),
            '$' if first => push_encoded(topic, c),
            c if is_refused(c) => push_encoded(topic, c),
            c => topic.push(c),
        }
    }
}

/// What [`push_level`] has made a level of; `None` where it is no percent-encoded UTF-8.
pub(crate) fn decode_level(level: &str) -> Option<String> {
    if !level.contains('%') {
        return Some(level.to_owned());
    }
    let mut bytes = Vec::with_capacity(level.len());
    let mut rest = level.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// `text` as any broker takes it in a field that is not a topic.
pub(super) fn mqtt_text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_refused(c) { push_encoded(&mut clean, c) } else { clean.push(c) }
    }
    clean
}

/// Whether any broker takes this text in a topic or a filter.
pub(crate) fn is_mqtt_text(text: &str) -> bool {
    !text.contains(is_refused)
}

/// Control characters and Unicode's non-characters, for which a broker may end the connection
/// (MQTT 5 §1.5.4).
fn is_refused(c: char) -> bool {
    if matches!(c, ' '..='~') {
        return false;
    }
    let code = u32::from(c);
    c.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

/// Whether a byte stands for itself wherever it is: so do nearly all that devices are named with.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'/' | b'+' | b'#' | b'%' | b'$')
}

fn push_encoded(topic: &mut String, c: char) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a string cannot fail.
        let _ = write!(topic, "%{byte:02X}");
    }
}

impl FromStr for TopicTemplate {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > MAX_TOPIC {
            return Err(TopicError::TooLong);
        }
        if text.starts_with('$') {
            return Err(TopicError::Dollar);
        }
        if let Some(wildcard) = text.chars().find(|c| matches!(c, '+' | '#')) {
            return Err(TopicError::Wildcard(wildcard));
        }
        if text.contains('\0') {
            return Err(TopicError::Nul);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (field, after) = after.split_once('}').ok_or(TopicError::Unclosed)?;
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(match field {
                "gateway" => Part::Gateway,
                "source" => Part::Source,
                "device" => Part::Device,
                "name" => Part::Name,
                other => return Err(TopicError::UnknownField(other.to_owned())),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl Default for TopicTemplate {
    fn default() -> Self {
        Self {
            text: "{gateway}/{device}/{name}".to_owned(),
            parts: vec![
                Part::Gateway,
                Part::Literal("/".to_owned()),
                Part::Device,
                Part::Literal("/".to_owned()),
                Part::Name,
            ],
        }
    }
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str, device: &str) -> String {
        let template: TopicTemplate = template.parse().unwrap();
        template.render(&TopicFields { gateway: "g", source: "s", device, name: "temp" })
    }

    #[test]
    fn fields_are_filled_in() {
        assert_eq!(render("site/{gateway}/{source}/{device}/{name}", "th-1"), "site/g/s/th-1/temp");
        assert_eq!(render("x-{device}", "ü"), "x-ü");
        assert_eq!(TopicTemplate::default(), "{gateway}/{device}/{name}".parse().unwrap());
    }

    #[test]
    fn a_device_cannot_leave_its_level() {
        assert_eq!(render("a/{device}", "b/c+#%\0"), "a/b%2Fc%2B%23%25%00");
        assert_eq!(render("{device}", "$SYS"), "%24SYS");
        assert_eq!(render("a/{device}", "$SYS"), "a/$SYS");
        assert_eq!(render("{device}", "\u{ffff}\u{fdd0}"), "%EF%BF%BF%EF%B7%90");
    }

    #[test]
    fn every_character_is_itself_or_encoded() {
        for c in (0..=0x17f_u32).filter_map(char::from_u32) {
            let encoded = matches!(c, '/' | '+' | '#' | '%') || c.is_control();
            let expected = match encoded {
                true => c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
                false => c.to_string(),
            };
            assert_eq!(render("a/{device}", &format!("x{c}y")), format!("a/x{expected}y"), "{c:?}");
        }
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for (text, error) in [
            ("", TopicError::Empty),
            ("a/+", TopicError::Wildcard('+')),
            ("a/#", TopicError::Wildcard('#')),
            ("$SYS/a", TopicError::Dollar),
            ("a\0", TopicError::Nul),
            ("a/{device", TopicError::Unclosed),
            ("a/{dev}", TopicError::UnknownField("dev".to_owned())),
        ] {
            assert_eq!(text.parse::<TopicTemplate>(), Err(error), "{text:?}");
        }
    }
}
