//! One UDP address: the loop around a node.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use proto::Instant;
use proto::coap::{Ask, Delivery, Node, NodeEvent, NodeOutput, ResourceId};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::observed::Observed;
use super::pending::{Pending, Reply};
use super::resources::{Action, Resources, Subject};
use crate::broker::Board;
use crate::clock;
use crate::store::Origin;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams taken before other tasks get a turn.
const TURN: usize = 64;

/// A server at one address.
pub(super) struct Server {
    resources: Arc<Resources>,
    socket: UdpSocket,
    node: Node<SocketAddr>,
    pending: Pending<Ask<SocketAddr>>,
    observed: Observed,
    newest: watch::Receiver<u64>,
    /// The number of the newest reading that observers were told.
    told: u64,
    /// Changes of topics.
    topics: Option<watch::Receiver<u64>>,
    /// The number of the newest change of a topic that observers were told.
    told_topic: u64,
}

impl Server {
    pub(super) fn new(
        resources: Arc<Resources>,
        socket: UdpSocket,
        node: Node<SocketAddr>,
    ) -> Self {
        Self {
            pending: Pending::new(Arc::clone(&resources)),
            newest: resources.latest.newest(),
            observed: Observed::default(),
            told: 0,
            topics: resources.board().map(Board::changes),
            told_topic: 0,
            resources,
            socket,
            node,
        }
    }

    /// Runs until `stop` is cancelled and every request that was taken is answered.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let wait = self.drain().await;
            let stopping = stop.is_cancelled();
            if stopping && self.pending.is_empty() {
                return;
            }
            tokio::select! {
                () = stop.cancelled(), if !stopping => {}
                settled = self.pending.settled(), if !self.pending.is_empty() => {
                    for (ask, reply) in settled {
                        match reply {
                            Reply::Respond(response) => {
                                self.node.respond(clock::now(), ask, response);
                            }
                            Reply::Show(subject) => self.show(clock::now(), ask, subject),
                        }
                    }
                }
                // The sender lives as long as the resources.
                _ = self.newest.changed(), if !self.observed.is_empty() => self.notify(),
                () = changed(&mut self.topics), if !self.observed.is_empty() => {
                    self.notify_topics();
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
            NodeEvent::Request { ask, from, message_id, token, request, .. } => {
                match self.resources.handle(from, &request) {
                    Action::Respond(response) => self.node.respond(now, ask, response),
                    Action::Show(subject) => self.show(now, ask, subject),
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
            // This node makes no requests.
            NodeEvent::Call(_) => {}
        }
    }

    fn show(&mut self, now: Instant, ask: Ask<SocketAddr>, subject: Subject) {
        if self.observed.is_empty() {
            self.told = *self.newest.borrow_and_update();
            self.told_topic =
                self.resources.board().map_or(0, |board| board.since(u64::MAX, |_| {}));
        }
        let response = self.resources.show(&subject);
        if !ask.observes() || !response.code.is_success() {
            return self.node.respond(now, ask, response);
        }
        let id = self.observed.id(&subject.fixed(&response));
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
        self.notify_all(affected);
    }

    /// Tells observers which topics have changed since the last time.
    fn notify_topics(&mut self) {
        let Some(board) = self.resources.board() else { return };
        let mut affected = BTreeSet::new();
        let observed = &self.observed;
        let see = |topic: &str| observed.add_topic(topic, &mut affected);
        self.told_topic = board.since(self.told_topic, see);
        self.notify_all(affected);
    }

    fn notify_all(&mut self, affected: BTreeSet<ResourceId>) {
        for id in affected {
            if let Some(subject) = self.observed.subject(id) {
                self.node.notify(clock::now(), id, self.resources.show(subject));
            }
        }
    }
}

/// Waits for a change, for ever where there can be none.
async fn changed(changes: &mut Option<watch::Receiver<u64>>) {
    match changes {
        // The sender lives as long as the board.
        Some(changes) => drop(changes.changed().await),
        None => std::future::pending().await,
    }
}
