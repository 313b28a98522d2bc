//! The task of one connection: socket to packets, mailbox to socket.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc, watch};

use super::core::ConnectionId;
use super::faults::FaultPlan;
use super::fuse::Fuse;
use super::hub::{Batch, Event};
use super::mailbox::Mailbox;
use super::wire::{self, Incoming, Violation};
use super::{Faults, Limits};
use crate::clock::Clock;

/// Room for the first read; a connection that fills it gets twice as much for the next one.
const FIRST_READ: usize = 4 << 10;
/// Room for one read at most.
const LARGEST_READ: usize = 64 << 10;
/// How long a connection that the broker closes may take to send the rest and to go.
const LINGER: Duration = Duration::from_secs(5);

/// One connection and what it needs from its broker.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) hub: mpsc::Sender<Event>,
    /// Has a permit for every batch that the hub may still have to handle.
    pub(super) batches: Arc<Semaphore>,
    pub(super) faults: Faults,
    pub(super) plan: watch::Receiver<FaultPlan>,
    /// What the plan said when the connection was accepted.
    pub(super) cut_all: u64,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
}

/// Why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// By the peer or by the broker.
    Closed,
    /// By a fault.
    Cut,
}

/// What may be read next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Packets,
    /// The client broke the protocol; nothing behind that has a meaning.
    Nothing,
    Cut,
}

impl Connection {
    /// Serves `stream` to its end and reports it.
    pub(super) async fn run(mut self, mut stream: TcpStream) {
        let id = self.id;
        let end = match self.serve(&mut stream).await {
            Ok(end) => end,
            Err(error) => {
                tracing::debug!(connection = id.0, %error, "connection lost");
                End::Closed
            }
        };
        drop(stream);
        // Without a hub there is nobody to tell.
        let _ = self.hub.send(Event::Closed { id, cut: end == End::Cut }).await;
    }

    async fn serve(&mut self, stream: &mut TcpStream) -> io::Result<End> {
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = stream.split();
        let (mut input, mut output) = (Input::new(), BytesMut::new());
        let mut fuse = Fuse::default();
        let mut reading = Reading::Packets;
        loop {
            let stalled = {
                let plan = self.plan.borrow_and_update();
                if plan.cut_all != self.cut_all {
                    return Ok(End::Cut);
                }
                fuse.handle_plan(&plan);
                plan.stall
            };
            if reading == Reading::Cut || self.claims_cut(&mut fuse) {
                return Ok(End::Cut);
            }
            if self.mailbox.take(&mut output) {
                return self.finish(&mut reader, &mut writer, &output, &mut fuse).await;
            }
            let sendable = fuse.sendable(output.len());
            let listens = reading == Reading::Packets && !stalled && !self.is_behind(&output);
            tokio::select! {
                changed = self.plan.changed() => changed.map_err(io::Error::other)?,
                () = self.mailbox.ready() => {}
                sent = writer.write(output.get(..sendable).unwrap_or_default()), if sendable > 0 => {
                    let sent = sent?;
                    output.advance(sent);
                    fuse.handle_sent(sent);
                }
                received = input.read(&mut reader), if listens => {
                    let received = received?;
                    if received == 0 {
                        return Ok(End::Closed);
                    }
                    reading = self.handle_received(&mut input.bytes, received, &mut fuse).await?;
                }
            }
        }
    }

    /// Hands the packets that `received` more bytes complete to the hub.
    async fn handle_received(
        &self,
        input: &mut BytesMut,
        received: usize,
        fuse: &mut Fuse,
    ) -> io::Result<Reading> {
        let (id, at) = (self.id, self.clock.now());
        let beyond = fuse.handle_received(received);
        let mut reading = Reading::Packets;
        if self.claims_cut(fuse) {
            reading = Reading::Cut;
            input.truncate(input.len() - beyond);
        }
        let (packets, violation) = self.decode(input, fuse, &mut reading);
        if !packets.is_empty() {
            let permit = self.batches.clone().acquire_owned().await.map_err(io::Error::other)?;
            self.tell(Event::Packets(id, Batch { at, packets, permit })).await?;
        }
        if let Some(violation) = violation {
            self.tell(Event::Violated(id, violation)).await?;
            reading = Reading::Nothing;
        }
        Ok(reading)
    }

    fn decode(
        &self,
        input: &mut BytesMut,
        fuse: &mut Fuse,
        reading: &mut Reading,
    ) -> (Vec<Incoming>, Option<Violation>) {
        let mut packets = Vec::new();
        loop {
            match wire::decode(input, self.limits.max_packet) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => return (packets, None),
                Err(violation) => return (packets, Some(violation)),
            }
            fuse.handle_packet();
            if self.claims_cut(fuse) {
                *reading = Reading::Cut;
                return (packets, None);
            }
        }
    }

    /// The broker has closed this connection: sends the rest, then waits for the client to go, so
    /// that what it still sends does not reset what it has not read yet.
    async fn finish(
        &self,
        reader: &mut ReadHalf<'_>,
        writer: &mut WriteHalf<'_>,
        output: &[u8],
        fuse: &mut Fuse,
    ) -> io::Result<End> {
        let sendable = fuse.sendable(output.len());
        fuse.handle_sent(sendable);
        let cut = self.claims_cut(fuse);
        let rest = async {
            writer.write_all(output.get(..sendable).unwrap_or_default()).await?;
            if !cut {
                writer.shutdown().await?;
                tokio::io::copy(reader, &mut tokio::io::sink()).await?;
            }
            Ok(if cut { End::Cut } else { End::Closed })
        };
        tokio::time::timeout(LINGER, rest).await.unwrap_or(Ok(End::Closed))
    }

    /// Whether the cut is due here; one that another connection was faster to get is forgotten.
    fn claims_cut(&self, fuse: &mut Fuse) -> bool {
        let Some(switched) = fuse.poll_cut() else { return false };
        let claimed = self.faults.claim_cut(switched);
        if !claimed {
            fuse.disarm();
        }
        claimed
    }

    /// Whether the client takes less than it gets, so that nothing more should be read from it.
    fn is_behind(&self, output: &BytesMut) -> bool {
        output.len() + self.mailbox.len() >= self.limits.max_unsent
    }

    async fn tell(&self, event: Event) -> io::Result<()> {
        self.hub.send(event).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// What was read and is not decoded yet, with room for the next read.
struct Input {
    bytes: BytesMut,
    room: usize,
}

impl Input {
    fn new() -> Self {
        Self { bytes: BytesMut::new(), room: FIRST_READ }
    }

    async fn read(&mut self, reader: &mut ReadHalf<'_>) -> io::Result<usize> {
        if self.bytes.capacity() - self.bytes.len() < self.room / 4 {
            self.bytes.reserve(self.room);
        }
        let received = reader.read_buf(&mut self.bytes).await?;
        if self.bytes.len() == self.bytes.capacity() {
            self.room = (self.room * 2).min(LARGEST_READ);
        }
        Ok(received)
    }
}
