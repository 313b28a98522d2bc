//! What is due when.

use std::collections::BTreeSet;

use proto::Instant;

use super::ConnectionId;
use crate::broker::session::SessionId;

/// What time brings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// A connection may have been silent for too long.
    Silence(ConnectionId),
    /// A will has waited for its client (MQTT 5 §3.1.3.2.2).
    Will(SessionId),
    /// A session has waited for its client (MQTT 5 §3.1.2.11.2).
    Session(SessionId),
}

/// Timers in the order of their time, of each kind and owner at most one.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Instant, Timer)>);

impl Timers {
    pub(super) fn insert(&mut self, at: Instant, timer: Timer) {
        self.0.insert((at, timer));
    }

    /// Removes a timer that was set for `at`.
    pub(super) fn remove(&mut self, at: Option<Instant>, timer: Timer) {
        if let Some(at) = at {
            self.0.remove(&(at, timer));
        }
    }

    /// Takes the next one that is due `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        self.0.first().filter(|&&(at, _)| at <= now)?;
        self.0.pop_first().map(|(_, timer)| timer)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Instant {
        self.0.first().map_or(Instant::FAR_FUTURE, |&(at, _)| at)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
