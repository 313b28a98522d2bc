//! One datagram per report, and no answer.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use proto::Reading;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, Surroundings, TransportError};
use crate::Via;
use crate::device::Device;
use crate::fault::Fate;
use crate::payload::Payload;

/// Datagrams whose fate is waited for; beyond, that of the oldest is not.
const MAX_WATCHED: usize = 1024;

/// Datagrams.
#[derive(Debug)]
pub struct UdpUplink {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// What is in them.
    pub payload: Payload,
    /// What becomes of them on a way with faults.
    pub fates: Option<mpsc::Receiver<Fate>>,
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
        let mut watched = Watched { fates: self.fates, sent: VecDeque::new() };
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                fate = watched.next() => watched.judge(&fate, &surroundings),
                () = clock.sleep_until(device.poll_timeout()) => {
                    while let Some(readings) = surroundings.take_due(&mut device, Via::Udp) {
                        let datagram = self.payload.encode(&readings);
                        if let Err(error) = socket.send(&datagram).await {
                            tracing::debug!(device = device.id(), %error, "cannot send");
                            surroundings.ledger.handle_unanswered(&readings);
                        } else {
                            watched.push(datagram, readings);
                        }
                    }
                }
            }
        }
        let rest = async {
            while !watched.sent.is_empty() {
                let fate = watched.next().await;
                watched.judge(&fate, &surroundings);
            }
        };
        if timeout(PATIENCE, rest).await.is_err() {
            tracing::debug!(device = device.id(), "not all fates are known");
        }
        Ok(())
    }
}

/// Datagrams whose fate is not known yet, in the order in which they were sent.
struct Watched {
    fates: Option<mpsc::Receiver<Fate>>,
    sent: VecDeque<(Vec<u8>, Vec<Reading>)>,
}

impl Watched {
    fn push(&mut self, datagram: Vec<u8>, readings: Vec<Reading>) {
        if self.fates.is_none() {
            return;
        }
        if self.sent.len() >= MAX_WATCHED {
            self.sent.pop_front();
        }
        self.sent.push_back((datagram, readings));
    }

    async fn next(&mut self) -> Fate {
        let fate = match &mut self.fates {
            Some(fates) => fates.recv().await,
            None => None,
        };
        match fate {
            Some(fate) => fate,
            None => std::future::pending().await,
        }
    }

    /// Earlier ones never came as far as the faults.
    fn judge(&mut self, fate: &Fate, surroundings: &Surroundings) {
        let Some(at) = self.sent.iter().position(|(sent, _)| *sent == fate.datagram) else {
            return;
        };
        self.sent.drain(..at);
        if let Some((_, readings)) = self.sent.pop_front()
            && !fate.arrives
        {
            surroundings.ledger.handle_injured(&readings);
        }
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
