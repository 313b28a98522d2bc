//! How a frame becomes readings: pure, one format a file.

mod binary;
mod civil;
mod coiot;
mod content;
mod csv;
mod draft;
mod dsmr;
mod formats;
mod gwmp;
mod influx;
mod json;
mod keyvalue;
mod mbus;
mod mbus_units;
mod nmea;
mod obis;
mod rtl433;
mod scalar;
mod senml;
mod sml;
mod statsd;
#[cfg(test)]
mod tests;
mod time;
mod value;
mod vedirect;

pub(crate) use content::{decode_readings, decode_resource, decode_value};
pub(crate) use draft::{DecodeError, Draft, MAX_READINGS};
pub(crate) use influx::InfluxDecoder;

use json::JsonDecoder;
use proto::{Reading, Timestamp};
use senml::decode_pack;

use self::formats::Format;
use crate::config::{Decode, Source, TimeUnit};

/// How a source reads messages.
#[derive(Debug)]
pub(crate) struct Reader {
    decoder: Option<Decoder>,
    device: Option<String>,
}

impl Reader {
    /// As configured.
    pub(crate) fn new(source: &Source) -> Self {
        let decoder = source.decode.as_ref().and_then(Decoder::new);
        Self { decoder, device: source.device.clone() }
    }

    /// The name of the device, where the configuration says it.
    pub(crate) fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Whether the configuration says how frames are read.
    pub(crate) const fn has_decoder(&self) -> bool {
        self.decoder.is_some()
    }

    /// The decoder of lines of InfluxDB, where it is that.
    pub(crate) const fn influx(&self) -> Option<&InfluxDecoder> {
        match &self.decoder {
            Some(Decoder::Influx(decoder)) => Some(decoder),
            _ => None,
        }
    }

    /// What is in a frame that arrived `now`.
    pub(crate) fn decode(&self, frame: &[u8], now: Timestamp) -> Result<Vec<Draft>, DecodeError> {
        self.decoder.as_ref().ok_or(DecodeError::Empty)?.decode(frame, now)
    }

    /// What a datagram is answered with, once its readings are on disk.
    pub(crate) fn answer(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        self.decoder.as_ref()?.answer(datagram)
    }

    /// The readings of what was decoded `now`, whose device has a `name` where neither the message
    /// nor the configuration says it.
    pub(crate) fn complete(
        &self,
        drafts: Vec<Draft>,
        name: impl Fn() -> String,
        now: Timestamp,
    ) -> Result<Vec<Reading>, DecodeError> {
        match &self.device {
            Some(device) => draft::complete(drafts, || device.clone(), now),
            None => draft::complete(drafts, name, now),
        }
    }
}

/// A decoder as configured.
#[derive(Debug)]
enum Decoder {
    /// A JSON object.
    Json(JsonDecoder),
    /// A SenML pack.
    Senml,
    /// Pairs.
    Keyvalue(keyvalue::KeyvalueDecoder),
    /// Columns.
    Csv(csv::CsvDecoder),
    /// One value.
    Value(value::ValueDecoder),
    /// Lines of InfluxDB.
    Influx(InfluxDecoder),
    /// What needs no description.
    Format(Format),
    /// Fields by their place.
    Binary(binary::BinaryDecoder),
}

impl Decoder {
    /// The decoder of a configuration; none for a protocol that is more than a format.
    fn new(config: &Decode) -> Option<Self> {
        Some(match config {
            Decode::Link(_) => return None,
            Decode::Json(config) => Self::Json(JsonDecoder::new(config)),
            Decode::Senml(_) => Self::Senml,
            Decode::Keyvalue(config) => Self::Keyvalue(keyvalue::KeyvalueDecoder::new(config)),
            Decode::Csv(config) => Self::Csv(csv::CsvDecoder::new(config)),
            Decode::Value(config) => Self::Value(value::ValueDecoder::new(config)),
            Decode::Influx(config) => {
                let nanos = match config.time_unit {
                    TimeUnit::S => 1_000_000_000,
                    TimeUnit::Ms => 1_000_000,
                    TimeUnit::Us => 1_000,
                    TimeUnit::Ns => 1,
                };
                Self::Influx(InfluxDecoder::new(config.device.clone(), nanos))
            }
            Decode::Statsd(_) => Self::Format(Format::Statsd),
            Decode::Nmea(_) => Self::Format(Format::Nmea),
            Decode::Dsmr(_) => Self::Format(Format::Dsmr),
            Decode::Sml(_) => Self::Format(Format::Sml),
            Decode::MBus(_) => Self::Format(Format::Mbus),
            Decode::VeDirect(_) => Self::Format(Format::VeDirect),
            Decode::Coiot(_) => Self::Format(Format::Coiot),
            Decode::Gwmp(_) => Self::Format(Format::Gwmp),
            Decode::Rtl433(_) => Self::Format(Format::Rtl433),
            Decode::Binary(config) => Self::Binary(binary::BinaryDecoder::new(config)),
        })
    }

    /// Reads a frame that arrived `now`.
    fn decode(&self, frame: &[u8], now: Timestamp) -> Result<Vec<Draft>, DecodeError> {
        match self {
            Self::Json(decoder) => decoder.decode(frame),
            Self::Senml => decode_pack(frame, now),
            Self::Keyvalue(decoder) => decoder.decode(frame),
            Self::Csv(decoder) => decoder.decode(frame),
            Self::Value(decoder) => decoder.decode(frame),
            Self::Binary(decoder) => decoder.decode(frame),
            Self::Influx(decoder) => decoder.decode(frame),
            Self::Format(format) => format.decode(frame, now),
        }
    }

    /// What a datagram is answered with, once its readings are on disk.
    fn answer(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Format(format) => format.answer(datagram),
            Self::Json(_)
            | Self::Senml
            | Self::Keyvalue(_)
            | Self::Csv(_)
            | Self::Value(_)
            | Self::Binary(_)
            | Self::Influx(_) => None,
        }
    }
}
