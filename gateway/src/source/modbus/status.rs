//! What a bus has seen since the start, unit by unit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use proto::Instant;
use serde::Serialize;

use crate::clock;
use crate::tally::{Count, Tally};

/// A bus and its units.
#[derive(Debug)]
pub(crate) struct BusStatus {
    /// How often polling waited because the store had no room.
    pub(super) pauses: AtomicU64,
    /// In the order of the master.
    pub(super) units: Vec<UnitStatus>,
}

/// A unit.
#[derive(Debug)]
pub(super) struct UnitStatus {
    address: u8,
    device: String,
    requests: AtomicU64,
    answers: AtomicU64,
    skipped: AtomicU64,
    /// In microseconds of the process's clock; 0 before the first.
    answered: AtomicU64,
    /// Requests that were in vain, and values that are no readings.
    pub(super) failed: Tally,
}

/// A copy of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BusReport {
    /// How often polling waited because the store had no room.
    pub(crate) pauses: u64,
    /// Each unit, by its address.
    pub(crate) units: BTreeMap<u8, UnitReport>,
}

/// A unit in it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct UnitReport {
    /// Its device.
    pub(crate) device: String,
    /// Requests that were sent.
    pub(crate) requests: u64,
    /// Answers with values.
    pub(crate) answers: u64,
    /// Polls that were left out, because the unit, the bus or the store was not ready.
    pub(crate) skipped: u64,
    /// How long ago the last answer came, in milliseconds; none before the first.
    pub(crate) answered_ms_ago: Option<u64>,
    /// What went wrong, by reason.
    pub(crate) failed: BTreeMap<&'static str, Count>,
}

impl BusStatus {
    /// For these units: addresses and devices.
    pub(super) fn new(units: impl Iterator<Item = (u8, String)>) -> Self {
        let unit = |(address, device)| UnitStatus {
            address,
            device,
            requests: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            failed: Tally::default(),
        };
        Self { pauses: AtomicU64::new(0), units: units.map(unit).collect() }
    }

    /// A copy.
    pub(crate) fn report(&self) -> BusReport {
        let now = clock::now();
        let units = self.units.iter().map(|unit| (unit.address, unit.report(now))).collect();
        BusReport { pauses: self.pauses.load(Ordering::Relaxed), units }
    }

    /// Polling waits for room.
    pub(super) fn count_pause(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }
}

impl UnitStatus {
    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_answer(&self, now: Instant, skipped: u64) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.skipped.fetch_add(skipped, Ordering::Relaxed);
        self.answered.store(now.as_micros().max(1), Ordering::Relaxed);
    }

    fn report(&self, now: Instant) -> UnitReport {
        let answered = match self.answered.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(now.as_micros().saturating_sub(micros) / 1000),
        };
        UnitReport {
            device: self.device.clone(),
            requests: self.requests.load(Ordering::Relaxed),
            answers: self.answers.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            answered_ms_ago: answered,
            failed: self.failed.snapshot(),
        }
    }
}
