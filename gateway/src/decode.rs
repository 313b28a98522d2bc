//! How a frame becomes readings: pure, one format a file.

mod binary;
mod csv;
mod draft;
mod json;
mod keyvalue;
mod senml;
mod time;
mod value;

pub(crate) use draft::{DecodeError, Draft, complete};
pub(crate) use json::JsonDecoder;
pub(crate) use senml::decode_pack;
pub(crate) use value::parse_value;

use proto::Timestamp;

use crate::config::Decode;

/// A decoder as configured.
#[derive(Debug)]
pub(crate) enum Decoder {
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
    pub(crate) fn new(config: &Decode) -> Self {
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
    pub(crate) fn decode(&self, frame: &[u8], now: Timestamp) -> Result<Vec<Draft>, DecodeError> {
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
