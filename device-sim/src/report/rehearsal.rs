//! What can be seen of a gateway that is played in virtual time together with its devices: how far its
//! store filled, what waited, what was dropped, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text::{bytes, count, duration};

/// The figures of a rehearsal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rehearsal {
    /// The source that each fleet feeds.
    pub sources: BTreeMap<String, String>,
    /// How often the gateway was started.
    pub starts: u64,
    /// The store at its largest.
    pub largest_store_bytes: u64,
    /// Readings that waited for each broker, at the most.
    pub largest_backlog: BTreeMap<String, u64>,
    /// Readings that still waited for each broker at the end; none is left out.
    pub left: BTreeMap<String, u64>,
    /// How long it took until nothing waited any more, after each time that a broker was away.
    pub drained: Vec<Drained>,
    /// Readings that were dropped for a broker because of a policy, by broker and policy.
    pub dropped: BTreeMap<String, BTreeMap<String, u64>>,
    /// Readings that were not stored, by reason.
    pub not_stored: BTreeMap<String, u64>,
    /// What sources did not take, by source and reason.
    pub refused: BTreeMap<String, BTreeMap<String, u64>>,
    /// Publishes that a broker did not take or that could not be made, by broker and reason.
    pub unpublished: BTreeMap<String, BTreeMap<String, u64>>,
    /// Commits.
    pub commits: u64,
    /// Bytes of readings in them.
    pub committed_bytes: u64,
}

/// A broker was away and has caught up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drained {
    /// Which.
    pub broker: String,
    /// Readings that waited for it when it was there again.
    pub backlog: u64,
    /// When it was there again, since the run began.
    pub back_us: u64,
    /// How long it took until none waited; absent where that never came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
}

impl Rehearsal {
    /// Names and values for people, and whether that is a loss.
    pub(super) fn rows(&self) -> Vec<(String, String, bool)> {
        let mut rows = Vec::new();
        for (fleet, source) in &self.sources {
            rows.push((format!("{fleet} feeds"), format!("source {source}"), false));
        }
        rows.push(("starts".to_owned(), count(self.starts), false));
        rows.push(("largest store".to_owned(), bytes(self.largest_store_bytes), false));
        let written = bytes(self.committed_bytes);
        let commits = format!("{written} of readings in {} commits", count(self.commits));
        rows.push(("written".to_owned(), commits, false));
        for (broker, backlog) in &self.largest_backlog {
            rows.push((format!("largest backlog of {broker}"), count(*backlog), false));
        }
        for Drained { broker, backlog, back_us, took_us } in longest(&self.drained) {
            let at = duration(Duration::from_micros(*back_us));
            let value = match took_us {
                Some(took) => {
                    let took = duration(Duration::from_micros(*took));
                    format!("{} readings within {took}, from {at} on", count(*backlog))
                }
                None => format!("{} readings never, from {at} on", count(*backlog)),
            };
            rows.push((format!("{broker} caught up"), value, took_us.is_none()));
        }
        for (broker, left) in self.left.iter().filter(|(_, left)| **left > 0) {
            rows.push((format!("left for {broker}"), count(*left), true));
        }
        push_all(&mut rows, "dropped for", &self.dropped);
        for (reason, number) in &self.not_stored {
            rows.push((format!("not stored, {reason}"), count(*number), true));
        }
        push_all(&mut rows, "refused by", &self.refused);
        push_all(&mut rows, "not published to", &self.unpublished);
        rows
    }
}

/// Of each broker the time that took longest, with the most readings; one that never came is longer
/// than any.
fn longest(drained: &[Drained]) -> Vec<&Drained> {
    let mut longest = BTreeMap::<&str, &Drained>::new();
    for one in drained {
        let length = |drained: &Drained| (drained.took_us.unwrap_or(u64::MAX), drained.backlog);
        let kept = longest.entry(&one.broker).or_insert(one);
        if length(one) > length(kept) {
            *kept = one;
        }
    }
    longest.into_values().collect()
}

fn push_all(
    rows: &mut Vec<(String, String, bool)>,
    what: &str,
    counts: &BTreeMap<String, BTreeMap<String, u64>>,
) {
    for (of, reasons) in counts {
        for (reason, number) in reasons {
            rows.push((format!("{what} {of}, {reason}"), count(*number), true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_outages_the_one_that_took_longest_is_told() {
        let drained =
            |back_us, took_us| Drained { broker: "b".to_owned(), backlog: 7, back_us, took_us };
        let rehearsal = Rehearsal {
            drained: vec![drained(1_000_000, Some(5)), drained(2_000_000, Some(9))],
            ..Rehearsal::default()
        };
        let told = |rehearsal: &Rehearsal| {
            let rows = rehearsal.rows();
            let row = rows.into_iter().find(|(name, ..)| name == "b caught up");
            row.map(|(_, value, is_bad)| (value, is_bad)).unwrap()
        };
        let longest = "7 readings within 9 µs, from 2.00 s on".to_owned();
        assert_eq!(told(&rehearsal), (longest, false));
        let mut never = rehearsal;
        never.drained.push(drained(3_000_000, None));
        assert_eq!(told(&never), ("7 readings never, from 3.00 s on".to_owned(), true));
    }
}
