//! Single values: as text, in JSON, and scaled without rounding.

use proto::{Number, Value};
use serde_json::value::RawValue;

use super::draft::{DecodeError, field_error};

/// A number, `true` or `false`, else text. Sensors pad numbers with a sign and zeros.
pub(crate) fn parse_value(text: &str) -> Value {
    match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        _ => parse_number(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number),
    }
}

/// A number as sensors write it.
pub(super) fn parse_number(text: &str) -> Option<Number> {
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

/// A number that must be one.
pub(super) fn number(field: &str, text: &str) -> Result<Number, DecodeError> {
    parse_number(text.trim()).ok_or_else(|| field_error(field, text, "a number"))
}

/// The number times a power of ten.
pub(super) const fn shifted(number: Number, power: i32) -> Option<Number> {
    Number::from_decimal(number.mantissa(), number.exponent().saturating_add(power))
}

/// The product, exact; `None` where it has more digits than a number keeps.
pub(super) fn times(number: Number, factor: i128, power: i32) -> Option<Number> {
    let mantissa = number.mantissa().checked_mul(factor)?;
    Number::from_decimal(mantissa, number.exponent().saturating_add(power))
}

/// What JSON holds, if it is neither an object nor an array nor `null`.
pub(super) fn from_json(raw: &RawValue) -> Option<Value> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok().map(Value::Text),
        b't' => Some(Value::Boolean(true)),
        b'f' => Some(Value::Boolean(false)),
        b'-' | b'0'..=b'9' => text.parse().ok().map(Value::Number),
        _ => None,
    }
}

/// The bytes that hexadecimal digits stand for.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

/// Bytes as text, if all of it can be printed.
pub(super) fn printable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
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
