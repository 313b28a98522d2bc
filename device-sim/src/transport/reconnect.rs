//! Connecting to a gateway, again whenever the connection is gone.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Surroundings;

/// The pause before the first attempt to connect again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One connection after the other.
pub(super) struct Reconnect {
    gateway: SocketAddr,
    pause: Duration,
}

impl Reconnect {
    pub(super) const fn new(gateway: SocketAddr) -> Self {
        Self { gateway, pause: Duration::ZERO }
    }

    /// The next connection, or `None` after `stop`.
    pub(super) async fn next(
        &mut self,
        device: &str,
        surroundings: &Surroundings,
        stop: &CancellationToken,
    ) -> Option<TcpStream> {
        loop {
            let at = surroundings.now() + self.pause;
            stop.run_until_cancelled(surroundings.clock.sleep_until(at)).await?;
            match stop.run_until_cancelled(TcpStream::connect(self.gateway)).await? {
                Ok(stream) => {
                    self.pause = FIRST_PAUSE;
                    return Some(stream);
                }
                Err(error) => {
                    tracing::debug!(device, %error, "no connection");
                    self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                }
            }
        }
    }
}
