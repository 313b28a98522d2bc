//! One UDP address: the loop around a node.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::Instant;
use proto::coap::directory::discovery;
use proto::coap::{
    Ask, CallEvent, CallId, Code, Delivery, Node, NodeEvent, NodeOutput, Request, Response,
};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::groups::GroupRequest;
use super::latest::View;
use super::observed::Observed;
use super::pending::Pending;
use super::registered::Look;
use super::resources::{Action, Resources, Sender, Way, busy};
use crate::clock;
use crate::store::Origin;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams taken before other tasks get a turn.
const TURN: usize = 64;

/// Nodes that are asked for their resources at a time; further simple registrations are 5.03.
const MAX_FETCHES: usize = 64;
/// The shortest time between two notifications of who is registered: what changes meanwhile goes
/// together.
const LOOKUP_PAUSE: Duration = Duration::from_secs(1);

/// A simple registration whose node was asked for its resources (RFC 9176 §5.1).
struct Fetch {
    ask: Ask<SocketAddr>,
    sender: Sender,
    request: Request,
}

/// A server at one address.
pub(super) struct Server {
    resources: Arc<Resources>,
    socket: UdpSocket,
    groups: mpsc::Receiver<GroupRequest>,
    node: Node<SocketAddr>,
    fetches: HashMap<CallId, Fetch>,
    pending: Pending<Ask<SocketAddr>>,
    observed: Observed,
    newest: watch::Receiver<u64>,
    /// The number of the newest reading that observers were told.
    told: u64,
    registrations: watch::Receiver<u64>,
    /// When observers of lookups can be told next, where there is something to tell.
    lookups_due: Option<Instant>,
    lookups_told: Instant,
}

impl Server {
    pub(super) fn new(
        resources: Arc<Resources>,
        socket: UdpSocket,
        groups: mpsc::Receiver<GroupRequest>,
        node: Node<SocketAddr>,
    ) -> Self {
        let registrations = match &resources.registered {
            Some(registered) => registered.nodes().changes(),
            None => watch::channel(0).1,
        };
        Self {
            registrations,
            groups,
            fetches: HashMap::new(),
            lookups_due: None,
            lookups_told: Instant::ZERO,
            pending: Pending::new(Arc::clone(&resources)),
            newest: resources.latest.newest(),
            observed: Observed::default(),
            told: 0,
            resources,
            socket,
            node,
        }
    }

    /// Runs until `stop` is cancelled and every request that was taken is answered.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let stopping = stop.is_cancelled();
            if stopping {
                self.end_fetches();
            }
            let wait = [self.drain().await, self.lookups_due].into_iter().flatten().min();
            if stopping && self.pending.is_empty() {
                return;
            }
            tokio::select! {
                () = stop.cancelled(), if !stopping => {}
                settled = self.pending.settled(), if !self.pending.is_empty() => {
                    for (ask, response) in settled {
                        self.node.respond(clock::now(), ask, response);
                    }
                }
                // The sender lives as long as the resources.
                _ = self.newest.changed(), if !self.observed.is_empty() => self.notify(),
                // No change comes where there is no directory.
                changed = self.registrations.changed(),
                    if self.observed.has_lookups() && self.lookups_due.is_none() => {
                    let next = self.lookups_told + LOOKUP_PAUSE;
                    self.lookups_due = changed.is_ok().then_some(next);
                }
                Some((peer, datagram)) = self.groups.recv(), if !stopping => {
                    let (now, delivery) = (clock::now(), Delivery::Multicast);
                    self.node.handle_datagram(now, peer, &datagram, delivery);
                }
                // An error is one of an earlier datagram (ICMP), which reading takes away.
                _ = self.socket.readable(), if !stopping => self.receive(&mut buffer),
                () = sleep_until(clock::deadline(wait.unwrap_or(Instant::FAR_FUTURE))),
                    if wait.is_some() => self.handle_timeout(),
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

    fn handle_timeout(&mut self) {
        let now = clock::now();
        self.node.handle_timeout(now);
        if self.lookups_due.is_some_and(|at| at <= now) {
            (self.lookups_due, self.lookups_told) = (None, now);
            for (id, response) in self.observed.changed_lookups(|look| self.resources.look(look)) {
                self.node.notify(now, id, response);
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
                let sender = Sender { peer: from, way: Way::Datagram(delivery) };
                match self.resources.handle(sender, &request) {
                    Action::Respond(response) => self.node.respond(now, ask, response),
                    Action::Show(view) => self.show(now, ask, &view),
                    Action::Look(look) => self.look(now, ask, &look),
                    Action::Fetch(request) => self.fetch(now, Fetch { ask, sender, request }),
                    Action::Await(work) => {
                        let origin = Origin { peer: from, message_id, token: token.to_vec() };
                        let answer = self.pending.start(ask, from, work, Some(origin));
                        if let Some((ask, response)) = answer {
                            self.node.respond(now, ask, response);
                        }
                    }
                }
            }
            NodeEvent::Unobserved { resource } => self.observed.forget(resource),
            NodeEvent::Malformed { from, fault } => {
                self.resources.context.refuse("malformed", from, fault, b"");
            }
            NodeEvent::Call(CallEvent::Response { call, response, .. }) => {
                self.finish_fetch(now, call, Some(&response));
            }
            NodeEvent::Call(CallEvent::Failed { call, .. }) => self.finish_fetch(now, call, None),
            // Nothing is observed by this node.
            NodeEvent::Call(CallEvent::Notification { .. }) => {}
        }
    }

    /// Asks a node for its resources.
    fn fetch(&mut self, now: Instant, fetch: Fetch) {
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
            (Some(fetched), Some(nodes)) => nodes.finish_simply(sender, &request, fetched),
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

    fn look(&mut self, now: Instant, ask: Ask<SocketAddr>, look: &Look) {
        let response = self.resources.look(look);
        let wanted = ask.observes() && response.code.is_success();
        let id = wanted.then(|| self.observed.lookup_id(look, &response)).flatten();
        let Some(id) = id else { return self.node.respond(now, ask, response) };
        self.node.respond_observed(now, ask, id, response);
        // A limit, or Echo, may have been in the way.
        if !self.node.is_observed(id) {
            self.observed.forget(id);
        }
    }

    fn show(&mut self, now: Instant, ask: Ask<SocketAddr>, view: &View) {
        if self.observed.is_empty() {
            self.told = *self.newest.borrow_and_update();
        }
        let response = self.resources.latest.show(view);
        if !ask.observes() || !response.code.is_success() {
            return self.node.respond(now, ask, response);
        }
        let id = self.observed.id(view);
        self.node.respond_observed(now, ask, id, response);
        // A limit, or Echo, may have been in the way.
        if !self.node.is_observed(id) {
            self.observed.forget(id);
        }
    }

    /// Tells observers what was stored since the last time.
    fn notify(&mut self) {
        let latest = &self.resources.latest;
        let mut affected = BTreeSet::new();
        latest.since(self.told, |reading| self.observed.add_affected(reading, &mut affected));
        self.told = *self.newest.borrow_and_update();
        for id in affected {
            if let Some(view) = self.observed.view(id) {
                self.node.notify(clock::now(), id, latest.show(view));
            }
        }
    }
}
