//! One datagram per report, and no answer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::{Surroundings, TransportError};
use crate::Via;
use crate::device::Device;
use crate::payload::Payload;

/// Datagrams.
#[derive(Clone, Debug)]
pub struct UdpUplink {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// What is in them.
    pub payload: Payload,
}

impl UdpUplink {
    pub(super) async fn run(
        self,
        mut device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) -> Result<(), TransportError> {
        let socket = connect(self.gateway).await?;
        let clock = surroundings.clock;
        while stop.run_until_cancelled(clock.sleep_until(device.poll_timeout())).await.is_some() {
            while let Some(readings) = surroundings.take_due(&mut device, Via::Udp) {
                if let Err(error) = socket.send(&self.payload.encode(&readings)).await {
                    tracing::debug!(device = device.id(), %error, "cannot send");
                    surroundings.ledger.handle_unanswered(&readings);
                }
            }
        }
        Ok(())
    }
}

/// A socket on a port of its own.
pub(super) async fn connect(gateway: SocketAddr) -> Result<UdpSocket, TransportError> {
    socket_to(gateway).await.map_err(TransportError::Socket)
}

/// A socket on a free port that is connected to `peer`.
pub(crate) async fn socket_to(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any = match peer {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(peer).await?;
    Ok(socket)
}
