//! The last seconds of a fleet, for those who look on.

use std::collections::VecDeque;
use std::time::Duration;

use proto::Instant;

/// Whole seconds that are kept.
const SECONDS: usize = 40;

/// A fleet second by second.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse {
    /// Since the run began.
    second: u64,
    current: Beat,
    /// Those that are over, the oldest first.
    past: VecDeque<Beat>,
}

/// What happened in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) sent: u64,
    pub(super) arrived: u64,
    /// The longest latency of what arrived.
    pub(super) latency: Option<Duration>,
}

impl Pulse {
    pub(super) fn handle_sent(&mut self, at: Instant) {
        self.advance(at);
        self.current.sent += 1;
    }

    pub(super) fn handle_arrived(&mut self, at: Instant, latency: Duration) {
        self.advance(at);
        self.current.arrived += 1;
        self.current.latency = self.current.latency.max(Some(latency));
    }

    /// The seconds before the one of `now`, the oldest first.
    pub(super) fn past(&self, now: Instant) -> Vec<Beat> {
        let mut pulse = self.clone();
        pulse.advance(now);
        pulse.past.into()
    }

    fn advance(&mut self, at: Instant) {
        let second = at.as_micros() / 1_000_000;
        let over = second.saturating_sub(self.second);
        for _ in 0..over.min(SECONDS as u64 + 1) {
            if self.past.len() >= SECONDS {
                self.past.pop_front();
            }
            self.past.push_back(std::mem::take(&mut self.current));
        }
        self.second = self.second.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_that_are_over_are_kept_for_a_while() {
        let at = |millis: u64| Instant::from_micros(millis * 1000);
        let mut pulse = Pulse::default();
        pulse.handle_sent(at(100));
        pulse.handle_arrived(at(900), Duration::from_millis(7));
        pulse.handle_arrived(at(950), Duration::from_millis(3));
        assert_eq!(pulse.past(at(999)), []);
        let beat = Beat { sent: 1, arrived: 2, latency: Some(Duration::from_millis(7)) };
        assert_eq!(pulse.past(at(2500)), [beat, Beat::default()]);
        assert_eq!(pulse.past(at(40_000)).first(), Some(&beat));
        assert_eq!(pulse.past(Instant::FAR_FUTURE), [Beat::default(); 40]);
    }
}
