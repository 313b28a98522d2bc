//! The readings in a body.

use std::net::SocketAddr;

use proto::coap::content_format::{SENML_CBOR, SENML_JSON};
use proto::{Reading, Timestamp};

use super::media::Media;
use super::refusal::Refusal;
use crate::decode::{
    DecodeError, Draft, InfluxDecoder, MAX_READINGS, decode_readings, decode_value,
};
use crate::source::Context;

/// Most readings of one request.
const MAX_POSTED: usize = 10 * MAX_READINGS;
/// What [`Posted::pack`] reads.
const PACKS: &str = "application/json, application/senml+json or application/senml+cbor";
/// What [`Posted::value`] reads.
const VALUES: &str = "text/plain, application/json or application/octet-stream";

/// The tag that names the device in lines of InfluxDB, where the source does not say it: Telegraf's.
const HOST: &str = "host";

/// A body that arrived.
pub(super) struct Posted<'a> {
    /// Whose source it is.
    pub(super) context: &'a Context,
    /// Who has sent it.
    pub(super) peer: SocketAddr,
    /// When.
    pub(super) now: Timestamp,
    /// What it is.
    pub(super) media: Media,
    /// What is in it.
    pub(super) bytes: &'a [u8],
}

impl Posted<'_> {
    /// Several readings. Those that do not name their device are of `device`, if one is given.
    pub(super) fn pack(&self, device: Option<&str>) -> Result<Vec<Vec<Reading>>, Refusal> {
        let reader = &self.context.reader;
        let drafts = match self.media {
            Media::Known(format @ (SENML_JSON | SENML_CBOR)) => self.readings(Some(format))?,
            _ if reader.has_decoder() => reader.decode(self.bytes, self.now),
            Media::Unknown => self.readings(None)?,
            Media::Known(format) => self.readings(Some(format))?,
            Media::Other => return Err(Refusal::media_type(PACKS)),
        };
        let name = |draft: Draft| Draft {
            device: draft.device.or_else(|| device.map(str::to_owned)),
            ..draft
        };
        self.finish(drafts.map(|drafts| drafts.into_iter().map(name).collect()))
    }

    /// One value.
    pub(super) fn value(&self, device: &str, name: &str) -> Result<Vec<Vec<Reading>>, Refusal> {
        let format = match self.media {
            Media::Unknown => None,
            Media::Known(format) => Some(format),
            Media::Other => return Err(Refusal::media_type(VALUES)),
        };
        let value = decode_value(format, self.bytes).ok_or_else(|| Refusal::media_type(VALUES))?;
        let device = Some(device.to_owned());
        self.finish(value.map(|value| vec![Draft { device, ..Draft::new(name, value) }]))
    }

    /// Lines of InfluxDB, of whatever type they are said to be; `precision` is the unit of their times,
    /// nanoseconds where it is not told.
    pub(super) fn lines(&self, precision: Option<&str>) -> Result<Vec<Vec<Reading>>, Refusal> {
        let decoder = self.context.reader.influx().cloned();
        let decoder = decoder.unwrap_or_else(|| InfluxDecoder::preferring(HOST));
        let decoder = match precision {
            None => decoder,
            Some(precision) => decoder.with_unit(nanos(precision).ok_or_else(Refusal::precision)?),
        };
        self.finish(decoder.decode(self.bytes))
    }

    fn readings(&self, format: Option<u16>) -> Result<Result<Vec<Draft>, DecodeError>, Refusal> {
        let readings = decode_readings(format, self.bytes, self.now);
        readings.ok_or_else(|| Refusal::media_type(PACKS))
    }

    /// The readings, as many together as are handed in together.
    fn finish(
        &self,
        drafts: Result<Vec<Draft>, DecodeError>,
    ) -> Result<Vec<Vec<Reading>>, Refusal> {
        let Self { context, now, bytes, .. } = *self;
        let peer = self.peer.ip().to_canonical();
        let count = drafts.as_ref().map_or(0, Vec::len);
        if count > MAX_POSTED {
            return Err(Refusal::too_many(MAX_POSTED));
        }
        context.status.received(bytes.len());
        let mut parts = vec![drafts];
        while let Some(Ok(last)) = parts.last_mut()
            && last.len() > MAX_READINGS
        {
            let rest = last.split_off(MAX_READINGS);
            parts.push(Ok(rest));
        }
        let name = || peer.to_string();
        let settle = |part| context.settle(part, now, peer, name, bytes);
        parts.into_iter().map(settle).collect::<Result<_, _>>().map_err(|e| Refusal::decode(&e))
    }
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
