//! The node of a connection: server and client for requests and responses of any size.

use alloc::vec::Vec;

use super::super::block::{Budget, Room};
use super::super::client::Client;
use super::super::config::REQUEST_OPTIONS;
use super::super::node::{NODE_REQUEST_OPTIONS, NODE_RESPONSE_OPTIONS};
use super::super::server::{Incoming, Server};
use super::super::transport::Transport;
use super::super::{
    Ask, CallEvent, CallId, Delivery, EchoConfig, ExchangeId, NotificationId, OptionNumber,
    Prepared, Request, RequestError, RequestId, ResourceId, Response, ServerConfig, ServerStats,
    Token, TransferConfig,
};
use super::{
    Capabilities, CloseReason, Release, StreamConfig, StreamEndpoint, StreamEvent, StreamOutput,
    StreamStats,
};
use crate::{Instant, Rng};

/// Parameters and limits of a [`StreamNode`].
#[derive(Clone, Default, Debug)]
pub struct StreamNodeConfig {
    /// The connection. Block-wise transfers are supported in any case, and their critical options
    /// added to those of RFC 7252; where the caller has more, they replace all of them.
    pub stream: StreamConfig,
    /// The server's role. There is no Echo: nobody can forge the address of a connection.
    pub server: ServerConfig,
    /// The client's role.
    pub client: TransferConfig,
    /// What the bodies of several connections may take together, besides the limits of each.
    pub budget: Option<Budget>,
}

/// What [`poll_output`](StreamNode::poll_output) gives.
#[derive(PartialEq, Eq, Debug)]
pub enum StreamNodeOutput {
    /// Write all of this, and then call [`handle_transmitted`](StreamNode::handle_transmitted).
    Transmit(Vec<u8>),
    /// Something that the caller wants to know.
    Event(StreamNodeEvent),
    /// Nothing left: call [`handle_timeout`](StreamNode::handle_timeout) at that time, unless
    /// something else happens before; never, if there is no time.
    Wait(Option<Instant>),
}

/// What a node of a connection has to tell.
#[derive(PartialEq, Eq, Debug)]
pub enum StreamNodeEvent {
    /// The peer said what it can do: at the start, and when that changes.
    Capabilities(Capabilities),
    /// A whole request, to be answered with [`respond`](StreamNode::respond) or
    /// [`respond_observed`](StreamNode::respond_observed), sooner or later.
    Request {
        /// What to answer.
        ask: Ask<()>,
        /// The request with its whole body, without options about blocks.
        request: Request,
    },
    /// Nobody observes this resource any more.
    Unobserved {
        /// Which one.
        resource: ResourceId,
    },
    /// What came of a call.
    Call(CallEvent<()>),
    /// The peer wants the connection to end. It does once everything is answered.
    Released(Release),
    /// The last event: close the connection.
    Closed(CloseReason),
}

/// A [`StreamEndpoint`] with what a [`Node`](super::super::Node) has: block-wise transfers
/// (RFC 7959) with BERT where both ends want it (RFC 8323 §6), and observation (§7).
///
/// The order of calls is that of the endpoint, whose methods it has, and the meaning of requests,
/// responses and notifications that of the node. A notification waits while the peer does not read
/// what it was sent before; when it does, it gets the latest state. What is observed ends with the
/// connection (§7.4).
#[derive(Debug)]
pub struct StreamNode {
    endpoint: StreamEndpoint,
    server: Server<()>,
    client: Client<()>,
    /// The time of the last call.
    now: Instant,
}

impl StreamNode {
    /// The node of a connection that was opened just now; `seed` must be random.
    pub fn new(now: Instant, config: StreamNodeConfig, seed: u64) -> Self {
        let StreamNodeConfig { mut stream, mut server, client, budget } = config;
        let mut rng = Rng::new(seed);
        stream.block_wise = true;
        if stream.request_options == REQUEST_OPTIONS {
            stream.request_options = NODE_REQUEST_OPTIONS;
        }
        if stream.response_options.is_empty() {
            stream.response_options = NODE_RESPONSE_OPTIONS;
        }
        server.echo = EchoConfig { amplification: None, ..server.echo };
        Self {
            endpoint: StreamEndpoint::new(now, stream),
            server: Server::new(server, budget, &mut rng),
            client: Client::new(client, &mut rng),
            now,
        }
    }

    /// See [`StreamEndpoint::wants_bytes`].
    pub fn wants_bytes(&self) -> bool {
        self.endpoint.wants_bytes()
    }

    /// See [`StreamEndpoint::handle_bytes`].
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        self.endpoint.handle_bytes(now, bytes);
    }

    /// See [`StreamEndpoint::handle_end`].
    pub fn handle_end(&mut self, now: Instant) {
        self.now = now;
        self.endpoint.handle_end(now);
    }

    /// See [`StreamEndpoint::handle_lost`].
    pub fn handle_lost(&mut self, now: Instant) {
        self.now = now;
        self.endpoint.handle_lost(now);
    }

    /// See [`StreamEndpoint::handle_transmitted`].
    pub fn handle_transmitted(&mut self, now: Instant) {
        self.now = now;
        self.endpoint.handle_transmitted(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.endpoint.handle_timeout(now);
        self.server.handle_timeout(now);
        self.client.handle_timeout(now, &mut self.endpoint);
    }

    /// What to do next; see the endpoint for the order of calls.
    pub fn poll_output(&mut self) -> StreamNodeOutput {
        loop {
            // Before those of the endpoint, whose last one is that the connection is over.
            if let Some(event) = self.poll_event() {
                return StreamNodeOutput::Event(event);
            }
            match self.endpoint.poll_output() {
                StreamOutput::Transmit(bytes) => return StreamNodeOutput::Transmit(bytes),
                StreamOutput::Event(event) => {
                    if let Some(event) = self.handle_event(event) {
                        return StreamNodeOutput::Event(event);
                    }
                }
                StreamOutput::Wait(at) => {
                    if !self.server.send_due(self.now, &mut self.endpoint) {
                        let next = [at, self.server.next_at(), self.client.next_at()];
                        return StreamNodeOutput::Wait(next.into_iter().flatten().min());
                    }
                }
            }
        }
    }

    /// Answers a request: see [`Node::respond`](super::super::Node::respond).
    pub fn respond(&mut self, now: Instant, ask: Ask<()>, response: Response) {
        self.now = now;
        self.server.respond(now, &mut self.endpoint, ask, None, response);
    }

    /// Answers a request with what may be observed: see
    /// [`Node::respond_observed`](super::super::Node::respond_observed).
    pub fn respond_observed(
        &mut self,
        now: Instant,
        ask: Ask<()>,
        resource: ResourceId,
        response: Response,
    ) {
        self.now = now;
        self.server.respond(now, &mut self.endpoint, ask, Some(resource), response);
    }

    /// Tells the client the new state of a resource: see
    /// [`Node::notify`](super::super::Node::notify).
    pub fn notify(&mut self, now: Instant, resource: ResourceId, response: Response) {
        self.now = now;
        self.server.notify(resource, response);
    }

    /// Whether the client observes a resource.
    pub fn is_observed(&self, resource: ResourceId) -> bool {
        self.server.is_observed(resource)
    }

    /// Makes a request. One with an Observe of 0 is an observation.
    pub fn request(&mut self, now: Instant, request: Request) -> Result<CallId, RequestError> {
        self.now = now;
        self.endpoint.check_queue()?;
        self.client.request(now, &mut self.endpoint, (), request)
    }

    /// Observes a resource: a GET or FETCH, whose body fits a message.
    pub fn observe(&mut self, now: Instant, mut request: Request) -> Result<CallId, RequestError> {
        request.options.replace_uint(OptionNumber::OBSERVE, 0);
        self.request(now, request)
    }

    /// Ends an observation, and so the call in its response.
    pub fn deregister(&mut self, now: Instant, call: CallId) {
        self.now = now;
        self.client.deregister(now, &mut self.endpoint, call);
    }

    /// Gives up a call: it ends in [`CallEvent::Failed`], unless it is over already. The server of
    /// an observation is told.
    pub fn cancel(&mut self, now: Instant, call: CallId) {
        self.now = now;
        self.client.cancel(now, &mut self.endpoint, call);
    }

    /// See [`StreamEndpoint::release`].
    pub fn release(&mut self, now: Instant, release: &Release) {
        self.now = now;
        self.endpoint.release(now, release);
    }

    /// What happened so far in messages.
    pub const fn stats(&self) -> &StreamStats {
        self.endpoint.stats()
    }

    /// What happened so far above them, in the server's role.
    pub const fn server_stats(&self) -> &ServerStats {
        self.server.stats()
    }

    fn handle_event(&mut self, event: StreamEvent) -> Option<StreamNodeEvent> {
        let (now, endpoint) = (self.now, &mut self.endpoint);
        match event {
            StreamEvent::Request { exchange, token, request } => {
                let size = request.payload.len();
                let delivery = Delivery::Unicast;
                let mut incoming = Incoming { exchange, from: (), delivery, token, size, request };
                let ask = self.server.handle_request(now, endpoint, &mut incoming)?;
                return Some(StreamNodeEvent::Request { ask, request: incoming.request });
            }
            StreamEvent::Notification { id, response } => {
                self.client.handle_notification(now, endpoint, id, response);
            }
            StreamEvent::Response { id, response } => {
                self.client.handle_response(now, endpoint, id, response);
            }
            StreamEvent::Failed { id, reason } => {
                self.client.handle_failed(now, endpoint, id, reason);
            }
            StreamEvent::Capabilities(capabilities) => {
                return Some(StreamNodeEvent::Capabilities(capabilities));
            }
            StreamEvent::Released(release) => return Some(StreamNodeEvent::Released(release)),
            StreamEvent::Closed(reason) => return Some(StreamNodeEvent::Closed(reason)),
        }
        None
    }

    fn poll_event(&mut self) -> Option<StreamNodeEvent> {
        if let Some(event) = self.client.poll_event() {
            return Some(StreamNodeEvent::Call(event));
        }
        let resource = self.server.poll_unobserved()?;
        Some(StreamNodeEvent::Unobserved { resource })
    }
}

impl Transport<()> for StreamEndpoint {
    const IS_RELIABLE: bool = true;

    fn room(&self) -> Room {
        self.room()
    }

    fn takes_notifications(&self) -> bool {
        self.takes_notifications()
    }

    fn respond(&mut self, now: Instant, exchange: ExchangeId, response: Response) {
        self.respond(now, exchange, &response);
    }

    fn suppress(&mut self, now: Instant, exchange: ExchangeId) {
        self.suppress(now, exchange);
    }

    /// The stream delivers it, so it has no name of its own.
    fn notify(
        &mut self,
        now: Instant,
        (): (),
        token: Token,
        prepared: &Prepared,
        _: bool,
    ) -> Option<NotificationId> {
        self.notify(now, token, prepared).then_some(NotificationId::DELIVERED)
    }

    fn forget_notification(&mut self, _: Instant, _: NotificationId) {}

    fn request(
        &mut self,
        now: Instant,
        (): (),
        request: Request,
    ) -> Result<RequestId, RequestError> {
        self.start_request(now, &request)
    }

    fn renew(
        &mut self,
        now: Instant,
        id: RequestId,
        request: &Request,
    ) -> Result<(), RequestError> {
        self.renew(now, id, request)
    }

    fn cancel(&mut self, now: Instant, id: RequestId) {
        self.cancel(now, id);
    }
}

#[cfg(test)]
mod tests;
