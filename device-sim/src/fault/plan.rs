//! When each fault begins and ends.

use std::time::Duration;

use proto::Instant;

use super::effect::{Effect, Fault, Impairment};
use super::values::Place;
use crate::report::Span;
use crate::scenario::stream_seed;

/// How often one fault begins at most; [`check()`](super::check()) refuses more.
pub const MAX_OCCURRENCES: usize = 10_000;

/// The faults of a run, from its start at [`Instant::ZERO`].
///
/// At [`poll_timeout`](Self::poll_timeout), call [`poll_change`](Self::poll_change) until it gives
/// nothing. Who asks late is told all the same of everything, in order. A fault without an end lasts
/// until who drives the run stops asking.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    faults: Vec<Fault>,
    seed: u64,
    occurrences: Vec<Occurrence>,
    /// What changes, in order; of changes at one instant, ends come first.
    changes: Vec<(Instant, bool, usize)>,
    next: usize,
    end: Instant,
}

/// One time that a fault is there.
#[derive(Clone, Copy, Debug)]
struct Occurrence {
    fault: usize,
    from: Instant,
    /// `None` for one that nothing ends.
    to: Option<Instant>,
}

/// A fault begins or ends.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// When it was to.
    pub at: Instant,
    /// Whether it begins.
    pub begins: bool,
    /// Which.
    pub fault: &'a Fault,
}

impl FaultPlan {
    /// The plan of a run that lasts for `duration`.
    pub fn new(faults: Vec<Fault>, seed: u64, duration: Duration) -> Self {
        let end = Instant::ZERO + duration;
        let (mut occurrences, mut changes) = (Vec::new(), Vec::new());
        for (index, fault) in faults.iter().enumerate() {
            let mut from = Instant::ZERO + fault.at;
            for _ in 0..MAX_OCCURRENCES {
                if from >= end {
                    break;
                }
                let lasts = if fault.effect.is_instantaneous() {
                    Some(Duration::ZERO)
                } else {
                    fault.lasts
                };
                let to = lasts.map(|lasts| from + lasts);
                occurrences.push(Occurrence { fault: index, from, to });
                changes.push((from, true, index));
                changes.extend(to.filter(|&to| to > from).map(|to| (to, false, index)));
                match fault.every {
                    Some(every) if !every.is_zero() => from = from + every,
                    Some(_) | None => break,
                }
            }
        }
        changes.sort_unstable();
        Self { faults, seed, occurrences, changes, next: 0, end }
    }

    /// The faults that are there at `now`, in the order of the scenario; none that is over at once.
    pub fn active(&self, now: Instant) -> impl Iterator<Item = &Fault> {
        let there = move |index: usize| {
            self.occurrences.iter().any(|occurrence| {
                occurrence.fault == index
                    && occurrence.from <= now
                    && occurrence.to.is_none_or(|to| now < to)
            })
        };
        self.faults.iter().enumerate().filter_map(move |(i, fault)| there(i).then_some(fault))
    }

    /// How bad the way at `place` is at `now`, by all faults that are there.
    pub fn impairment(&self, now: Instant, place: &Place) -> Impairment {
        let there = self.active(now).filter(|fault| fault.on == *place);
        there.fold(Impairment::default(), |all, fault| match fault.effect {
            Effect::Network(impairment) => all.and(impairment),
            Effect::Refuse | Effect::Cut | Effect::Broker(_) | Effect::Unplug => all,
            Effect::Kill | Effect::Stop | Effect::Restart | Effect::ClockStep(_) => all,
            Effect::DiskFull { .. } => all,
        })
    }

    /// The first change behind `now`.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let after = self.changes.partition_point(|(at, ..)| *at <= now);
        self.changes.get(after).map(|(at, ..)| *at)
    }

    /// When [`poll_change`](Self::poll_change) has something to tell.
    pub fn poll_timeout(&self) -> Instant {
        self.changes.get(self.next).map_or(Instant::FAR_FUTURE, |(at, ..)| *at)
    }

    /// What has changed by `now` and was not told.
    pub fn poll_change(&mut self, now: Instant) -> Option<Change<'_>> {
        let &(at, begins, index) = self.changes.get(self.next).filter(|(at, ..)| *at <= now)?;
        self.next += 1;
        self.faults.get(index).map(|fault| Change { at, begins, fault })
    }

    /// When which fault is there, for the report; one that nothing ends is there to the end.
    pub fn spans(&self) -> Vec<Span> {
        let span = |occurrence: &Occurrence| {
            let fault = self.faults.get(occurrence.fault)?.name.clone();
            let to = occurrence.to.unwrap_or(self.end);
            Some(Span { from_us: occurrence.from.as_micros(), to_us: to.as_micros(), fault })
        };
        self.occurrences.iter().filter_map(span).collect()
    }

    /// What the accidents on one way are drawn from: the way of the device with this number at `place`.
    pub fn seed_of(&self, place: &Place, number: u32) -> u64 {
        stream_seed(self.seed, &format!("fault on {place}"), number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str, at: u64, lasts: Option<u64>, every: Option<u64>, effect: Effect) -> Fault {
        let seconds = Duration::from_secs;
        Fault {
            name: name.to_owned(),
            at: seconds(at),
            lasts: lasts.map(seconds),
            every: every.map(seconds),
            on: Place::Broker,
            effect,
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn plan() -> FaultPlan {
        let lossy = Impairment { loss: 0.5, ..Impairment::default() };
        let faults = vec![
            fault("slow", 10, Some(10), Some(30), Effect::Network(lossy)),
            fault("lossy", 15, None, None, Effect::Network(lossy)),
            fault("cut", 20, None, None, Effect::Cut),
        ];
        FaultPlan::new(faults, 1, Duration::from_secs(60))
    }

    #[test]
    fn faults_are_there_from_their_beginning_until_their_end() {
        let plan = plan();
        let active =
            |seconds| plan.active(at(seconds)).map(|f| f.name.as_str()).collect::<Vec<_>>();
        assert!(active(9).is_empty());
        assert_eq!(active(10), ["slow"]);
        assert_eq!(active(19), ["slow", "lossy"]);
        assert_eq!(active(20), ["lossy"]);
        assert_eq!(active(40), ["slow", "lossy"]);
        assert_eq!(active(1000), ["lossy"]);
        assert_eq!(plan.impairment(at(19), &Place::Broker).loss, 0.75);
        assert_eq!(plan.impairment(at(19), &Place::Gateway), Impairment::default());
        assert_eq!(plan.next_change(at(10)), Some(at(15)));
        assert_eq!(plan.next_change(at(50)), None);
    }

    #[test]
    fn changes_are_told_in_order_also_to_who_asks_late() {
        let mut plan = plan();
        assert_eq!(plan.poll_timeout(), at(10));
        assert!(plan.poll_change(at(9)).is_none());
        let mut told = Vec::new();
        while let Some(change) = plan.poll_change(at(45)) {
            told.push((change.at, change.fault.name.clone(), change.begins));
        }
        let expected = [
            (at(10), "slow", true),
            (at(15), "lossy", true),
            (at(20), "slow", false),
            (at(20), "cut", true),
            (at(40), "slow", true),
        ];
        assert_eq!(told, expected.map(|(at, name, begins)| (at, name.to_owned(), begins)));
        assert_eq!(plan.poll_timeout(), at(50));
    }

    #[test]
    fn spans_of_a_fault_without_an_end_reach_to_that_of_the_run() {
        let spans = plan().spans();
        let spans: Vec<_> =
            spans.iter().map(|s| (&*s.fault, s.from_us / 1_000_000, s.to_us / 1_000_000)).collect();
        let expected = [("slow", 10, 20), ("slow", 40, 50), ("lossy", 15, 60), ("cut", 20, 20)];
        assert_eq!(spans, expected);
    }

    #[test]
    fn ways_have_seeds_of_their_own() {
        let plan = plan();
        let bench = Place::Fleet("bench".parse().unwrap());
        assert_eq!(plan.seed_of(&bench, 1), plan.seed_of(&bench, 1));
        assert_ne!(plan.seed_of(&bench, 1), plan.seed_of(&bench, 2));
        assert_ne!(plan.seed_of(&bench, 1), plan.seed_of(&Place::Broker, 1));
    }
}
