//! The least that forwards: datagrams in, MQTT QoS 1 out, nothing decoded and nothing kept.
//!
//! What a gateway does besides is its work and its promise; what this does is the floor.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use rumqttc::mqttbytes::v4::{Connect, Packet, Publish};
use rumqttc::mqttbytes::{Error as CodecError, QoS};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;

use super::Outcome;
use super::process::own_thread_cpu;

/// As the gateway has it.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Bytes gathered before they are written.
pub(crate) const WRITE_AHEAD: usize = 64 << 10;
const MAX_PACKET: usize = 1 << 20;
const MAX_DATAGRAM: usize = 65_535;

/// A forwarder on a thread and a runtime of its own.
pub(crate) struct Bare {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Outcome<Duration>>,
}

impl Bare {
    /// Starts it, with so many publishes under way.
    pub(crate) fn start(window: u16, broker: SocketAddr) -> Outcome<Self> {
        let socket = bind()?;
        let address = socket.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let socket = UdpSocket::from_std(socket)?;
                let link = Link::connect(broker, window).await?;
                ready.send(())?;
                let before = own_thread_cpu()?;
                forward(socket, link, stopped).await?;
                Ok(own_thread_cpu()? - before)
            })
        });
        is_ready.recv()?;
        Ok(Self { address, stop, thread })
    }

    /// Ends it; the processor time that it has used.
    pub(crate) fn stop(self) -> Outcome<Duration> {
        self.stop.send(()).map_err(|()| "the forwarder ended early")?;
        self.thread.join().map_err(|_| "the forwarder panicked")?
    }
}

async fn forward(
    socket: UdpSocket,
    mut link: Link,
    mut stop: oneshot::Receiver<()>,
) -> Outcome<()> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        tokio::select! {
            _ = &mut stop => return Ok(()),
            moved = link.moved() => moved?,
            ready = socket.readable(), if link.has_room() => {
                ready?;
                while link.has_room() {
                    match socket.try_recv(&mut buffer) {
                        Ok(len) => link.publish(buffer.get(..len).unwrap_or_default())?,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
}

/// A UDP socket like the gateway's.
pub(crate) fn bind() -> Outcome<std::net::UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    Ok(socket.into())
}

/// A connection to the broker, with nothing around the codec but a window.
pub(crate) struct Link {
    stream: TcpStream,
    window: u16,
    waiting: u16,
    next_id: u16,
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Link {
    pub(crate) async fn connect(broker: SocketAddr, window: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(broker).await?;
        stream.set_nodelay(true)?;
        let (incoming, mut outgoing) = (BytesMut::new(), BytesMut::new());
        Packet::Connect(Connect::new("bare")).write(&mut outgoing, MAX_PACKET)?;
        let mut link = Self { stream, window, waiting: 0, next_id: 0, incoming, outgoing };
        while !link.outgoing.is_empty() {
            link.moved().await?;
        }
        Ok(link)
    }

    /// Whether one more can be published now.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting < self.window && self.outgoing.len() < WRITE_AHEAD
    }

    /// Whether everything is sent and acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.outgoing.is_empty()
    }

    pub(crate) fn publish(&mut self, payload: &[u8]) -> Outcome<()> {
        let mut publish = Publish::new("bench/th-0001/value", QoS::AtLeastOnce, payload);
        self.next_id = self.next_id % self.window + 1;
        publish.pkid = self.next_id;
        publish.write(&mut self.outgoing)?;
        self.waiting += 1;
        Ok(())
    }

    /// Waits until the connection has taken or given something.
    pub(crate) async fn moved(&mut self) -> Outcome<()> {
        let sending = !self.outgoing.is_empty();
        tokio::select! {
            ready = self.stream.writable(), if sending => {
                ready?;
                match self.stream.try_write(&self.outgoing) {
                    Ok(written) => self.outgoing.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
            ready = self.stream.readable() => {
                ready?;
                match self.stream.try_read_buf(&mut self.incoming) {
                    Ok(0) => return Err("the broker closed the connection".into()),
                    Ok(_) => self.read()?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Outcome<()> {
        loop {
            match Packet::read(&mut self.incoming, MAX_PACKET) {
                Ok(Packet::PubAck(_)) => self.waiting -= 1,
                Ok(_) => {}
                Err(CodecError::InsufficientBytes(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
