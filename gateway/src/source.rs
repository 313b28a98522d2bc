//! Sources: each runs a link, cuts and decodes what arrives, and hands it to the pipeline.
//!
//! A new kind is a file here, a variant of [`Source`] with its arms, and a variant of
//! [`Link`].

mod clients;
mod coap;
mod coap_orders;
mod coap_poll;
mod conversation;
mod ear;
mod exchange;
mod folder;
mod framed;
mod heard;
mod http;
mod inbox;
mod latest;
mod link;
pub(crate) mod link_keys;
mod modbus;
mod recent;
mod serial;
mod speaker;
mod stepped;
mod tcp;
mod tcp_client;
mod udp;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use proto::frame::FrameError;
use proto::{Reading, Timestamp};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) use self::coap::posted_readings;
pub(crate) use self::coap_poll::{Sample as Representation, representation_readings};
pub(crate) use self::heard::Heard;
use self::heard::HeardOf;
pub(crate) use self::http::body_readings;
pub(crate) use self::link::{LinkPiece, link_pieces};
pub(crate) use self::modbus::{AnswerError, answer_readings};
use self::modbus::{BusReport, BusStatus};
pub(crate) use self::stepped::{LINE, Signal, SteppedError, SteppedSource, SteppedSurroundings};
use crate::broker::Board;
use crate::clock;
use crate::commands::Orders;
use crate::config::{self, Decode, Id, Link, Network};
use crate::decode::{DecodeError, Draft, Reader};
use crate::frame::{Cutting, Unframed};
use crate::nodes::Nodes;
use crate::pipeline::Inlet;
use crate::store::{NotStored, Spool};
use crate::tally::{Count, Tally};

/// Bytes of a refused message that are shown as an example.
const MAX_SHOWN: usize = 100;

pub(crate) use self::coap_poll::{MAX_NODES, MAX_RESOURCES};

/// What sources share with the rest of the gateway.
pub(crate) struct Surroundings {
    /// Where the gateway keeps what it has to know after a restart.
    pub(crate) state_dir: PathBuf,
    pub(crate) spool: Spool,
    pub(crate) nodes: Arc<Nodes>,
    /// The largest packet of each broker, and its topics, where any are subscribed.
    pub(crate) brokers: BTreeMap<Id, (u64, Option<Board>)>,
    pub(crate) statuses: Arc<Statuses>,
    /// Sources at which devices ask for their orders.
    pub(crate) fetched: BTreeSet<Id>,
}

/// A source that is ready to run.
pub(crate) enum Source {
    /// A serial port.
    Serial(serial::SerialSource),
    /// Datagrams.
    Udp(udp::UdpSource),
    /// Clients that connect.
    Tcp(tcp::TcpSource),
    /// A server that it connects to.
    TcpClient(tcp_client::TcpClientSource),
    /// A CoAP server.
    Coap(coap::CoapSource),
    /// An HTTP server.
    Http(http::HttpSource),
    /// A CoAP client.
    CoapPoll(Box<coap_poll::CoapPollSource>),
    /// Nodes that speak the link protocol.
    Link(link::LinkSource),
    /// A Modbus master.
    Modbus(Box<modbus::ModbusSource>),
}

/// What every source has seen, for those that show it. It is there once all of them are open.
pub(crate) type Statuses = OnceLock<BTreeMap<Id, Arc<SourceStatus>>>;

/// Why a source cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("source `{name}` cannot listen on {address}: {hint}")]
    Bind { name: String, address: SocketAddr, hint: String, source: io::Error },
    #[error(
        "source `{name}` cannot open the folder {} that it should serve: make it, let the gateway read it, or correct `link.files`",
        path.display()
    )]
    Folder { name: String, path: PathBuf, source: io::Error },
    #[error("source `{name}` cannot join the group {group}: {hint}")]
    Group { name: String, group: std::net::IpAddr, hint: String, source: io::Error },
    #[error("source `{name}` cannot speak the link protocol over CoAP: remove its `decode`")]
    Carrier { name: String },
    #[error("source `{name}` cannot use its keys")]
    Keys { name: String, source: link_keys::KeysError },
}

impl Source {
    /// Opens what can be opened at once, so that a port in use is known at the start.
    pub(crate) async fn open(
        name: &Id,
        config: &config::Source,
        inlet: &Inlet,
        surroundings: &Surroundings,
        orders: Option<Orders>,
        seed: u64,
    ) -> Result<Self, SourceError> {
        let context = Context {
            name: name.clone(),
            reader: Reader::new(config),
            cutting: Cutting::of_source(config),
            allow: config.link.allow().to_vec(),
            inlet: inlet.for_source(name.as_str()),
            status: Arc::default(),
        };
        if let Some(Decode::Link(decode)) = &config.decode {
            let source =
                link::LinkSource::open(context, &config.link, decode, surroundings, orders);
            return source.await.map(Self::Link);
        }
        Ok(match &config.link {
            Link::Serial(link) => Self::Serial(serial::SerialSource::new(context, link, orders)),
            Link::Udp(link) => Self::Udp(udp::UdpSource::open(context, link, orders)?),
            Link::Tcp(link) => Self::Tcp(tcp::TcpSource::open(context, link, orders)?),
            Link::TcpClient(link) => {
                Self::TcpClient(tcp_client::TcpClientSource::new(context, link, orders, seed))
            }
            Link::Coap(link) => {
                Self::Coap(coap::CoapSource::open(context, link, surroundings, orders, seed)?)
            }
            Link::CoapPoll(link) => Self::CoapPoll(
                coap_poll::CoapPollSource::open(context, link, surroundings, orders, seed)?.into(),
            ),
            Link::Http(link) => {
                Self::Http(http::HttpSource::open(context, link, surroundings, orders)?)
            }
            Link::Modbus(link) => {
                Self::Modbus(modbus::ModbusSource::new(context, link, config, orders, seed).into())
            }
        })
    }

    /// What it has seen.
    pub(crate) fn status(&self) -> Arc<SourceStatus> {
        let context = match self {
            Self::Serial(source) => source.context(),
            Self::Udp(source) => source.context(),
            Self::Tcp(source) => source.context(),
            Self::TcpClient(source) => source.context(),
            Self::Coap(source) => source.context(),
            Self::Http(source) => source.context(),
            Self::CoapPoll(source) => source.context(),
            Self::Link(source) => source.context(),
            Self::Modbus(source) => source.context(),
        };
        Arc::clone(&context.status)
    }

    /// Runs until `stop` is cancelled and what was handed in is settled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        match self {
            Self::Serial(source) => source.run(stop).await,
            Self::Udp(source) => source.run(stop).await,
            Self::Tcp(source) => source.run(stop).await,
            Self::TcpClient(source) => source.run(stop).await,
            Self::Coap(source) => source.run(stop).await,
            Self::Http(source) => source.run(stop).await,
            Self::CoapPoll(source) => source.run(stop).await,
            Self::Link(source) => source.run(stop).await,
            Self::Modbus(source) => source.run(stop).await,
        }
    }
}

/// Why a sender is not listened to.
pub(crate) const NOT_ALLOWED: &str = "not in `link.allow`";

/// Whether a sender is listened to by a link that allows these; everybody is where there are none.
pub(crate) fn is_allowed(allow: &[Network], sender: IpAddr) -> bool {
    allow.is_empty() || allow.iter().any(|network| network.contains(sender))
}

/// What every source has.
struct Context {
    name: Id,
    reader: Reader,
    cutting: Cutting,
    /// Whom it listens to; everybody where it is empty.
    allow: Vec<Network>,
    inlet: Inlet,
    status: Arc<SourceStatus>,
}

impl Context {
    /// The readings of a frame from `peer`; what it cannot read is counted.
    fn decode(&self, frame: &[u8], peer: impl Display) -> Result<Vec<Reading>, DecodeError> {
        let now = clock::wall();
        let drafts = self.reader.decode(frame, now);
        self.complete(drafts, now, &peer, || peer.to_string(), frame)
    }

    /// The readings of what was decoded `now` from a message of `peer`, whose device has a `name`
    /// where neither the message nor the configuration says it; a fault is counted.
    fn complete(
        &self,
        drafts: Result<Vec<Draft>, DecodeError>,
        now: Timestamp,
        peer: impl Display,
        name: impl Fn() -> String,
        message: &[u8],
    ) -> Result<Vec<Reading>, DecodeError> {
        self.status.received(message.len());
        self.settle(drafts, now, peer, name, message)
    }

    /// The same for a part of a message.
    fn settle(
        &self,
        drafts: Result<Vec<Draft>, DecodeError>,
        now: Timestamp,
        peer: impl Display,
        name: impl Fn() -> String,
        message: &[u8],
    ) -> Result<Vec<Reading>, DecodeError> {
        let readings = drafts.and_then(|drafts| self.reader.complete(drafts, name, now));
        match &readings {
            Ok(readings) => self.status.decoded(readings, &peer, now),
            Err(error) if error.is_routine() => {}
            Err(error) => self.refuse(error.reason(), &peer, error, message),
        }
        readings
    }

    /// Counts what `peer` sent and was not taken.
    fn refuse(&self, reason: &'static str, peer: impl Display, why: impl Display, sent: &[u8]) {
        debug!(source = %self.name, %peer, %why, "refused");
        let start = sent.get(..MAX_SHOWN).unwrap_or(sent);
        let example =
            || format!("{peer}: {why}: {}", String::from_utf8_lossy(start).escape_debug());
        self.status.refused.count(reason, example);
    }

    /// Hands in the readings of a frame that nobody waits for an answer to, or counts why there are
    /// none. Waits while the pipeline is full.
    async fn take(&self, frame: Result<&[u8], FrameError>, peer: impl Display) {
        match frame {
            Ok(frame) => {
                if let Ok(readings) = self.decode(frame, peer) {
                    // It fails only when the gateway is stopping.
                    let _ = self.inlet.submit_unacknowledged(readings).await;
                }
            }
            Err(error) => self.unframed(error, peer),
        }
    }

    /// Counts bytes of `peer` that are no frame.
    fn unframed(&self, error: FrameError, peer: impl Display) {
        self.refuse(error.reason(), peer, Unframed(error), b"");
    }

    /// Whether `peer` is listened to; else it is counted.
    fn allows(&self, peer: SocketAddr) -> bool {
        let is_allowed = is_allowed(&self.allow, peer.ip());
        if !is_allowed {
            self.refuse("not_allowed", peer.ip().to_canonical(), NOT_ALLOWED, b"");
        }
        is_allowed
    }

    /// Counts a submission that the store did not take.
    fn not_stored(&self, why: NotStored) {
        self.status.refused.count("not_stored", || why.to_string());
    }

    fn bind_error(&self, key: &str, address: SocketAddr, source: io::Error) -> SourceError {
        let kind = source.kind();
        let hint = if kind == io::ErrorKind::AddrInUse {
            let port = address.port();
            format!(
                "another program has it (`ss -lnp 'sport = {port}'` says which); stop that, or choose another port in `{key}`"
            )
        } else if kind == io::ErrorKind::PermissionDenied {
            format!("ports below 1024 need a privilege; choose a higher port in `{key}`")
        } else if kind == io::ErrorKind::AddrNotAvailable {
            "this machine does not have that address; see `ip address`, or use 0.0.0.0 or [::]"
                .to_owned()
        } else {
            "see the cause".to_owned()
        };
        SourceError::Bind { name: self.name.to_string(), address, hint, source }
    }
}

/// What a source has seen since the start.
#[derive(Debug, Default)]
pub(crate) struct SourceStatus {
    up: AtomicBool,
    addresses: OnceLock<Vec<SocketAddr>>,
    tcp_addresses: OnceLock<Vec<SocketAddr>>,
    clients: OnceLock<AtomicUsize>,
    nodes: OnceLock<Arc<coap_poll::Nodes>>,
    bus: OnceLock<Arc<BusStatus>>,
    messages: AtomicU64,
    bytes: AtomicU64,
    readings: AtomicU64,
    reconnects: AtomicU64,
    refused: Tally,
    heard: HeardOf,
}

/// A copy of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SourceReport {
    /// Whether the link is open.
    pub(crate) up: bool,
    /// Where it listens: the ports are the real ones, also where the configuration says 0. Empty
    /// for a serial port.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Where a CoAP source listens for TCP beside that.
    pub(crate) tcp_addresses: Vec<SocketAddr>,
    /// Clients that are connected now; none where they do not connect.
    pub(crate) clients: Option<usize>,
    /// Nodes that are asked, by name; none where none are.
    pub(crate) nodes: Option<BTreeMap<String, coap_poll::NodeReport>>,
    /// The units of a Modbus master; none for others.
    pub(crate) bus: Option<BusReport>,
    /// Frames, datagrams, requests or answers.
    pub(crate) messages: u64,
    /// Bytes in them.
    pub(crate) bytes: u64,
    /// Readings decoded from them.
    pub(crate) readings: u64,
    /// How often the link was opened again.
    pub(crate) reconnects: u64,
    /// What was not taken, by reason.
    pub(crate) refused: BTreeMap<&'static str, Count>,
}

impl SourceStatus {
    /// A copy.
    pub(crate) fn report(&self) -> SourceReport {
        SourceReport {
            up: self.up.load(Ordering::Relaxed),
            addresses: self.addresses.get().cloned().unwrap_or_default(),
            tcp_addresses: self.tcp_addresses.get().cloned().unwrap_or_default(),
            clients: self.clients.get().map(|clients| clients.load(Ordering::Relaxed)),
            nodes: self.nodes.get().map(|nodes| nodes.reports()),
            bus: self.bus.get().map(|bus| bus.report()),
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            readings: self.readings.load(Ordering::Relaxed),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            refused: self.refused.snapshot(),
        }
    }

    /// What was not taken, by reason.
    pub(crate) const fn refused(&self) -> &Tally {
        &self.refused
    }

    /// It listens, from now on and until the end.
    fn set_listening(&self, addresses: Vec<SocketAddr>) {
        // A source is opened once, so nothing was set before.
        let _ = self.addresses.set(addresses);
        self.set_up(true);
    }

    /// The same for the TCP side of a source that has one beside its UDP side.
    fn set_listening_for_tcp(&self, addresses: Vec<SocketAddr>) {
        let _ = self.tcp_addresses.set(addresses);
    }

    /// It asks these nodes, from now on and until the end.
    fn set_nodes(&self, nodes: Arc<coap_poll::Nodes>) {
        let _ = self.nodes.set(nodes);
    }

    /// It is the master of a bus.
    fn set_bus(&self, bus: Arc<BusStatus>) {
        // A source is made once, so nothing was set before.
        let _ = self.bus.set(bus);
    }

    /// So many clients are connected.
    fn set_clients(&self, clients: usize) {
        self.clients.get_or_init(AtomicUsize::default).store(clients, Ordering::Relaxed);
    }

    fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    fn received(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn decoded(&self, readings: &[Reading], peer: &dyn Display, now: Timestamp) {
        self.readings.fetch_add(readings.len() as u64, Ordering::Relaxed);
        self.heard.note(readings, peer, now);
    }

    /// The devices that were heard of last.
    pub(crate) fn heard(&self) -> Vec<(String, Heard)> {
        self.heard.devices()
    }
}
