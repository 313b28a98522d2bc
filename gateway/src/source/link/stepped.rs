//! Nodes of the link protocol without sockets and tasks: frames go through the [hub](super::hub) of a
//! running source by the step.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use proto::Instant;
use proto::frame::{Framer, Pause, cobs};
use tokio::sync::mpsc;

use super::calls::caller;
use super::hub::Hub;
use super::memory::Memory;
use super::ports::{Arrival, OUTGOING, Outgoing, Peer, framer};
use super::sample;
use crate::clock;
use crate::config::{Link, LinkDecode};
use crate::source::Context;
use crate::source::stepped::{LINE, Signal, SteppedError, Told};
use crate::store::Spool;

/// The port of all datagrams.
const DATAGRAMS: u64 = 0;

/// A link with nodes on it.
pub(in crate::source) struct SteppedLink {
    context: Arc<Context>,
    hub: Hub,
    /// What is sent in datagrams; none where frames come in streams.
    datagrams: Option<mpsc::Receiver<Outgoing>>,
    streams: BTreeMap<SocketAddr, Stream>,
    /// Ports until now.
    ports: u64,
}

/// A port.
struct Stream {
    peer: Peer,
    framer: Framer,
    outgoing: mpsc::Receiver<Outgoing>,
}

impl SteppedLink {
    /// One that knows which reports are on disk.
    pub(in crate::source) async fn open(
        context: Context,
        decode: &LinkDecode,
        carrier: &Link,
        (spool, state_dir): (&Spool, &Path),
    ) -> Result<Self, SteppedError> {
        let keys = sample::keys(decode)
            .map_err(|source| SteppedError::Keys { name: context.name.to_string(), source })?;
        let mut memory = Memory::load(state_dir, &context.name);
        memory.catch_up(spool).await?;
        let (mut gateway, names) = sample::gateway(keys);
        for (device, replay) in memory.replays() {
            gateway.restore(clock::now(), device, replay);
        }
        let context = Arc::new(context);
        // Nobody sends: the hub is told directly.
        let (_, inbox) = mpsc::channel(1);
        let (_, asks) = caller();
        let hub =
            Hub::new(Arc::clone(&context), gateway, names, memory, spool.clone(), inbox, asks);
        let streams = BTreeMap::new();
        let mut link = Self { context, hub, datagrams: None, streams, ports: DATAGRAMS };
        if matches!(carrier, Link::Udp(_)) {
            link.datagrams = Some(link.port(DATAGRAMS));
        } else if matches!(carrier, Link::Serial(_)) {
            link.open_stream(LINE);
        }
        Ok(link)
    }

    pub(in crate::source) fn context(&self) -> &Context {
        &self.context
    }

    pub(in crate::source) fn handle_signal(&mut self, peer: SocketAddr, signal: &Signal) {
        match (signal, &self.datagrams) {
            (Signal::Bytes(bytes), Some(_)) => {
                if self.context.allows(peer) {
                    let peer = Peer { port: DATAGRAMS, address: Some(peer) };
                    self.hub.take(Arrival::Frame { peer, bytes: bytes.clone() });
                }
            }
            (Signal::Connected | Signal::Closed, Some(_)) => {}
            (Signal::Connected, None) => self.open_stream(peer),
            (Signal::Bytes(bytes), None) => {
                if let Some(stream) = self.streams.get_mut(&peer) {
                    stream.framer.handle_bytes(bytes);
                    self.take_frames(peer);
                }
            }
            (Signal::Closed, None) => {
                if let Some(stream) = self.streams.get_mut(&peer) {
                    stream.framer.handle_pause(Pause::Silence);
                    self.take_frames(peer);
                }
                if let Some(stream) = self.streams.remove(&peer) {
                    self.hub.take(Arrival::Closed { port: stream.peer.port });
                }
            }
        }
    }

    /// When the next step is due.
    pub(in crate::source) fn poll_timeout(&self) -> Instant {
        self.hub.wait()
    }

    /// Does what is due, and answers what is on disk by now; whether there was something.
    pub(in crate::source) fn step(&mut self) -> bool {
        self.hub.step()
    }

    pub(in crate::source) fn poll_answers(&mut self) -> Vec<Told> {
        let mut answers = Vec::new();
        while let Some((Some(address), frame)) =
            self.datagrams.as_mut().and_then(|outgoing| outgoing.try_recv().ok())
        {
            answers.push((address, Signal::Bytes(frame)));
        }
        for (peer, stream) in &mut self.streams {
            while let Ok((_, frame)) = stream.outgoing.try_recv() {
                let mut stuffed = Vec::new();
                cobs::encode(&frame, &mut stuffed);
                answers.push((*peer, Signal::Bytes(stuffed)));
            }
        }
        answers
    }

    /// Writes down what a later start has to know, as a running one does every so often: from the
    /// records behind that it finds the rest.
    pub(in crate::source) async fn save(&mut self) {
        self.hub.save().await;
    }

    fn open_stream(&mut self, address: SocketAddr) {
        self.ports += 1;
        let port = self.ports;
        let outgoing = self.port(port);
        let peer = Peer { port, address: Some(address).filter(|address| *address != LINE) };
        self.streams.insert(address, Stream { peer, framer: framer(), outgoing });
    }

    fn port(&mut self, port: u64) -> mpsc::Receiver<Outgoing> {
        let (outgoing, receiver) = mpsc::channel(OUTGOING);
        self.hub.take(Arrival::Opened { port, outgoing });
        receiver
    }

    fn take_frames(&mut self, address: SocketAddr) {
        let Some(stream) = self.streams.get_mut(&address) else { return };
        while let Some(frame) = stream.framer.poll_frame() {
            match frame {
                Ok(bytes) => {
                    let (peer, bytes) = (stream.peer.clone(), bytes.to_vec());
                    self.hub.take(Arrival::Frame { peer, bytes });
                }
                Err(error) => self.context.unframed(error, &stream.peer),
            }
        }
    }
}
