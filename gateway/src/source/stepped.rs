//! Sources that go on when they are told to, without sockets: for who plays a gateway in a time of its
//! own. What arrives goes through the framers, decoders and the inlet of a running source; what it
//! answers is told when it is on disk.
//!
//! A source whose queue has no room reads nothing, as a running one does: what arrives waits as in the
//! kernel, up to [`SteppedSource::room`] bytes, beyond which a datagram is dropped and counted.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proto::Instant;
use proto::frame::{FrameError, Framer, Pause};
use tokio::sync::oneshot::error::TryRecvError;

use super::coap::SteppedCoap;
use super::framed::silence;
use super::{Context, SourceStatus};
use crate::clock;
use crate::config::{self, Decode, Id, Link};
use crate::decode::Reader;
use crate::frame::{Cutting, Unframed};
use crate::pipeline::{Inlet, Receipt};
use crate::store::{NotStored, Spool, StoreError};

/// What waits of a connection, or of a serial port, that is not read.
const STREAM_ROOM: u64 = 256 * 1024;

/// Who sends on a serial port.
pub(crate) const LINE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A source without a socket.
pub(crate) struct SteppedSource {
    kind: Kind,
    /// What has arrived and is not read.
    unread: VecDeque<(SocketAddr, Vec<u8>)>,
    unread_bytes: u64,
    room: u64,
}

enum Kind {
    Frames(Box<Frames>),
    Coap(Box<SteppedCoap>),
}

/// Datagrams, clients that connect, a serial port.
struct Frames {
    context: Context,
    medium: Medium,
    /// Frames that were cut and not handed in.
    frames: VecDeque<(SocketAddr, Result<Vec<u8>, FrameError>)>,
    framers: BTreeMap<SocketAddr, Stream>,
    replies: BTreeMap<SocketAddr, VecDeque<Reply>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Medium {
    Datagrams,
    Clients { reply: bool },
    Line,
}

struct Stream {
    framer: Framer,
    idle: Duration,
    /// When silence ends a frame.
    pause_at: Instant,
}

/// A reply in the order of the frames.
enum Reply {
    Waiting(Receipt),
    Ready(String),
}

impl SteppedSource {
    /// One without anything that has arrived; `None` for a kind that cannot be played.
    pub(crate) async fn open(
        name: &Id,
        config: &config::Source,
        inlet: &Inlet,
        spool: &Spool,
        seed: u64,
    ) -> Result<Option<Self>, StoreError> {
        if matches!(config.decode, Some(Decode::Link(_))) {
            return Ok(None);
        }
        let context = Context {
            name: name.clone(),
            reader: Reader::new(config),
            cutting: Cutting::of_source(config),
            allow: config.link.allow().to_vec(),
            inlet: inlet.for_source(name.as_str()),
            status: Arc::default(),
        };
        let frames = |context: Context, medium| {
            let mut framers = BTreeMap::new();
            if medium == Medium::Line {
                // The port is open before anything comes, which may be within a frame.
                let stream = Stream::new(context.cutting.opening_framer(), context.cutting.idle());
                framers.insert(LINE, stream);
            }
            let (frames, replies) = (VecDeque::new(), BTreeMap::new());
            Kind::Frames(Frames { context, medium, frames, framers, replies }.into())
        };
        let (kind, room) = match &config.link {
            Link::Udp(link) => (frames(context, Medium::Datagrams), link.receive_buffer.bytes()),
            Link::Tcp(link) => {
                (frames(context, Medium::Clients { reply: link.reply }), STREAM_ROOM)
            }
            Link::Serial(_) => (frames(context, Medium::Line), STREAM_ROOM),
            Link::Coap(link) => {
                let coap = SteppedCoap::open(context, link, spool, seed).await?;
                (Kind::Coap(coap.into()), super::coap::RECEIVE_BUFFER as u64)
            }
            Link::TcpClient(_) | Link::CoapPoll(_) | Link::Http(_) | Link::Modbus(_) => {
                return Ok(None);
            }
        };
        Ok(Some(Self { kind, unread: VecDeque::new(), unread_bytes: 0, room }))
    }

    /// Whether a link can be played.
    pub(crate) const fn can_play(source: &config::Source) -> bool {
        let is_link = matches!(source.decode, Some(Decode::Link(_)));
        !is_link
            && matches!(source.link, Link::Udp(_) | Link::Tcp(_) | Link::Serial(_) | Link::Coap(_))
    }

    /// What it has seen.
    pub(crate) fn status(&self) -> &SourceStatus {
        match &self.kind {
            Kind::Frames(frames) => &frames.context.status,
            Kind::Coap(coap) => coap.status(),
        }
    }

    /// A datagram, or the next bytes of a connection, arrives; `false` where there is no room for it.
    pub(crate) fn handle_bytes(&mut self, peer: SocketAddr, bytes: Vec<u8>) -> bool {
        let length = bytes.len() as u64;
        if self.unread_bytes.saturating_add(length) > self.room {
            let example = || "the kernel's receive buffer was full".to_owned();
            self.status().refused.add("receive_buffer_full", 1, example);
            return false;
        }
        self.unread_bytes += length;
        self.unread.push_back((peer, bytes));
        true
    }

    /// When a step is due without anything that arrives.
    pub(crate) fn poll_timeout(&self) -> Instant {
        match &self.kind {
            Kind::Frames(frames) => frames.poll_timeout(),
            Kind::Coap(coap) => coap.poll_timeout(),
        }
    }

    /// Reads what has arrived while there is room for it; whether there was something to do.
    pub(crate) fn step(&mut self) -> bool {
        let mut has_moved = false;
        loop {
            let has_room = match &mut self.kind {
                Kind::Frames(frames) => {
                    has_moved |= frames.hand_in();
                    frames.frames.is_empty()
                }
                Kind::Coap(_) => true,
            };
            let next = if has_room { self.unread.pop_front() } else { None };
            let Some((peer, bytes)) = next else { break };
            has_moved = true;
            self.unread_bytes -= bytes.len() as u64;
            match &mut self.kind {
                Kind::Frames(frames) => frames.cut(peer, &bytes),
                Kind::Coap(coap) => coap.handle_datagram(peer, &bytes),
            }
        }
        match &mut self.kind {
            Kind::Frames(frames) => has_moved |= frames.handle_timeout(),
            Kind::Coap(coap) => has_moved |= coap.step(),
        }
        has_moved
    }

    /// What it sends, and to whom.
    pub(crate) fn poll_answers(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        match &mut self.kind {
            Kind::Frames(frames) => frames.poll_replies(),
            Kind::Coap(coap) => coap.poll_datagrams(),
        }
    }
}

impl Frames {
    fn cut(&mut self, peer: SocketAddr, bytes: &[u8]) {
        let context = &self.context;
        if self.medium != Medium::Line && !context.allows(peer) {
            return;
        }
        let is_datagram = self.medium == Medium::Datagrams;
        if is_datagram && let Some(whole) = context.cutting.whole(bytes) {
            self.frames.push_back((peer, whole.map(<[u8]>::to_vec)));
            return;
        }
        let new = || Stream::new(context.cutting.framer(), context.cutting.idle());
        let stream = self.framers.entry(peer).or_insert_with(new);
        stream.framer.handle_bytes(bytes);
        if is_datagram {
            stream.framer.handle_pause(Pause::Datagram);
        }
        stream.poll_frames(peer, &mut self.frames);
        if is_datagram {
            self.framers.remove(&peer);
        }
    }

    fn poll_timeout(&self) -> Instant {
        let pauses = self.framers.values().map(|stream| stream.pause_at);
        pauses.min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Ends frames that silence ends.
    fn handle_timeout(&mut self) -> bool {
        let (now, before) = (clock::now(), self.frames.len());
        for (peer, stream) in &mut self.framers {
            if stream.pause_at <= now {
                stream.framer.handle_pause(Pause::Silence);
                stream.poll_frames(*peer, &mut self.frames);
            }
        }
        self.frames.len() > before
    }

    /// Hands in the frames that there is room for.
    fn hand_in(&mut self) -> bool {
        let mut has_moved = false;
        while self.context.inlet.has_room()
            && let Some((peer, frame)) = self.frames.pop_front()
        {
            has_moved = true;
            let reply = match self.medium {
                Medium::Line => self.take(frame, self.context.name.clone()),
                Medium::Datagrams | Medium::Clients { .. } => {
                    self.take(frame, peer.ip().to_canonical())
                }
            };
            if let (Medium::Clients { reply: true }, Some(reply)) = (self.medium, reply) {
                self.replies.entry(peer).or_default().push_back(reply);
            }
        }
        has_moved
    }

    /// What is replied to a frame; nothing to what was not meant to be one.
    fn take(&self, frame: Result<Vec<u8>, FrameError>, peer: impl Display) -> Option<Reply> {
        let refused = |why: &dyn Display| Some(Reply::Ready(format!("error: {why}\n")));
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                self.context.unframed(error, peer);
                let is_frame = !matches!(error, FrameError::Resync { .. });
                return refused(&Unframed(error)).filter(|_| is_frame);
            }
        };
        match self.context.decode(&frame, peer) {
            Err(error) => refused(&error),
            Ok(readings) => match self.context.inlet.try_submit(readings, None) {
                Ok(receipt) => Some(Reply::Waiting(receipt)),
                Err(busy) => refused(&busy),
            },
        }
    }

    fn poll_replies(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut ready = Vec::new();
        for (peer, replies) in &mut self.replies {
            let mut text = String::new();
            while let Some(reply) = replies.front_mut() {
                let outcome = match reply {
                    Reply::Ready(line) => {
                        text.push_str(line);
                        replies.pop_front();
                        continue;
                    }
                    Reply::Waiting(receipt) => receipt.try_recv(),
                };
                match outcome {
                    Err(TryRecvError::Empty) => break,
                    Ok(Ok(())) => text.push_str("ok\n"),
                    Ok(Err(why)) => {
                        self.context.not_stored(why);
                        text.push_str(&format!("error: {why}\n"));
                    }
                    Err(TryRecvError::Closed) => {
                        text.push_str(&format!("error: {}\n", NotStored::Failed));
                    }
                }
                replies.pop_front();
            }
            if !text.is_empty() {
                ready.push((*peer, text.into_bytes()));
            }
        }
        ready
    }
}

impl Stream {
    fn new(framer: Framer, idle: Duration) -> Self {
        let mut stream = Self { framer, idle, pause_at: Instant::FAR_FUTURE };
        stream.wait();
        stream
    }

    fn poll_frames(
        &mut self,
        peer: SocketAddr,
        frames: &mut VecDeque<(SocketAddr, Result<Vec<u8>, FrameError>)>,
    ) {
        while let Some(frame) = self.framer.poll_frame() {
            frames.push_back((peer, frame.map(<[u8]>::to_vec)));
        }
        self.wait();
    }

    fn wait(&mut self) {
        self.pause_at = match self.framer.awaits_pause() {
            true => clock::now() + silence(&self.framer, self.idle),
            false => Instant::FAR_FUTURE,
        };
    }
}
