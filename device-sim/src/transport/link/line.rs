//! What frames come over: bytes that are cut, or datagrams.

use std::collections::VecDeque;
use std::io;

use proto::Instant;
use proto::frame::Framer;
use tokio::net::{TcpStream, UdpSocket};

use super::{link_framer, stuffed};
use crate::clock::Clock;
use crate::transport::SerialPort;
use crate::transport::serial::time_of;

/// Frames that the line has not taken; one more is dropped, and the node sends it again.
const MAX_UNSENT: usize = 64;

/// What is to be sent, in its order.
#[derive(Debug, Default)]
pub(super) struct Unsent(VecDeque<Vec<u8>>);

impl Unsent {
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        if self.0.len() < MAX_UNSENT {
            self.0.push_back(bytes);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn first(&self) -> &[u8] {
        self.0.front().map(Vec::as_slice).unwrap_or_default()
    }

    /// So many bytes of the first are sent.
    fn advance(&mut self, len: usize) {
        match self.0.front_mut() {
            Some(first) if len < first.len() => drop(first.drain(..len)),
            Some(_) | None => drop(self.0.pop_front()),
        }
    }
}

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    way: Way,
    framer: Framer,
    /// When what was sent has left, at the speed of the line.
    free_at: Instant,
}

#[derive(Debug)]
enum Way {
    Serial { port: SerialPort, baud: u32 },
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Line {
    pub(super) fn serial(port: SerialPort, baud: u32) -> Self {
        Self::new(Way::Serial { port, baud })
    }

    pub(super) fn tcp(stream: TcpStream) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "frames may wait for each other");
        }
        Self::new(Way::Tcp(stream))
    }

    pub(super) fn udp(socket: UdpSocket) -> Self {
        Self::new(Way::Udp(socket))
    }

    fn new(way: Way) -> Self {
        Self { way, framer: link_framer(), free_at: Instant::ZERO }
    }

    /// The port, where it is one.
    pub(super) fn into_port(self) -> Option<SerialPort> {
        match self.way {
            Way::Serial { port, .. } => Some(port),
            Way::Tcp(_) | Way::Udp(_) => None,
        }
    }

    /// Waits until the port is to be pulled out or plugged in; never for other lines.
    pub(super) async fn plug_changed(&self) {
        match &self.way {
            Way::Serial { port, .. } => port.plug_changed().await,
            Way::Tcp(_) | Way::Udp(_) => std::future::pending().await,
        }
    }

    /// Does so. What was on its way the node sends again.
    pub(super) fn change_plug(&mut self) {
        if let Way::Serial { port, .. } = &mut self.way {
            port.change_plug();
            self.framer = link_framer();
        }
    }

    /// A frame as it goes over this line.
    pub(super) fn stuffed(&self, frame: Vec<u8>) -> Vec<u8> {
        match self.way {
            Way::Udp(_) => frame,
            Way::Serial { .. } | Way::Tcp(_) => stuffed(&frame),
        }
    }

    /// Waits until it takes bytes.
    pub(super) async fn writable(&self, clock: &Clock) -> io::Result<()> {
        match &self.way {
            Way::Serial { port, .. } => {
                clock.sleep_until(self.free_at).await;
                port.writable().await
            }
            Way::Tcp(stream) => stream.writable().await,
            Way::Udp(socket) => socket.writable().await,
        }
    }

    /// Sends of the first what it takes.
    pub(super) fn send(&mut self, now: Instant, unsent: &mut Unsent) -> io::Result<()> {
        let bytes = unsent.first();
        let sent = match &mut self.way {
            Way::Serial { port, baud } => {
                let sent = port.try_write(bytes);
                self.free_at = now + time_of(sent.as_ref().map_or(0, |len| *len), *baud);
                sent
            }
            Way::Tcp(stream) => stream.try_write(bytes),
            Way::Udp(socket) => unheard(socket.try_send(bytes), bytes.len()),
        };
        if let Some(len) = taken(sent)? {
            unsent.advance(len);
        }
        Ok(())
    }

    /// Waits until there are bytes.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match &self.way {
            Way::Serial { port, .. } => port.readable().await,
            Way::Tcp(stream) => stream.readable().await,
            Way::Udp(socket) => socket.readable().await,
        }
    }

    /// Receives what there is, and gives out the frames that end in it.
    pub(super) fn receive(&mut self, buffer: &mut [u8], take: impl FnMut(&[u8])) -> io::Result<()> {
        let received = match &mut self.way {
            Way::Serial { port, .. } => port.try_read(buffer),
            Way::Tcp(stream) => match stream.try_read(buffer) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                received => received,
            },
            Way::Udp(socket) => unheard(socket.try_recv(buffer), 0),
        };
        if let Some(len) = taken(received)? {
            self.cut(buffer.get(..len).unwrap_or_default(), take);
        }
        Ok(())
    }

    fn cut(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        match self.way {
            Way::Udp(_) if bytes.is_empty() => {}
            Way::Udp(_) => take(bytes),
            Way::Serial { .. } | Way::Tcp(_) => {
                self.framer.handle_bytes(bytes);
                while let Some(frame) = self.framer.poll_frame() {
                    // A damaged one is sent again.
                    frame.map_or_else(drop, &mut take);
                }
            }
        }
    }
}

/// How many bytes; `None` where there are none after all.
fn taken(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        result => result.map(Some),
    }
}

/// Over UDP the system may say that nobody is there; the node finds out by itself.
fn unheard(result: io::Result<usize>, len: usize) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(len),
        result => result,
    }
}
