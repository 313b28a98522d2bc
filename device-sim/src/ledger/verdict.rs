//! What a ledger comes to.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use serde::Serialize;

use crate::via::Via;

/// Readings, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Written, or tried to.
    pub sent: u64,
    /// Acknowledged by the gateway; none where the protocol has no acknowledgement.
    pub acknowledged: u64,
    /// Seen at the far end, once or more often.
    pub arrived: u64,
    /// Accepted, not seen yet, and only late.
    pub waiting: u64,
    /// Accepted and never seen.
    pub lost: u64,
    /// Seen again.
    pub duplicates: u64,
    /// Seen with another value than was sent.
    pub wrong: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.arrived += other.arrived;
        self.waiting += other.waiting;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.wrong += other.wrong;
    }
}

/// What became of all readings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// By what carried them.
    pub transports: BTreeMap<Via, Tally>,
    /// Arrivals that nobody has sent.
    pub unknown: u64,
}

impl Verdict {
    /// All transports together.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.transports.values().for_each(|tally| total += *tally);
        total
    }

    /// Whether everything that was accepted has arrived as it was sent, and nothing else.
    pub fn is_good(&self) -> bool {
        let total = self.total();
        total.waiting == 0 && total.lost == 0 && total.wrong == 0 && self.unknown == 0
    }

    pub(super) fn add(&mut self, via: Via, tally: Tally) {
        *self.transports.entry(via).or_default() += tally;
    }
}
