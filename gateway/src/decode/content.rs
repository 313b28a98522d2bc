//! Payloads by their Content-Format (RFC 7252 §12.3), as CoAP carries them.

use std::sync::LazyLock;

use proto::coap::content_format::{JSON, OCTET_STREAM, SENML_CBOR, SENML_JSON, TEXT_PLAIN};
use proto::{Timestamp, Value};

use super::draft::{DecodeError, Draft};
use super::json::JsonDecoder;
use super::scalar::parse_value;
use super::senml::{decode_pack, decode_pack_named};

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
        None => {
            let is_text = first_byte(payload) != Some(b'[') && text(payload).is_ok();
            let alone = |error| if is_text { DecodeError::Alone } else { error };
            Some(decode_pack(payload, now).map_err(alone))
        }
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

/// The representation of a resource: readings that name themselves, or a value that is `name` and
/// has a `unit`; `None` where the format is another one.
pub(crate) fn decode_resource(
    format: Option<u16>,
    payload: &[u8],
    (name, unit): (&str, Option<&str>),
    now: Timestamp,
) -> Option<Result<Vec<Draft>, DecodeError>> {
    let is_object = matches!(first_byte(payload), Some(b'{' | b'['));
    match format {
        Some(SENML_JSON | SENML_CBOR) => Some(decode_pack_named(payload, now, name)),
        Some(JSON) if is_object => Some(PLAIN_JSON.decode(payload)),
        _ => {
            let draft = |value| Draft { unit: unit.map(str::to_owned), ..Draft::new(name, value) };
            Some(decode_value(format, payload)?.map(|value| vec![draft(value)]))
        }
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

    fn names_and_values(
        format: Option<u16>,
        payload: &[u8],
    ) -> Vec<(String, Option<String>, Value)> {
        let drafts = decode_resource(format, payload, ("sensors/temp", Some("Cel")), NOW);
        drafts.unwrap().unwrap().into_iter().map(|d| (d.name, d.unit, d.value)).collect()
    }

    #[test]
    fn a_value_alone_is_shown_its_way() {
        for alone in ["21.5", "on", " 7\n"] {
            let error = decode_readings(None, alone.as_bytes(), NOW).unwrap().unwrap_err();
            let expected = "not a pack of readings; a value alone goes to /r/DEVICE/NAME";
            assert_eq!((error.to_string().as_str(), error.reason()), (expected, "syntax"));
        }
        for broken in [&b"[{"[..], b"\x81\xa0", b""] {
            let error = decode_readings(None, broken, NOW).unwrap().unwrap_err();
            assert_ne!(error, DecodeError::Alone, "{broken:?}");
        }
    }

    #[test]
    fn a_resource_names_what_does_not_name_itself() {
        let number = |text: &str| Value::Number(text.parse().unwrap());
        let own = |value| vec![("sensors/temp".to_owned(), Some("Cel".to_owned()), value)];
        for (format, payload, value) in [
            (None, &b"21.5"[..], number("21.5")),
            (Some(TEXT_PLAIN), b"true", Value::Boolean(true)),
            (Some(TEXT_PLAIN), b"Nov 21 10:00", Value::Text("Nov 21 10:00".to_owned())),
            (Some(JSON), b"21.5", number("21.5")),
            (Some(JSON), b"\"on\"", Value::Text("on".to_owned())),
            (Some(OCTET_STREAM), b"\x00\xff", Value::Bytes(vec![0, 255])),
        ] {
            assert_eq!(names_and_values(format, payload), own(value), "{format:?} {payload:?}");
        }
        let object = names_and_values(Some(JSON), br#"{"t":1,"h":2}"#);
        let expected = [("h", "2"), ("t", "1")].map(|(n, v)| (n.to_owned(), None, number(v)));
        assert_eq!(object, expected);
        let pack = names_and_values(
            Some(SENML_JSON),
            br#"[{"bn":"m1/","u":"Cel","v":3},{"n":"x","v":4}]"#,
        );
        let own = ("sensors/temp".to_owned(), Some("Cel".to_owned()), number("3"));
        assert_eq!(pack, [own, ("x".to_owned(), None, number("4"))]);
        // RFC 8428 §6: [{0: "x", 2: 4}]
        let cbor = names_and_values(Some(SENML_CBOR), b"\x81\xa2\x00\x61x\x02\x04");
        assert_eq!(cbor, [("x".to_owned(), None, number("4"))]);
    }

    #[test]
    fn other_formats_are_not_guessed() {
        assert_eq!(decode_resource(Some(60), b"\x01", ("x", None), NOW), None);
        assert_eq!(decode_readings(Some(0), b"1", NOW), None);
        assert_eq!(decode_value(Some(112), b"\x80"), None);
    }
}
