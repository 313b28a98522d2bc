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
use super::faults::{Cut, FaultPlan};
use super::fuse::Fuse;
use super::hub::{Batch, Event};
use super::mailbox::Mailbox;
use super::wire::{Decoder, Incoming, Violation};
use super::{Announced, Faults, Limits};
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
    /// What a client of MQTT 5 is told.
    pub(super) announced: Announced,
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
    /// The client broke the protocol, or a fault says goodbye: nothing behind that has a meaning.
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
        let decoder = Decoder::new(self.limits.max_packet, self.announced);
        let (mut input, mut output) = (Input::new(decoder), BytesMut::new());
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
            match claim_cut(&mut fuse, &self.faults) {
                Some(Cut { goodbye: Some(reason), .. }) => {
                    self.tell(Event::Goodbye(self.id, reason)).await?;
                    reading = Reading::Nothing;
                }
                Some(_) => reading = Reading::Cut,
                None => {}
            }
            if reading == Reading::Cut {
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
                    reading = self.handle_received(&mut input, received, &mut fuse).await?;
                }
            }
        }
    }

    /// Hands the packets that `received` more bytes complete to the hub.
    async fn handle_received(
        &self,
        input: &mut Input,
        received: usize,
        fuse: &mut Fuse,
    ) -> io::Result<Reading> {
        let (id, at) = (self.id, self.clock.now());
        // What was switched before these bytes were sent counts for them.
        fuse.handle_plan(&self.plan.borrow());
        let Received { packets, violation, cut } = input.take(received, fuse, &self.faults);
        if !packets.is_empty() {
            let permit = self.batches.clone().acquire_owned().await.map_err(io::Error::other)?;
            let permit = Some(permit);
            self.tell(Event::Packets(id, Batch { at, packets, permit })).await?;
        }
        if let Some(violation) = violation {
            self.tell(Event::Violated(id, violation)).await?;
            return Ok(Reading::Nothing);
        }
        match cut {
            None => Ok(Reading::Packets),
            Some(Cut { goodbye: None, .. }) => Ok(Reading::Cut),
            Some(Cut { goodbye: Some(reason), .. }) => {
                self.tell(Event::Goodbye(id, reason)).await?;
                Ok(Reading::Nothing)
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
        let cut = claim_cut(fuse, &self.faults).is_some();
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

    /// Whether the client takes less than it gets, so that nothing more should be read from it.
    fn is_behind(&self, output: &BytesMut) -> bool {
        output.len() + self.mailbox.len() >= self.limits.max_unsent
    }

    async fn tell(&self, event: Event) -> io::Result<()> {
        self.hub.send(event).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// What was read and is not decoded yet, with room for the next read.
pub(super) struct Input {
    bytes: BytesMut,
    room: usize,
    decoder: Decoder,
}

/// What bytes that were read together have completed.
pub(super) struct Received {
    pub(super) packets: Vec<Incoming>,
    /// What comes behind them, where it breaks the protocol.
    pub(super) violation: Option<Violation>,
    /// The cut that is due behind them.
    pub(super) cut: Option<Cut>,
}

impl Input {
    pub(super) fn new(decoder: Decoder) -> Self {
        Self { bytes: BytesMut::new(), room: FIRST_READ, decoder }
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

    /// Adds bytes; [`take`](Self::take) is due.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The packets that the last `received` bytes complete, up to a violation or to the cut that is
    /// due among them.
    pub(super) fn take(&mut self, received: usize, fuse: &mut Fuse, faults: &Faults) -> Received {
        let beyond = fuse.handle_received(received);
        let mut cut = claim_cut(fuse, faults);
        if cut.is_some() {
            self.bytes.truncate(self.bytes.len() - beyond);
        }
        let mut packets = Vec::new();
        loop {
            match self.decoder.decode(&mut self.bytes) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => return Received { packets, violation: None, cut },
                Err(violation) => return Received { packets, violation: Some(violation), cut },
            }
            fuse.handle_packet();
            if let claimed @ Some(_) = claim_cut(fuse, faults) {
                cut = claimed;
                return Received { packets, violation: None, cut };
            }
        }
    }
}

/// The cut that is due here; one that another connection was faster to get is forgotten, and so is
/// one that was taken.
pub(super) fn claim_cut(fuse: &mut Fuse, faults: &Faults) -> Option<Cut> {
    let switched = fuse.poll_cut()?;
    fuse.disarm();
    faults.claim_cut(switched)
}
