//! Text that is one value.

use proto::{Number, Value};

use super::draft::{DecodeError, Draft};
use crate::config::ValueDecode;

/// The whole frame is one value.
#[derive(Debug)]
pub(crate) struct ValueDecoder {
    name: String,
    unit: Option<String>,
}

impl ValueDecoder {
    pub(super) fn new(config: &ValueDecode) -> Self {
        Self { name: config.name.clone(), unit: config.unit.clone() }
    }

    pub(super) fn decode(&self, frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
        let text = std::str::from_utf8(frame).map_err(|_| DecodeError::NotText)?.trim();
        if text.is_empty() {
            return Err(DecodeError::Empty);
        }
        let unit = self.unit.clone();
        Ok(vec![Draft { unit, ..Draft::new(&self.name, parse_value(text)) }])
    }
}

/// A number, `true` or `false`, else text. Sensors pad numbers with a sign and zeros.
pub(crate) fn parse_value(text: &str) -> Value {
    match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        _ => parse_number(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number),
    }
}

fn parse_number(text: &str) -> Option<Number> {
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.get(..1)?, digits),
        None => ("", text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let unpadded = digits.trim_start_matches('0');
    let zero = if unpadded.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "0" };
    let sign = if sign == "-" { "-" } else { "" };
    format!("{sign}{zero}{unpadded}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_booleans_and_text_are_told_apart() {
        for (text, number) in [
            ("21.50", "21.50"),
            ("08", "8"),
            ("+3.2", "3.2"),
            ("-007.1", "-7.1"),
            ("0", "0"),
            ("000", "0"),
            ("1e3", "1e3"),
        ] {
            assert_eq!(parse_value(text), Value::Number(number.parse().unwrap()), "{text}");
        }
        assert_eq!(parse_value("true"), Value::Boolean(true));
        for text in ["12:35", "1.2.3", "0x1F", "--1", "+", "-", "1,5", "21.5C", "", "nan", "inf"] {
            assert_eq!(parse_value(text), Value::Text(text.to_owned()));
        }
    }
}
