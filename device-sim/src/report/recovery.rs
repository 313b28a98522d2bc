//! How long it takes after a fault until everything is well again.

use std::ops::AddAssign;
use std::time::Duration;

use proto::Instant;
use serde::{Deserialize, Serialize};

use super::phase::Span;

/// Faults whose recovery is followed; of those beyond it, the latest, nothing is said.
pub const MAX_FOLLOWED: usize = 200;

/// What happened after the end of a fault. All times are since that end, zero for what happened
/// before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The fault, and when it was active.
    pub span: Span,
    /// Readings that were meant to be sent during it, and arrived.
    pub arrived: u64,
    /// Those that were accepted and never arrived.
    pub lost: u64,
    /// The first arrival of any reading after the end.
    pub back_us: Option<u64>,
    /// The first arrival of a reading that was meant to be sent during it.
    pub first_us: Option<u64>,
    /// The last of them.
    pub last_us: Option<u64>,
    /// The last arrival of any reading that was meant to be sent before the end: the backlog is gone.
    pub backlog_us: Option<u64>,
}

impl Recovery {
    pub(super) const fn new(span: Span) -> Self {
        Self {
            span,
            arrived: 0,
            lost: 0,
            back_us: None,
            first_us: None,
            last_us: None,
            backlog_us: None,
        }
    }

    /// From the end of the fault until its backlog was gone; `None` when something was lost and
    /// nothing ever came again.
    pub fn took(&self) -> Option<Duration> {
        match self.backlog_us {
            Some(micros) => Some(Duration::from_micros(micros)),
            None => (self.back_us.is_some() || self.lost == 0).then_some(Duration::ZERO),
        }
    }

    pub(super) fn handle_arrived(&mut self, at: Instant, due: Instant) {
        let (at, due) = (at.as_micros(), due.as_micros());
        let since_end = at.saturating_sub(self.span.to_us);
        if self.has(due) {
            self.arrived += 1;
            self.first_us = earliest(self.first_us, Some(since_end));
            self.last_us = self.last_us.max(Some(since_end));
        }
        if at >= self.span.to_us {
            self.back_us = earliest(self.back_us, Some(since_end));
            if due < self.span.to_us {
                self.backlog_us = self.backlog_us.max(Some(since_end));
            }
        }
    }

    pub(super) fn handle_lost(&mut self, due: Instant) {
        self.lost += u64::from(self.has(due.as_micros()));
    }

    fn has(&self, due_us: u64) -> bool {
        self.span.from_us <= due_us && due_us < self.span.to_us
    }
}

impl AddAssign<&Self> for Recovery {
    /// Of the same fault, seen by another shard.
    fn add_assign(&mut self, other: &Self) {
        self.arrived = self.arrived.saturating_add(other.arrived);
        self.lost = self.lost.saturating_add(other.lost);
        self.back_us = earliest(self.back_us, other.back_us);
        self.first_us = earliest(self.first_us, other.first_us);
        self.last_us = self.last_us.max(other.last_us);
        self.backlog_us = self.backlog_us.max(other.backlog_us);
    }
}

/// All times that one fault was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repeated<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// How often; the others are not followed.
    pub(super) times: u64,
    /// From when on it was there first, and until when last.
    pub(super) span_us: [u64; 2],
    /// How long it was there in all.
    pub(super) lasted: Duration,
    /// Half of its recoveries took no longer; `None` for those that never ended.
    pub(super) median: Option<Duration>,
    /// The longest of them.
    pub(super) worst: Option<Duration>,
    /// See [`Recovery`], the earliest, the latest and the sums of all.
    pub(super) first_us: Option<u64>,
    pub(super) last_us: Option<u64>,
    pub(super) arrived: u64,
    pub(super) lost: u64,
}

/// One for each fault, in the order in which they began first.
pub(super) fn by_fault(recoveries: &[Recovery]) -> Vec<Repeated<'_>> {
    let mut names: Vec<&str> = Vec::new();
    for recovery in recoveries {
        if !names.contains(&&*recovery.span.fault) {
            names.push(&recovery.span.fault);
        }
    }
    names.into_iter().map(|name| repeated(name, recoveries)).collect()
}

fn repeated<'a>(name: &'a str, recoveries: &'a [Recovery]) -> Repeated<'a> {
    let of_it = || recoveries.iter().filter(|recovery| recovery.span.fault == name);
    let mut took: Vec<_> = of_it().map(Recovery::took).collect();
    // What never ended took longest.
    took.sort_by_key(|took| took.unwrap_or(Duration::MAX));
    let lasted = of_it().map(|recovery| recovery.span.to_us.saturating_sub(recovery.span.from_us));
    Repeated {
        name,
        times: u64::try_from(took.len()).unwrap_or(u64::MAX),
        span_us: [
            of_it().map(|recovery| recovery.span.from_us).min().unwrap_or_default(),
            of_it().map(|recovery| recovery.span.to_us).max().unwrap_or_default(),
        ],
        lasted: Duration::from_micros(lasted.fold(0, u64::saturating_add)),
        median: took.get(took.len().saturating_sub(1) / 2).copied().flatten(),
        worst: took.last().copied().flatten(),
        first_us: of_it().filter_map(|recovery| recovery.first_us).min(),
        last_us: of_it().filter_map(|recovery| recovery.last_us).max(),
        arrived: of_it().map(|recovery| recovery.arrived).fold(0, u64::saturating_add),
        lost: of_it().map(|recovery| recovery.lost).fold(0, u64::saturating_add),
    }
}

fn earliest(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovery() -> Recovery {
        Recovery::new(Span { fault: "cut".to_owned(), from_us: 100, to_us: 200 })
    }

    fn arrive(recovery: &mut Recovery, due: u64, at: u64) {
        recovery.handle_arrived(Instant::from_micros(at), Instant::from_micros(due));
    }

    #[test]
    fn the_backlog_is_gone_with_the_last_reading_from_before_the_end() {
        let mut recovery = recovery();
        for (due, at) in [(90, 95), (150, 230), (95, 260), (199, 250), (210, 900)] {
            arrive(&mut recovery, due, at);
        }
        assert_eq!(recovery.took(), Some(Duration::from_micros(60)));
        let Recovery { arrived, back_us, first_us, last_us, .. } = recovery;
        assert_eq!((arrived, back_us), (2, Some(30)));
        assert_eq!((first_us, last_us), (Some(30), Some(50)));
    }

    #[test]
    fn a_fault_that_delays_nothing_takes_no_time() {
        let mut recovery = recovery();
        arrive(&mut recovery, 150, 160);
        arrive(&mut recovery, 300, 310);
        assert_eq!((recovery.took(), recovery.last_us), (Some(Duration::ZERO), Some(0)));
    }

    #[test]
    fn a_fault_that_comes_again_is_told_once() {
        let fault = |fault: &str, from_us, backlog_us, lost| Recovery {
            lost,
            backlog_us,
            arrived: 10,
            first_us: Some(from_us),
            last_us: Some(from_us + 1),
            ..Recovery::new(Span { fault: fault.to_owned(), from_us, to_us: from_us + 200 })
        };
        let recoveries = [
            fault("kill", 1000, Some(30), 0),
            fault("cut", 1500, None, 1),
            fault("kill", 2000, Some(90), 0),
            fault("kill", 3000, None, 0),
        ];
        let faults = by_fault(&recoveries);
        let micros = |micros| Some(Duration::from_micros(micros));
        let [kill, cut] = &faults[..] else { panic!("{faults:?}") };
        assert_eq!((kill.name, kill.times, kill.lasted), ("kill", 3, Duration::from_micros(600)));
        assert_eq!((kill.median, kill.worst), (micros(30), micros(90)));
        assert_eq!((kill.span_us, kill.arrived), ([1000, 3200], 30));
        assert_eq!((kill.first_us, kill.last_us), (Some(1000), Some(3001)));
        assert_eq!((cut.times, cut.worst, cut.lost), (1, None, 1));
        // One that never ended is the worst.
        let more = [fault("kill", 1, None, 1), fault("kill", 2, Some(5), 0)];
        assert_eq!((by_fault(&more)[0].median, by_fault(&more)[0].worst), (micros(5), None));
    }

    #[test]
    fn it_never_ends_when_something_is_lost_and_nothing_comes_again() {
        let mut recovery = recovery();
        recovery.handle_lost(Instant::from_micros(150));
        assert_eq!(recovery.took(), None);
        arrive(&mut recovery, 300, 310);
        assert_eq!(recovery.took(), Some(Duration::ZERO));
    }
}
