//! Whom to ask for what and when: the client towards nodes, without a socket or a clock.
//!
//! Each node is asked for one thing at a time (NSTART = 1, RFC 7252 §4.7), what was due longest
//! first. Each request has one outcome: a representation, or a failure with a reason. What becomes
//! of the node then:
//!
//! | Outcome | Then |
//! |---|---|
//! | a representation; 2.03 for the one that is kept | the resource is due at its next point in time |
//! | the same with Observe | not due while it is observed |
//! | the end of an observation | due at its next point in time, with Observe if it was an error |
//! | 4.29, 5.03 | the node is left alone for Max-Age (RFC 8516 §3, RFC 7252 §5.9.3.4) |
//! | another error | the resource is due at its next point in time; 4.04 has the links read again |
//! | no answer, a Reset | the node is left alone, longer each time; its host name is resolved again |
//!
//! A node that is heard of again may have been restarted: it is asked for its links, and its
//! observations are registered anew. Otherwise [`proto`] does that when Max-Age has passed without a
//! notification (RFC 7641 §3.3.1), and orders notifications (§3.4), fetches blocks (RFC 7959) and
//! repeats Echo (RFC 9175).

mod orders;
mod outcomes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::coap::{
    BlockSize, CallEvent, CallId, Delivery, EndpointConfig, Node, NodeConfig, NodeOutput,
    TransferConfig,
};
use proto::{Instant, Rng};

use super::node::{Aim, Busy, NodeReport, PolledNode};
use super::resource::Representation;
use super::wanted::Wanted;
use crate::config::NodeUrl;
use crate::source::coap_orders::Ended;

/// Nodes of a source.
pub(crate) const MAX_NODES: usize = 16_384;
/// Resources of all nodes of a source; each may be an observation.
pub(crate) const MAX_RESOURCES: usize = 65_536;
/// Requests that are begun before other tasks get a turn.
const TURN: usize = 64;
/// How far the first requests are apart: there is no herd at the start either.
const FIRST_STEP: Duration = Duration::from_millis(10);
/// How far the requests that had to wait for the store are spread.
const RESUME_SPREAD: Duration = Duration::from_secs(2);

/// What tells a node from all others, also from one that had its name before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct NodeId(u64);

/// What [`poll_output`](Poller::poll_output) gives.
#[derive(Debug)]
pub(super) enum Output {
    /// Send this datagram.
    Transmit { to: SocketAddr, datagram: Vec<u8> },
    /// Find the address of a host, for [`handle_resolved`](Poller::handle_resolved).
    Resolve(Lookup),
    /// A node has sent a representation.
    Content(Content),
    /// Something came of a request that is not the poller's own.
    OfOrder(CallEvent<SocketAddr>),
    /// Something came of a wish to observe, with its number.
    Watched(u64, Ended),
    /// Something went wrong, to be counted.
    Failed { node: Arc<str>, reason: &'static str, why: String },
    /// Nothing left: call [`handle_timeout`](Poller::handle_timeout) at that time, unless something
    /// else happens before; never, if there is no time.
    Wait(Option<Instant>),
}

/// A host name that is to be resolved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Lookup {
    pub(super) node: NodeId,
    pub(super) host: String,
    pub(super) port: u16,
    /// Which of its addresses is wanted, counted around: another one after each failure.
    pub(super) turn: usize,
}

/// A representation of a resource.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) node: NodeId,
    /// The device's name.
    pub(super) device: Arc<str>,
    /// What a reading is called whose payload does not name it.
    pub(super) name: String,
    pub(super) wanted: Arc<Wanted>,
    pub(super) representation: Representation,
}

/// What has happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct PollStats {
    /// Requests.
    pub(super) asked: u64,
    /// Those of them that were answered.
    pub(super) answered: u64,
    /// Those of them that had no use.
    pub(super) failed: u64,
    /// Notifications after the first answer of an observation.
    pub(super) notified: u64,
}

/// Limits of a [`Poller`].
#[derive(Clone, Debug)]
pub(super) struct PollConfig {
    /// The longest pause of a node that does not answer.
    pub(super) max_backoff: Duration,
    /// The largest representation.
    pub(super) max_body: usize,
    /// How often a resource is asked for that is to be observed because of an order, while it is not.
    pub(super) interval: Duration,
}

/// The client of a source.
///
/// The order of calls is that of [`Node`]: after every call of a method that takes `&mut self`,
/// [`poll_output`](Self::poll_output) until it gives [`Output::Wait`].
#[derive(Debug)]
pub(super) struct Poller {
    max_backoff: Duration,
    interval: Duration,
    wanted: Vec<Arc<Wanted>>,
    coap: Node<SocketAddr>,
    rng: Rng,
    now: Instant,
    nodes: BTreeMap<NodeId, PolledNode>,
    by_name: BTreeMap<Arc<str>, NodeId>,
    resources: usize,
    next_id: u64,
    /// When nodes are to be looked at.
    agenda: BTreeSet<(Instant, NodeId)>,
    calls: BTreeMap<CallId, (NodeId, Aim)>,
    /// Resources that are to be observed because of orders, by their numbers.
    watching: BTreeMap<u64, (NodeId, u32)>,
    paused_until: Instant,
    outputs: VecDeque<Output>,
    stats: PollStats,
}

/// Why a node was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum AddError {
    #[error("there is a node with this name already; remove that one first")]
    NameTaken,
    #[error(
        "{MAX_NODES} nodes or {MAX_RESOURCES} resources are all that a source can ask; use another source for the rest"
    )]
    TooMany,
}

impl Poller {
    /// A client that asks nodes for what is `wanted`, and draws from `seed`, which must be random.
    pub(super) fn new(config: &PollConfig, wanted: Vec<Arc<Wanted>>, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let endpoint = EndpointConfig {
            nstart: 1,
            // An observation is a request that is not over; each node has one more under way.
            max_requests: MAX_RESOURCES + MAX_NODES,
            max_peers: 2 * MAX_NODES,
            ..Default::default()
        };
        let client = TransferConfig {
            block_size: BlockSize::MAX,
            max_body: config.max_body,
            ..Default::default()
        };
        let config_of_node = NodeConfig { endpoint, client, ..Default::default() };
        Self {
            max_backoff: config.max_backoff,
            interval: config.interval,
            wanted,
            coap: Node::new(config_of_node, rng.next_u64()),
            rng,
            now: Instant::ZERO,
            nodes: BTreeMap::new(),
            by_name: BTreeMap::new(),
            resources: 0,
            next_id: 0,
            agenda: BTreeSet::new(),
            calls: BTreeMap::new(),
            watching: BTreeMap::new(),
            paused_until: Instant::ZERO,
            outputs: VecDeque::new(),
            stats: PollStats::default(),
        }
    }

    /// Asks another node from now on, for what is wanted of nodes with its name. It is the device of
    /// its readings.
    pub(super) fn handle_node_added(
        &mut self,
        now: Instant,
        name: &str,
        url: NodeUrl,
    ) -> Result<(), AddError> {
        self.now = now;
        if self.by_name.contains_key(name) {
            return Err(AddError::NameTaken);
        }
        let steps = u32::try_from(self.resources + 1).unwrap_or(u32::MAX);
        let spread = FIRST_STEP.saturating_mul(steps);
        let name: Arc<str> = name.into();
        let identity = (Arc::clone(&name), url);
        let node = PolledNode::new(now, identity, &self.wanted, spread, &mut self.rng);
        let resources = self.resources + node.resources.len();
        if self.nodes.len() >= MAX_NODES || resources > MAX_RESOURCES {
            return Err(AddError::TooMany);
        }
        self.resources = resources;
        let id = NodeId(self.next_id);
        self.next_id += 1;
        self.nodes.insert(id, node);
        self.by_name.insert(name, id);
        self.schedule(id);
        Ok(())
    }

    /// Asks a node no more; whether there was one with this name.
    pub(super) fn handle_node_removed(&mut self, now: Instant, name: &str) -> bool {
        self.now = now;
        let Some(id) = self.by_name.remove(name) else { return false };
        let Some(node) = self.nodes.remove(&id) else { return false };
        self.agenda.remove(&(node.wake, id));
        self.resources -= node.resources.len();
        let asked = match node.busy {
            Busy::Asked(call) => Some(call),
            Busy::No | Busy::Resolving => None,
        };
        for call in node.resources.iter().filter_map(|r| r.watch).chain(asked) {
            self.give_up(call);
        }
        self.end_orders(id);
        true
    }

    /// Takes the address of a node's host, or why it could not be found.
    pub(super) fn handle_resolved(
        &mut self,
        now: Instant,
        id: NodeId,
        address: Result<SocketAddr, String>,
    ) {
        self.now = now;
        let max_backoff = self.max_backoff;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.busy = Busy::No;
        match address {
            Ok(address) => node.address = Some(address),
            Err(why) => {
                node.handle_silence(now, max_backoff, &mut self.rng);
                node.note_why(&why);
                let node = Arc::clone(&node.name);
                self.outputs.push_back(Output::Failed { node, reason: "unresolved", why });
            }
        }
        self.schedule(id);
    }

    /// Begins no request for so long: there is no room for readings.
    pub(super) fn handle_no_room(&mut self, now: Instant, pause: Duration) {
        self.now = now;
        self.paused_until = self.paused_until.max(now + pause);
    }

    /// Notes that what a node sent could not be read.
    pub(super) fn handle_unreadable(&mut self, id: NodeId, why: &str) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.note_why(why);
        }
    }

    /// Takes a datagram.
    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.now = now;
        self.coap.handle_datagram(now, from, datagram, Delivery::Unicast);
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.coap.handle_timeout(now);
        for _ in 0..TURN {
            let Some(&(at, id)) = self.agenda.first() else { return };
            if at > now {
                return;
            }
            self.agenda.remove(&(at, id));
            if now < self.paused_until {
                self.postpone(id);
            } else {
                self.begin(id);
            }
        }
    }

    /// What to do next; see the type for the order of calls.
    pub(super) fn poll_output(&mut self) -> Output {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return output;
            }
            match self.coap.poll_output() {
                NodeOutput::Transmit { to, datagram } => return Output::Transmit { to, datagram },
                NodeOutput::Event(event) => self.handle_event(event),
                NodeOutput::Wait(at) => {
                    let next = self.agenda.first().map(|&(at, _)| at);
                    return Output::Wait(at.into_iter().chain(next).min());
                }
            }
        }
    }

    /// What the operator sees of each node.
    pub(super) fn reports(&self, now: Instant) -> BTreeMap<String, NodeReport> {
        self.nodes.values().map(|node| (node.name.to_string(), node.report(now))).collect()
    }

    /// What has happened so far.
    #[cfg(test)]
    pub(super) const fn stats(&self) -> &PollStats {
        &self.stats
    }

    /// Notes when a node is to be looked at.
    fn schedule(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        self.agenda.remove(&(node.wake, id));
        node.wake = node.next_wake();
        if node.wake != Instant::FAR_FUTURE {
            self.agenda.insert((node.wake, id));
        }
    }

    /// Looks at a node again when there may be room.
    fn postpone(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if !std::mem::replace(&mut node.postponed, true) {
            let why = "the store does not take readings fast enough".to_owned();
            let node = Arc::clone(&node.name);
            self.outputs.push_back(Output::Failed { node, reason: "paused", why });
        }
        node.wake = self.paused_until + self.rng.duration(Duration::ZERO, RESUME_SPREAD);
        self.agenda.insert((node.wake, id));
    }

    /// Asks a node for what has been due longest.
    fn begin(&mut self, id: NodeId) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.postponed = false;
        let Some(address) = node.address else {
            node.busy = Busy::Resolving;
            let (host, port) = (node.url.host().to_owned(), node.url.port());
            let lookup = Lookup { node: id, host, port, turn: node.failures_in_a_row() };
            self.outputs.push_back(Output::Resolve(lookup));
            return self.schedule(id);
        };
        let Some((aim, request)) = node.next_request(now) else { return self.schedule(id) };
        self.stats.asked += 1;
        match self.coap.request(now, address, request) {
            Ok(call) => {
                node.busy = Busy::Asked(call);
                self.calls.insert(call, (id, aim));
            }
            Err(error) => {
                node.handle_silence(now, self.max_backoff, &mut self.rng);
                node.set_next(now, aim, true);
                self.fail(id, "not_sent", error.to_string());
            }
        }
        self.schedule(id);
    }
}

#[cfg(test)]
mod tests;
