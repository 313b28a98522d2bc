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
pub(super) struct Backoff {
    limit: Duration,
    next: Duration,
    rng: Rng,
}

impl Backoff {
    pub(super) fn new(limit: Duration, seed: u64) -> Self {
        Self { limit, next: FIRST.min(limit), rng: Rng::new(seed) }
    }

    /// The pause to make now, after a connection that lasted from `connected` on, if there was one.
    pub(super) fn handle_end(&mut self, connected: Option<Instant>, now: Instant) -> Duration {
        if connected.is_some_and(|since| now - since >= STABLE) {
            self.next = FIRST.min(self.limit);
        }
        let pause = self.rng.duration(self.next / 2, self.next);
        self.next = (self.next * 2).min(self.limit);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_over_after_a_stable_connection() {
        let limit = Duration::from_secs(5);
        let mut backoff = Backoff::new(limit, 7);
        let mut expected = FIRST;
        for _ in 0..10 {
            let pause = backoff.handle_end(None, Instant::ZERO);
            assert!(pause >= expected / 2 && pause <= expected, "{pause:?} of {expected:?}");
            expected = (expected * 2).min(limit);
        }
        let short = Some(Instant::ZERO);
        assert!(backoff.handle_end(short, Instant::ZERO + STABLE / 2) > FIRST);
        assert!(backoff.handle_end(short, Instant::ZERO + STABLE) <= FIRST);
    }
}
