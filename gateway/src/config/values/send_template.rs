//! What is sent to a device: text or bytes with the value of a command in them.
//!
//! Text that a command brings goes in as it is, but never with a control character: a line feed would
//! make two commands of one.

use std::fmt;
use std::str::FromStr;

use proto::checksum::Checksum;
use proto::{Number, Value};

use super::decimal::{Decimal, unscaled};
use super::text_value;

/// The longest template.
const MAX: usize = 1024;

/// Text with `{value}`, `{device}` and `{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextTemplate {
    text: String,
    parts: Vec<TextPart>,
}

/// Bytes in hexadecimal, with the value as a number and a checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HexTemplate {
    text: String,
    parts: Vec<HexPart>,
}

/// What stands in for the fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filling<'a> {
    pub(crate) value: Option<&'a Value>,
    pub(crate) device: &'a str,
    pub(crate) id: &'a str,
    /// What the number that is sent is multiplied with to be the value.
    pub(crate) scale: Option<Decimal>,
}

/// Why a value cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsendable {
    #[error("there is no value, and the template has a field for one")]
    NoValue,
    #[error("{0} has a control character, which would end the message that it stands in")]
    Control(&'static str),
    #[error("bytes do not fit a text: use `hex` with {{bytes}}")]
    Bytes,
    #[error("a number or a boolean is needed for {{{0}}}")]
    NotANumber(&'static str),
    #[error("{value} does not fit {{{slot}}}: {expected}")]
    Misfit { value: String, slot: &'static str, expected: String },
    #[error("text and bytes alone fit {{bytes}}")]
    NotBytes,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendTemplateError {
    #[error("expected 1 to {MAX} bytes")]
    Length,
    #[error(
        "expected a `}}` after `{{`\nbraces that stand for themselves are doubled: {{{{ and }}}}"
    )]
    Unclosed,
    #[error(
        "expected a `{{` before `}}`\nbraces that stand for themselves are doubled: {{{{ and }}}}"
    )]
    Unopened,
    #[error("expected {{value}}, {{device}} or {{id}}, found {{{0}}}")]
    TextField(String),
    #[error("expected {fields}, found {{{0}}}", fields = HEX_FIELDS)]
    HexField(String),
    #[error("expected two hexadecimal digits for each byte, such as \"aa 01 {{u16be}} {{sum8}}\"")]
    Digits,
}

/// The fields of a [`HexTemplate`], in words.
const HEX_FIELDS: &str = "{u8}, {i8}, {u16be}, {u16le}, {i16be}, {i16le}, {u32be}, {u32le}, {i32be}, \
     {i32le}, {f32be}, {f32le}, {bytes}, {sum8}, {xor8} or {crc16modbus}";

#[derive(Clone, Debug, PartialEq, Eq)]
enum TextPart {
    Text(String),
    Value,
    Device,
    Id,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HexPart {
    Bytes(Vec<u8>),
    Number(Slot),
    Raw,
    /// Of all before it; those of two bytes have the low one first, as the bus has them.
    Check(Checksum),
}

/// A place for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    name: &'static str,
    kind: Kind,
    is_little: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// So many bytes without a sign.
    Unsigned(u8),
    /// So many bytes, two's complement.
    Signed(u8),
    Float,
}

const SLOTS: [Slot; 12] = [
    Slot { name: "u8", kind: Kind::Unsigned(1), is_little: false },
    Slot { name: "i8", kind: Kind::Signed(1), is_little: false },
    Slot { name: "u16be", kind: Kind::Unsigned(2), is_little: false },
    Slot { name: "u16le", kind: Kind::Unsigned(2), is_little: true },
    Slot { name: "i16be", kind: Kind::Signed(2), is_little: false },
    Slot { name: "i16le", kind: Kind::Signed(2), is_little: true },
    Slot { name: "u32be", kind: Kind::Unsigned(4), is_little: false },
    Slot { name: "u32le", kind: Kind::Unsigned(4), is_little: true },
    Slot { name: "i32be", kind: Kind::Signed(4), is_little: false },
    Slot { name: "i32le", kind: Kind::Signed(4), is_little: true },
    Slot { name: "f32be", kind: Kind::Float, is_little: false },
    Slot { name: "f32le", kind: Kind::Float, is_little: true },
];

impl TextTemplate {
    /// Whether it has a place for the value.
    pub(crate) fn has_value(&self) -> bool {
        self.parts.contains(&TextPart::Value)
    }

    /// The text with everything in its place.
    pub(crate) fn fill(&self, filling: Filling<'_>) -> Result<Vec<u8>, Unsendable> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TextPart::Text(part) => text.push_str(part),
                TextPart::Device => text.push_str(plain("the device", filling.device)?),
                TextPart::Id => text.push_str(plain("the id", filling.id)?),
                TextPart::Value => match filling.value.ok_or(Unsendable::NoValue)? {
                    Value::Number(number) => text.push_str(&number.to_string()),
                    Value::Boolean(value) => text.push_str(&value.to_string()),
                    Value::Text(value) => text.push_str(plain("the value", value)?),
                    Value::Bytes(_) => return Err(Unsendable::Bytes),
                },
            }
        }
        Ok(text.into_bytes())
    }
}

impl HexTemplate {
    /// Whether it has a place for the value.
    pub(crate) fn has_value(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, HexPart::Number(_) | HexPart::Raw))
    }

    /// The bytes with everything in its place.
    pub(crate) fn fill(&self, filling: Filling<'_>) -> Result<Vec<u8>, Unsendable> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            match part {
                HexPart::Bytes(part) => bytes.extend_from_slice(part),
                HexPart::Number(slot) => slot.put(&mut bytes, filling)?,
                HexPart::Raw => match filling.value.ok_or(Unsendable::NoValue)? {
                    Value::Bytes(value) => bytes.extend_from_slice(value),
                    Value::Text(value) => bytes.extend_from_slice(value.as_bytes()),
                    Value::Number(_) | Value::Boolean(_) => return Err(Unsendable::NotBytes),
                },
                HexPart::Check(checksum) => {
                    let sum = checksum.of(&bytes).to_le_bytes();
                    bytes.extend(sum.iter().take(checksum.width()));
                }
            }
        }
        Ok(bytes)
    }
}

impl Slot {
    fn put(self, bytes: &mut Vec<u8>, filling: Filling<'_>) -> Result<(), Unsendable> {
        let number = match filling.value.ok_or(Unsendable::NoValue)? {
            Value::Number(number) => *number,
            Value::Boolean(value) => Number::from(u64::from(*value)),
            Value::Text(_) | Value::Bytes(_) => return Err(Unsendable::NotANumber(self.name)),
        };
        let misfit = |expected: String| Unsendable::Misfit {
            value: number.to_string(),
            slot: self.name,
            expected,
        };
        let raw = unscaled(number, filling.scale, None);
        let whole = |min: i64, max: i64| {
            let scaled = filling
                .scale
                .map_or(String::new(), |scale| format!(" times the scale {}", scale.number()));
            let whole = raw.and_then(Number::as_whole).and_then(|whole| i64::try_from(whole).ok());
            let whole = whole.filter(|whole| (min..=max).contains(whole));
            whole.ok_or_else(|| {
                misfit(format!("expected a whole number from {min} to {max}{scaled}"))
            })
        };
        let (mut big, len) = match self.kind {
            Kind::Unsigned(len) => {
                let whole = whole(0, (1 << (8 * u32::from(len))) - 1)?;
                (whole.to_be_bytes().to_vec(), len)
            }
            Kind::Signed(len) => {
                let limit = 1 << (8 * u32::from(len) - 1);
                (whole(-limit, limit - 1)?.to_be_bytes().to_vec(), len)
            }
            Kind::Float => {
                let float = raw.map(single).filter(|float| float.is_finite());
                let float = float.ok_or_else(|| misfit("it is too large".to_owned()))?;
                (float.to_be_bytes().to_vec(), 4)
            }
        };
        let mut own = big.split_off(big.len().saturating_sub(len.into()));
        if self.is_little {
            own.reverse();
        }
        bytes.append(&mut own);
        Ok(())
    }
}

/// The nearest float of single precision.
#[expect(clippy::cast_possible_truncation, reason = "what is too large becomes infinite")]
fn single(number: Number) -> f32 {
    number.as_f64() as f32
}

/// A text that is no message of its own.
fn plain<'a>(what: &'static str, text: &'a str) -> Result<&'a str, Unsendable> {
    if text.contains(char::is_control) { Err(Unsendable::Control(what)) } else { Ok(text) }
}

/// A part of a template: what is between fields, or the name of one.
enum Piece<'a> {
    Literal(String),
    Field(&'a str),
}

/// Cuts a template at its braces.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, SendTemplateError> {
    if !(1..=MAX).contains(&text.len()) {
        return Err(SendTemplateError::Length);
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, braces) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = braces.strip_prefix("{{").or_else(|| braces.strip_prefix("}}")) {
            literal.extend(braces.chars().next());
            rest = after;
            continue;
        }
        let field = braces.strip_prefix('{').ok_or(SendTemplateError::Unopened)?;
        let (field, after) = field.split_once('}').ok_or(SendTemplateError::Unclosed)?;
        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        pieces.push(Piece::Field(field));
        rest = after;
    }
    literal.push_str(rest);
    pieces.push(Piece::Literal(literal));
    pieces.retain(|piece| !matches!(piece, Piece::Literal(text) if text.is_empty()));
    Ok(pieces)
}

impl FromStr for TextTemplate {
    type Err = SendTemplateError;

    fn from_str(text: &str) -> Result<Self, SendTemplateError> {
        let part = |piece: Piece<'_>| {
            Ok(match piece {
                Piece::Literal(text) => TextPart::Text(text),
                Piece::Field("value") => TextPart::Value,
                Piece::Field("device") => TextPart::Device,
                Piece::Field("id") => TextPart::Id,
                Piece::Field(other) => {
                    return Err(SendTemplateError::TextField(other.to_owned()));
                }
            })
        };
        let parts = pieces(text)?.into_iter().map(part).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl FromStr for HexTemplate {
    type Err = SendTemplateError;

    fn from_str(text: &str) -> Result<Self, SendTemplateError> {
        let part = |piece: Piece<'_>| {
            Ok(match piece {
                Piece::Literal(digits) => HexPart::Bytes(bytes(&digits)?),
                Piece::Field("bytes") => HexPart::Raw,
                Piece::Field("sum8") => HexPart::Check(Checksum::Sum8),
                Piece::Field("xor8") => HexPart::Check(Checksum::Xor8),
                Piece::Field("crc16modbus") => HexPart::Check(Checksum::Crc16Modbus),
                Piece::Field(name) => {
                    let slot = SLOTS.iter().find(|slot| slot.name == name);
                    let slot = slot.ok_or_else(|| SendTemplateError::HexField(name.to_owned()))?;
                    HexPart::Number(*slot)
                }
            })
        };
        let parts = pieces(text)?.into_iter().map(part).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), parts })
    }
}

/// Pairs of digits, with spaces anywhere between them.
fn bytes(text: &str) -> Result<Vec<u8>, SendTemplateError> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.ok_or(SendTemplateError::Digits)?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(SendTemplateError::Digits);
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

impl fmt::Display for TextTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for HexTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

text_value!(TextTemplate, "text with fields", "expected text, such as \"SET {value}\\r\\n\"", {
    "minLength": 1,
    "maxLength": 1024,
});
text_value!(HexTemplate, "bytes with fields", "expected bytes, such as \"aa 01 {u16be} {sum8}\"", {
    "minLength": 1,
    "maxLength": 1024,
});

#[cfg(test)]
mod tests;
