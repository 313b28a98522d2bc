//! The only place where this crate reads time.
//!
//! Cores take a [`proto::Instant`]; a [`Clock`] turns the real one into it and back. Whoever
//! measures latency between two parts of one process gives both the same clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proto::{Instant, Timestamp};

/// A monotonic clock with an origin of its own.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
    civil_origin: Timestamp,
}

impl Clock {
    /// A clock that starts at zero, now.
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the clocks")]
    pub fn start() -> Self {
        let civil = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let civil = i64::try_from(civil.as_nanos()).unwrap_or(i64::MAX);
        Self { origin: tokio::time::Instant::now(), civil_origin: Timestamp::from_nanos(civil) }
    }

    /// Civil time at the origin, by the machine's clock as it was then: civil time that is computed
    /// from it never goes back.
    pub const fn civil_origin(&self) -> Timestamp {
        self.civil_origin
    }

    /// How much earlier this clock started than a `later` one.
    pub fn ahead_of(&self, later: &Self) -> Duration {
        later.origin.saturating_duration_since(self.origin)
    }

    /// Time since the origin.
    pub fn now(&self) -> Instant {
        let micros = self.origin.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Waits until `deadline`; [`Instant::FAR_FUTURE`] and anything the runtime's timer cannot
    /// reach wait for ever.
    pub async fn sleep_until(&self, deadline: Instant) {
        match self.origin.checked_add(deadline.saturating_since(Instant::ZERO)) {
            Some(at) if deadline != Instant::FAR_FUTURE => tokio::time::sleep_until(at).await,
            Some(_) | None => std::future::pending().await,
        }
    }
}
