//! Readings that nodes post, by the format that they come in.

use proto::coap::{Code, Request, Response};
use proto::{Reading, Timestamp};

use super::resources::{Resources, Sender};
use crate::clock;
use crate::decode::{DecodeError, Draft, decode_readings, decode_value};

/// `/r`: several readings, by content format, or by the first byte where the node does not say it
/// (RFC 7252 §5.5.1).
pub(super) fn pack(
    resources: &Resources,
    sender: Sender,
    request: &Request,
) -> Result<Vec<Reading>, Response> {
    let now = clock::wall();
    let Some(drafts) = decode_readings(request.options.content_format(), &request.payload, now)
    else {
        let formats = "send application/senml+json (110), senml+cbor (112) or json (50)";
        return Err(Response::new(Code::UNSUPPORTED_CONTENT_FORMAT).diagnostic(formats));
    };
    finish(resources, sender, request, now, drafts)
}

/// `/r/{device}/{name}`: one value.
pub(super) fn value(
    resources: &Resources,
    sender: Sender,
    request: &Request,
    device: &str,
    name: &str,
) -> Result<Vec<Reading>, Response> {
    let Some(value) = decode_value(request.options.content_format(), &request.payload) else {
        let formats = "send text/plain (0), application/octet-stream (42) or json (50)";
        return Err(Response::new(Code::UNSUPPORTED_CONTENT_FORMAT).diagnostic(formats));
    };
    let device = Some(device.to_owned());
    let drafts = value.map(|value| vec![Draft { device, ..Draft::new(name, value) }]);
    finish(resources, sender, request, clock::wall(), drafts)
}

fn finish(
    resources: &Resources,
    sender: Sender,
    request: &Request,
    now: Timestamp,
    drafts: Result<Vec<Draft>, DecodeError>,
) -> Result<Vec<Reading>, Response> {
    let peer = sender.peer.ip().to_canonical();
    let name = || resources.name_of(sender);
    let readings = resources.context.complete(drafts, now, peer, name, &request.payload);
    readings.map_err(|error| Response::new(Code::BAD_REQUEST).diagnostic(&error.to_string()))
}
