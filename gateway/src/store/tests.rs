//! Tests of the store as its users see it.

use proto::{Reading, TimeQuality, Timestamp, Value};

use super::Record;

/// A record of `device` whose value is `value`.
pub(crate) fn record(device: &str, value: u64) -> Record {
    Record {
        n: 0,
        source: "test".into(),
        reading: Reading {
            device: device.to_owned(),
            name: "value".to_owned(),
            unit: None,
            value: Value::Number(value.into()),
            time: Timestamp::from_nanos(1_795_214_340_123_000_000),
            time_quality: TimeQuality::Gateway,
            epoch: None,
            sequence: None,
        },
        received: Timestamp::from_nanos(1_795_214_340_123_000_000),
        origin: None,
    }
}
