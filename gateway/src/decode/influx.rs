//! InfluxDB's line protocol, which Telegraf and many sensors' firmwares write.
//!
//! `weather,location=us-midwest temperature=82 1465839830100400200`: measurement, tags, fields, time.
//! A field is a reading named by all of it, `weather.us-midwest.temperature`, so that no two series
//! become one. A tag that is chosen to name the device is left out of the name.

use proto::{Timestamp, Value};

use super::draft::{DecodeError, Draft, Identity, field_error};
use super::scalar::number;

const EXPECTED: &str = "InfluxDB line protocol";

/// Several lines a frame; what begins with `#` is a comment.
#[derive(Clone, Debug)]
pub(crate) struct InfluxDecoder {
    /// The tag that names the device.
    device: Option<String>,
    /// Whether every line has it.
    is_required: bool,
    /// Nanoseconds of the unit of time.
    nanos: i64,
}

impl InfluxDecoder {
    /// Every line has the tag `device`, which names the device; times count so many nanoseconds.
    pub(super) const fn new(device: Option<String>, nanos: i64) -> Self {
        Self { device, is_required: true, nanos }
    }

    /// The tag `device` names the device where a line has it; times count nanoseconds.
    pub(crate) fn preferring(device: &str) -> Self {
        Self { device: Some(device.to_owned()), is_required: false, nanos: 1 }
    }

    /// The same, where times count so many nanoseconds.
    pub(crate) fn with_unit(&self, nanos: i64) -> Self {
        Self { nanos, ..self.clone() }
    }

    pub(crate) fn decode(&self, frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
        let mut rest = std::str::from_utf8(frame).map_err(|_| DecodeError::NotText)?;
        let mut drafts = Vec::new();
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return Ok(drafts);
            }
            if rest.starts_with('#') {
                rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
                continue;
            }
            rest = self.line(rest, &mut drafts)?;
        }
    }

    /// Reads a line, and gives what follows it.
    fn line<'a>(&self, text: &'a str, drafts: &mut Vec<Draft>) -> Result<&'a str, DecodeError> {
        let (measurement, mut end, mut rest) = token(text, &[',', ' ']);
        let mut name = vec![measurement];
        let mut identity = Identity::default();
        while end == Some(',') {
            let (key, value);
            (key, end, rest) = token(rest, &['=', ',', ' ']);
            if end != Some('=') {
                return Err(syntax("a tag has no value"));
            }
            (value, end, rest) = token(rest, &[',', ' ']);
            match &self.device {
                Some(device) if *device == key => identity.device = Some(value),
                _ => name.push(value),
            }
        }
        if let (true, Some(device), None) = (self.is_required, &self.device, &identity.device) {
            return Err(DecodeError::Missing { field: device.clone() });
        }
        if end != Some(' ') || name.iter().any(String::is_empty) {
            return Err(syntax("a line has no fields, or a name without letters"));
        }
        let first = drafts.len();
        loop {
            let (key, equals, value);
            (key, equals, rest) = token(rest, &['=', ',', ' ']);
            if equals != Some('=') || key.is_empty() {
                return Err(syntax("a field has no value"));
            }
            (value, end, rest) = field_value(&key, rest)?;
            name.push(key);
            drafts.push(identity.draft(&name.join("."), value));
            name.pop();
            if end != Some(',') {
                break;
            }
        }
        let (time, rest) = match end {
            Some(' ') => rest.split_once('\n').unwrap_or((rest, "")),
            _ => ("", rest),
        };
        let time = time.trim();
        if !time.is_empty() {
            let units: Option<i64> = time.parse().ok();
            let nanos = units.and_then(|units| units.checked_mul(self.nanos));
            let expected = "a whole number in its unit of time, which fits 64 bits in nanoseconds";
            let nanos = nanos.ok_or_else(|| field_error("time", time, expected))?;
            for draft in drafts.iter_mut().skip(first) {
                draft.time = Some(Timestamp::from_nanos(nanos));
            }
        }
        Ok(rest)
    }
}

/// Text up to one of `ends` that no backslash stands before, without those backslashes; the end, and
/// what follows. A line feed ends everything.
fn token<'a>(text: &'a str, ends: &[char]) -> (String, Option<char>, &'a str) {
    let mut token = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, character)) = chars.next() {
        match character {
            '\\' if chars.peek().is_some_and(|(_, next)| [',', ' ', '=', '\\'].contains(next)) => {
                token.extend(chars.next().map(|(_, next)| next));
            }
            '\n' => {
                return (
                    token.trim_end_matches('\r').to_owned(),
                    Some('\n'),
                    text.get(at + 1..).unwrap_or_default(),
                );
            }
            end if ends.contains(&end) => {
                return (token, Some(end), text.get(at + end.len_utf8()..).unwrap_or_default());
            }
            other => token.push(other),
        }
    }
    (token, None, "")
}

/// A number, `1i`, `1u`, a boolean, or text between quotes.
fn field_value<'a>(
    key: &str,
    text: &'a str,
) -> Result<(Value, Option<char>, &'a str), DecodeError> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, character)) = chars.next() {
            match character {
                '"' => {
                    let (nothing, end, rest) =
                        token(quoted.get(at + 1..).unwrap_or_default(), &[',', ' ']);
                    let whole = nothing.is_empty().then_some((Value::Text(value), end, rest));
                    return whole.ok_or_else(|| syntax("something follows a closing quote"));
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                    Some((_, other)) => value.extend(['\\', other]),
                    None => break,
                },
                other => value.push(other),
            }
        }
        return Err(syntax("a quote is not closed"));
    }
    let (value, end, rest) = token(text, &[',', ' ']);
    let value = match &*value {
        "t" | "T" | "true" | "True" | "TRUE" => Value::Boolean(true),
        "f" | "F" | "false" | "False" | "FALSE" => Value::Boolean(false),
        value => {
            let digits = value.strip_suffix(['i', 'u']).unwrap_or(value);
            Value::Number(number(key, digits)?)
        }
    };
    Ok((value, end, rest))
}

fn syntax(problem: &str) -> DecodeError {
    DecodeError::Syntax { expected: EXPECTED, problem: problem.to_owned() }
}
