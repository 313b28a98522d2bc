//! The ledger: every reading that was sent has a row, until it is proven to have arrived.
//!
//! # What identifies a reading
//!
//! Device, name and a [`Mark`]: epoch and sequence where the device numbers its reports, else the
//! time of the measurement in milliseconds, by the device's clock. SenML has no sequence field, so
//! there it is the time; a [`Device`](crate::device::Device) never measures twice in a millisecond.
//! Both travel unchanged from the device to the far end.
//!
//! A device that is only [asked](Via::is_asked) numbers what it answers for this ledger alone: nothing of
//! that travels. An arrival is the next answer of its stream with the same value, in the order in which
//! they were given; copies of it are known by the gateway's own number. So of values that differ it is
//! known which one is lost, of equal ones how many are. A changed value is one that nobody sent.
//!
//! # What is lost
//!
//! A reading that the gateway *accepted* and the far end never saw. Accepted is what was
//! acknowledged, or, where the protocol has no acknowledgement, what was written. What was refused,
//! never answered, or taken on its way by a fault that was asked for, nobody has promised to
//! deliver; if it arrives all the same, it counts as arrived.
//!
//! # Latency
//!
//! From when a reading was *meant* to be sent to its first arrival at the far end. A device that
//! could not write in time, because the gateway was slow to take what came before, does not hide
//! that.
//!
//! # Order
//!
//! A reading is out of order if one of its stream with a higher mark arrived before it.
//!
//! # Observation
//!
//! An [`Observer`] is told of each [`Event`]; a report of a run is made from them.
//!
//! # Memory
//!
//! A row whose story is over is folded into counters once it is older than [`Limits::grace`]. Each
//! stream (device and name) remembers the highest mark that was folded: what arrives at or below it
//! without a row is a duplicate of a folded reading, and is counted as one, although its value cannot
//! be compared any more. Rows that wait for something stay, up to [`Limits::max_rows`]; beyond it
//! the oldest is folded as it stands. Whoever meets that limit may see too many lost, never too few.

mod arrival;
mod observer;
mod shared;
mod verdict;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use proto::{Instant, Reading, Value};
use serde::{Deserialize, Serialize};

pub use arrival::{Arrival, ArrivalError};
pub use observer::{Event, Observer, What};
pub use shared::SharedLedger;
pub use verdict::{Tally, Verdict};

use crate::via::Via;

/// What tells the readings of one stream apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    pub(crate) fn of(reading: &Reading) -> Self {
        match (reading.epoch, reading.sequence) {
            (Some(epoch), Some(sequence)) => Self::Sequence { epoch, sequence },
            _ => Self::Time { millis: reading.time.as_millis() },
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence { epoch, sequence } => write!(f, "epoch {epoch} sequence {sequence}"),
            Self::Time { millis } => match jiff::Timestamp::from_millisecond(*millis) {
                Ok(time) => time.fmt(f),
                Err(_) => write!(f, "{millis} ms"),
            },
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
    observer: Option<Box<dyn Observer>>,
}

/// The readings of one name of one device.
#[derive(Debug)]
struct Stream {
    via: Via,
    rows: BTreeMap<Mark, Row>,
    folded_to: Option<Mark>,
    /// The highest that arrived.
    arrived_to: Option<Mark>,
    /// The highest [`Arrival::copy`] that was seen, and that was folded, of a device that is asked.
    seen_to: Option<Mark>,
    seen_folded_to: Option<Mark>,
}

#[derive(Debug)]
struct Row {
    value: Value,
    sent: Instant,
    due: Instant,
    acceptance: Acceptance,
    arrivals: u64,
    wrong: u64,
    /// What it was seen as, of a device that is asked.
    seen_as: Option<Mark>,
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

impl Stream {
    const fn new(via: Via) -> Self {
        Self {
            via,
            rows: BTreeMap::new(),
            folded_to: None,
            arrived_to: None,
            seen_to: None,
            seen_folded_to: None,
        }
    }

    /// The reading that arrived.
    fn mark_of(&self, arrival: &Arrival) -> Mark {
        if !self.via.is_asked() {
            return arrival.mark;
        }
        let copy = Some(arrival.copy());
        let is_it = |(_, row): &(&Mark, &Row)| match copy <= self.seen_to {
            true => row.seen_as == copy,
            false => row.seen_as.is_none() && is_same(&row.value, &arrival.value),
        };
        // They come in order, unless what came before is missing.
        let after = self.arrived_to.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.rows.range((after, Bound::Unbounded)).find(is_it);
        let found = next.or_else(|| self.rows.iter().find(is_it));
        found.map_or(arrival.mark, |(mark, _)| *mark)
    }

    /// Whether what arrived without a row had one that was folded.
    fn is_folded(&self, arrival: &Arrival) -> bool {
        match self.via.is_asked() {
            true => self.seen_folded_to.is_some_and(|folded| arrival.copy() <= folded),
            false => self.folded_to.is_some_and(|folded| arrival.mark <= folded),
        }
    }
}

impl Ledger {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Tells `observer` of what happens from now on.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
    }

    /// Readings that a device measured and cannot send: it is switched off, or has no line.
    pub fn handle_unsent(&mut self, now: Instant, due: Instant, readings: &[Reading]) {
        for reading in readings {
            self.tell(&Event::of(now, reading, Some(due), What::Unsent));
        }
    }

    /// Readings that a device is about to write; before it does, so that no arrival is earlier.
    /// They were meant to be sent at `due`.
    pub fn handle_sent(&mut self, now: Instant, due: Instant, via: Via, readings: &[Reading]) {
        self.fold(now);
        let owed = !via.acknowledges();
        for reading in readings {
            self.tell(&Event::of(now, reading, Some(due), What::Sent { owed }));
            let acceptance = match via.acknowledges() {
                true => Acceptance::Awaited,
                false => Acceptance::Accepted,
            };
            let value = reading.value.clone();
            let row =
                Row { value, sent: now, due, acceptance, arrivals: 0, wrong: 0, seen_as: None };
            self.insert(via, reading, row);
        }
    }

    /// The gateway said that it has them.
    pub fn handle_acknowledged(&mut self, now: Instant, readings: &[Reading]) {
        self.accept(now, readings, Acceptance::Accepted, What::Acknowledged);
    }

    /// The gateway said no.
    pub fn handle_refused(&mut self, now: Instant, readings: &[Reading]) {
        self.accept(now, readings, Acceptance::Refused, What::Refused);
    }

    /// Nothing came until the device gave up, or they could not be written.
    pub fn handle_unanswered(&mut self, now: Instant, readings: &[Reading]) {
        self.accept(now, readings, Acceptance::Refused, What::Unanswered);
    }

    /// A fault that was asked for took them on their way.
    pub fn handle_injured(&mut self, now: Instant, readings: &[Reading]) {
        self.accept(now, readings, Acceptance::Refused, What::Injured);
    }

    /// A reading arrived at the far end.
    pub fn handle_arrived(&mut self, now: Instant, arrival: &Arrival) {
        let Arrival { device, name, value, .. } = arrival;
        let stream = self.devices.get_mut(&**device).and_then(|names| names.get_mut(&**name));
        let Some(stream) = stream else {
            self.folded.unknown += 1;
            let (mark, what) = (arrival.mark, What::Unknown);
            return self.tell(&Event { at: now, device, name, mark, due: None, what });
        };
        let mark = stream.mark_of(arrival);
        let event = |due, what| Event { at: now, device, name, mark, due, what };
        let Some(row) = stream.rows.get_mut(&mark) else {
            let what = match stream.is_folded(arrival) {
                true => {
                    self.folded.add(stream.via, Tally { duplicates: 1, ..Tally::default() });
                    What::Duplicate
                }
                false => {
                    self.folded.unknown += 1;
                    What::Unknown
                }
            };
            return self.tell(&event(None, what));
        };
        let was_settled = row.is_settled();
        row.arrivals += 1;
        if stream.via.is_asked() && row.arrivals == 1 {
            row.seen_as = Some(arrival.copy());
            stream.seen_to = stream.seen_to.max(row.seen_as);
        }
        let due = row.due;
        let what = match row.arrivals {
            1 => {
                let out_of_order = stream.arrived_to > Some(mark);
                stream.arrived_to = stream.arrived_to.max(Some(mark));
                What::Arrived { latency: now - due, out_of_order }
            }
            _ => What::Duplicate,
        };
        let expected = (!is_same(&row.value, value)).then(|| row.value.clone());
        row.wrong += u64::from(expected.is_some());
        self.unsettled -= usize::from(!was_settled && row.is_settled());
        self.tell(&event(Some(due), what));
        if let Some(expected) = &expected {
            self.tell(&event(Some(due), What::WrongValue { expected, got: value }));
        }
    }

    /// The end: gives up what is missing, and tells the observer what is lost.
    pub fn finish(&mut self, now: Instant) -> Verdict {
        while let Some(oldest) = self.ages.pop_front() {
            self.fold_row(now, &oldest);
        }
        self.folded.clone()
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

    /// Whether the next reading takes the row of the oldest.
    pub fn is_full(&self) -> bool {
        self.ages.len() >= self.limits.max_rows
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
            self.fold_row(row.sent, &oldest);
        }
        let device = shared_key(&self.devices, &reading.device);
        let names = self.devices.entry(Arc::clone(&device)).or_default();
        let name = shared_key(names, &reading.name);
        let new = || Stream::new(via);
        let stream = names.entry(Arc::clone(&name)).or_insert_with(new);
        let (mark, since) = (Mark::of(reading), row.sent);
        self.unsettled += usize::from(!row.is_settled());
        stream.rows.insert(mark, row);
        self.ages.push_back(Age { since, device, name, mark });
    }

    fn accept(
        &mut self,
        now: Instant,
        readings: &[Reading],
        acceptance: Acceptance,
        what: What<'_>,
    ) {
        for reading in readings {
            let names = self.devices.get_mut(&*reading.device);
            let stream = names.and_then(|names| names.get_mut(&*reading.name));
            let row = stream.and_then(|stream| stream.rows.get_mut(&Mark::of(reading)));
            let due = row.map(|row| {
                let was_settled = row.is_settled();
                row.acceptance = acceptance;
                match (was_settled, row.is_settled()) {
                    (false, true) => self.unsettled -= 1,
                    (true, false) => self.unsettled += 1,
                    (true, true) | (false, false) => {}
                }
                row.due
            });
            self.tell(&Event::of(now, reading, due, what));
        }
    }

    fn tell(&mut self, event: &Event<'_>) {
        if let Some(observer) = &mut self.observer {
            observer.observe(event);
        }
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
                self.fold_row(now, &age);
            }
        }
    }

    fn row(&self, age: &Age) -> Option<&Row> {
        self.devices.get(&age.device)?.get(&age.name)?.rows.get(&age.mark)
    }

    /// Counts a row as it stands and forgets it.
    fn fold_row(&mut self, now: Instant, age: &Age) {
        let names = self.devices.get_mut(&age.device);
        let Some(stream) = names.and_then(|names| names.get_mut(&age.name)) else { return };
        let Some(row) = stream.rows.remove(&age.mark) else { return };
        stream.folded_to = stream.folded_to.max(Some(age.mark));
        stream.seen_folded_to = stream.seen_folded_to.max(row.seen_as);
        self.unsettled -= usize::from(!row.is_settled());
        let tally = row.tally(stream.via, Some(Instant::FAR_FUTURE));
        self.folded.add(stream.via, tally);
        if tally.lost > 0 {
            let what = What::Lost { expected: &row.value };
            let Age { device, name, mark, .. } = age;
            self.tell(&Event { at: now, device, name, mark: *mark, due: Some(row.due), what });
        }
    }
}

impl<'a> Event<'a> {
    fn of(at: Instant, reading: &'a Reading, due: Option<Instant>, what: What<'a>) -> Self {
        let Reading { device, name, .. } = reading;
        Self { at, device, name, mark: Mark::of(reading), due, what }
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
