//! The sockets towards nodes: one for each family of addresses, whatever the number of nodes.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use crate::source::udp::bind_udp;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams taken from a socket before other tasks get a turn.
const TURN: usize = 64;
/// The kernel's receive buffer: what many nodes answer at once.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// One or two sockets.
pub(super) struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    buffer: Vec<u8>,
}

/// The families that there is a socket for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Families {
    v4: bool,
    v6: bool,
}

impl Families {
    /// Whether a node at `address` can be asked.
    pub(super) const fn reach(self, address: &SocketAddr) -> bool {
        match address {
            SocketAddr::V4(_) => self.v4,
            SocketAddr::V6(_) => self.v6,
        }
    }
}

impl Sockets {
    /// Opens a socket for each family that the machine has, at ports that the system chooses.
    pub(super) fn open() -> Result<Self, (SocketAddr, io::Error)> {
        let (v4, v6) = ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into());
        let v6 = bind_udp(v6, RECEIVE_BUFFER).ok();
        let v4 = match bind_udp(v4, RECEIVE_BUFFER) {
            Ok(socket) => Some(socket),
            Err(error) if v6.is_none() => return Err((v4, error)),
            Err(_) => None,
        };
        Ok(Self { v4, v6, buffer: vec![0; MAX_DATAGRAM] })
    }

    /// Where requests come from.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let sockets = self.v4.iter().chain(&self.v6);
        sockets.filter_map(|socket| socket.local_addr().ok()).collect()
    }

    pub(super) const fn families(&self) -> Families {
        Families { v4: self.v4.is_some(), v6: self.v6.is_some() }
    }

    pub(super) async fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        match socket {
            Some(socket) => socket.send_to(datagram, to).await.map(drop),
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Waits until something has arrived.
    pub(super) async fn readable(&self) {
        async fn one(socket: Option<&UdpSocket>) {
            match socket {
                // An error is one of an earlier datagram (ICMP), which reading takes away.
                Some(socket) => drop(socket.readable().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(self.v4.as_ref()) => {}
            () = one(self.v6.as_ref()) => {}
        }
    }

    /// Takes what has arrived, for one turn.
    pub(super) fn receive(&mut self, mut take: impl FnMut(SocketAddr, &[u8])) {
        for socket in self.v4.iter().chain(&self.v6) {
            for _ in 0..TURN {
                match socket.try_recv_from(&mut self.buffer) {
                    Ok((len, from)) => take(from, self.buffer.get(..len).unwrap_or_default()),
                    // An ICMP error of an earlier datagram, or nothing more to read.
                    Err(_) => break,
                }
            }
        }
    }
}
