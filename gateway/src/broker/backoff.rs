//! The pause before the next attempt to connect.

use std::time::Duration;

use proto::{Instant, Rng};

/// The pause after the first failure.
const FIRST: Duration = Duration::from_millis(200);
/// A connection that lasted this long starts the pauses over.
const STABLE: Duration = Duration::from_secs(10);

/// Pauses that double up to a limit, each between half and the whole of it, so that gateways
/// which lost the same broker do not come back together.
#[derive(Debug)]
pub(crate) struct Backoff {
    limit: Duration,
    next: Duration,
    rng: Rng,
}

impl Backoff {
    pub(crate) fn new(limit: Duration, seed: u64) -> Self {
        Self { limit, next: FIRST.min(limit), rng: Rng::new(seed) }
    }

    /// Whether a connection that lasted from `connected` on, if there was one, lasted.
    pub(crate) fn is_stable(connected: Option<Instant>, now: Instant) -> bool {
        connected.is_some_and(|since| now - since >= STABLE)
    }

    /// Starts over.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST.min(self.limit);
    }

    /// The pause to make now.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.rng.duration(self.next / 2, self.next);
        self.next = (self.next * 2).min(self.limit);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_over() {
        let limit = Duration::from_secs(5);
        let mut backoff = Backoff::new(limit, 7);
        let mut expected = FIRST;
        for _ in 0..10 {
            let pause = backoff.pause();
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} of {expected:?}");
            expected = (expected * 2).min(limit);
        }
        assert!(backoff.pause() > FIRST);
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }

    #[test]
    fn a_connection_is_stable_after_a_while() {
        let stable = |connected, after| Backoff::is_stable(connected, Instant::ZERO + after);
        assert!(!stable(None, STABLE));
        assert!(!stable(Some(Instant::ZERO), STABLE / 2));
        assert!(stable(Some(Instant::ZERO), STABLE));
    }
}
