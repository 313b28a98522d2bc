//! One UDP address: the loop around a node.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use proto::Instant;
use proto::coap::directory::discovery;
use proto::coap::{CallEvent, CallId, Code, Delivery, Node, NodeEvent, NodeOutput, Response};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::groups::GroupRequest;
use super::resources::{Resources, Sender, Way, busy};
use super::serving::{Fetch, Serving};
use crate::clock;
use crate::source::coap_orders::Calls;
use crate::store::Origin;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams taken before other tasks get a turn.
const TURN: usize = 64;
/// Nodes that are asked for their resources at a time; further simple registrations are 5.03.
const MAX_FETCHES: usize = 64;

/// A server at one address.
pub(super) struct Server {
    resources: Arc<Resources>,
    socket: UdpSocket,
    groups: mpsc::Receiver<GroupRequest>,
    node: Node<SocketAddr>,
    serving: Serving<SocketAddr>,
    /// The requests of orders.
    calls: Calls,
    /// Which of the source's sockets this is.
    number: usize,
    /// Simple registrations whose node was asked for its resources.
    fetches: HashMap<CallId, Fetch<SocketAddr>>,
}

impl Server {
    pub(super) fn new(
        resources: Arc<Resources>,
        socket: UdpSocket,
        groups: mpsc::Receiver<GroupRequest>,
        node: Node<SocketAddr>,
        (number, calls): (usize, Calls),
    ) -> Self {
        let serving = Serving::new(Arc::clone(&resources));
        let fetches = HashMap::new();
        Self { resources, socket, groups, node, serving, calls, number, fetches }
    }

    /// Runs until `stop` is cancelled and every request that was taken is answered.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let stopping = stop.is_cancelled();
            if stopping {
                self.end_fetches();
            }
            let wait = self.drain().await;
            if stopping && self.serving.is_idle() {
                return;
            }
            tokio::select! {
                () = stop.cancelled(), if !stopping => {}
                asked = self.calls.asked(), if !stopping => {
                    self.calls.handle_asked(clock::now(), &mut self.node, asked);
                }
                news = self.serving.next() => self.serving.tell(&mut self.node, news),
                Some((peer, datagram)) = self.groups.recv(), if !stopping => {
                    let (now, delivery) = (clock::now(), Delivery::Multicast);
                    self.node.handle_datagram(now, peer, &datagram, delivery);
                }
                // An error is one of an earlier datagram (ICMP), which reading takes away.
                _ = self.socket.readable(), if !stopping => self.receive(&mut buffer),
                () = sleep_until(clock::deadline(wait.unwrap_or(Instant::FAR_FUTURE))),
                    if wait.is_some() => self.node.handle_timeout(clock::now()),
            }
        }
    }

    /// Sends what the node has to send and handles its events; the time until which it waits.
    async fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.node.poll_output() {
                NodeOutput::Transmit { to, datagram } => {
                    if let Err(error) = self.socket.send_to(&datagram, to).await {
                        let source = &self.resources.context.name;
                        debug!(%source, peer = %to, %error, "cannot send");
                    }
                }
                NodeOutput::Event(event) => self.handle_event(event),
                NodeOutput::Wait(until) => return until,
            }
        }
    }

    /// Takes what has arrived, for one turn.
    fn receive(&mut self, buffer: &mut [u8]) {
        let now = clock::now();
        for _ in 0..TURN {
            match self.socket.try_recv_from(buffer) {
                Ok((_, peer)) if !self.resources.context.allows(peer) => {}
                Ok((len, peer)) => {
                    let datagram = buffer.get(..len).unwrap_or_default();
                    self.node.handle_datagram(now, peer, datagram, Delivery::Unicast);
                }
                // An ICMP error of an earlier datagram, or nothing more to read.
                Err(_) => return,
            }
        }
    }

    fn handle_event(&mut self, event: NodeEvent<SocketAddr>) {
        let now = clock::now();
        match event {
            NodeEvent::Request { ask, from, delivery, message_id, token, request } => {
                let sender =
                    Sender { peer: from, way: Way::Datagram(delivery), socket: self.number };
                let origin = Origin::Coap { peer: from, message_id, token: token.to_vec() };
                let (node, origin) = (&mut self.node, Some(origin));
                let fetch = self.serving.handle_request(node, ask, sender, origin, &request);
                if let Some(fetch) = fetch {
                    self.fetch(now, fetch);
                }
            }
            NodeEvent::Unobserved { resource } => self.serving.handle_unobserved(resource),
            NodeEvent::Malformed { from, fault } => {
                self.resources.context.refuse("malformed", from, fault, b"");
            }
            NodeEvent::Call(event) => match self.calls.handle_event(event) {
                Some(CallEvent::Response { call, response, .. }) => {
                    self.finish_fetch(now, call, Some(&response));
                }
                Some(CallEvent::Failed { call, .. }) => self.finish_fetch(now, call, None),
                // Nothing is observed by this node.
                Some(CallEvent::Notification { .. } | CallEvent::Acknowledged { .. }) | None => {}
            },
        }
    }

    /// Asks a node for its resources.
    fn fetch(&mut self, now: Instant, fetch: Fetch<SocketAddr>) {
        let peer = fetch.sender.peer;
        let is_room = self.fetches.len() < MAX_FETCHES
            && !self.fetches.values().any(|other| other.sender.peer == peer);
        let call = is_room.then(|| self.node.request(now, peer, discovery()));
        match call {
            Some(Ok(call)) => drop(self.fetches.insert(call, fetch)),
            Some(Err(_)) | None => self.node.respond(now, fetch.ask, busy()),
        }
    }

    fn finish_fetch(&mut self, now: Instant, call: CallId, fetched: Option<&Response>) {
        let Some(Fetch { ask, sender, request }) = self.fetches.remove(&call) else { return };
        let response = match (fetched, &self.resources.registered) {
            (Some(fetched), Some(nodes)) => {
                let response = nodes.finish_simply(sender, &request, fetched);
                self.resources.note(sender, nodes);
                response
            }
            _ => Response::new(Code::GATEWAY_TIMEOUT)
                .diagnostic("the node does not answer GET /.well-known/core"),
        };
        self.node.respond(now, ask, response);
    }

    /// Whoever waits for its own resources to be read tries again after the restart.
    fn end_fetches(&mut self) {
        let now = clock::now();
        for (call, fetch) in self.fetches.drain() {
            self.node.cancel(now, call);
            self.node.respond(now, fetch.ask, busy());
        }
    }
}
