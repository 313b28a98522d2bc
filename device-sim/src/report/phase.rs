//! Latency by the faults that were active when a reading was meant to be sent.
//!
//! Faults may overlap. So latencies are kept for each *mix* of faults that occurs; a phase is the sum
//! of all mixes that a fault is part of, and "everything but this fault" is a sum too, in which
//! nothing counts twice. Whatever the faults, their spans have no more borders than twice their
//! number, and so there are no more mixes than that, and one.

use std::collections::BTreeSet;

use proto::Instant;
use serde::{Deserialize, Serialize};

use crate::histogram::{Histogram, Summary};

/// The name of the phase in which no fault is active.
pub const QUIET: &str = "quiet";

/// When a fault is active: from `from` until `to`, which is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// Its beginning.
    pub from_us: u64,
    /// Its end; its beginning, for a fault that is over at once.
    pub to_us: u64,
    /// The name of the fault.
    pub fault: String,
}

/// A phase of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// [`QUIET`], or the name of a fault.
    pub name: String,
    /// When the fault was active; empty for [`QUIET`].
    pub spans: Vec<Span>,
    /// Of the readings that were meant to be sent in it.
    pub latency: Summary,
}

/// Latencies under one mix of faults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// The faults; none for [`QUIET`].
    pub faults: BTreeSet<String>,
    /// Of the readings that were meant to be sent under it.
    pub latency: Histogram,
}

impl Mix {
    /// Whether it belongs to the phase of this name.
    pub fn is_of(&self, phase: &str) -> bool {
        match phase {
            QUIET => self.faults.is_empty(),
            fault => self.faults.contains(fault),
        }
    }
}

/// The latencies of a phase.
pub fn latency_of(mixes: &[Mix], phase: &str) -> Histogram {
    mixes.iter().filter(|mix| mix.is_of(phase)).map(|mix| &mix.latency).sum()
}

/// Which mix is active when, and the latencies of each.
#[derive(Clone, Debug)]
pub(super) struct Phases {
    spans: Vec<Span>,
    /// Where a mix begins, and its index; the first at zero.
    borders: Vec<(u64, usize)>,
    mixes: Vec<Mix>,
}

impl Phases {
    pub(super) fn new(mut spans: Vec<Span>) -> Self {
        spans.sort();
        let mut instants: BTreeSet<u64> = [0].into();
        instants.extend(spans.iter().flat_map(|span| [span.from_us, span.to_us]));
        let mut mixes: Vec<Mix> = Vec::new();
        let mut index_of = |faults: BTreeSet<String>| {
            mixes.iter().position(|mix| mix.faults == faults).unwrap_or_else(|| {
                mixes.push(Mix { faults, latency: Histogram::default() });
                mixes.len() - 1
            })
        };
        let active =
            |at: u64| spans.iter().filter(move |span| span.from_us <= at && at < span.to_us);
        let faults = |at| active(at).map(|span| span.fault.clone()).collect();
        let borders = instants.into_iter().map(|at| (at, index_of(faults(at)))).collect();
        Self { spans, borders, mixes }
    }

    /// A reading that was meant to be sent at `due` arrived.
    pub(super) fn record(&mut self, due: Instant, latency: std::time::Duration) {
        let after = self.borders.partition_point(|(at, _)| *at <= due.as_micros());
        let border = after.checked_sub(1).and_then(|before| self.borders.get(before));
        if let Some(mix) = border.and_then(|(_, index)| self.mixes.get_mut(*index)) {
            mix.latency.record(latency);
        }
    }

    /// All faults, the earliest first.
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// [`QUIET`] first, then the faults by their first beginning; without their percentiles.
    pub(super) fn phases(&self) -> Vec<Phase> {
        let phase = |name: &str| {
            let spans = self.spans.iter().filter(|span| span.fault == name).cloned().collect();
            Phase { name: name.to_owned(), spans, latency: Summary::default() }
        };
        let mut phases = vec![phase(QUIET)];
        for span in &self.spans {
            if !phases.iter().any(|phase| phase.name == span.fault) {
                phases.push(phase(&span.fault));
            }
        }
        phases
    }

    pub(super) fn mixes(&self) -> Vec<Mix> {
        let mut mixes = self.mixes.clone();
        mixes.sort_by(|a, b| a.faults.cmp(&b.faults));
        mixes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn span(fault: &str, from_us: u64, to_us: u64) -> Span {
        Span { fault: fault.to_owned(), from_us, to_us }
    }

    #[test]
    fn a_reading_belongs_to_all_faults_that_were_active_when_it_was_due() {
        let spans = vec![span("b", 20, 40), span("a", 10, 30), span("kill", 50, 50)];
        let mut phases = Phases::new(spans);
        for due in [0, 9, 10, 19, 20, 29, 30, 39, 40, 50, 99] {
            phases.record(Instant::from_micros(due), Duration::from_micros(due));
        }
        let mixes = phases.mixes();
        let counts: Vec<_> = mixes
            .iter()
            .map(|mix| (Vec::from_iter(mix.faults.iter().map(String::as_str)), mix.latency.count()))
            .collect();
        let expected = [(vec![], 5), (vec!["a"], 2), (vec!["a", "b"], 2), (vec!["b"], 2)];
        assert_eq!(counts, expected);
        let names: Vec<_> = phases.phases().into_iter().map(|phase| phase.name).collect();
        assert_eq!(names, ["quiet", "a", "b", "kill"]);
        assert_eq!(latency_of(&mixes, "b").count(), 4);
        assert_eq!(latency_of(&mixes, "kill").count(), 0);
        assert_eq!(latency_of(&mixes, QUIET).max(), Some(Duration::from_micros(99)));
    }
}
