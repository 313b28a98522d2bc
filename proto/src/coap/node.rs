//! The node: server and client over one socket, for requests and responses of any size.

use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::Hash;
use core::time::Duration;

use super::client::Client;
use super::config::REQUEST_OPTIONS;
use super::server::{Incoming, Server};
use super::{
    Ask, CallEvent, CallId, Delivery, Endpoint, EndpointConfig, Event, Fault, OptionNumber, Output,
    Request, RequestError, ResourceId, Response, ServerConfig, ServerStats, Stats, Token,
    TransferConfig,
};
use crate::{Instant, Rng};

/// What a node recognises in requests besides the options of RFC 7252.
pub(super) const NODE_REQUEST_OPTIONS: &[OptionNumber] = &[
    OptionNumber::IF_MATCH,
    OptionNumber::URI_HOST,
    OptionNumber::IF_NONE_MATCH,
    OptionNumber::URI_PORT,
    OptionNumber::URI_PATH,
    OptionNumber::URI_QUERY,
    OptionNumber::ACCEPT,
    OptionNumber::BLOCK2,
    OptionNumber::BLOCK1,
    OptionNumber::PROXY_URI,
    OptionNumber::PROXY_SCHEME,
];
/// What it recognises in responses.
pub(super) const NODE_RESPONSE_OPTIONS: &[OptionNumber] =
    &[OptionNumber::BLOCK2, OptionNumber::BLOCK1];

/// Parameters and limits of a [`Node`].
///
/// With all tables full at the limits of `Default` a node holds about 60 MB, bodies of blocks
/// included: `proto/tests/memory.rs` floods it with everything at once. A peer with one remembered
/// request takes about 730 bytes (IPv6 socket addresses, tables with room to grow).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct NodeConfig {
    /// Messages and exchanges. The critical options of block-wise transfers are added to those of
    /// RFC 7252; where the caller has more, they replace all of them.
    pub endpoint: EndpointConfig,
    /// The server's role.
    pub server: ServerConfig,
    /// The client's role.
    pub client: TransferConfig,
}

/// What [`poll_output`](Node::poll_output) gives.
#[derive(PartialEq, Eq, Debug)]
pub enum NodeOutput<P> {
    /// Send this datagram.
    Transmit {
        /// The peer to send it to.
        to: P,
        /// One message.
        datagram: Vec<u8>,
    },
    /// Something that the caller wants to know.
    Event(NodeEvent<P>),
    /// Nothing left: call [`handle_timeout`](Node::handle_timeout) at that time, unless something
    /// else happens before; never, if there is no time.
    Wait(Option<Instant>),
}

/// What a node has to tell.
#[derive(PartialEq, Eq, Debug)]
pub enum NodeEvent<P> {
    /// A whole request that was not seen before, to be answered with [`respond`](Node::respond) or
    /// [`respond_observed`](Node::respond_observed), sooner or later.
    Request {
        /// What to answer.
        ask: Ask<P>,
        /// Who asks.
        from: P,
        /// How it was addressed; errors in response to a group are not sent.
        delivery: Delivery,
        /// With `from` and `token` what identifies the last message of the request across a
        /// restart: see [`remember`](Node::remember).
        message_id: u16,
        /// What the response will echo.
        token: Token,
        /// The request with its whole body, without options about blocks.
        request: Request,
    },
    /// Nobody observes this resource any more.
    Unobserved {
        /// Which one.
        resource: ResourceId,
    },
    /// What came of a call.
    Call(CallEvent<P>),
    /// A datagram that is not a message; the reaction has been sent where there is one.
    Malformed {
        /// Who sent it.
        from: P,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// An [`Endpoint`] with block-wise transfers (RFC 7959) and observation (RFC 7641) on top, for both
/// roles. Who wants one role only leaves the other one alone; it costs nothing.
///
/// The order of calls is that of the endpoint: hand it every datagram with
/// [`handle_datagram`](Self::handle_datagram), call [`handle_timeout`](Self::handle_timeout) when
/// the time of the last [`NodeOutput::Wait`] has come, and after *every* call of a method that takes
/// `&mut self` call [`poll_output`](Self::poll_output) until it gives [`NodeOutput::Wait`]. `now`
/// never goes back between calls.
///
/// As a server it hands over whole requests and takes whole responses. As a client each
/// [`request`](Self::request) ends in exactly one [`CallEvent::Response`] or
/// [`CallEvent::Failed`]. Before may come [`CallEvent::Acknowledged`], and any number of
/// [`CallEvent::Notification`] if it observes.
#[derive(Debug)]
pub struct Node<P> {
    endpoint: Endpoint<P>,
    server: Server<P>,
    client: Client<P>,
    /// The time of the last call.
    now: Instant,
}

impl<P: Copy + Ord + Hash + Debug> Node<P> {
    /// A node whose message ids, tokens and keys are drawn from `seed`, which must be random.
    pub fn new(config: NodeConfig, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut endpoint = config.endpoint;
        if endpoint.request_options == REQUEST_OPTIONS {
            endpoint.request_options = NODE_REQUEST_OPTIONS;
        }
        if endpoint.response_options.is_empty() {
            endpoint.response_options = NODE_RESPONSE_OPTIONS;
        }
        Self {
            endpoint: Endpoint::new(endpoint, rng.next_u64()),
            server: Server::new(config.server, None, &mut rng),
            client: Client::new(config.client, &mut rng),
            now: Instant::ZERO,
        }
    }

    /// Takes a datagram that arrived from `from`.
    pub fn handle_datagram(&mut self, now: Instant, from: P, datagram: &[u8], delivery: Delivery) {
        self.now = now;
        self.endpoint.handle_datagram(now, from, datagram, delivery);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.endpoint.handle_timeout(now);
        self.server.handle_timeout(now);
        self.client.handle_timeout(now, &mut self.endpoint);
    }

    /// What to do next; see the type for the order of calls.
    pub fn poll_output(&mut self) -> NodeOutput<P> {
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit { to, datagram } => return NodeOutput::Transmit { to, datagram },
                Output::Event(event) => {
                    if let Some(event) = self.handle_event(event) {
                        return NodeOutput::Event(event);
                    }
                }
                Output::Wait(at) => {
                    if let Some(event) = self.poll_event() {
                        return NodeOutput::Event(event);
                    }
                    if !self.server.send_due(self.now, &mut self.endpoint) {
                        let next = [at, self.server.next_at(), self.client.next_at()];
                        return NodeOutput::Wait(next.into_iter().flatten().min());
                    }
                }
            }
        }
    }

    /// Answers a request. Anything but the first answer in the lifetime of the exchange is counted
    /// and dropped.
    pub fn respond(&mut self, now: Instant, ask: Ask<P>, response: Response) {
        self.now = now;
        self.server.respond(now, &mut self.endpoint, ask, None, response);
    }

    /// Answers a request with the current state of `resource`, and if its client asked for that and
    /// the response is a success, tells it every later one: see [`notify`](Self::notify). Where a
    /// limit is met the answer is the same, without Observe (RFC 7641 §4.1).
    pub fn respond_observed(
        &mut self,
        now: Instant,
        ask: Ask<P>,
        resource: ResourceId,
        response: Response,
    ) {
        self.now = now;
        self.server.respond(now, &mut self.endpoint, ask, Some(resource), response);
    }

    /// Tells all observers of a resource its new state; an error ends their observations. A
    /// representation that depends on more than the path (Accept, a query) has a number of its own.
    pub fn notify(&mut self, now: Instant, resource: ResourceId, response: Response) {
        self.now = now;
        self.server.notify(resource, response);
    }

    /// Whether anybody observes a resource. After [`respond_observed`](Self::respond_observed) it
    /// says whether there will be a [`NodeEvent::Unobserved`].
    pub fn is_observed(&self, resource: ResourceId) -> bool {
        self.server.is_observed(resource)
    }

    /// Rebuilds the de-duplication after a restart: see
    /// [`Endpoint::remember`](super::Endpoint::remember).
    pub fn remember(
        &mut self,
        now: Instant,
        peer: P,
        message_id: u16,
        token: &[u8],
        age: Duration,
        response: Response,
    ) {
        self.now = now;
        self.endpoint.remember(now, peer, message_id, token, age, response);
    }

    /// Makes a request. One with an Observe of 0 is an observation.
    pub fn request(
        &mut self,
        now: Instant,
        to: P,
        request: Request,
    ) -> Result<CallId, RequestError> {
        self.now = now;
        self.client.request(now, &mut self.endpoint, to, request)
    }

    /// Observes a resource: a GET or FETCH, whose body fits a block.
    pub fn observe(
        &mut self,
        now: Instant,
        to: P,
        mut request: Request,
    ) -> Result<CallId, RequestError> {
        request.options.replace_uint(OptionNumber::OBSERVE, 0);
        self.request(now, to, request)
    }

    /// Ends an observation by telling the server (RFC 7641 §3.6), and so in its response; where
    /// nothing is observed yet it is cancelled.
    pub fn deregister(&mut self, now: Instant, call: CallId) {
        self.now = now;
        self.client.deregister(now, &mut self.endpoint, call);
    }

    /// Gives up a call: it ends in [`CallEvent::Failed`], unless it is over already. The server of
    /// an observation learns it from the Reset of its next notification.
    pub fn cancel(&mut self, now: Instant, call: CallId) {
        self.now = now;
        self.client.cancel(now, &mut self.endpoint, call);
    }

    /// What happened so far in messages and exchanges.
    pub const fn stats(&self) -> &Stats {
        self.endpoint.stats()
    }

    /// What happened so far above them, in the server's role.
    pub const fn server_stats(&self) -> &ServerStats {
        self.server.stats()
    }

    fn handle_event(&mut self, event: Event<P>) -> Option<NodeEvent<P>> {
        let (now, endpoint) = (self.now, &mut self.endpoint);
        match event {
            Event::Request { exchange, from, delivery, message_id, token, size, request } => {
                let mut incoming = Incoming { exchange, from, delivery, token, size, request };
                let ask = self.server.handle_request(now, endpoint, &mut incoming)?;
                let request = incoming.request;
                return Some(NodeEvent::Request {
                    ask,
                    from,
                    delivery,
                    message_id,
                    token,
                    request,
                });
            }
            Event::Malformed { from, fault } => return Some(NodeEvent::Malformed { from, fault }),
            Event::Notification { id, response, .. } => {
                self.client.handle_notification(now, endpoint, id, response);
            }
            Event::Acknowledged { id } => self.client.handle_acknowledged(id),
            Event::Response { id, response, .. } => {
                self.client.handle_response(now, endpoint, id, response);
            }
            Event::Failed { id, reason } => {
                self.client.handle_failed(now, endpoint, id, reason);
            }
            Event::Delivered { notification } => self.server.handle_delivered(now, notification),
            Event::Undelivered { notification, .. } => {
                self.server.handle_undelivered(notification);
            }
        }
        None
    }

    fn poll_event(&mut self) -> Option<NodeEvent<P>> {
        if let Some(event) = self.client.poll_event() {
            return Some(NodeEvent::Call(event));
        }
        let resource = self.server.poll_unobserved()?;
        Some(NodeEvent::Unobserved { resource })
    }
}

#[cfg(test)]
mod tests;
