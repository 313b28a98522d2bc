//! Payloads by their Content-Format (RFC 7252 §12.3), as CoAP carries them.

use std::sync::LazyLock;

use proto::coap::content_format::{JSON, OCTET_STREAM, SENML_CBOR, SENML_JSON, TEXT_PLAIN};
use proto::{Timestamp, Value};

use super::draft::{DecodeError, Draft};
use super::json::JsonDecoder;
use super::senml::decode_pack;
use super::value::parse_value;

/// For JSON that nothing was configured for.
static PLAIN_JSON: LazyLock<JsonDecoder> = LazyLock::new(JsonDecoder::plain);

/// A payload of several readings, or `None` where the format is another one. Where the sender does
/// not say it, the first byte does (RFC 7252 §5.5.1).
pub(crate) fn decode_readings(
    format: Option<u16>,
    payload: &[u8],
    now: Timestamp,
) -> Option<Result<Vec<Draft>, DecodeError>> {
    match format {
        Some(SENML_JSON | SENML_CBOR) => Some(decode_pack(payload, now)),
        Some(JSON) => Some(PLAIN_JSON.decode(payload)),
        None if first_byte(payload) == Some(b'{') => Some(PLAIN_JSON.decode(payload)),
        None => Some(decode_pack(payload, now)),
        Some(_) => None,
    }
}

/// A payload of one value, or `None` where the format is another one.
pub(crate) fn decode_value(
    format: Option<u16>,
    payload: &[u8],
) -> Option<Result<Value, DecodeError>> {
    match format {
        Some(OCTET_STREAM) => Some(Ok(Value::Bytes(payload.to_vec()))),
        None | Some(TEXT_PLAIN) => Some(text(payload).map(parse_value)),
        Some(JSON) => Some(text(payload).map(|text| match serde_json::from_str::<String>(text) {
            Ok(text) => Value::Text(text),
            Err(_) => parse_value(text),
        })),
        Some(_) => None,
    }
}

fn first_byte(payload: &[u8]) -> Option<u8> {
    payload.iter().find(|byte| !byte.is_ascii_whitespace()).copied()
}

fn text(payload: &[u8]) -> Result<&str, DecodeError> {
    let text = std::str::from_utf8(payload).map_err(|_| DecodeError::NotText)?.trim();
    if text.is_empty() { Err(DecodeError::Empty) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_nanos(1_800_000_000_000_000_000);

    #[test]
    fn other_formats_are_not_guessed() {
        assert_eq!(decode_readings(Some(0), b"1", NOW), None);
        assert_eq!(decode_value(Some(112), b"\x80"), None);
    }
}
