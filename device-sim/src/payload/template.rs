//! Payloads by a pattern of the user: text, or bytes in hexadecimal.

use std::fmt::Write as _;
use std::str::FromStr;

use proto::checksum::Checksum;
use proto::{Reading, TimeQuality, Value};

/// The longest pattern.
const MAX_LENGTH: usize = 4096;
/// The checksums of a binary pattern, by their names in the gateway's configuration.
const CHECKSUMS: [(&str, Checksum); 12] = [
    ("sum8", Checksum::Sum8),
    ("sum8-negated", Checksum::Sum8Negated),
    ("sum8-inverted", Checksum::Sum8Inverted),
    ("sum16", Checksum::Sum16),
    ("xor8", Checksum::Xor8),
    ("crc16-modbus", Checksum::Crc16Modbus),
    ("crc16-ccitt", Checksum::Crc16Ccitt),
    ("crc16-xmodem", Checksum::Crc16Xmodem),
    ("crc16-x25", Checksum::Crc16X25),
    ("crc16-arc", Checksum::Crc16Arc),
    ("crc16-kermit", Checksum::Crc16Kermit),
    ("crc32", Checksum::Crc32),
];

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is longer than any payload has to be.
    #[error("expected at most {MAX_LENGTH} bytes")]
    Length,
    /// `{` without `}`.
    #[error("expected `}}` after `{{`\nwrite `{{{{` for a bracket that is none")]
    Open,
    /// A word of a binary pattern is neither bytes nor a field.
    #[error("expected bytes in hexadecimal or a field such as {{temp:u16le*10}}, not `{0}`")]
    Word(String),
    /// A field has no type.
    #[error(
        "expected a type in {{{0}}}: u8, i8, or one of u16 i16 u32 i32 u64 i64 f32 f64 with be or le"
    )]
    Type(String),
    /// A field's factor is no number.
    #[error("expected a number after `*` in {{{0}}}")]
    Factor(String),
    /// A checksum is not known.
    #[error(
        "expected {{check:NAME}}, {{check:NAME@FROM}}, and be or le behind, in {{{0}}}\nnames are sum8, sum16, xor8, crc16-modbus, crc16-ccitt, crc16-x25, crc16-arc, crc32 and others"
    )]
    Check(String),
}

/// What stands for a part of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Device,
    /// RFC 3339.
    Time,
    /// Milliseconds since 1970.
    Millis,
    Epoch,
    Sequence,
    /// The value of the channel with this name.
    Value(String),
}

impl Field {
    fn named(name: &str) -> Self {
        match name {
            "device" => Self::Device,
            "time" => Self::Time,
            "millis" => Self::Millis,
            "epoch" => Self::Epoch,
            "seq" => Self::Sequence,
            other => Self::Value(other.to_owned()),
        }
    }

    fn text(&self, readings: &[Reading]) -> String {
        let Some(first) = readings.first() else { return String::new() };
        match self {
            Self::Device => first.device.clone(),
            Self::Time => jiff::Timestamp::from_millisecond(first.time.as_millis())
                .map(|time| time.to_string())
                .unwrap_or_default(),
            Self::Millis => first.time.as_millis().to_string(),
            Self::Epoch => first.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
            Self::Sequence => first.sequence.map(|number| number.to_string()).unwrap_or_default(),
            Self::Value(name) => value(readings, name).map(super::plain).unwrap_or_default(),
        }
    }

    fn number(&self, readings: &[Reading]) -> f64 {
        let Some(first) = readings.first() else { return 0.0 };
        match self {
            Self::Device | Self::Time => first.time.as_millis().div_euclid(1000) as f64,
            Self::Millis => first.time.as_millis() as f64,
            Self::Epoch => first.epoch.unwrap_or_default().into(),
            Self::Sequence => first.sequence.unwrap_or_default() as f64,
            Self::Value(name) => match value(readings, name) {
                Some(Value::Number(number)) => number.as_f64(),
                Some(Value::Boolean(true)) => 1.0,
                Some(Value::Boolean(false) | Value::Text(_) | Value::Bytes(_)) | None => 0.0,
            },
        }
    }
}

fn value<'r>(readings: &'r [Reading], name: &str) -> Option<&'r Value> {
    readings.iter().find(|reading| reading.name == name).map(|reading| &reading.value)
}

/// What of a report a pattern has room for.
fn names<'f>(fields: impl Iterator<Item = &'f Field>) -> impl Iterator<Item = &'f str> {
    fields.filter_map(|field| match field {
        Field::Value(name) => Some(name.as_str()),
        Field::Device | Field::Time | Field::Millis | Field::Epoch | Field::Sequence => None,
    })
}

/// Text with fields: `{device}`, `{time}` (RFC 3339), `{millis}`, `{epoch}`, `{seq}` and the name of
/// each channel; `{{` and `}}` are brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
}

impl FromStr for TextTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_LENGTH {
            return Err(TemplateError::Length);
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, bracket) = rest.split_at(at);
            literal.push_str(before);
            let one = bracket.get(..1).unwrap_or_default();
            let after = bracket.get(1..).unwrap_or_default();
            if let Some(after) = after.strip_prefix(one) {
                literal.push_str(one);
                rest = after;
            } else if one == "{" {
                let (name, after) = after.split_once('}').ok_or(TemplateError::Open)?;
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                pieces.push(Piece::Field(Field::named(name)));
                rest = after;
            } else {
                literal.push_str(one);
                rest = after;
            }
        }
        literal.push_str(rest);
        pieces.push(Piece::Literal(literal));
        Ok(Self(pieces))
    }
}

impl TextTemplate {
    /// The readings of one report in it.
    pub(super) fn fill(&self, readings: &[Reading]) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Field(field) => out.push_str(&field.text(readings)),
            }
        }
        out
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Field(field) => Some(field),
            Piece::Literal(_) => None,
        })
    }

    /// The channels that it names.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        names(self.fields())
    }

    /// Whether it has room for epoch and sequence.
    pub fn is_numbered(&self) -> bool {
        has_numbers(self.fields())
    }

    /// Whether it has room for the time.
    pub fn has_time(&self) -> bool {
        has_time(self.fields())
    }
}

fn has_numbers<'f>(mut fields: impl Iterator<Item = &'f Field>) -> bool {
    fields.any(|field| *field == Field::Sequence)
}

fn has_time<'f>(mut fields: impl Iterator<Item = &'f Field>) -> bool {
    fields.any(|field| matches!(field, Field::Time | Field::Millis))
}

/// Bytes in hexadecimal, with fields between them: `aa c0 {pm25:u16le*10} {seq:u16be} {check:sum8@2} ab`.
///
/// `{NAME:TYPE}` is a channel, `seq`, `epoch`, `millis` or `time` (seconds since 1970) as a number of
/// the type, times a factor where one follows. `{check:NAME@FROM}` is a checksum over the bytes from
/// `FROM` (0 without it) up to it; `be` behind it puts the high byte first.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Bytes(Vec<u8>),
    Number { field: Field, kind: Kind, is_big: bool, factor: f64 },
    Check { checksum: Checksum, from: usize, is_big: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unsigned(usize),
    Signed(usize),
    Float(usize),
}

impl FromStr for BinaryTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > MAX_LENGTH {
            return Err(TemplateError::Length);
        }
        text.split_whitespace().map(part).collect::<Result<_, _>>().map(Self)
    }
}

fn part(word: &str) -> Result<Part, TemplateError> {
    let Some(inside) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) else {
        return hex(word).map(Part::Bytes).ok_or_else(|| TemplateError::Word(word.to_owned()));
    };
    let (name, kind) =
        inside.split_once(':').ok_or_else(|| TemplateError::Type(inside.to_owned()))?;
    if name == "check" {
        return check(kind).ok_or_else(|| TemplateError::Check(inside.to_owned()));
    }
    let (kind, factor) = match kind.split_once('*') {
        Some((kind, factor)) => {
            let factor = factor.parse().ok().filter(|factor: &f64| factor.is_finite());
            (kind, factor.ok_or_else(|| TemplateError::Factor(inside.to_owned()))?)
        }
        None => (kind, 1.0),
    };
    let (kind, is_big) = numeric(kind).ok_or_else(|| TemplateError::Type(inside.to_owned()))?;
    Ok(Part::Number { field: Field::named(name), kind, is_big, factor })
}

fn numeric(text: &str) -> Option<(Kind, bool)> {
    let (bare, is_big) = match (text.strip_suffix("be"), text.strip_suffix("le")) {
        (Some(bare), _) => (bare, true),
        (None, Some(bare)) => (bare, false),
        (None, None) if matches!(text, "u8" | "i8") => (text, false),
        (None, None) => return None,
    };
    let (letter, bits) = bare.split_at_checked(1)?;
    let bytes = match bits {
        "8" => 1,
        "16" => 2,
        "32" => 4,
        "64" => 8,
        _ => return None,
    };
    let kind = match letter {
        "u" => Kind::Unsigned(bytes),
        "i" => Kind::Signed(bytes),
        "f" if bytes >= 4 => Kind::Float(bytes),
        _ => return None,
    };
    Some((kind, is_big))
}

fn check(text: &str) -> Option<Part> {
    let (text, is_big) = match (text.strip_suffix(",be"), text.strip_suffix(",le")) {
        (Some(text), _) => (text, true),
        (None, Some(text)) => (text, false),
        (None, None) => (text, false),
    };
    let (name, from) = match text.split_once('@') {
        Some((name, from)) => (name, from.parse().ok()?),
        None => (text, 0),
    };
    let (_, checksum) = CHECKSUMS.into_iter().find(|(known, _)| *known == name)?;
    Some(Part::Check { checksum, from, is_big })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit =
        |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    digits.chunks(2).map(byte).collect()
}

impl BinaryTemplate {
    /// The readings of one report in it.
    pub(super) fn fill(&self, readings: &[Reading]) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Bytes(bytes) => out.extend(bytes),
                Part::Number { field, kind, is_big, factor } => {
                    push(&mut out, kind.little(field.number(readings) * factor), *is_big);
                }
                Part::Check { checksum, from, is_big } => {
                    let sum = checksum.of(out.get(*from..).unwrap_or_default());
                    let bytes = sum.to_le_bytes().into_iter().take(checksum.width()).collect();
                    push(&mut out, bytes, *is_big);
                }
            }
        }
        out
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().filter_map(|part| match part {
            Part::Number { field, .. } => Some(field),
            Part::Bytes(_) | Part::Check { .. } => None,
        })
    }

    /// The channels that it names.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        names(self.fields())
    }

    /// Whether it has room for epoch and sequence.
    pub fn is_numbered(&self) -> bool {
        has_numbers(self.fields())
    }

    /// Whether it has room for the time.
    pub fn has_time(&self) -> bool {
        has_time(self.fields())
    }
}

impl Kind {
    /// A number in bytes, the lowest first; what has no room is cut to the next that has.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
    fn little(self, number: f64) -> Vec<u8> {
        let (bytes, width) = match self {
            Self::Float(4) => return (number as f32).to_le_bytes().to_vec(),
            Self::Float(_) => return number.to_le_bytes().to_vec(),
            Self::Unsigned(width) => {
                let most = u64::MAX >> (64 - 8 * width.clamp(1, 8));
                ((number.round() as u64).min(most).to_le_bytes(), width)
            }
            Self::Signed(width) => {
                let most = i64::MAX >> (64 - 8 * width.clamp(1, 8));
                ((number.round() as i64).clamp(-most - 1, most).to_le_bytes(), width)
            }
        };
        bytes.into_iter().take(width).collect()
    }
}

fn push(out: &mut Vec<u8>, mut little: Vec<u8>, is_big: bool) {
    if is_big {
        little.reverse();
    }
    out.append(&mut little);
}

/// A sentence of NMEA 0183 around what a pattern says: `$…*hh`, where `hh` is the exclusive or.
pub(super) fn sentence(template: &TextTemplate, readings: &[Reading]) -> String {
    let body = template.fill(readings);
    let mut out = format!("${body}");
    // Writing to a string cannot fail.
    let _ = write!(out, "*{:02X}\r\n", Checksum::Xor8.of(body.as_bytes()));
    out
}

/// Whether a report says when it was measured.
pub(super) fn is_dated(readings: &[Reading]) -> bool {
    readings.first().is_some_and(|reading| reading.time_quality == TimeQuality::Device)
}

#[cfg(test)]
mod tests {
    use super::super::tests::readings;
    use super::*;

    #[test]
    fn text_has_its_fields_filled_in() {
        let filled = |text: &str| text.parse::<TextTemplate>().map(|t| t.fill(&readings()));
        assert_eq!(
            filled("{device} {millis} {time} {epoch}/{seq} T={temp} {{x}} {none}.").as_deref(),
            Ok("th-1 1795214340123 2026-11-20T22:39:00.123Z 1/7 T=21.50 {x} .")
        );
        assert_eq!(filled("{temp"), Err(TemplateError::Open));
        assert_eq!(filled(&"x".repeat(5000)), Err(TemplateError::Length));
    }

    #[test]
    fn bytes_have_numbers_and_checksums() {
        let filled = |text: &str| text.parse::<BinaryTemplate>().map(|t| t.fill(&readings()));
        // 21.5 × 10 = 0x00d7; -3 as two's complement.
        let frame = filled("aac0 {temp:u16le*10} {dew:i8} {seq:u16be} {check:sum8@2} ab").unwrap();
        let sum = 0xd7_u8.wrapping_add(0xfd).wrapping_add(7);
        assert_eq!(frame, [0xaa, 0xc0, 0xd7, 0x00, 0xfd, 0x00, 0x07, sum, 0xab]);
        assert_eq!(filled("{dew:u8} {temp:i8*100}").unwrap(), [0, 127], "cut to what has room");
        assert_eq!(filled("{temp:f32be}").unwrap(), 21.5_f32.to_be_bytes());
        let crc =
            filled("313233343536373839 {check:crc16-modbus} {check:crc16-xmodem@0,be}").unwrap();
        assert_eq!(crc.get(9..11), Some(&[0x37, 0x4b][..]), "the catalogue's check value");
        assert_eq!(crc.len(), 13);
        for wrong in [
            "a",
            "xy",
            "{temp}",
            "{temp:u17}",
            "{temp:f16le}",
            "{temp:u16}",
            "{temp:u8*x}",
            "{check:crc17}",
            "{check:sum8@x}",
        ] {
            assert!(filled(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sentences_have_the_checksum_of_nmea() {
        let body = "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,";
        let sentence = sentence(&body.parse().unwrap(), &readings());
        assert_eq!(sentence, format!("${body}*47\r\n"));
    }

    #[test]
    fn a_pattern_knows_what_it_has_room_for() {
        let text: TextTemplate = "{seq} {temp} {dew}".parse().unwrap();
        assert_eq!(text.channels().collect::<Vec<_>>(), ["temp", "dew"]);
        assert_eq!((text.is_numbered(), text.has_time()), (true, false));
        let binary: BinaryTemplate = "{millis:u64be} {temp:u8}".parse().unwrap();
        assert_eq!((binary.is_numbered(), binary.has_time()), (false, true));
    }
}
