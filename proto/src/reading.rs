//! The reading: what every source turns its input into and every route takes.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{Number, Timestamp};

/// One value of one quantity of one device at one time, in the terms of SenML (RFC 8428).
#[derive(Clone, PartialEq, Debug)]
pub struct Reading {
    /// Who measured: unique behind this gateway, never empty.
    pub device: String,
    /// What was measured, unique within the device, never empty.
    pub name: String,
    /// SenML unit (RFC 8428 §12.1), where the device or the configuration says one.
    pub unit: Option<String>,
    /// The value.
    pub value: Value,
    /// When it was measured.
    pub time: Timestamp,
    /// Whose clock `time` is.
    pub time_quality: TimeQuality,
    /// The device's boot count, where it sends one; with `sequence` it identifies the reading.
    pub epoch: Option<u32>,
    /// The device's own number within `epoch`, where it sends one.
    pub sequence: Option<u64>,
}

/// A reading's value: the four kinds of SenML (RFC 8428 §4.3).
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// `v`
    Number(Number),
    /// `vs`
    Text(String),
    /// `vb`
    Boolean(bool),
    /// `vd`
    Bytes(Vec<u8>),
}

/// Whose clock a reading's time comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeQuality {
    /// The device sent the time.
    Device,
    /// The gateway's clock when the reading arrived.
    Gateway,
    /// Computed: from the device's uptime, or because neither clock was known to be right at the time.
    Estimated,
}
