//! The ledger: every reading that was sent has a row, until it is proven to have arrived.
//!
//! # What identifies a reading
//!
//! Device, name and a [`Mark`]: epoch and sequence where the device numbers its reports, else the
//! time of the measurement in milliseconds, by the device's clock. SenML has no sequence field, so
//! there it is the time; a [`Device`](crate::device::Device) never measures twice in a millisecond.
//! Both travel unchanged from the device to the far end.
//!
//! # What is lost
//!
//! A reading that the gateway *accepted* and the far end never saw. Accepted is what was
//! acknowledged, or, where the protocol has no acknowledgement, what was written. What was refused,
//! or never answered, nobody has promised to deliver; if it arrives all the same, it counts as
//! arrived.
//!
//! # Memory
//!
//! A row whose story is over is folded into counters once it is older than [`Limits::grace`]. Each
//! stream (device and name) remembers the highest mark that was folded: what arrives at or below it
//! without a row is a duplicate of a folded reading, and is counted as one, although its value cannot
//! be compared any more. Rows that wait for something stay, up to [`Limits::max_rows`]; beyond it
//! the oldest is folded as it stands. Whoever meets that limit may see too many lost, never too few.

mod arrival;
mod shared;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::{Instant, Reading, Value};

pub use arrival::{Arrival, ArrivalError};
pub use shared::SharedLedger;
pub use verdict::{Tally, Verdict};

use crate::via::Via;

/// What tells the readings of one stream apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mark {
    /// The device numbers its reports.
    Sequence {
        /// Its boot count.
        epoch: u32,
        /// The number within it.
        sequence: u64,
    },
    /// It does not.
    Time {
        /// When it was measured, since 1970, by the device's clock.
        millis: i64,
    },
}

impl Mark {
    fn of(reading: &Reading) -> Self {
        match (reading.epoch, reading.sequence) {
            (Some(epoch), Some(sequence)) => Self::Sequence { epoch, sequence },
            _ => Self::Time { millis: reading.time.as_millis() },
        }
    }
}

/// How much a ledger keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a delivered reading keeps its row; how long a missing one is only late.
    pub grace: Duration,
    /// The most rows.
    pub max_rows: usize,
}

impl Default for Limits {
    /// Ten seconds, and a million rows of about 200 bytes.
    fn default() -> Self {
        Self { grace: Duration::from_secs(10), max_rows: 1_000_000 }
    }
}

/// Who sent what, and what became of it.
#[derive(Debug, Default)]
pub struct Ledger {
    limits: Limits,
    devices: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Stream>>,
    /// Every row once, the oldest first.
    ages: VecDeque<Age>,
    folded: Verdict,
    unsettled: usize,
}

/// The readings of one name of one device.
#[derive(Debug)]
struct Stream {
    via: Via,
    rows: BTreeMap<Mark, Row>,
    folded_to: Option<Mark>,
}

#[derive(Debug)]
struct Row {
    value: Value,
    sent: Instant,
    acceptance: Acceptance,
    arrivals: u64,
    wrong: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acceptance {
    /// The answer is still to come.
    Awaited,
    /// The gateway owes its delivery.
    Accepted,
    /// It does not.
    Refused,
}

#[derive(Debug)]
struct Age {
    since: Instant,
    device: Arc<str>,
    name: Arc<str>,
    mark: Mark,
}

impl Row {
    /// Nothing more is to come.
    fn is_settled(&self) -> bool {
        match self.acceptance {
            Acceptance::Awaited => false,
            Acceptance::Accepted => self.arrivals > 0,
            Acceptance::Refused => true,
        }
    }

    fn tally(&self, via: Via, lost_before: Option<Instant>) -> Tally {
        let accepted = self.acceptance == Acceptance::Accepted;
        let missing = accepted && self.arrivals == 0;
        let lost = missing && Some(self.sent) <= lost_before;
        Tally {
            sent: 1,
            acknowledged: u64::from(accepted && via.acknowledges()),
            arrived: u64::from(self.arrivals > 0),
            waiting: u64::from(missing && !lost),
            lost: u64::from(lost),
            duplicates: self.arrivals.saturating_sub(1),
            wrong: self.wrong,
        }
    }
}

impl Ledger {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Readings that a device is about to write; before it does, so that no arrival is earlier.
    pub fn handle_sent(&mut self, now: Instant, via: Via, readings: &[Reading]) {
        self.fold(now);
        for reading in readings {
            let acceptance = match via.acknowledges() {
                true => Acceptance::Awaited,
                false => Acceptance::Accepted,
            };
            let value = reading.value.clone();
            let row = Row { value, sent: now, acceptance, arrivals: 0, wrong: 0 };
            self.insert(via, reading, row);
        }
    }

    /// The gateway said that it has them.
    pub fn handle_acknowledged(&mut self, readings: &[Reading]) {
        self.accept(readings, Acceptance::Accepted);
    }

    /// The gateway said no, or nothing until the device gave up, or they could not be written.
    pub fn handle_refused(&mut self, readings: &[Reading]) {
        self.accept(readings, Acceptance::Refused);
    }

    /// A reading arrived at the far end.
    pub fn handle_arrived(&mut self, arrival: &Arrival) {
        let Arrival { device, name, mark, value } = arrival;
        let found = self.update(device, name, *mark, |row| {
            row.arrivals += 1;
            row.wrong += u64::from(!is_same(&row.value, value));
        });
        if found {
            return;
        }
        match self.devices.get(&**device).and_then(|names| names.get(&**name)) {
            Some(stream) if stream.folded_to.is_some_and(|folded| *mark <= folded) => {
                let via = stream.via;
                self.folded.add(via, Tally { duplicates: 1, ..Tally::default() });
            }
            Some(_) | None => self.folded.unknown += 1,
        }
    }

    /// Where it stands while devices send: what is missing for less than the grace is not lost yet.
    pub fn progress(&self, now: Instant) -> Verdict {
        let grace = u64::try_from(self.limits.grace.as_micros()).unwrap_or(u64::MAX);
        self.count(now.as_micros().checked_sub(grace).map(Instant::from_micros))
    }

    /// The end: what is missing is lost.
    pub fn verdict(&self) -> Verdict {
        self.count(Some(Instant::FAR_FUTURE))
    }

    /// Whether nothing is on its way: every reading is answered and, if accepted, has arrived.
    pub const fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    fn count(&self, lost_before: Option<Instant>) -> Verdict {
        let mut verdict = self.folded.clone();
        for stream in self.devices.values().flat_map(BTreeMap::values) {
            for row in stream.rows.values() {
                verdict.add(stream.via, row.tally(stream.via, lost_before));
            }
        }
        verdict
    }

    fn insert(&mut self, via: Via, reading: &Reading, row: Row) {
        if self.ages.len() >= self.limits.max_rows
            && let Some(oldest) = self.ages.pop_front()
        {
            self.fold_row(&oldest);
        }
        let device = shared_key(&self.devices, &reading.device);
        let names = self.devices.entry(Arc::clone(&device)).or_default();
        let name = shared_key(names, &reading.name);
        let new = || Stream { via, rows: BTreeMap::new(), folded_to: None };
        let stream = names.entry(Arc::clone(&name)).or_insert_with(new);
        let (mark, since) = (Mark::of(reading), row.sent);
        self.unsettled += usize::from(!row.is_settled());
        stream.rows.insert(mark, row);
        self.ages.push_back(Age { since, device, name, mark });
    }

    fn accept(&mut self, readings: &[Reading], acceptance: Acceptance) {
        for reading in readings {
            let mark = Mark::of(reading);
            self.update(&reading.device, &reading.name, mark, |row| row.acceptance = acceptance);
        }
    }

    /// Changes a row; false if there is none.
    fn update(
        &mut self,
        device: &str,
        name: &str,
        mark: Mark,
        change: impl FnOnce(&mut Row),
    ) -> bool {
        let stream = self.devices.get_mut(device).and_then(|names| names.get_mut(name));
        let Some(row) = stream.and_then(|stream| stream.rows.get_mut(&mark)) else { return false };
        let before = row.is_settled();
        change(row);
        match (before, row.is_settled()) {
            (false, true) => self.unsettled -= 1,
            (true, false) => self.unsettled += 1,
            (true, true) | (false, false) => {}
        }
        true
    }

    /// Folds what is over and old; what is not over gets another grace.
    fn fold(&mut self, now: Instant) {
        for _ in 0..self.ages.len() {
            let Some(age) = self.ages.pop_front() else { return };
            if age.since + self.limits.grace > now {
                return self.ages.push_front(age);
            }
            if self.row(&age).is_some_and(|row| !row.is_settled()) {
                self.ages.push_back(Age { since: now, ..age });
            } else {
                self.fold_row(&age);
            }
        }
    }

    fn row(&self, age: &Age) -> Option<&Row> {
        self.devices.get(&age.device)?.get(&age.name)?.rows.get(&age.mark)
    }

    /// Counts a row as it stands and forgets it.
    fn fold_row(&mut self, age: &Age) {
        let names = self.devices.get_mut(&age.device);
        let Some(stream) = names.and_then(|names| names.get_mut(&age.name)) else { return };
        let Some(row) = stream.rows.remove(&age.mark) else { return };
        stream.folded_to = stream.folded_to.max(Some(age.mark));
        self.unsettled -= usize::from(!row.is_settled());
        self.folded.add(stream.via, row.tally(stream.via, Some(Instant::FAR_FUTURE)));
    }
}

/// The key that is in the map already, or a new one.
fn shared_key<T>(map: &BTreeMap<Arc<str>, T>, key: &str) -> Arc<str> {
    map.get_key_value(key).map_or_else(|| key.into(), |(key, _)| Arc::clone(key))
}

/// Numbers by their value: CBOR does not keep the zeros at their end.
fn is_same(sent: &Value, arrived: &Value) -> bool {
    match (sent, arrived) {
        (Value::Number(sent), Value::Number(arrived)) => sent.as_f64() == arrived.as_f64(),
        _ => sent == arrived,
    }
}

#[cfg(test)]
mod tests;
