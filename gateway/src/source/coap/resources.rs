//! What a request means: the resources of the gateway.

use std::net::SocketAddr;
use std::sync::LazyLock;

use proto::coap::{Code, Method, Request, Response};
use proto::{Reading, Timestamp, Value};

use crate::clock;
use crate::decode::{DecodeError, Draft, JsonDecoder, decode_pack, parse_value};
use crate::source::Context;
use crate::store::NotStored;

// Content-Formats: RFC 7252 §12.3, RFC 8428 §12.3.
const TEXT_PLAIN: u16 = 0;
const LINK_FORMAT: u16 = 40;
const OCTET_STREAM: u16 = 42;
const JSON: u16 = 50;
const SENML_JSON: u16 = 110;
const SENML_CBOR: u16 = 112;

/// What `/.well-known/core` says (RFC 6690).
const LINKS: &str = "</r>;rt=\"gateway.readings\";ct=\"110 112 50\"";
/// Seconds until a node should try again when the pipeline is full.
const BUSY_SECONDS: u32 = 2;
/// Seconds until a node should try again when the disk is full.
const FULL_SECONDS: u32 = 30;

/// For JSON that nothing was configured for.
static PLAIN_JSON: LazyLock<JsonDecoder> = LazyLock::new(JsonDecoder::plain);

/// What to do with a request.
pub(super) enum Action {
    /// Answer it now.
    Respond(Response),
    /// Answer it when these are on disk.
    Submit(Vec<Reading>),
}

/// The answer when the readings are on disk.
pub(super) fn accepted() -> Response {
    Response::new(Code::CHANGED)
}

/// The answer when there is no room in the pipeline.
pub(super) fn busy() -> Response {
    Response::new(Code::SERVICE_UNAVAILABLE).max_age(BUSY_SECONDS).diagnostic("busy, try again")
}

/// The answer when the readings could not be stored.
pub(super) fn not_stored(why: NotStored) -> Response {
    let response = match why {
        NotStored::Full => Response::new(Code::SERVICE_UNAVAILABLE).max_age(FULL_SECONDS),
        NotStored::Failed => Response::new(Code::INTERNAL_SERVER_ERROR),
    };
    response.diagnostic(&why.to_string())
}

/// What to do with `request` of `peer`.
pub(super) fn handle(context: &Context, peer: SocketAddr, request: &Request) -> Action {
    let mut segments = request.segments();
    let path = [segments.next(), segments.next(), segments.next(), segments.next()];
    let submitted = match path {
        [Some(".well-known"), Some("core"), None, None] => return links(request),
        [Some("r"), None, None, None] => pack(context, peer, request),
        [Some("r"), Some(device), Some(name), None] => value(context, peer, request, device, name),
        _ => Err(Response::new(Code::NOT_FOUND).diagnostic("see /.well-known/core")),
    };
    match submitted {
        Ok(readings) => Action::Submit(readings),
        Err(response) => Action::Respond(response),
    }
}

fn links(request: &Request) -> Action {
    let acceptable = request.accepts().is_none_or(|format| format == LINK_FORMAT);
    Action::Respond(if request.method != Method::Get {
        Response::new(Code::METHOD_NOT_ALLOWED)
    } else if acceptable {
        Response::new(Code::CONTENT).content_format(LINK_FORMAT).payload(LINKS)
    } else {
        Response::new(Code::NOT_ACCEPTABLE)
    })
}

/// `/r`: several readings, by content format, or by the first byte where the node does not say it
/// (RFC 7252 §5.5.1).
fn pack(context: &Context, peer: SocketAddr, request: &Request) -> Result<Vec<Reading>, Response> {
    check_method(request)?;
    let now = clock::wall();
    let payload = &request.payload;
    let first = payload.iter().find(|byte| !byte.is_ascii_whitespace());
    let drafts = match request.options.content_format() {
        Some(SENML_JSON | SENML_CBOR) => decode_pack(payload, now),
        Some(JSON) => PLAIN_JSON.decode(payload),
        None if first == Some(&b'{') => PLAIN_JSON.decode(payload),
        None => decode_pack(payload, now),
        Some(_) => {
            let formats = "send application/senml+json (110), senml+cbor (112) or json (50)";
            return Err(Response::new(Code::UNSUPPORTED_CONTENT_FORMAT).diagnostic(formats));
        }
    };
    finish(context, peer, request, now, drafts)
}

/// `/r/{device}/{name}`: one value.
fn value(
    context: &Context,
    peer: SocketAddr,
    request: &Request,
    device: &str,
    name: &str,
) -> Result<Vec<Reading>, Response> {
    check_method(request)?;
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
    let drafts = value.map(|value| vec![Draft { device, ..Draft::new(name, value) }]);
    finish(context, peer, request, clock::wall(), drafts)
}

fn text(payload: &[u8]) -> Result<&str, DecodeError> {
    let text = std::str::from_utf8(payload).map_err(|_| DecodeError::NotText)?.trim();
    if text.is_empty() { Err(DecodeError::Empty) } else { Ok(text) }
}

fn check_method(request: &Request) -> Result<(), Response> {
    if matches!(request.method, Method::Post | Method::Put) {
        return Ok(());
    }
    Err(Response::new(Code::METHOD_NOT_ALLOWED).diagnostic("POST or PUT readings"))
}

fn finish(
    context: &Context,
    peer: SocketAddr,
    request: &Request,
    now: Timestamp,
    drafts: Result<Vec<Draft>, DecodeError>,
) -> Result<Vec<Reading>, Response> {
    let readings = context.complete(drafts, now, peer.ip().to_canonical(), &request.payload);
    readings.map_err(|error| Response::new(Code::BAD_REQUEST).diagnostic(&error.to_string()))
}
