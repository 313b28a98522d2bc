//! Datagrams.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Context, SourceError};
use crate::config::{Frame, UdpLink};
use crate::frame::{FrameError, LineFramer};

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams taken before other tasks get a turn.
const TURN: usize = 64;
/// Turns that a stopping source takes to empty its socket, while devices may go on to send.
const LAST_TURNS: usize = 1024;
/// How often the kernel is asked for what it dropped.
const DROP_CHECK: Duration = Duration::from_secs(2);

/// A UDP socket.
pub(crate) struct UdpSource {
    context: Context,
    socket: UdpSocket,
    address: SocketAddr,
    lines: bool,
}

impl UdpSource {
    pub(super) fn open(
        context: Context,
        link: &UdpLink,
        frame: Option<&Frame>,
    ) -> Result<Self, SourceError> {
        let receive_buffer = usize::try_from(link.receive_buffer.bytes()).unwrap_or(usize::MAX);
        let socket = bind_udp(link.bind, receive_buffer);
        let socket = socket.map_err(|source| context.bind_error("link.bind", link.bind, source))?;
        let address = socket.local_addr().unwrap_or(link.bind);
        info!(source = %context.name, %address, "listening for UDP");
        context.status.set_listening(vec![address]);
        let lines = matches!(frame, Some(Frame::Lines(_)));
        Ok(Self { context, socket, address, lines })
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut drop_check = interval(DROP_CHECK);
        let mut dropped = 0;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = drop_check.tick() => self.count_dropped(&mut dropped),
                ready = self.socket.readable() => match ready {
                    Ok(()) => drop(self.receive(&mut buffer).await),
                    Err(error) => self.warn_of(&error),
                },
            }
        }
        // What has arrived before the stop is not lost with the socket.
        for _ in 0..LAST_TURNS {
            if !self.receive(&mut buffer).await {
                break;
            }
        }
        self.count_dropped(&mut dropped);
    }

    /// Takes what has arrived, for one turn; whether there may be more.
    async fn receive(&self, buffer: &mut [u8]) -> bool {
        for _ in 0..TURN {
            match self.socket.try_recv_from(buffer) {
                Ok((len, peer)) => {
                    let datagram = buffer.get(..len).unwrap_or_default();
                    self.handle_datagram(datagram, peer).await;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    self.warn_of(&error);
                    return false;
                }
            }
        }
        true
    }

    fn warn_of(&self, error: &std::io::Error) {
        warn!(source = %self.context.name, %error, "cannot receive");
    }

    async fn handle_datagram(&self, datagram: &[u8], peer: SocketAddr) {
        let peer = peer.ip().to_canonical();
        if datagram.len() > self.context.max_frame {
            let error = FrameError::Oversize(self.context.max_frame);
            self.context.refuse(error.reason(), peer, error, b"");
        } else if self.lines {
            let mut framer = LineFramer::new(self.context.max_frame);
            framer.handle_bytes(datagram);
            // The end of a datagram is the end of its last line.
            framer.handle_bytes(b"\n");
            while let Some(frame) = framer.poll_frame() {
                if let Some(line) = self.context.checked(frame, peer) {
                    self.handle_frame(&line, peer).await;
                }
            }
        } else {
            self.handle_frame(datagram, peer).await;
        }
    }

    async fn handle_frame(&self, frame: &[u8], peer: std::net::IpAddr) {
        // While the pipeline is full the kernel's buffer takes the burst; what it drops is counted.
        if let Ok(readings) = self.context.decode(frame, peer) {
            let _ = self.context.inlet.submit_unacknowledged(readings).await;
        }
    }

    fn count_dropped(&self, known: &mut u64) {
        let Some(dropped) = kernel_drops(self.address) else { return };
        if dropped > *known {
            let new = dropped - *known;
            warn!(source = %self.context.name, datagrams = new, "the kernel's receive buffer was full; see `link.receive_buffer`");
            let example = || "the kernel's receive buffer was full".to_owned();
            self.context.status.refused.add("receive_buffer_full", new, example);
            *known = dropped;
        }
    }
}

/// A UDP socket with a receive buffer of at least that many bytes, where the system allows it.
pub(super) fn bind_udp(address: SocketAddr, receive_buffer: usize) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    // The kernel caps it at net.core.rmem_max; less is no reason not to start.
    let _ = socket.set_recv_buffer_size(receive_buffer);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Datagrams that the kernel dropped at the socket bound to `address`, from /proc/net/udp.
fn kernel_drops(address: SocketAddr) -> Option<u64> {
    let table = if address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    let table = std::fs::read_to_string(table).ok()?;
    let port = format!(":{:04X}", address.port());
    table
        .lines()
        .skip(1)
        .filter(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&port)))
        .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
        .next()
}
