//! What frames come over: each port is a task that reads and writes, and hands frames to the hub.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proto::frame::{Framer, Framing, Pause, cobs};
use proto::link::MAX_FRAME;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::config::SerialLink;
use crate::source::Context;
use crate::source::clients::Clients;
use crate::source::serial::{handle_gone, open_when_there};

/// Bytes read at a time.
const READ_BYTES: usize = 4096;
/// Frames that wait to be written to a port; more are dropped, and sent again when they are asked
/// for.
pub(super) const OUTGOING: usize = 256;
/// Who takes no bytes for this long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    /// Which port, and which opening of it.
    pub(super) port: u64,
    /// Who it is there, where that can be told.
    pub(super) address: Option<SocketAddr>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.ip().to_canonical().fmt(f),
            None => f.write_str("the port"),
        }
    }
}

/// A frame, and where at a port it goes.
pub(super) type Outgoing = (Option<SocketAddr>, Vec<u8>);

/// What ports tell the hub.
pub(super) enum Arrival {
    Opened { port: u64, outgoing: mpsc::Sender<Outgoing> },
    Frame { peer: Peer, bytes: Vec<u8> },
    Closed { port: u64 },
}

/// What nodes are connected to.
pub(super) enum Carrier {
    Serial(SerialLink),
    Tcp(Clients),
    Udp(UdpSocket),
}

/// What every port has.
#[derive(Clone)]
pub(super) struct PortSide {
    pub(super) context: Arc<Context>,
    pub(super) arrivals: mpsc::Sender<Arrival>,
}

/// The hub has ended, and with it every port.
struct HubEnded;

impl Carrier {
    /// Runs until the hub has ended.
    pub(super) async fn run(self, side: PortSide, closed: CancellationToken) {
        match self {
            Self::Serial(link) => {
                let _ = closed.run_until_cancelled(serial(&side, &link)).await;
            }
            Self::Udp(socket) => {
                let _ = closed.run_until_cancelled(datagrams(&side, &socket)).await;
            }
            Self::Tcp(clients) => {
                let next = AtomicU64::new(0);
                let serve = |stream, address| {
                    let (side, closed) = (side.clone(), closed.clone());
                    let peer =
                        Peer { port: next.fetch_add(1, Ordering::Relaxed), address: Some(address) };
                    async move {
                        let _ = closed.run_until_cancelled(stream_port(&side, stream, peer)).await;
                    }
                };
                clients.run(&side.context, &closed, serve).await;
            }
        }
    }
}

/// A serial port, opened again whenever it is gone.
async fn serial(side: &PortSide, link: &SerialLink) {
    for port in 0.. {
        let stream = open_when_there(&side.context, link).await;
        let Ok(end) = stream_port(side, stream, Peer { port, address: None }).await else { return };
        handle_gone(&side.context, link, &end).await;
    }
}

/// Frames in a stream of bytes, until it ends.
async fn stream_port(
    side: &PortSide,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
) -> Result<io::Error, HubEnded> {
    let mut outgoing = side.open(peer.port).await?;
    let (mut reader, mut writer) = split(stream);
    let mut framer = framer();
    let mut buffer = vec![0; READ_BYTES];
    let end = loop {
        tokio::select! {
            read = reader.read(&mut buffer) => match read {
                Ok(0) => break io::Error::new(io::ErrorKind::UnexpectedEof, "it ended"),
                Ok(count) => {
                    framer.handle_bytes(buffer.get(..count).unwrap_or_default());
                    side.take_frames(&mut framer, &peer).await?;
                }
                Err(error) => break error,
            },
            frame = outgoing.recv() => {
                let Some((_, frame)) = frame else { return Err(HubEnded) };
                let mut stuffed = Vec::new();
                cobs::encode(&frame, &mut stuffed);
                match timeout(WRITE_TIMEOUT, writer.write_all(&stuffed)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break error,
                    Err(late) => break late.into(),
                }
            }
        }
    };
    framer.handle_pause(Pause::Silence);
    side.take_frames(&mut framer, &peer).await?;
    side.send(Arrival::Closed { port: peer.port }).await?;
    Ok(end)
}

/// Cuts frames out of a stream.
pub(super) fn framer() -> Framer {
    Framer::new(Framing::Cobs, MAX_FRAME)
}

/// A datagram is a frame.
async fn datagrams(side: &PortSide, socket: &UdpSocket) -> Result<(), HubEnded> {
    let mut outgoing = side.open(0).await?;
    // One more than a frame can have, so that a longer datagram is seen to be one.
    let mut buffer = [0; MAX_FRAME + 1];
    loop {
        tokio::select! {
            // An error is one of an earlier datagram (ICMP), which reading takes away.
            received = socket.recv_from(&mut buffer) => if let Ok((len, address)) = received {
                if !side.context.allows(address) {
                    continue;
                }
                let bytes = buffer.get(..len).unwrap_or_default().to_vec();
                let peer = Peer { port: 0, address: Some(address) };
                side.send(Arrival::Frame { peer, bytes }).await?;
            },
            frame = outgoing.recv() => {
                let Some((address, frame)) = frame else { return Err(HubEnded) };
                let Some(address) = address else { continue };
                if let Err(error) = socket.send_to(&frame, address).await {
                    debug!(source = %side.context.name, peer = %address, %error, "cannot send");
                }
            }
        }
    }
}

impl PortSide {
    async fn open(&self, port: u64) -> Result<mpsc::Receiver<Outgoing>, HubEnded> {
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        self.send(Arrival::Opened { port, outgoing }).await?;
        Ok(receiver)
    }

    async fn take_frames(&self, framer: &mut Framer, peer: &Peer) -> Result<(), HubEnded> {
        while let Some(frame) = framer.poll_frame() {
            match frame {
                Ok(bytes) => {
                    let (peer, bytes) = (peer.clone(), bytes.to_vec());
                    self.send(Arrival::Frame { peer, bytes }).await?;
                }
                Err(error) => self.context.unframed(error, peer),
            }
        }
        Ok(())
    }

    /// Waits for room: a stream is not read meanwhile, and the kernel's buffer takes datagrams.
    async fn send(&self, arrival: Arrival) -> Result<(), HubEnded> {
        self.arrivals.send(arrival).await.map_err(|_| HubEnded)
    }
}
