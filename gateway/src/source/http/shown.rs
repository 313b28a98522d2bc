//! The last values, as they are now.

use proto::Reading;
use proto::coap::content_format::{JSON, SENML_CBOR, SENML_JSON};
use proto::senml::{self, MAX_RECORDS};

use super::media;
use super::refusal::Refusal;
use super::resources::{Answer, content};
use super::target::Target;
use crate::pipeline::value_object;
use crate::source::latest::Latest;

/// What a client wants to see, in a format that it accepts.
pub(super) fn show(
    latest: &Latest,
    target: &Target,
    accept: Option<&str>,
) -> Result<Answer, Refusal> {
    let offers = [JSON, SENML_JSON, SENML_CBOR];
    let format = media::negotiate(accept, &offers).ok_or_else(Refusal::not_acceptable)?;
    let body = match format {
        JSON => json(latest, target),
        _ => pack(latest, target, format),
    };
    let body = body.ok_or_else(|| Refusal::not_found("no such reading was stored lately"))?;
    Ok(content(media::name(format), body))
}

/// An object for one value, else an array of them.
fn json(latest: &Latest, target: &Target) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    see(latest, target, |number, reading| {
        body.extend_from_slice(if body.is_empty() { b"[" } else { b",\n" });
        value_object(&mut body, number, reading);
    });
    if body.is_empty() {
        return matches!(target, Target::Readings).then(|| b"[]\n".to_vec());
    }
    if matches!(target, Target::Value { .. }) {
        body.remove(0);
    } else {
        body.push(b']');
    }
    body.push(b'\n');
    Some(body)
}

/// A pack (RFC 8428); one that would be empty is none.
fn pack(latest: &Latest, target: &Target, format: u16) -> Option<Vec<u8>> {
    let mut records = Vec::new();
    see(latest, target, |_, reading| {
        if records.len() < MAX_RECORDS {
            records.push(senml::Record::of_reading(reading));
        }
    });
    match format {
        _ if records.is_empty() => None,
        SENML_CBOR => Some(senml::cbor::encode(&records)),
        _ => Some(senml::json::encode(&records).into_bytes()),
    }
}

fn see(latest: &Latest, target: &Target, mut see: impl FnMut(u64, &Reading)) {
    match target {
        Target::Device(device) => latest.of(device, None, see),
        Target::Value { device, name } => latest.of(device, Some(name), see),
        Target::Readings => latest.first_since(0, usize::MAX, &mut see),
        Target::Page(_)
        | Target::Events
        | Target::Write { .. }
        | Target::Ping
        | Target::Command { .. }
        | Target::Outcome { .. }
        | Target::Server => {}
    }
}
