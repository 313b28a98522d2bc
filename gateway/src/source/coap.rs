//! A CoAP server (RFC 7252, RFC 8323): nodes post readings, and are answered when they are on disk.
//!
//! [`resources`] says what a request means; [`posted`] reads readings out of it, [`latest`] and
//! [`files`] are what there is to see, and [`pending`] answers when something is done. Around that
//! are [`datagrams`], a loop for each UDP address, and [`stream`], one for each TCP connection.

mod datagrams;
mod files;
mod latest;
mod observed;
mod pending;
mod posted;
mod resources;
mod stream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proto::Timestamp;
use proto::coap::{EchoConfig, EndpointConfig, Node, NodeConfig, ServerConfig};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::datagrams::Server;
use self::files::Files;
use self::latest::Latest;
use self::resources::{Resources, accepted};
use self::stream::Connection;
use super::clients::{Clients, listen};
use super::udp::bind_udp;
use super::{Context, SourceError};
use crate::clock;
use crate::config::CoapLink;
use crate::store::{KEEP, Origin, Spool, StoreError};
use crate::supervisor::Supervisor;

/// Messages that are remembered over a restart: as many as the endpoint can hold.
const REMEMBERED: u64 = 65_536;
/// The kernel's receive buffer: what a burst of nodes sends at once.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// A CoAP server on one or more addresses.
pub(crate) struct CoapSource {
    resources: Arc<Resources>,
    sockets: Vec<UdpSocket>,
    clients: Option<Clients>,
    config: NodeConfig,
    spool: Spool,
    seed: u64,
}

impl CoapSource {
    pub(super) fn open(
        context: Context,
        link: &CoapLink,
        spool: Spool,
        seed: u64,
    ) -> Result<Self, SourceError> {
        let open = |path: &PathBuf| {
            Files::open(path).map(Arc::new).map_err(|source| SourceError::Folder {
                name: context.name.to_string(),
                path: path.clone(),
                source,
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
            sockets.push(socket);
        }
        context.status.set_listening(addresses);
        let clients = match link.tcp.as_slice() {
            [] => None,
            tcp => Some(Clients::new(listen_all(&context, tcp)?, link.max_clients)),
        };
        let echo =
            EchoConfig { amplification: Some(link.amplification.into()), ..Default::default() };
        let config = NodeConfig {
            endpoint: EndpointConfig {
                ack_delay: link.separate_after.duration(),
                ..Default::default()
            },
            server: ServerConfig { echo, ..Default::default() },
            ..Default::default()
        };
        let resources = Resources { context, latest: Latest::new(), files }.into();
        Ok(Self { resources, sockets, clients, config, spool, seed })
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
        for (socket, seed) in self.sockets.into_iter().zip(self.seed..) {
            let mut node = Node::new(self.config.clone(), seed);
            for (origin, age) in &known {
                let Origin::Coap { peer, message_id, token } = origin else { continue };
                node.remember(clock::now(), *peer, *message_id, token, *age, accepted());
            }
            let server = Server::new(Arc::clone(&resources), socket, node);
            servers.start(format!("coap {name}"), server.run(stop.clone()));
        }
        let follow = follow(Arc::clone(&resources), self.spool, next, stop.clone());
        servers.start(format!("coap {name} readings"), follow);
        if let Some(clients) = self.clients {
            let resources = Arc::clone(&resources);
            servers.start(format!("coap+tcp {name}"), async move {
                let serve = |stream, peer| {
                    Connection::new(Arc::clone(&resources), peer).run(stream, stop.clone())
                };
                clients.run(&resources.context, &stop, serve).await;
            });
        }
        while servers.next_end().await.is_some() {}
    }
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
                    let age = now.as_nanos().saturating_sub(record.received.as_nanos());
                    let age = Duration::from_nanos(u64::try_from(age).unwrap_or(0));
                    self.known.push((origin.clone(), age));
                }
            }
            resources.latest.store(chunks.iter().flat_map(|chunk| &chunk.records));
        }
    }
}

/// Shows what is stored from the record `next` on.
async fn follow(resources: Arc<Resources>, spool: Spool, mut next: u64, stop: CancellationToken) {
    let mut head = spool.head();
    loop {
        while *head.borrow_and_update() > next {
            match spool.read(next).await {
                Ok(chunks) => {
                    let Some(last) = chunks.last() else { break };
                    next = last.end;
                    resources.latest.store(chunks.iter().flat_map(|chunk| &chunk.records));
                }
                Err(error) => {
                    warn!(source = %resources.context.name, %error, "cannot see what was stored");
                    break;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = head.changed() => if changed.is_err() { return },
        }
    }
}
