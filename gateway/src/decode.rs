//! How a frame becomes readings: pure, one format a file.

mod binary;
mod csv;
mod draft;
mod json;
mod keyvalue;
mod senml;
mod time;
mod value;

pub(crate) use draft::{DecodeError, Draft};
pub(crate) use json::JsonDecoder;
pub(crate) use senml::decode_pack;
pub(crate) use value::parse_value;

use proto::{Reading, Timestamp};

use crate::config::{Decode, Source};

/// How a source reads messages.
#[derive(Debug)]
pub(crate) struct Reader {
    decoder: Option<Decoder>,
    device: Option<String>,
}

impl Reader {
    /// As configured.
    pub(crate) fn new(source: &Source) -> Self {
        let decoder = source.decode.as_ref().map(Decoder::new);
        Self { decoder, device: source.device.clone() }
    }

    /// What is in a frame that arrived `now`.
    pub(crate) fn decode(&self, frame: &[u8], now: Timestamp) -> Result<Vec<Draft>, DecodeError> {
        self.decoder.as_ref().ok_or(DecodeError::Empty)?.decode(frame, now)
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
    /// Fields by their place.
    Binary(binary::BinaryDecoder),
}

impl Decoder {
    /// The decoder of a configuration.
    fn new(config: &Decode) -> Self {
        match config {
            Decode::Json(config) => Self::Json(JsonDecoder::new(config)),
            Decode::Senml(_) => Self::Senml,
            Decode::Keyvalue(config) => Self::Keyvalue(keyvalue::KeyvalueDecoder::new(config)),
            Decode::Csv(config) => Self::Csv(csv::CsvDecoder::new(config)),
            Decode::Value(config) => Self::Value(value::ValueDecoder::new(config)),
            Decode::Binary(config) => Self::Binary(binary::BinaryDecoder::new(config)),
        }
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
        }
    }
}
