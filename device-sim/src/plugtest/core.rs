//! The site behind a node: whole requests, late replies, notifications.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

use proto::Instant;
use proto::coap::{
    Ask, Code, Delivery, EchoConfig, EndpointConfig, Node, NodeConfig, NodeEvent, NodeOutput,
    Request, Response, ServerConfig, TransferConfig,
};

use super::PlugtestConfig;
use super::site::{MAX_BODY, Reply, Site};

/// Replies that wait for their time; a further one is 5.03.
const MAX_LATE: usize = 256;
/// What that 5.03 asks to wait.
const BUSY_MAX_AGE_S: u32 = 5;
/// When the empty Acknowledgement of a late reply is sent (RFC 7252 §5.2.2). All others are ready
/// in the call that takes the request.
const ACK_DELAY: Duration = Duration::from_millis(1);

/// What [`Core::poll_output`] gives.
#[derive(Debug)]
pub(super) enum Output<P> {
    /// Send this datagram.
    Transmit {
        /// To whom.
        to: P,
        /// One message.
        datagram: Vec<u8>,
    },
    /// Nothing left until then, or until a datagram arrives.
    Wait(Option<Instant>),
}

/// The whole server without its socket.
///
/// Hand it every datagram, call [`handle_timeout`](Self::handle_timeout) at the time of the last
/// [`Output::Wait`], and after each of both [`poll_output`](Self::poll_output) until it waits.
#[derive(Debug)]
pub(super) struct Core<P> {
    node: Node<P>,
    site: Site,
    late: BTreeMap<(Instant, u64), (Ask<P>, Response)>,
    next_late: u64,
    now: Instant,
}

impl<P: Copy + Ord + Hash + Debug> Core<P> {
    /// A server whose message ids are drawn from `seed`.
    pub(super) fn new(config: &PlugtestConfig, seed: u64) -> Self {
        let node = NodeConfig {
            endpoint: EndpointConfig {
                ack_timeout: config.ack_timeout,
                ack_delay: ACK_DELAY,
                ..EndpointConfig::default()
            },
            server: ServerConfig {
                transfer: TransferConfig { max_body: MAX_BODY, ..TransferConfig::default() },
                echo: EchoConfig { amplification: None, ..EchoConfig::default() },
                ..ServerConfig::default()
            },
            client: TransferConfig::default(),
        };
        Self {
            node: Node::new(node, seed),
            site: Site::new(Instant::ZERO, config.interval, config.separate_after),
            late: BTreeMap::new(),
            next_late: 0,
            now: Instant::ZERO,
        }
    }

    /// Takes a datagram that arrived from `from`.
    pub(super) fn handle_datagram(&mut self, now: Instant, from: P, datagram: &[u8]) {
        self.now = now;
        self.node.handle_datagram(now, from, datagram, Delivery::Unicast);
    }

    /// Does what is due at `now`.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.node.handle_timeout(now);
        while let Some(entry) = self.late.first_entry()
            && entry.key().0 <= now
        {
            let (ask, response) = entry.remove();
            self.node.respond(now, ask, response);
        }
        self.site.handle_timeout(now);
        self.notify();
    }

    /// What to do next.
    pub(super) fn poll_output(&mut self) -> Output<P> {
        loop {
            match self.node.poll_output() {
                NodeOutput::Transmit { to, datagram } => return Output::Transmit { to, datagram },
                NodeOutput::Event(NodeEvent::Request { ask, delivery, request, .. }) => {
                    self.handle_request(ask, delivery, &request);
                }
                // The site does not care who observes, and the node is no client here.
                NodeOutput::Event(
                    NodeEvent::Unobserved { .. } | NodeEvent::Call(_) | NodeEvent::Malformed { .. },
                ) => {}
                NodeOutput::Wait(at) => {
                    let late = self.late.first_key_value().map(|(&(at, _), _)| at);
                    let next = [at, late, Some(self.site.next_at())];
                    return Output::Wait(next.into_iter().flatten().min());
                }
            }
        }
    }

    fn handle_request(&mut self, ask: Ask<P>, delivery: Delivery, request: &Request) {
        match self.site.handle_request(request, delivery) {
            Reply::Now(response) => self.node.respond(self.now, ask, response),
            Reply::Observable(resource, response) => {
                self.node.respond_observed(self.now, ask, resource, response);
            }
            Reply::After(delay, response) if self.late.len() < MAX_LATE => {
                self.late.insert((self.now + delay, self.next_late), (ask, response));
                self.next_late += 1;
            }
            Reply::After(..) => {
                let busy = Response::new(Code::SERVICE_UNAVAILABLE).max_age(BUSY_MAX_AGE_S);
                self.node.respond(self.now, ask, busy);
            }
        }
        self.notify();
    }

    fn notify(&mut self) {
        while let Some((resource, response)) = self.site.poll_notification() {
            self.node.notify(self.now, resource, response);
        }
    }
}
