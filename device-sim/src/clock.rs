//! The only place where this crate reads time.
//!
//! Cores take a [`proto::Instant`]; a [`Clock`] turns the real one into it and back. Whoever
//! measures latency between two parts of one process gives both the same clock.

use proto::Instant;

/// A monotonic clock with an origin of its own.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
}

impl Clock {
    /// A clock that starts at zero, now.
    pub fn start() -> Self {
        Self { origin: tokio::time::Instant::now() }
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
