//! Where a fault plan cuts a connection: a count of what passes through it.
//!
//! Call [`Fuse::handle_plan`] when the plan has changed and the other `handle_*` for what arrives
//! and leaves; after each, look at [`Fuse::poll_cut`].

use super::CutAfter;
use super::faults::FaultPlan;

/// Counts one connection down to its cut.
#[derive(Debug, Default)]
pub(super) struct Fuse {
    switched: u64,
    cut: Option<CutAfter>,
    packets: u64,
    received: u64,
    sent: u64,
}

impl Fuse {
    /// Takes over what the plan says, and counts anew when it was switched.
    pub(super) fn handle_plan(&mut self, plan: &FaultPlan) {
        if plan.cut.switched() != self.switched {
            let cut = plan.cut.value().map(|cut| cut.after);
            *self = Self { switched: plan.cut.switched(), cut, ..Self::default() };
        }
    }

    /// Counts bytes that arrived; returns how many of them lie beyond the cut.
    pub(super) fn handle_received(&mut self, bytes: usize) -> usize {
        self.received += as_u64(bytes);
        match self.cut {
            Some(CutAfter::Bytes(limit)) => at_most(bytes, self.received.saturating_sub(limit)),
            Some(CutAfter::Packets(_) | CutAfter::SentBytes(_)) | None => 0,
        }
    }

    /// Counts a packet that arrived.
    pub(super) fn handle_packet(&mut self) {
        self.packets += 1;
    }

    /// Counts bytes that were sent.
    pub(super) fn handle_sent(&mut self, bytes: usize) {
        self.sent += as_u64(bytes);
    }

    /// How many of `bytes` may be sent before the cut.
    pub(super) fn sendable(&self, bytes: usize) -> usize {
        match self.cut {
            Some(CutAfter::SentBytes(limit)) => at_most(bytes, limit.saturating_sub(self.sent)),
            Some(CutAfter::Packets(_) | CutAfter::Bytes(_)) | None => bytes,
        }
    }

    /// Whether the point of the cut is reached; the number goes to
    /// [`Faults::claim_cut`](super::Faults::claim_cut).
    pub(super) fn poll_cut(&self) -> Option<u64> {
        let reached = match self.cut? {
            CutAfter::Packets(limit) => self.packets >= limit,
            CutAfter::Bytes(limit) => self.received >= limit,
            CutAfter::SentBytes(limit) => self.sent >= limit,
        };
        reached.then_some(self.switched)
    }

    /// The cut belongs to another connection.
    pub(super) fn disarm(&mut self) {
        self.cut = None;
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn at_most(n: usize, limit: u64) -> usize {
    n.min(usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Faults, Which};

    fn fuse(faults: &Faults) -> Fuse {
        let mut fuse = Fuse::default();
        fuse.handle_plan(&faults.watch().borrow());
        fuse
    }

    #[test]
    fn cut_that_was_switched_since_cannot_be_claimed() {
        let faults = Faults::new();
        faults.cut_each(CutAfter::Packets(1));
        let mut fuse = fuse(&faults);
        fuse.handle_packet();
        let reached = fuse.poll_cut().unwrap();
        assert!(faults.claim_cut(reached).is_some());
        assert!(faults.claim_cut(reached).is_some(), "each connection can");
        faults.cut_each(CutAfter::Packets(100));
        assert!(faults.claim_cut(reached).is_none());
    }

    #[test]
    fn single_cut_is_claimed_once() {
        let faults = Faults::new();
        faults.cut_once(CutAfter::Bytes(0));
        let reached = fuse(&faults).poll_cut().unwrap();
        assert!(faults.claim_cut(reached).is_some());
        assert!(faults.claim_cut(reached).is_none());
        assert_eq!(fuse(&faults).poll_cut(), None, "later connections are spared");
    }

    #[test]
    fn switch_begins_to_count_anew() {
        let faults = Faults::new();
        faults.cut_each(CutAfter::Bytes(10));
        let mut fuse = fuse(&faults);
        assert_eq!(fuse.handle_received(9), 0);
        faults.cut_each(CutAfter::Bytes(10));
        fuse.handle_plan(&faults.watch().borrow());
        assert_eq!(fuse.handle_received(9), 0);
        assert_eq!(fuse.poll_cut(), None);
        assert_eq!(fuse.handle_received(4), 3);
        assert!(fuse.poll_cut().is_some());
    }

    #[test]
    fn other_switches_do_not_disturb_the_count() {
        let faults = Faults::new();
        faults.cut_each(CutAfter::SentBytes(10));
        let mut fuse = fuse(&faults);
        fuse.handle_sent(8);
        faults.drop_pubacks(Which::All);
        fuse.handle_plan(&faults.watch().borrow());
        assert_eq!(fuse.sendable(5), 2);
    }
}
