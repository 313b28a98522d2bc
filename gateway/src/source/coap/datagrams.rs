//! One UDP address: the loop around a node.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use proto::Instant;
use proto::coap::{Ask, Delivery, Node, NodeEvent, NodeOutput};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::latest::View;
use super::observed::Observed;
use super::pending::Pending;
use super::resources::{Action, Resources};
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
                    for (ask, response) in settled {
                        self.node.respond(clock::now(), ask, response);
                    }
                }
                // The sender lives as long as the resources.
                _ = self.newest.changed(), if !self.observed.is_empty() => self.notify(),
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
                    Action::Show(view) => self.show(now, ask, &view),
                    Action::Await(work) => {
                        let origin = Origin::Coap { peer: from, message_id, token: token.to_vec() };
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
