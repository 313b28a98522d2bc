//! A CoAP server that goes on when it is told to, without a socket: the node, the resources and the
//! pending answers of a running one, and its connections.
//!
//! It takes readings. Files, topics, orders and the directory are not there: a rehearsal has nobody who asks
//! for them.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use proto::coap::{Delivery, Node, NodeEvent, NodeOutput, StreamNode, StreamNodeConfig};
use proto::{Instant, Rng};

use super::resources::{Resources, Sender, Way, accepted, busy};
use super::serving::{Fetch, Serving};
use super::stream::{Connection, Step};
use super::{Latest, Rates, Stored, connection_config, node_config};
use crate::clock;
use crate::config::CoapLink;
use crate::source::Context;
use crate::source::stepped::{Signal, Told};
use crate::store::{Origin, Spool, StoreError};

/// A server.
pub(crate) struct SteppedCoap {
    resources: Arc<Resources>,
    node: Node<SocketAddr>,
    serving: Serving<SocketAddr>,
    wait: Option<Instant>,
    outgoing: Vec<Told>,
    clients: BTreeMap<SocketAddr, Client>,
    config: StreamNodeConfig,
    seeds: Rng,
}

/// One that is connected.
struct Client {
    connection: Connection,
    /// What it has sent and the node does not want yet.
    unread: VecDeque<Vec<u8>>,
}

impl SteppedCoap {
    /// One that remembers the messages whose readings are on disk.
    pub(in crate::source) async fn open(
        context: Context,
        link: &CoapLink,
        spool: &Spool,
        seed: u64,
    ) -> Result<Self, StoreError> {
        let resources = Arc::new(Resources {
            latest: Latest::new(),
            files: None,
            bridge: None,
            rates: link.max_rate.map(Rates::new),
            registered: None,
            node_orders: None,
            context,
        });
        let mut node = Node::new(node_config(link), seed);
        let mut stored = Stored::default();
        stored.read(spool, &resources).await?;
        for (origin, age) in &stored.known {
            if let Origin::Coap { peer, message_id, token } = origin {
                node.remember(clock::now(), *peer, *message_id, token, *age, accepted());
            }
        }
        let serving = Serving::new(Arc::clone(&resources));
        let (outgoing, clients) = (Vec::new(), BTreeMap::new());
        let (config, seeds) = (connection_config(), Rng::new(seed));
        Ok(Self { resources, node, serving, wait: None, outgoing, clients, config, seeds })
    }

    pub(in crate::source) fn context(&self) -> &Context {
        &self.resources.context
    }

    pub(in crate::source) fn handle_signal(&mut self, peer: SocketAddr, signal: &Signal) {
        match (signal, self.clients.get_mut(&peer)) {
            (Signal::Connected, _) => {
                let seed = self.seeds.next_u64();
                let node = StreamNode::new(clock::now(), self.config.clone(), seed);
                let connection = Connection::new(Arc::clone(&self.resources), peer, node);
                self.clients.insert(peer, Client { connection, unread: VecDeque::new() });
            }
            (Signal::Bytes(bytes), Some(client)) => client.unread.push_back(bytes.clone()),
            (Signal::Bytes(datagram), None) if self.resources.context.allows(peer) => {
                self.node.handle_datagram(clock::now(), peer, datagram, Delivery::Unicast);
                self.drain();
            }
            (Signal::Closed, Some(client)) => {
                client.connection.handle_lost();
                client.connection.step();
                self.clients.remove(&peer);
            }
            (Signal::Bytes(_) | Signal::Closed, None) => {}
        }
    }

    pub(in crate::source) fn poll_timeout(&self) -> Instant {
        let clients = self.clients.values().filter_map(|client| client.connection.wait());
        self.wait.into_iter().chain(clients).min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Does what is due, and answers what is on disk by now; whether there was something.
    pub(in crate::source) fn step(&mut self) -> bool {
        let mut has_moved = false;
        if self.wait.is_some_and(|wait| wait <= clock::now()) {
            self.node.handle_timeout(clock::now());
            self.drain();
            has_moved = true;
        }
        while let Some(news) = self.serving.next().now_or_never() {
            self.serving.tell(&mut self.node, news);
            self.drain();
            has_moved = true;
        }
        let outgoing = &mut self.outgoing;
        self.clients.retain(|peer, client| {
            let step = client.step();
            has_moved |= step.has_moved;
            if !step.bytes.is_empty() {
                outgoing.push((*peer, Signal::Bytes(step.bytes)));
            }
            if step.is_over {
                outgoing.push((*peer, Signal::Closed));
            }
            !step.is_over
        });
        has_moved
    }

    pub(in crate::source) fn poll_answers(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.outgoing)
    }

    fn drain(&mut self) {
        loop {
            match self.node.poll_output() {
                NodeOutput::Transmit { to, datagram } => {
                    self.outgoing.push((to, Signal::Bytes(datagram.to_vec())));
                }
                NodeOutput::Event(event) => self.handle_event(event),
                NodeOutput::Wait(until) => {
                    self.wait = until;
                    return;
                }
            }
        }
    }

    fn handle_event(&mut self, event: NodeEvent<SocketAddr>) {
        match event {
            NodeEvent::Request { ask, from, delivery, message_id, token, request } => {
                let sender = Sender { peer: from, way: Way::Datagram(delivery), socket: 0 };
                let origin = Some(Origin::Coap { peer: from, message_id, token: token.to_vec() });
                let (node, serving) = (&mut self.node, &mut self.serving);
                if let Some(Fetch { ask, .. }) =
                    serving.handle_request(node, ask, sender, origin, &request)
                {
                    node.respond(clock::now(), ask, busy());
                }
            }
            NodeEvent::Unobserved { resource } => self.serving.handle_unobserved(resource),
            NodeEvent::Malformed { from, fault } => {
                self.resources.context.refuse("malformed", from, fault, b"");
            }
            // It asks nobody.
            NodeEvent::Call(_) => {}
        }
    }
}

impl Client {
    fn step(&mut self) -> Step {
        let mut all = Step::default();
        loop {
            let Step { bytes, is_over, has_moved } = self.connection.step();
            all.bytes.extend_from_slice(&bytes);
            all.has_moved |= has_moved;
            all.is_over = is_over;
            let more = if self.connection.wants_bytes() { self.unread.pop_front() } else { None };
            match more {
                Some(bytes) if !is_over => self.connection.handle_bytes(&bytes),
                Some(_) | None => return all,
            }
            all.has_moved = true;
        }
    }
}
