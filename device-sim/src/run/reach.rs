//! Whether there is what a run needs, before it begins: somebody who listens, and sockets enough.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::RunError;
use crate::transport::socket_to;

/// How long a gateway may take to accept a connection, or to answer a ping.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one ping is waited for.
const PING: Duration = Duration::from_millis(500);
/// Files besides the sockets of devices: standard streams, the far end, what it logs to.
const OTHER_FILES: u64 = 64;

/// Nobody listens.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// A name has no address.
    #[error("`target.{key}`: cannot find {host}")]
    Name {
        /// The key of the target.
        key: &'static str,
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The gateway could not connect to us.
    #[error("`target.{key}`: cannot listen at {address}, where the gateway is to connect")]
    Listen {
        /// The key of the target.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There is no connection.
    #[error("`target.{key}`: nobody takes connections at {address}: start the gateway first")]
    Connect {
        /// The key of the target.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No CoAP server answers.
    #[error("`target.{key}`: no CoAP server answers at {address}: start the gateway first")]
    Ping {
        /// The key of the target.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Tries a connection.
pub(super) async fn connect(key: &'static str, address: SocketAddr) -> Result<(), ReachError> {
    let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
    match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(_) => Ok(()),
        Err(source) => Err(ReachError::Connect { key, address, source }),
    }
}

/// Sends CoAP pings (RFC 7252 §4.3) until a Reset answers.
pub(super) async fn ping(key: &'static str, address: SocketAddr) -> Result<(), ReachError> {
    let failed = |source| ReachError::Ping { key, address, source };
    match timeout(PATIENCE, pings(address)).await {
        Ok(answered) => answered.map_err(failed),
        Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
    }
}

async fn pings(address: SocketAddr) -> io::Result<()> {
    let socket = socket_to(address).await?;
    // Confirmable and Empty; each has a message id of its own.
    for id in 0_u8..=u8::MAX {
        socket.send(&[0x40, 0, 0, id]).await?;
        let mut answer = [0; 16];
        match timeout(PING, socket.recv(&mut answer)).await {
            // A Reset, or an Acknowledgement of a server that is kind.
            Ok(Ok(4)) if matches!(answer, [0x70 | 0x60, 0, ..]) => return Ok(()),
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Raises the limit of open files as far as it has to be for so many sockets.
pub(super) fn make_room(sockets: u64) -> Result<(), RunError> {
    let needed = sockets.saturating_add(OTHER_FILES);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(limit) = maximum.filter(|maximum| *maximum < needed) {
        return Err(RunError::Files { needed, limit });
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .map_err(|error| RunError::System(error.into()))
}
