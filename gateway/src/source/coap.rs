//! A CoAP server (RFC 7252, RFC 8323): nodes post readings, and are answered when they are on disk.
//!
//! [`resources`] says what a request means; [`posted`] reads readings out of it; [`view`],
//! [`files`], the topics of [`bridge`] and who has [`registered`] are what there is to see. [`rates`]
//! says who asks too often, and [`pending`] answers when something is done. [`serving`] puts that
//! together. [`orders`] go to nodes, or are [`fetched`] by them; around it are [`datagrams`], a loop for each UDP address, with the [`groups`] in which
//! nodes look for it, and [`stream`], one for each TCP connection, and [`stepped`] for a rehearsal.

mod bridge;
mod datagrams;
mod fetched;
mod files;
mod groups;
mod observed;
mod orders;
mod pending;
mod posted;
mod rates;
mod registered;
mod resources;
mod serving;
mod stepped;
mod stream;
mod view;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proto::Timestamp;
use proto::coap::{
    Budget, EchoConfig, EndpointConfig, Node, NodeConfig, ObserveConfig, ServerConfig, StreamNode,
    StreamNodeConfig, TransferConfig,
};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::bridge::Bridge;
use self::datagrams::Server;
use self::files::Files;
use self::groups::Groups;
use self::orders::{KnownNodes, NodeOrders};
use self::rates::Rates;
use self::registered::{Registered, expire};
pub(crate) use self::resources::posted_readings;
use self::resources::{Resources, accepted};
pub(super) use self::stepped::SteppedCoap;
use self::stream::Connection;
use super::clients::{Clients, listen};
use super::coap_orders::{Calls, Carrier};
use super::latest::Latest;
use super::udp::bind_udp;
use super::{Context, SourceError, Surroundings};
use crate::clock;
use crate::commands::{Mailbox, Orders};
use crate::config::CoapLink;
use crate::nodes::Nodes;
use crate::store::{KEEP, Origin, Spool, StoreError};
use crate::supervisor::Supervisor;

/// Messages that are remembered over a restart: as many as the endpoint can hold.
const REMEMBERED: u64 = 65_536;
/// Answers to groups that wait for their moment, of up to 5 s (RFC 7252 §8.2): no more of them go to
/// somebody whose address was forged.
const MAX_GROUP_ANSWERS: usize = 64;
/// The longest list of resources that is read from a node, and the largest answer to an order.
const MAX_FETCHED: usize = 64 * 1024;
/// Bytes of bodies that a connection sends in blocks, and of responses that it fetches so.
const CONNECTION_BYTES: usize = 2 * 1024 * 1024;
/// What a connection may observe.
const CONNECTION_OBSERVERS: usize = 64;
/// How far the seeds of connections are from those of sockets.
const CONNECTION_SEEDS: u64 = 1 << 32;
/// The kernel's receive buffer: what a burst of nodes sends at once.
pub(super) const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// A CoAP server on one or more addresses.
pub(crate) struct CoapSource {
    resources: Arc<Resources>,
    sockets: Vec<(UdpSocket, Groups)>,
    clients: Option<Clients>,
    config: NodeConfig,
    spool: Spool,
    nodes: Arc<Nodes>,
    orders: Option<Orders>,
    seed: u64,
}

impl CoapSource {
    pub(super) fn open(
        context: Context,
        link: &CoapLink,
        surroundings: &Surroundings,
        orders: Option<Orders>,
        seed: u64,
    ) -> Result<Self, SourceError> {
        let open = |path: &PathBuf| {
            Files::open(path, link.uploads.as_ref()).map(Arc::new).map_err(|source| {
                SourceError::Folder { name: context.name.to_string(), path: path.clone(), source }
            })
        };
        let files = link.files.as_ref().map(open).transpose()?;
        let mut sockets = Vec::new();
        let mut addresses = Vec::new();
        for &bind in &link.bind {
            let socket = bind_udp(bind, RECEIVE_BUFFER);
            let socket = socket.map_err(|source| context.bind_error("link.bind", bind, source))?;
            let address = socket.local_addr().unwrap_or(bind);
            info!(source = %context.name, %address, "listening for CoAP");
            addresses.push(address);
            let groups = Groups::join(&context.name, &socket, link.discovery);
            sockets.push((socket, groups));
        }
        context.status.set_listening(addresses);
        let clients = match link.tcp.as_slice() {
            [] => None,
            tcp => Some(Clients::new(listen_all(&context, tcp)?, link.max_clients)),
        };
        let config = node_config(link);
        let bridge = link.ps.as_ref().map(|ps| {
            let broker = surroundings.brokers.get(&ps.broker).cloned();
            let (max_packet, board) = broker.unwrap_or_default();
            Bridge::new(ps, max_packet, board)
        });
        let resources = Resources {
            latest: Latest::new(),
            files,
            bridge,
            rates: link.max_rate.map(Rates::new),
            registered: Registered::of(&context.name, &surroundings.nodes),
            node_orders: orders.is_some().then(|| {
                let is_fetched = surroundings.fetched.contains(&context.name);
                NodeOrders::new(is_fetched.then(Mailbox::new))
            }),
            context,
        };
        let resources = resources.into();
        let (spool, nodes) = (surroundings.spool.clone(), Arc::clone(&surroundings.nodes));
        Ok(Self { resources, sockets, clients, config, spool, nodes, orders, seed })
    }

    pub(super) fn context(&self) -> &Context {
        &self.resources.context
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        let resources = self.resources;
        let name = &resources.context.name;
        let mut stored = Stored::default();
        if let Err(error) = stored.read(&self.spool, &resources).await {
            warn!(source = %name, %error, "cannot tell which messages were answered before the start");
        }
        let Stored { known, next } = stored;
        let mut servers: Supervisor<()> = Supervisor::new();
        let mut callers = Vec::new();
        for ((socket, groups), seed) in self.sockets.into_iter().zip(self.seed..) {
            let mut node = Node::new(self.config.clone(), seed);
            for (origin, age) in &known {
                let Origin::Coap { peer, message_id, token } = origin else { continue };
                node.remember(clock::now(), *peer, *message_id, token, *age, accepted());
            }
            let (tasks, requests) = groups.listen(&stop);
            for task in tasks {
                servers.start(format!("coap group {name}"), task);
            }
            let (caller, calls) = Calls::new();
            let numbered = (callers.len(), calls);
            let local = socket.local_addr().unwrap_or((Ipv6Addr::UNSPECIFIED, 0).into());
            callers.push((local, caller));
            let server = Server::new(Arc::clone(&resources), socket, requests, node, numbered);
            servers.start(format!("coap {name}"), server.run(stop.clone()));
        }
        let (followed, spool, until) = (Arc::clone(&resources), self.spool, stop.clone());
        servers.start(format!("coap {name} readings"), async move {
            followed.latest.follow(&followed.context.name, &spool, next, until).await;
        });
        if let Some(orders) = self.orders {
            let mailbox = resources.mailbox().cloned();
            let (resources, sockets) = (Arc::clone(&resources), callers);
            let known = Arc::new(KnownNodes { resources, nodes: self.nodes, sockets });
            let carrier = Carrier::new(known, mailbox, orders);
            servers.start(format!("coap {name} orders"), carrier.run(stop.clone()));
        }
        let lifetimes = expire(Arc::clone(&resources), stop.clone());
        servers.start(format!("coap {name} lifetimes"), lifetimes);
        if let Some(clients) = self.clients {
            let resources = Arc::clone(&resources);
            servers.start(format!("coap+tcp {name}"), async move {
                let config = connection_config();
                let seeds = AtomicU64::new(self.seed.wrapping_add(CONNECTION_SEEDS));
                let serve = |stream, peer| {
                    let seed = seeds.fetch_add(1, Ordering::Relaxed);
                    let node = StreamNode::new(clock::now(), config.clone(), seed);
                    Connection::new(Arc::clone(&resources), peer, node).run(stream, stop.clone())
                };
                clients.run(&resources.context, &stop, serve).await;
            });
        }
        while servers.next_end().await.is_some() {}
    }
}

/// What the server at one address may do.
fn node_config(link: &CoapLink) -> NodeConfig {
    let echo = EchoConfig { amplification: Some(link.amplification.into()), ..Default::default() };
    NodeConfig {
        endpoint: EndpointConfig {
            ack_delay: link.separate_after.duration(),
            max_delayed: MAX_GROUP_ANSWERS,
            ..Default::default()
        },
        server: ServerConfig { echo, ..Default::default() },
        client: TransferConfig { max_body: MAX_FETCHED, ..Default::default() },
    }
}

/// What one connection may do, and all together.
fn connection_config() -> StreamNodeConfig {
    let all = TransferConfig::default();
    let transfer = TransferConfig {
        max_transfers: all.max_transfers_per_peer,
        max_bytes: CONNECTION_BYTES,
        ..TransferConfig::default()
    };
    let observe = ObserveConfig { max_observers: CONNECTION_OBSERVERS, ..Default::default() };
    let server = ServerConfig { transfer, observe, ..Default::default() };
    StreamNodeConfig { server, budget: Some(Budget::new(all.max_bytes)), ..Default::default() }
}

/// Sockets for clients that connect.
fn listen_all(context: &Context, tcp: &[SocketAddr]) -> Result<Vec<TcpListener>, SourceError> {
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for &bind in tcp {
        let listener = listen(bind);
        let listener = listener.map_err(|source| context.bind_error("link.tcp", bind, source))?;
        let address = listener.local_addr().unwrap_or(bind);
        info!(source = %context.name, %address, "listening for CoAP over TCP");
        addresses.push(address);
        listeners.push(listener);
    }
    context.status.set_listening_for_tcp(addresses);
    Ok(listeners)
}

/// What the store has at the start.
#[derive(Default)]
struct Stored {
    /// The messages whose readings are on disk and that may still be retransmitted, by their age.
    known: Vec<(Origin, Duration)>,
    /// The number of the first record after them.
    next: u64,
}

impl Stored {
    async fn read(&mut self, spool: &Spool, resources: &Resources) -> Result<(), StoreError> {
        let now = clock::wall();
        let keep = i64::try_from(KEEP.as_nanos()).unwrap_or(i64::MAX);
        let since = Timestamp::from_nanos(now.as_nanos().saturating_sub(keep));
        self.next = *spool.head().borrow();
        self.next = spool.first_since(since, REMEMBERED).await?;
        let source = resources.context.name.as_str();
        loop {
            let chunks = spool.read(self.next).await?;
            let Some(last) = chunks.last() else { return Ok(()) };
            self.next = last.end;
            for record in chunks.iter().flat_map(|chunk| &chunk.records) {
                if let Some(origin) = record.origin.as_ref().filter(|_| *record.source == *source) {
                    self.known.push((origin.clone(), spool.times().age(record, now)));
                }
            }
            let records = chunks.iter().flat_map(|chunk| &chunk.records);
            resources.latest.store(records.map(|record| spool.times().settle(record, now).0));
        }
    }
}
