//! The one place where time enters.

#![expect(clippy::disallowed_methods, reason = "this is the file that reads the clocks")]

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use proto::{Instant, Timestamp};

static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();

/// Monotonic time since the first call in this process.
pub(crate) fn now() -> Instant {
    let elapsed = ORIGIN.get_or_init(std::time::Instant::now).elapsed();
    Instant::ZERO + elapsed
}

/// The point of tokio's clock at which `instant` is reached.
pub(crate) fn deadline(instant: Instant) -> tokio::time::Instant {
    tokio::time::Instant::now() + instant.saturating_since(now())
}

/// Civil time, by the machine's clock.
pub(crate) fn wall() -> Timestamp {
    let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
    };
    Timestamp::from_nanos(nanos)
}
