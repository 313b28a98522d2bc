//! Readings that nodes post, by the format that they come in.

use proto::Timestamp;
use proto::coap::{Code, Request, Response};

use crate::decode::{DecodeError, Draft, decode_readings, decode_value};

/// `/r`: several readings, by content format, or by the first byte where the node does not say it
/// (RFC 7252 §5.5.1).
pub(super) fn pack(
    request: &Request,
    now: Timestamp,
) -> Result<Result<Vec<Draft>, DecodeError>, Response> {
    decode_readings(request.options.content_format(), &request.payload, now).ok_or_else(|| {
        let formats = "send application/senml+json (110), senml+cbor (112) or json (50); \
                       a value alone goes to /r/DEVICE/NAME";
        Response::new(Code::UNSUPPORTED_CONTENT_FORMAT).diagnostic(formats)
    })
}

/// `/r/{device}/{name}`: one value.
pub(super) fn value(
    request: &Request,
    device: &str,
    name: &str,
) -> Result<Result<Vec<Draft>, DecodeError>, Response> {
    let Some(value) = decode_value(request.options.content_format(), &request.payload) else {
        let formats = "send text/plain (0), application/octet-stream (42) or json (50)";
        return Err(Response::new(Code::UNSUPPORTED_CONTENT_FORMAT).diagnostic(formats));
    };
    let device = Some(device.to_owned());
    Ok(value.map(|value| vec![Draft { device, ..Draft::new(name, value) }]))
}

/// The answer to what is no reading.
pub(super) fn bad_request(error: &DecodeError) -> Response {
    Response::new(Code::BAD_REQUEST).diagnostic(&error.to_string())
}
