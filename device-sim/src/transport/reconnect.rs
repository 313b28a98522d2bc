//! Connecting to a gateway, again whenever the connection is gone.

use std::net::SocketAddr;
use std::time::Duration;

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
pub(super) struct Pause(Duration);

impl Pause {
    /// An attempt was successful.
    pub(super) const fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }

    /// Waits until it is time for the next attempt; false after `stop`.
    pub(super) async fn wait(&mut self, clock: &Clock, stop: &CancellationToken) -> bool {
        let at = clock.now() + self.0;
        self.0 = (self.0 * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        stop.run_until_cancelled(clock.sleep_until(at)).await.is_some()
    }
}
