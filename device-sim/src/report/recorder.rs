//! Makes a report of what the ledger sees.

mod progress;
mod pulse;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::Instant;

use self::pulse::Pulse;
use super::example::{self, Example, Failure, printable};
use super::phase::{Phases, Span};
use super::recovery::{MAX_FOLLOWED, Recovery};
use super::{Fleet, Report, Series, Shard, VERSION, Wall};
use crate::ledger::{Event, Observer, What};
use crate::live::LogLine;
use crate::payload::plain;
use crate::threshold::Thresholds;
use crate::via::Via;

/// Lines of the log that are kept for those who look on; older ones are forgotten.
const MAX_LOG: usize = 100;

/// What is known of a run before it begins.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The name of the scenario.
    pub scenario: String,
    /// Its file, as it was given.
    pub file: String,
    /// The words of the command that plays it, but for its seed.
    pub command: Vec<String>,
    /// What values and faults are drawn from.
    pub seed: u64,
    /// Which part of the devices this process plays; `None` for all.
    pub shard: Option<Shard>,
    /// How long devices send.
    pub duration: Duration,
    /// When each fault is active.
    pub spans: Vec<Span>,
    /// What arrives later than this after it was meant to be sent is late.
    pub late_after: Duration,
    /// What is asked of it.
    pub thresholds: Thresholds,
}

/// Counts what happens in a run. Tell it every device with [`enrol`](Self::enrol), then let the
/// ledger tell it every event; [`report`](Self::report) may be asked for at any time.
#[derive(Debug)]
pub struct Recorder {
    plan: Plan,
    /// The fleet of each device.
    devices: BTreeMap<String, usize>,
    fleets: Vec<(String, Fleet, Pulse)>,
    unknown: u64,
    phases: Phases,
    recoveries: Vec<Recovery>,
    series: Series,
    examples: BTreeMap<Failure, Example>,
    /// Readings that failed, the last [`MAX_LOG`] of them.
    log: VecDeque<LogLine>,
}

impl Recorder {
    /// One that has seen nothing.
    pub fn new(plan: Plan) -> Self {
        let phases = Phases::new(plan.spans.clone());
        let end = u64::try_from(plan.duration.as_micros()).unwrap_or(u64::MAX);
        // There is no recovery from a fault that lasts as long as the run.
        let over = phases.spans().iter().filter(|span| span.to_us < end);
        let recoveries = over.take(MAX_FOLLOWED).cloned().map(Recovery::new).collect();
        Self {
            plan,
            devices: BTreeMap::new(),
            fleets: Vec::new(),
            unknown: 0,
            phases,
            recoveries,
            series: Series::default(),
            examples: BTreeMap::new(),
            log: VecDeque::new(),
        }
    }

    /// A device of a fleet takes part.
    pub fn enrol(&mut self, device: &str, fleet: &str, via: Via) {
        let found = self.fleets.iter().position(|(name, ..)| name == fleet);
        let index = found.unwrap_or_else(|| {
            self.fleets.push((fleet.to_owned(), Fleet::default(), Pulse::default()));
            self.fleets.len() - 1
        });
        if let Some((_, fleet, _)) = self.fleets.get_mut(index) {
            fleet.via.insert(via);
            fleet.devices += 1;
        }
        self.devices.insert(device.to_owned(), index);
    }

    /// What was seen so far. When the run is over, after [`Ledger::finish`](crate::ledger::Ledger::finish).
    pub fn report(&self, wall: Option<Wall>) -> Report {
        let Plan { scenario, file, seed, shard, duration, thresholds, .. } = &self.plan;
        let mut report = Report {
            version: VERSION,
            scenario: scenario.clone(),
            file: file.clone(),
            seed: *seed,
            shard: *shard,
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            passed: false,
            outcomes: Vec::new(),
            thresholds: thresholds.clone(),
            fleets: self
                .fleets
                .iter()
                .map(|(name, fleet, _)| (name.clone(), fleet.clone()))
                .collect(),
            unknown: self.unknown,
            phases: self.phases.phases(),
            latency: self.phases.mixes(),
            recoveries: self.recoveries.clone(),
            series: self.series.clone(),
            examples: self.examples.clone(),
            commands: None,
            rehearsal: None,
            wall,
        };
        report.conclude();
        report
    }

    fn keep(
        &mut self,
        failure: Failure,
        event: &Event<'_>,
        expected: Option<String>,
        got: Option<String>,
    ) {
        let Event { at, device, name, mark, due, .. } = *event;
        let intended_us = due.map(Instant::as_micros);
        // The replay is made for those only that are kept: a flood of failures costs little.
        let mut example = Example {
            fleet: None,
            device: device.to_owned(),
            name: name.to_owned(),
            mark,
            intended_us,
            at_us: at.as_micros(),
            expected,
            got,
            replay: String::new(),
        };
        if failure.is_logged() {
            let (device, name) = (printable(device), printable(name));
            let text = format!("{failure}: {device} {name}, {mark}");
            let at = Duration::from_micros(at.as_micros());
            if self.log.len() >= MAX_LOG {
                self.log.pop_front();
            }
            self.log.push_back(LogLine { at, text, is_bad: true });
        }
        if self.examples.get(&failure).is_some_and(|kept| !example.is_before(kept)) {
            return;
        }
        let fleet = self.devices.get(device).and_then(|index| self.fleets.get(*index));
        example.fleet = fleet.map(|(name, ..)| name.clone());
        example.replay = example::replay(&self.plan.command, self.plan.seed, device);
        self.examples.insert(failure, example);
    }

    fn handle_arrived(&mut self, event: &Event<'_>, due: Instant, latency: Duration) {
        self.series.handle_arrived(event.at, due, latency);
        self.phases.record(due, latency);
        for recovery in &mut self.recoveries {
            recovery.handle_arrived(event.at, due);
        }
    }
}

impl Observer for Recorder {
    fn observe(&mut self, event: &Event<'_>) {
        let index = self.devices.get(event.device);
        let fleet = index.and_then(|index| self.fleets.get_mut(*index));
        let mut nobody = (String::new(), Fleet::default(), Pulse::default());
        // A device that nobody has enrolled counts nowhere but in the series.
        let (_, fleet, pulse) = fleet.unwrap_or(&mut nobody);
        match event.what {
            What::Unsent => fleet.generated += 1,
            What::Sent { .. } => {
                fleet.generated += 1;
                fleet.sent += 1;
                pulse.handle_sent(event.at);
                self.series.handle_sent(event.at);
            }
            What::Acknowledged => {
                fleet.acknowledged += 1;
                self.series.handle_acknowledged(event.at);
            }
            What::Refused => {
                fleet.refused += 1;
                self.keep(Failure::Refused, event, None, None);
            }
            What::Unanswered => {
                fleet.unanswered += 1;
                self.keep(Failure::Unanswered, event, None, None);
            }
            What::Injured => fleet.injured += 1,
            What::Arrived { latency, out_of_order } => {
                let is_late = latency > self.plan.late_after;
                fleet.arrived += 1;
                pulse.handle_arrived(event.at, latency);
                fleet.late += u64::from(is_late);
                fleet.out_of_order += u64::from(out_of_order);
                if let Some(due) = event.due {
                    self.handle_arrived(event, due, latency);
                }
                if is_late {
                    self.keep(Failure::Late, event, None, None);
                }
                if out_of_order {
                    self.keep(Failure::OutOfOrder, event, None, None);
                }
            }
            What::Duplicate => {
                fleet.duplicates += 1;
                self.keep(Failure::Duplicate, event, None, None);
            }
            What::WrongValue { expected, got } => {
                fleet.wrong_value += 1;
                self.keep(Failure::WrongValue, event, Some(plain(expected)), Some(plain(got)));
            }
            What::Unknown => {
                self.unknown += 1;
                self.keep(Failure::Unknown, event, None, None);
            }
            What::Lost { expected } => {
                fleet.lost += 1;
                if let Some(due) = event.due {
                    self.recoveries.iter_mut().for_each(|recovery| recovery.handle_lost(due));
                }
                self.keep(Failure::Lost, event, Some(plain(expected)), None);
            }
        }
    }
}

/// A handle to a [`Recorder`] for the ledger that tells it; clones share it.
#[derive(Clone, Debug)]
pub struct SharedRecorder(Arc<Mutex<Recorder>>);

impl SharedRecorder {
    /// Shares it.
    pub fn new(recorder: Recorder) -> Self {
        Self(Arc::new(Mutex::new(recorder)))
    }

    /// One short turn with it.
    pub fn with<T>(&self, turn: impl FnOnce(&mut Recorder) -> T) -> T {
        turn(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for SharedRecorder {
    fn observe(&mut self, event: &Event<'_>) {
        self.with(|recorder| recorder.observe(event));
    }
}
