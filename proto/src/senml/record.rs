//! The resolved record.

use alloc::string::String;
use core::time::Duration;

use crate::{Number, Reading, Timestamp, Value};

/// A resolved record (RFC 8428 §4.6): one measurement or parameter, complete in itself.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// The base name in force (§4.1), may be empty: usually the device.
    pub base_name: String,
    /// The record's own name (§4.2), may be empty: usually the quantity.
    pub name: String,
    /// The record's unit, else the base unit in force (§4.5.2); never empty.
    pub unit: Option<String>,
    /// The value, with the base value added to a number (§4.5.4); `None` only beside a `sum`.
    pub value: Option<Value>,
    /// The integral of the value over time, in `unit` × seconds, base sum included (§4.5.4).
    pub sum: Option<Number>,
    /// When it was measured, or for an actuator, when it shall be set (§4.5.3).
    pub time: Timestamp,
    /// What the pack said about `time`.
    pub time_source: TimeSource,
    /// The longest time until the sensor reports again (§4.2), up to 584 years.
    pub update_time: Option<Duration>,
}

impl Record {
    /// A reading as a record of its own, named `{device}/{name}`.
    pub fn of_reading(reading: &Reading) -> Self {
        Self {
            base_name: [reading.device.as_str(), "/"].concat(),
            name: reading.name.clone(),
            unit: reading.unit.clone(),
            value: Some(reading.value.clone()),
            sum: None,
            time: reading.time,
            time_source: TimeSource::Absolute,
            update_time: None,
        }
    }

    /// The name that identifies the sensor or parameter: base name and name (§4.5.1).
    pub fn full_name(&self) -> String {
        [self.base_name.as_str(), self.name.as_str()].concat()
    }
}

/// Where the time of a [`Record`] comes from (RFC 8428 §4.5.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeSource {
    /// The pack: a time of 2^28 seconds or more since the Unix epoch, the sender's clock.
    Absolute,
    /// The pack and the receiver's clock: seconds before or after now.
    Relative,
    /// The receiver's clock: no time in the pack, or zero, which means the same.
    Now,
}
