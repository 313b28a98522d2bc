//! Sources that go on when they are told to, without sockets: for who plays a gateway in a time of its
//! own. What arrives goes through the framers, decoders and the inlet of a running source; what it
//! answers is told when it is on disk.
//!
//! A source whose queue has no room reads nothing, as a running one does: what arrives waits as in the
//! kernel. Of datagrams, and on a line, that is up to a limit, beyond which what arrives is dropped and
//! counted; of connections as much as their clients send without an answer.

mod frames;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use proto::Instant;

use self::frames::{Frames, Medium};
use super::clients::TOO_MANY;
use super::coap::SteppedCoap;
use super::http::SteppedHttp;
use super::link::SteppedLink;
use super::link_keys::KeysError;
use super::{Context, SourceStatus};
use crate::config::{self, Decode, Id, Link};
use crate::decode::Reader;
use crate::frame::Cutting;
use crate::pipeline::Inlet;
use crate::store::{Spool, StoreError};

/// What waits of a serial port that is not read.
const LINE_ROOM: u64 = 256 * 1024;

/// Who sends on a serial port.
pub(crate) const LINE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What one end tells the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// There is a connection, or a serial port.
    Connected,
    /// A datagram, or the next bytes of a connection or line.
    Bytes(Vec<u8>),
    /// The connection has ended, or the port is away.
    Closed,
}

/// What is told to a peer, or by it.
pub(super) type Told = (SocketAddr, Signal);

/// What a stepped source needs of the gateway.
pub(crate) struct SteppedSurroundings<'a> {
    pub(crate) inlet: &'a Inlet,
    pub(crate) spool: &'a Spool,
    pub(crate) state_dir: &'a Path,
}

/// Why a source cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SteppedError {
    #[error("source `{name}` cannot use its keys")]
    Keys { name: String, source: KeysError },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A source without a socket.
pub(crate) struct SteppedSource {
    kind: Kind,
    /// What has arrived and is not read, and how much of the room that takes.
    unread: VecDeque<(Told, u64)>,
    unread_bytes: u64,
    room: u64,
    /// Clients that are connected, and how many there may be.
    clients: BTreeSet<SocketAddr>,
    max_clients: usize,
}

enum Kind {
    Frames(Box<Frames>),
    Coap(Box<SteppedCoap>),
    Link(Box<SteppedLink>),
    Http(SteppedHttp),
}

impl SteppedSource {
    /// One without anything that has arrived; `None` for a kind that cannot be played.
    pub(crate) async fn open(
        name: &Id,
        config: &config::Source,
        surroundings: &SteppedSurroundings<'_>,
        seed: u64,
    ) -> Result<Option<Self>, SteppedError> {
        let SteppedSurroundings { inlet, spool, state_dir } = *surroundings;
        let context = Context {
            name: name.clone(),
            reader: Reader::new(config),
            cutting: Cutting::of_source(config),
            allow: config.link.allow().to_vec(),
            inlet: inlet.for_source(name.as_str()),
            status: Arc::default(),
        };
        let (room, max_clients) = match &config.link {
            Link::Udp(link) => (link.receive_buffer.bytes(), 0),
            Link::Tcp(link) => (0, link.max_clients),
            Link::Serial(_) => (LINE_ROOM, 0),
            Link::Coap(link) => (super::coap::RECEIVE_BUFFER as u64, link.max_clients),
            Link::Http(link) => (0, link.max_clients),
            Link::TcpClient(_) | Link::CoapPoll(_) | Link::Modbus(_) => (0, 0),
        };
        let frames = |context, medium| Kind::Frames(Frames::new(context, medium).into());
        let kind = match (&config.link, &config.decode) {
            (link, Some(Decode::Link(decode))) => {
                let link = SteppedLink::open(context, decode, link, (spool, state_dir)).await?;
                Kind::Link(link.into())
            }
            (Link::Udp(_), _) => frames(context, Medium::Datagrams),
            (Link::Tcp(link), _) => frames(context, Medium::Clients { reply: link.reply }),
            (Link::Serial(_), _) => frames(context, Medium::Line),
            (Link::Coap(link), _) => {
                Kind::Coap(SteppedCoap::open(context, link, spool, seed).await?.into())
            }
            (Link::Http(link), _) => Kind::Http(SteppedHttp::new(context, link)),
            (Link::TcpClient(_) | Link::CoapPoll(_) | Link::Modbus(_), _) => return Ok(None),
        };
        let (unread, clients) = (VecDeque::new(), BTreeSet::new());
        let max_clients = usize::from(max_clients);
        Ok(Some(Self { kind, unread, unread_bytes: 0, room, clients, max_clients }))
    }

    /// Whether a link can be played.
    pub(crate) const fn can_play(source: &config::Source) -> bool {
        match source.link {
            Link::Udp(_) | Link::Tcp(_) | Link::Serial(_) | Link::Coap(_) | Link::Http(_) => true,
            Link::TcpClient(_) | Link::CoapPoll(_) | Link::Modbus(_) => false,
        }
    }

    /// What it has seen.
    pub(crate) fn status(&self) -> &SourceStatus {
        &self.context().status
    }

    /// Something arrives. What there is no room for is dropped; a client that may not connect, or that
    /// is one too many, is told so, and else `true`.
    pub(crate) fn handle_signal(&mut self, peer: SocketAddr, signal: Signal) -> bool {
        let mut takes = 0;
        match &signal {
            Signal::Connected if peer == LINE => {}
            Signal::Connected => {
                if !self.takes_client(peer) {
                    return false;
                }
                self.clients.insert(peer);
            }
            Signal::Closed => drop(self.clients.remove(&peer)),
            Signal::Bytes(_) if self.clients.contains(&peer) => {}
            Signal::Bytes(bytes) => takes = bytes.len() as u64,
        }
        let unread_bytes = self.unread_bytes.saturating_add(takes);
        if takes > 0 && unread_bytes > self.room {
            let example = || "the kernel's receive buffer was full".to_owned();
            self.status().refused.add("receive_buffer_full", 1, example);
            return true;
        }
        self.unread_bytes = unread_bytes;
        self.unread.push_back(((peer, signal), takes));
        true
    }

    /// The port is away, and with it what nobody has read: so many bytes.
    pub(crate) fn handle_unplugged(&mut self) -> usize {
        let unread = usize::try_from(self.unread_bytes).unwrap_or(usize::MAX);
        self.unread.clear();
        self.unread_bytes = 0;
        self.unread.push_back(((LINE, Signal::Closed), 0));
        unread
    }

    /// Whether everything that has arrived is read.
    pub(crate) fn has_read_all(&self) -> bool {
        self.unread.is_empty()
    }

    /// When a step is due without anything that arrives.
    pub(crate) fn poll_timeout(&self) -> Instant {
        match &self.kind {
            Kind::Frames(frames) => frames.poll_timeout(),
            Kind::Coap(coap) => coap.poll_timeout(),
            Kind::Link(link) => link.poll_timeout(),
            Kind::Http(_) => Instant::FAR_FUTURE,
        }
    }

    /// Reads what has arrived while there is room for it; whether there was something to do.
    pub(crate) fn step(&mut self) -> bool {
        let mut has_moved = false;
        loop {
            let has_room = match &mut self.kind {
                Kind::Frames(frames) => {
                    has_moved |= frames.hand_in();
                    frames.has_room()
                }
                Kind::Coap(_) | Kind::Link(_) | Kind::Http(_) => true,
            };
            let next = if has_room { self.unread.pop_front() } else { None };
            let Some(((peer, signal), took)) = next else { break };
            has_moved = true;
            self.unread_bytes -= took;
            match &mut self.kind {
                Kind::Frames(frames) => frames.handle_signal(peer, &signal),
                Kind::Coap(coap) => coap.handle_signal(peer, &signal),
                Kind::Link(link) => link.handle_signal(peer, &signal),
                Kind::Http(http) => http.handle_signal(peer, &signal),
            }
        }
        match &mut self.kind {
            Kind::Frames(frames) => has_moved |= frames.handle_timeout(),
            Kind::Coap(coap) => has_moved |= coap.step(),
            Kind::Link(link) => has_moved |= link.step(),
            Kind::Http(http) => has_moved |= http.step(),
        }
        has_moved
    }

    /// What it tells, and whom.
    pub(crate) fn poll_answers(&mut self) -> Vec<Told> {
        let answers = match &mut self.kind {
            Kind::Frames(frames) => frames.poll_replies(),
            Kind::Coap(coap) => coap.poll_answers(),
            Kind::Link(link) => link.poll_answers(),
            Kind::Http(http) => http.poll_answers(),
        };
        for (peer, _) in answers.iter().filter(|(_, signal)| *signal == Signal::Closed) {
            self.clients.remove(peer);
        }
        answers
    }

    /// Writes down what a later start has to know.
    pub(crate) async fn save(&mut self) {
        match &mut self.kind {
            Kind::Frames(_) | Kind::Coap(_) | Kind::Http(_) => {}
            Kind::Link(link) => link.save().await,
        }
    }

    fn context(&self) -> &Context {
        match &self.kind {
            Kind::Frames(frames) => frames.context(),
            Kind::Coap(coap) => coap.context(),
            Kind::Link(link) => link.context(),
            Kind::Http(http) => http.context(),
        }
    }

    /// Whether one more client may connect; else it is counted.
    fn takes_client(&self, peer: SocketAddr) -> bool {
        let context = self.context();
        if !context.allows(peer) {
            return false;
        }
        let has_room = self.clients.len() < self.max_clients;
        if !has_room {
            context.refuse("too_many_clients", peer, TOO_MANY, b"");
        }
        has_room
    }
}
