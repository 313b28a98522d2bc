//! The endpoint: one state machine for the server's and the client's role.

use alloc::collections::VecDeque;
use core::fmt::Debug;
use core::time::Duration;

use super::{
    Delivery, EndpointConfig, Event, ExchangeId, Output, Request, RequestError, RequestId,
    Response, Stats,
};
use crate::{Instant, Rng};

/// A CoAP endpoint (RFC 7252): server and client over one socket.
///
/// `P` is the address of a peer. The endpoint does nothing on its own: hand it every datagram with
/// [`handle_datagram`](Self::handle_datagram), call [`handle_timeout`](Self::handle_timeout) when
/// the time of the last [`Output::Wait`] has come, and after *every* call of a method that takes
/// `&mut self` call [`poll_output`](Self::poll_output) until it gives [`Output::Wait`]. `now` never
/// goes back between calls.
#[derive(Debug)]
pub struct Endpoint<P> {
    config: EndpointConfig,
    rng: Rng,
    stats: Stats,
    outputs: VecDeque<Output<P>>,
}

impl<P: Copy + Ord + Debug> Endpoint<P> {
    /// An endpoint whose message ids and tokens are drawn from `seed`, which must be random.
    pub fn new(config: EndpointConfig, seed: u64) -> Self {
        Self { config, rng: Rng::new(seed), stats: Stats::default(), outputs: VecDeque::new() }
    }

    /// Takes a datagram that arrived from `from`.
    pub fn handle_datagram(&mut self, now: Instant, from: P, datagram: &[u8], delivery: Delivery) {
        let _ = (now, from, datagram, delivery);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// Answers a request.
    pub fn respond(&mut self, now: Instant, exchange: ExchangeId, response: Response) {
        let _ = (now, exchange, response);
    }

    /// Sends a request. It ends in exactly one [`Event::Response`] or [`Event::Failed`].
    pub fn request(
        &mut self,
        now: Instant,
        to: P,
        request: Request,
    ) -> Result<RequestId, RequestError> {
        let _ = (now, to, request);
        Err(RequestError::TooManyRequests)
    }

    /// Gives up a request: it ends in [`Event::Failed`], unless it is over already.
    pub fn cancel(&mut self, now: Instant, id: RequestId) {
        let _ = (now, id);
    }

    /// Rebuilds the de-duplication after a restart: a message that an earlier process executed
    /// `age` ago is answered with `response` when it comes again, not executed.
    pub fn remember(
        &mut self,
        now: Instant,
        peer: P,
        message_id: u16,
        token: &[u8],
        age: Duration,
        response: Response,
    ) {
        let _ = (now, peer, message_id, token, age, response);
    }

    /// What to do next; see the type for the order of calls.
    pub fn poll_output(&mut self) -> Output<P> {
        self.outputs.pop_front().unwrap_or(Output::Wait(None))
    }

    /// What happened so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }
}
