//! When each reading was sent, answered, and seen by the broker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use device_sim::clock::Clock;
use proto::Instant;

use super::Outcome;
use super::figure::{Metric, Run, number};

/// With nothing new for this long, what is missing does not come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks while waiting.
const PAUSE: Duration = Duration::from_micros(100);

/// A fixed number of readings, each told apart by its index, which it carries as its value and,
/// where it has one, as its sequence number.
#[derive(Debug)]
pub(crate) struct Ledger {
    clock: Clock,
    told: Told,
    entries: Vec<Entry>,
    sent: AtomicU64,
    answered: AtomicU64,
    arrived: AtomicU64,
    repeated: AtomicU64,
    last_arrival: AtomicU64,
}

/// What a payload says of readings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told {
    /// Which one it is, by its value.
    Value,
    /// The same by its sequence number, where the value is another one.
    Sequence,
    /// How many there were in a window.
    Count,
}

/// Microseconds on the ledger's clock; 0 is never.
#[derive(Debug, Default)]
struct Entry {
    sent: AtomicU64,
    answered: AtomicU64,
    arrived: AtomicU64,
}

impl Ledger {
    pub(crate) fn new(readings: u32) -> Self {
        Self::told(Told::Value, readings)
    }

    /// For readings that payloads tell of in this way.
    pub(crate) fn told(told: Told, readings: u32) -> Self {
        Self {
            clock: Clock::start(),
            told,
            entries: (0..readings).map(|_| Entry::default()).collect(),
            sent: 0.into(),
            answered: 0.into(),
            arrived: 0.into(),
            repeated: 0.into(),
            last_arrival: 0.into(),
        }
    }

    /// The clock of its times, for the broker.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// The indexes of its readings.
    pub(crate) fn indexes(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// A reading is about to be sent.
    pub(crate) fn handle_sent(&self, index: u32) {
        if let Some(entry) = self.entry(index) {
            entry.sent.store(stamp(self.clock.now()), Ordering::Relaxed);
            self.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its sender was told that it is safe.
    pub(crate) fn handle_answered(&self, index: u32) {
        if let Some(entry) = self.entry(index) {
            entry.answered.store(stamp(self.clock.now()), Ordering::Relaxed);
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A payload has reached the broker; one that is no reading of this ledger does not count.
    pub(crate) fn handle_arrived(&self, payload: &[u8], at: Instant) {
        let Some(number) = number_behind(self.told.key(), payload) else { return };
        let at = stamp(at);
        if let Told::Count = self.told {
            self.last_arrival.store(at, Ordering::Relaxed);
            self.arrived.fetch_add(number.into(), Ordering::Release);
            return;
        }
        let Some(entry) = self.entry(number) else { return };
        if entry.arrived.swap(at, Ordering::Relaxed) == 0 {
            self.last_arrival.store(at, Ordering::Relaxed);
            self.arrived.fetch_add(1, Ordering::Release);
        } else {
            self.repeated.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Readings that were sent and have not arrived.
    pub(crate) fn outstanding(&self) -> u64 {
        let arrived = self.arrived.load(Ordering::Acquire);
        self.sent.load(Ordering::Relaxed).saturating_sub(arrived)
    }

    /// Waits until fewer than `limit` readings are outstanding; an error if nothing moves.
    pub(crate) fn wait_for_room(&self, limit: u64) -> Outcome<()> {
        let room = self.wait_while(|| self.outstanding() >= limit);
        if room { Ok(()) } else { Err(format!("stalled: {}", self.state()).into()) }
    }

    /// Waits until everything sent has arrived, or until nothing more comes.
    pub(crate) fn settle(&self) {
        self.wait_while(|| self.outstanding() > 0);
    }

    /// Whether the condition ended before patience did.
    fn wait_while(&self, condition: impl Fn() -> bool) -> bool {
        let mut known = self.arrived.load(Ordering::Relaxed);
        let mut since = self.clock.now();
        while condition() {
            thread::sleep(PAUSE);
            let now = self.clock.now();
            let arrived = self.arrived.load(Ordering::Relaxed);
            if arrived != known {
                (known, since) = (arrived, now);
            } else if now - since > PATIENCE {
                return false;
            }
        }
        true
    }

    /// How far it is, for a message.
    pub(crate) fn state(&self) -> String {
        let [sent, answered, arrived] =
            [&self.sent, &self.answered, &self.arrived].map(|count| count.load(Ordering::Relaxed));
        format!("{sent} sent, {answered} answered, {arrived} arrived")
    }

    /// Readings that have arrived.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Enters every reading as sent: by a program that does not say when.
    pub(crate) fn handle_all_sent(&self) {
        for index in self.indexes() {
            self.handle_sent(index);
        }
    }

    /// Rate and losses between the first arrival and the last, of what was sent long before; where
    /// only windows arrive, which are over when they are, no rate.
    pub(crate) fn drained(&self) -> Outcome<Run> {
        if let Told::Count = self.told {
            return Ok(self.with_losses(Run::default()));
        }
        let arrivals = self.entries.iter().map(|entry| entry.arrived.load(Ordering::Relaxed));
        let first = arrivals.filter(|at| *at > 0).min().ok_or("nothing has arrived")?;
        Ok(self.run_since(first))
    }

    /// Rate, losses and latencies of what was sent.
    pub(crate) fn run(&self) -> Outcome<Run> {
        let first = self.entries.first().map_or(0, |entry| entry.sent.load(Ordering::Relaxed));
        if self.arrived() == 0 {
            return Err("nothing has arrived".into());
        }
        let latency = |at: fn(&Entry) -> &AtomicU64| {
            let micros = |entry: &Entry| match at(entry).load(Ordering::Relaxed) {
                0 => None,
                at => Some(at.saturating_sub(entry.sent.load(Ordering::Relaxed))),
            };
            self.entries.iter().filter_map(micros).collect()
        };
        Ok(self
            .run_since(first)
            .with_latency(Metric::AnswerP50, Metric::AnswerP99, latency(|entry| &entry.answered))
            .with_latency(Metric::ArrivalP50, Metric::ArrivalP99, latency(|entry| &entry.arrived)))
    }

    fn run_since(&self, first: u64) -> Run {
        let last = self.last_arrival.load(Ordering::Relaxed);
        let elapsed = Duration::from_micros(last.saturating_sub(first));
        self.with_losses(Run::default().with_rate(self.arrived(), elapsed))
    }

    fn with_losses(&self, run: Run) -> Run {
        let [sent, repeated] = [&self.sent, &self.repeated].map(|n| n.load(Ordering::Relaxed));
        // Counts of windows tell of repetitions by being too large.
        let repeated = repeated + self.arrived().saturating_sub(sent);
        run.with(Metric::Lost, number(self.outstanding())).with(Metric::Repeated, number(repeated))
    }

    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(index).ok()?)
    }
}

impl Told {
    /// What the number stands behind in the gateway's JSON.
    const fn key(self) -> &'static [u8] {
        match self {
            Self::Value => br#""value":"#,
            Self::Sequence => br#""seq":"#,
            Self::Count => br#"value.count","value":"#,
        }
    }
}

fn stamp(at: Instant) -> u64 {
    at.as_micros().max(1)
}

/// The number behind a key of JSON, or the payload itself.
fn number_behind(key: &[u8], payload: &[u8]) -> Option<u32> {
    let digits = match payload.first()? {
        b'{' => {
            let at = payload.windows(key.len()).position(|window| window == key)?;
            payload.get(at + key.len()..)?
        }
        _ => payload,
    };
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}
