//! The readings in a body.

use proto::coap::content_format::{SENML_CBOR, SENML_JSON};
use proto::{Reading, Timestamp};

use super::media::Media;
use super::refusal::Refusal;
use super::target::Target;
use crate::decode::{
    DecodeError, Draft, InfluxDecoder, MAX_READINGS, Reader, decode_readings, decode_value,
};

/// Most readings of one request.
const MAX_POSTED: usize = 10 * MAX_READINGS;
/// What there is.
pub(super) const NO_SUCH_PATH: &str = "there is /, /r, /r/{device}, /r/{device}/{name}, /events, /cmd/{device}, /cmd/{device}/{id}, and for \
     clients of InfluxDB /write, /api/v2/write and /ping";
/// What [`Posted::pack`] reads.
const PACKS: &str = "application/json, application/senml+json or application/senml+cbor";
/// What [`Posted::value`] reads.
const VALUES: &str = "text/plain, application/json or application/octet-stream";

/// The tag that names the device in lines of InfluxDB, where the source does not say it: Telegraf's.
const HOST: &str = "host";
/// What a body says.
pub(super) type Drafts = Result<Vec<Draft>, DecodeError>;

/// A body that arrived.
pub(super) struct Posted<'a> {
    /// How its source reads messages.
    pub(super) reader: &'a Reader,
    /// When.
    pub(super) now: Timestamp,
    /// What it is.
    pub(super) media: Media,
    /// What is in it.
    pub(super) bytes: &'a [u8],
}

impl Posted<'_> {
    /// What was posted to `target`.
    pub(super) fn drafts(&self, target: &Target) -> Result<Drafts, Refusal> {
        match target {
            Target::Value { device, name } => self.value(device, name),
            Target::Device(device) => self.pack(Some(device)),
            Target::Readings => self.pack(None),
            Target::Write { precision } => self.lines(precision.as_deref()),
            Target::Page(_)
            | Target::Events
            | Target::Ping
            | Target::Command { .. }
            | Target::Outcome { .. }
            | Target::Server => Err(Refusal::not_allowed(target.methods())),
        }
    }

    /// Several readings. Those that do not name their device are of `device`, if one is given.
    fn pack(&self, device: Option<&str>) -> Result<Drafts, Refusal> {
        let drafts = match self.media {
            Media::Known(format @ (SENML_JSON | SENML_CBOR)) => self.readings(Some(format))?,
            _ if self.reader.has_decoder() => self.reader.decode(self.bytes, self.now),
            Media::Unknown => self.readings(None)?,
            Media::Known(format) => self.readings(Some(format))?,
            Media::Other => return Err(Refusal::media_type(PACKS)),
        };
        let name = |draft: Draft| Draft {
            device: draft.device.or_else(|| device.map(str::to_owned)),
            ..draft
        };
        Ok(drafts.map(|drafts| drafts.into_iter().map(name).collect()))
    }

    /// One value.
    fn value(&self, device: &str, name: &str) -> Result<Drafts, Refusal> {
        let format = match self.media {
            Media::Unknown => None,
            Media::Known(format) => Some(format),
            Media::Other => return Err(Refusal::media_type(VALUES)),
        };
        let value = decode_value(format, self.bytes).ok_or_else(|| Refusal::media_type(VALUES))?;
        let device = Some(device.to_owned());
        Ok(value.map(|value| vec![Draft { device, ..Draft::new(name, value) }]))
    }

    /// Lines of InfluxDB, of whatever type they are said to be; `precision` is the unit of their times,
    /// nanoseconds where it is not told.
    fn lines(&self, precision: Option<&str>) -> Result<Drafts, Refusal> {
        let decoder = self.reader.influx().cloned();
        let decoder = decoder.unwrap_or_else(|| InfluxDecoder::preferring(HOST));
        let decoder = match precision {
            None => decoder,
            Some(precision) => decoder.with_unit(nanos(precision).ok_or_else(Refusal::precision)?),
        };
        Ok(decoder.decode(self.bytes))
    }

    fn readings(&self, format: Option<u16>) -> Result<Drafts, Refusal> {
        let readings = decode_readings(format, self.bytes, self.now);
        readings.ok_or_else(|| Refusal::media_type(PACKS))
    }
}

/// What a body says, as many readings together as are handed in together.
pub(super) fn parts(drafts: Drafts) -> Result<Vec<Drafts>, Refusal> {
    let count = drafts.as_ref().map_or(0, Vec::len);
    if count > MAX_POSTED {
        return Err(Refusal::too_many(MAX_POSTED));
    }
    let mut parts = vec![drafts];
    while let Some(Ok(last)) = parts.last_mut()
        && last.len() > MAX_READINGS
    {
        let rest = last.split_off(MAX_READINGS);
        parts.push(Ok(rest));
    }
    Ok(parts)
}

/// The readings of a body that is posted to `path`, whose device has a `name` where nothing says it;
/// or the status of the answer that refuses it, and why.
pub(crate) fn body_readings(
    reader: &Reader,
    (path, content_type): (&str, Option<&str>),
    bytes: &[u8],
    name: impl Fn() -> String,
    now: Timestamp,
) -> Result<Vec<Reading>, (String, String)> {
    let posted = Posted { reader, now, media: Media::of(content_type), bytes };
    let target = Target::of(path).ok_or_else(|| Refusal::not_found(NO_SUCH_PATH));
    let parts = target.and_then(|target| posted.drafts(&target)).and_then(parts);
    let complete = |part: Drafts| part.and_then(|drafts| reader.complete(drafts, &name, now));
    let readings = parts.and_then(|parts| {
        let readings = parts.into_iter().map(complete).collect::<Result<Vec<_>, _>>();
        readings.map_err(|error| Refusal::decode(&error))
    });
    readings.map(|parts| parts.concat()).map_err(Refusal::into_words)
}

/// Nanoseconds of a unit as InfluxDB 1 and 2 name it.
fn nanos(precision: &str) -> Option<i64> {
    Some(match precision {
        "n" | "ns" => 1,
        "u" | "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}
