//! Readings that nodes post, by the format that they come in.

use std::sync::LazyLock;

use proto::coap::content_format::{JSON, OCTET_STREAM, SENML_CBOR, SENML_JSON, TEXT_PLAIN};
use proto::coap::{Code, Request, Response};
use proto::{Timestamp, Value};

use crate::decode::{DecodeError, Draft, JsonDecoder, decode_pack, parse_value};

/// For JSON that nothing was configured for.
static PLAIN_JSON: LazyLock<JsonDecoder> = LazyLock::new(JsonDecoder::plain);

/// `/r`: several readings, by content format, or by the first byte where the node does not say it
/// (RFC 7252 §5.5.1).
pub(super) fn pack(
    request: &Request,
    now: Timestamp,
) -> Result<Result<Vec<Draft>, DecodeError>, Response> {
    let payload = &request.payload;
    let first = payload.iter().find(|byte| !byte.is_ascii_whitespace());
    Ok(match request.options.content_format() {
        Some(SENML_JSON | SENML_CBOR) => decode_pack(payload, now),
        Some(JSON) => PLAIN_JSON.decode(payload),
        None if first == Some(&b'{') => PLAIN_JSON.decode(payload),
        None => decode_pack(payload, now),
        Some(_) => {
            let formats = "send application/senml+json (110), senml+cbor (112) or json (50)";
            return Err(Response::new(Code::UNSUPPORTED_CONTENT_FORMAT).diagnostic(formats));
        }
    })
}

/// `/r/{device}/{name}`: one value.
pub(super) fn value(
    request: &Request,
    device: &str,
    name: &str,
) -> Result<Result<Vec<Draft>, DecodeError>, Response> {
    let payload = &request.payload;
    let value = match request.options.content_format() {
        Some(OCTET_STREAM) => Ok(Value::Bytes(payload.clone())),
        None | Some(TEXT_PLAIN) => text(payload).map(parse_value),
        Some(JSON) => text(payload).map(|text| match serde_json::from_str::<String>(text) {
            Ok(text) => Value::Text(text),
            Err(_) => parse_value(text),
        }),
        Some(_) => {
            let formats = "send text/plain (0), application/octet-stream (42) or json (50)";
            return Err(Response::new(Code::UNSUPPORTED_CONTENT_FORMAT).diagnostic(formats));
        }
    };
    let device = Some(device.to_owned());
    Ok(value.map(|value| vec![Draft { device, ..Draft::new(name, value) }]))
}

fn text(payload: &[u8]) -> Result<&str, DecodeError> {
    let text = std::str::from_utf8(payload).map_err(|_| DecodeError::NotText)?.trim();
    if text.is_empty() { Err(DecodeError::Empty) } else { Ok(text) }
}

/// The answer to what is no reading.
pub(super) fn bad_request(error: &DecodeError) -> Response {
    Response::new(Code::BAD_REQUEST).diagnostic(&error.to_string())
}
