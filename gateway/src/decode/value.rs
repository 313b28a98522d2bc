//! Text that is one value.

use super::draft::{DecodeError, Draft};
use super::scalar::parse_value;
use crate::config::ValueDecode;

/// The whole frame is one value.
#[derive(Debug)]
pub(crate) struct ValueDecoder {
    name: String,
    unit: Option<String>,
}

impl ValueDecoder {
    pub(super) fn new(config: &ValueDecode) -> Self {
        Self { name: config.name.clone(), unit: config.unit.clone() }
    }

    pub(super) fn decode(&self, frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
        let text = std::str::from_utf8(frame).map_err(|_| DecodeError::NotText)?.trim();
        if text.is_empty() {
            return Err(DecodeError::Empty);
        }
        let unit = self.unit.clone();
        Ok(vec![Draft { unit, ..Draft::new(&self.name, parse_value(text)) }])
    }
}
