//! What an endpoint has to do later, in the order of time.

use alloc::collections::BTreeSet;

use super::arena::Key;
use crate::Instant;

/// Something to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// Retransmit this message of ours, or give it up.
    Retransmit(Key, u16),
    /// Stop waiting for the response to this request.
    Response(Key),
    /// Stop counting this Non-confirmable request as outstanding.
    Slot(Key),
    /// This peer's message ids can be used again.
    MessageIds(Key),
    /// Send this delayed response to a group.
    Leisure(u64),
}

/// The timers that are set. Both setting and clearing take O(log n).
#[derive(Debug)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub(super) const fn new() -> Self {
        Self { due: BTreeSet::new() }
    }

    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        self.due.insert((at, timer));
    }

    /// Undoes [`set`](Self::set) with the same arguments.
    pub(super) fn clear(&mut self, at: Instant, timer: Timer) {
        self.due.remove(&(at, timer));
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// The first timer that is due at `now`; it is not set any more.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        if self.next_at()? > now {
            return None;
        }
        self.due.pop_first().map(|(_, timer)| timer)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}
