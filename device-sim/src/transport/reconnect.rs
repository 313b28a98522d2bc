//! Connecting to a gateway, again whenever the connection is gone.

use std::net::SocketAddr;
use std::time::Duration;

use proto::Instant;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Surroundings;
use crate::clock::Clock;

/// The pause before the first attempt to connect again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One connection after the other.
pub(super) struct Reconnect {
    gateway: SocketAddr,
    pause: Pause,
}

impl Reconnect {
    pub(super) fn new(gateway: SocketAddr) -> Self {
        Self { gateway, pause: Pause::default() }
    }

    /// The next connection, or `None` after `stop`.
    pub(super) async fn next(
        &mut self,
        device: &str,
        surroundings: &Surroundings,
        stop: &CancellationToken,
    ) -> Option<TcpStream> {
        while self.pause.wait(&surroundings.clock, stop).await {
            match stop.run_until_cancelled(TcpStream::connect(self.gateway)).await? {
                Ok(stream) => {
                    self.pause.reset();
                    return Some(stream);
                }
                Err(error) => tracing::debug!(device, %error, "no connection"),
            }
        }
        None
    }
}

/// The pause before an attempt; none before the first.
#[derive(Debug, Default)]
pub struct Pause(Duration);

impl Pause {
    /// An attempt was successful.
    pub const fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }

    /// When the next attempt is due, after one that failed or a connection that ended at `now`.
    pub fn next_after(&mut self, now: Instant) -> Instant {
        let at = now + self.0;
        self.0 = (self.0 * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        at
    }

    /// The first attempt from `now` on, where all from the one that was due at `missed` on have failed.
    pub fn skip_to(&mut self, missed: Instant, now: Instant) -> Instant {
        let mut at = missed;
        while at < now && self.0 < LONGEST_PAUSE {
            at = self.next_after(at);
        }
        let behind = u64::try_from(now.saturating_since(at).as_micros()).unwrap_or(u64::MAX);
        let step = u64::try_from(LONGEST_PAUSE.as_micros()).unwrap_or(u64::MAX);
        Instant::from_micros(at.as_micros().saturating_add(behind.div_ceil(step) * step))
    }

    /// Waits until it is time for the next attempt; false after `stop`.
    pub(super) async fn wait(&mut self, clock: &Clock, stop: &CancellationToken) -> bool {
        let at = self.next_after(clock.now());
        stop.run_until_cancelled(clock.sleep_until(at)).await.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_are_skipped_are_those_that_would_have_failed() {
        let start = Instant::from_micros(17);
        for now in (0..=300).map(|tenths| Instant::from_micros(tenths * 100_000)) {
            let (mut one, mut other) = (Pause::default(), Pause::default());
            let first = one.next_after(start);
            let mut at = other.next_after(start);
            while at < now {
                at = other.next_after(at);
            }
            assert_eq!(one.skip_to(first, now), at, "{now:?}");
        }
    }
}
