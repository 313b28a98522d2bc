//! The server above the messages: whole requests in, responses of any size out, observers told.
//!
//! | Request | Reaction |
//! |---|---|
//! | Block1 or Block2 with a reserved size | 4.00 (RFC 7959 §2.2) |
//! | a block of a body | 2.31 until it is complete; 4.08 after a gap, 4.13 over the limit, 5.03 without room |
//! | a further block of a response that is kept | that block |
//! | the same, not kept, of a GET | the caller is asked for the whole, and the block is cut from it |
//! | the same of anything else | 4.08 |
//! | with the token of an observation | ends it, unless it registers anew (RFC 7641 §4.1) |
//! | a response to a GET or FETCH that is much larger than it, of a peer that was not verified | 4.01 with Echo (RFC 9175 §2.6) |
//! | the same to a group | at most one message, so the first block; nobody can be asked for Echo (RFC 7252 §8.2) |
//! | a response that the client does not want (RFC 7967) | an empty Acknowledgement or silence |
//! | everything else | the caller is asked |

use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::{Hash, Hasher as _};

use super::block::{Assemblies, Budget, Kept, Portion, Received, Room, slice};
use super::echo::Verifier;
use super::transport::Transport;
use super::{
    Block, BlockSize, Code, Delivery, Due, ETag, EchoConfig, ExchangeId, Method, NoResponse,
    NotificationId, ObserveConfig, Observers, OptionNumber, Prepared, Registration, Request,
    ResourceId, Response, ServerStats, Token, TransferConfig,
};
use crate::siphash::SipHasher;
use crate::{Instant, Rng};

/// What Block2 and Size2 add to a response.
const BLOCK_OPTIONS: usize = 5 + 5;

/// Limits of the server's role.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ServerConfig {
    /// Bodies of requests and responses.
    pub transfer: TransferConfig,
    /// Observers.
    pub observe: ObserveConfig,
    /// The protection against forged senders.
    pub echo: EchoConfig,
}

/// A request that waits for its response.
///
/// It is all that the server knows of the request, so one that is never answered leaves nothing
/// behind but its exchange in the endpoint.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a request is to be answered with `respond`"]
pub struct Ask<P> {
    exchange: ExchangeId,
    from: P,
    delivery: Delivery,
    token: Token,
    confirmable: bool,
    /// What is the same in all requests for blocks of the response.
    key: u64,
    block1: Option<Block>,
    block2: Option<Block>,
    observes: bool,
    /// Whether to do it again would change nothing.
    is_safe: bool,
    no_response: NoResponse,
    /// Bytes of the last message of the request.
    size: usize,
}

impl<P> Ask<P> {
    /// Whether the client asks to observe the resource: then the answer may be
    /// [`respond_observed`](super::Node::respond_observed).
    pub const fn observes(&self) -> bool {
        self.observes
    }
}

/// A request as the endpoint hands it over.
#[derive(Debug)]
pub(super) struct Incoming<P> {
    pub(super) exchange: ExchangeId,
    pub(super) from: P,
    pub(super) delivery: Delivery,
    pub(super) token: Token,
    pub(super) size: usize,
    pub(super) request: Request,
}

/// The server's state.
#[derive(Debug)]
pub(super) struct Server<P> {
    config: ServerConfig,
    hash_key: (u64, u64),
    assemblies: Assemblies<P>,
    kept: Kept<P>,
    observers: Observers<P>,
    verifier: Verifier<P>,
    /// The notification that was built last: mostly the next observer gets the same one.
    prepared: Option<(Arc<Response>, Portion, Prepared)>,
    stats: ServerStats,
}

impl<P: Copy + Ord + Hash + Debug> Server<P> {
    /// A server; `budget` is what its bodies share with those of others.
    pub(super) fn new(config: ServerConfig, budget: Option<Budget>, rng: &mut Rng) -> Self {
        let received = budget.as_ref().map(Budget::received).unwrap_or_default();
        let kept = budget.as_ref().map(Budget::kept).unwrap_or_default();
        Self {
            hash_key: (rng.next_u64(), rng.next_u64()),
            verifier: Verifier::new(config.echo.clone(), (rng.next_u64(), rng.next_u64())),
            assemblies: Assemblies::new(config.transfer.clone(), received),
            kept: Kept::new(config.transfer.clone(), kept),
            observers: Observers::new(config.observe.clone()),
            prepared: None,
            stats: ServerStats::default(),
            config,
        }
    }

    /// Takes a request; `None` where it is answered already.
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        incoming: &mut Incoming<P>,
    ) -> Option<Ask<P>> {
        match self.admit(now, endpoint.room(), incoming) {
            Ok(ask) => Some(ask),
            Err(response) => {
                endpoint.respond(now, incoming.exchange, response);
                None
            }
        }
    }

    /// Answers a request, and makes its client an observer of `resource`.
    pub(super) fn respond(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        ask: Ask<P>,
        resource: Option<ResourceId>,
        mut response: Response,
    ) {
        if ask.no_response.covers(response.code) && !(ask.observes && resource.is_some()) {
            return endpoint.suppress(now, ask.exchange);
        }
        let mut room = endpoint.room();
        if !ask.is_safe {
            // It was executed, so there is no way but to send little at a time.
            room.bytes = room.bytes.min(self.verifier.allowance(now, ask.from, ask.size));
        }
        let portion = self.portion(room, ask.block2, &response);
        if response.payload.len() > portion.bytes {
            add_etag(&mut response);
        }
        if self.is_too_much(now, &ask, portion, &response) {
            if !response.code.is_success() {
                response.payload.clear();
            } else if ask.is_safe {
                let challenge = self.challenge(now, ask.from);
                return endpoint.respond(now, ask.exchange, challenge);
            }
        }
        if let Some(resource) = resource.filter(|_| ask.observes && response.code.is_success()) {
            let registration = Registration {
                peer: ask.from,
                token: ask.token,
                resource,
                confirmable: ask.confirmable,
                is_trusted: self.verifier.is_verified(now, ask.from),
                mark: ask.key,
                block_size: portion.size,
            };
            match self.observers.register(now, registration, &response) {
                Some(number) => {
                    response.options.push_uint(OptionNumber::OBSERVE, number.value());
                }
                None => self.stats.observers_refused += 1,
            }
        }
        let response = self.cut(now, &ask, portion, response);
        endpoint.respond(now, ask.exchange, response);
    }

    /// Tells the observers of a resource its new state.
    pub(super) fn notify(&mut self, resource: ResourceId, mut response: Response) {
        if response.payload.len() > BlockSize::MIN.bytes() && self.observers.is_observed(resource) {
            add_etag(&mut response);
        }
        self.observers.notify(resource, response);
    }

    /// Sends one notification that is due; whether there was one.
    pub(super) fn send_due<T: Transport<P>>(&mut self, now: Instant, endpoint: &mut T) -> bool {
        let due = endpoint.takes_notifications().then(|| self.observers.poll_due()).flatten();
        while let Some(forgotten) = self.observers.poll_forgotten() {
            endpoint.forget_notification(now, forgotten);
        }
        let Some(due) = due else { return false };
        let portion = self.notified_portion(endpoint.room(), &due);
        let prepared = self.prepare(endpoint.room(), &due, portion);
        let sent = prepared.and_then(|prepared| {
            endpoint.notify(now, due.to, due.token, prepared, due.confirmable)
        });
        if sent.is_some() && due.response.payload.len() > portion.bytes {
            self.kept.insert(now, (due.to, due.mark), Arc::clone(&due.response));
        }
        self.stats.observers_lost += u64::from(sent.is_none());
        self.observers.handle_sent(&due, sent);
        if T::IS_RELIABLE
            && let Some(id) = sent
        {
            self.observers.handle_delivered(now, id);
        }
        true
    }

    pub(super) fn handle_delivered(&mut self, now: Instant, notification: NotificationId) {
        self.observers.handle_delivered(now, notification);
    }

    pub(super) fn handle_undelivered(&mut self, notification: NotificationId) {
        self.stats.observers_lost += 1;
        self.observers.handle_undelivered(notification);
    }

    pub(super) fn is_observed(&self, resource: ResourceId) -> bool {
        self.observers.is_observed(resource)
    }

    pub(super) fn poll_unobserved(&mut self) -> Option<ResourceId> {
        self.observers.poll_unobserved()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.stats.transfers_expired += self.assemblies.handle_timeout(now);
        self.kept.handle_timeout(now);
        self.verifier.handle_timeout(now);
        self.observers.handle_timeout(now);
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        let next = [self.assemblies.next_at(), self.kept.next_at(), self.observers.next_at()];
        next.into_iter().flatten().min()
    }

    pub(super) const fn stats(&self) -> &ServerStats {
        &self.stats
    }

    #[cfg(test)]
    pub(super) fn usage(&self) -> [(usize, usize); 2] {
        [self.assemblies.usage(), self.kept.usage()]
    }

    /// Turns a message into a whole request to be asked for, or says what to answer.
    fn admit(
        &mut self,
        now: Instant,
        room: Room,
        incoming: &mut Incoming<P>,
    ) -> Result<Ask<P>, Response> {
        let Incoming { exchange, from, delivery, token, size, ref mut request } = *incoming;
        if let Some(echo) = request.options.first(OptionNumber::ECHO) {
            self.verifier.handle_echo(now, from, echo);
        }
        let [block1, block2] = [OptionNumber::BLOCK1, OptionNumber::BLOCK2].map(|number| {
            Block::of(&request.options, number, room.largest)
                .map_err(|fault| Response::new(Code::BAD_REQUEST).diagnostic(&fault.to_string()))
        });
        let (block1, block2) = (block1?, block2?);
        let is_first = block2.is_none_or(|block| block.number == 0);
        // RFC 7959 §3.4: only the request for the first block can register.
        let observes = is_first
            && delivery == Delivery::Unicast
            && matches!(request.method, Method::Get | Method::Fetch)
            && request.options.first_uint(OptionNumber::OBSERVE) == Some(0);
        if !observes && !self.observers.is_empty() {
            self.observers.deregister((from, token));
        }
        let key = self.key_of(request);
        let ask = Ask {
            exchange,
            from,
            delivery,
            token,
            confirmable: request.confirmable,
            key,
            block1,
            block2,
            observes,
            is_safe: matches!(request.method, Method::Get | Method::Fetch),
            no_response: NoResponse::of(request),
            size,
        };
        if let Some(block) = block1 {
            request.payload = self.assemble(now, (from, key), block, request)?;
        } else {
            self.config.transfer.check_body(request.payload.len())?;
        }
        if !is_first {
            self.serve_further(now, room, &ask, request)?;
        }
        request.options.remove(is_of_blocks);
        Ok(ask)
    }

    /// Takes a block of a request's body; the body when it is complete.
    fn assemble(
        &mut self,
        now: Instant,
        identity: (P, u64),
        block: Block,
        request: &Request,
    ) -> Result<Vec<u8>, Response> {
        self.stats.blocks_received += 1;
        let size = request.options.first_uint(OptionNumber::SIZE1);
        match self.assemblies.handle_block(now, identity, block, size, &request.payload) {
            Received::Wholly(body) => {
                self.stats.transfers_completed += 1;
                Ok(body)
            }
            Received::Partly(response) => Err(response),
            Received::Refused(response) => {
                self.stats.transfers_refused += 1;
                Err(response)
            }
        }
    }

    /// Serves a further block of a response, unless the caller has to be asked for it.
    fn serve_further(
        &mut self,
        now: Instant,
        room: Room,
        ask: &Ask<P>,
        request: &Request,
    ) -> Result<(), Response> {
        let wanted = ask.block2.filter(|_| ask.block1.is_none());
        let kept = self.kept.find(now, (ask.from, ask.key));
        if let (Some(wanted), Some(kept)) = (wanted, kept) {
            self.stats.blocks_served += 1;
            let portion = self.portion(room, Some(wanted), &kept);
            return Err(if self.is_too_much(now, ask, portion, &kept) {
                self.challenge(now, ask.from)
            } else {
                slice(&kept, wanted, portion)
            });
        }
        // Asking again is safe for a GET, and for a FETCH that says what it wants.
        match request.method {
            Method::Get => Ok(()),
            Method::Fetch if !request.payload.is_empty() => Ok(()),
            Method::Fetch
            | Method::Post
            | Method::Put
            | Method::Delete
            | Method::Patch
            | Method::IPatch => Err(Response::new(Code::REQUEST_ENTITY_INCOMPLETE)),
        }
    }

    /// Cuts the block out of a response that its client asked for, or the first if it is large.
    fn cut(
        &mut self,
        now: Instant,
        ask: &Ask<P>,
        portion: Portion,
        response: Response,
    ) -> Response {
        let is_large = response.payload.len() > portion.bytes;
        let mut answer = if response.code.is_success() && (is_large || ask.block2.is_some()) {
            self.stats.blocks_served += 1;
            let wanted = ask.block2.unwrap_or(Block::first(portion.size));
            let part = slice(&response, wanted, portion);
            if is_large && wanted.number == 0 {
                self.kept.insert(now, (ask.from, ask.key), Arc::new(response));
            }
            part
        } else {
            response
        };
        if let Some(block) = ask.block1 {
            // RFC 7959 §2.3: the last block is acknowledged by the response.
            let block = Block { more: false, ..block };
            answer.options.replace_uint(OptionNumber::BLOCK1, block.encode());
        }
        answer
    }

    /// Whether a response is larger than its client may get (RFC 9175 §2.6). To a group no 4.01 is
    /// sent, so its members would never be found: how much goes back is for the endpoint's limit
    /// of delayed responses.
    fn is_too_much(
        &self,
        now: Instant,
        ask: &Ask<P>,
        portion: Portion,
        response: &Response,
    ) -> bool {
        if ask.delivery == Delivery::Multicast {
            return false;
        }
        let len = response.payload.len();
        let of_blocks = if len > portion.bytes { BLOCK_OPTIONS } else { 0 };
        let taken = 4 + ask.token.len() + response.options.encoded().len() + of_blocks + 1;
        taken + len.min(portion.bytes) > self.verifier.allowance(now, ask.from, ask.size)
    }

    /// 4.01 with Echo; nothing was executed.
    fn challenge(&mut self, now: Instant, peer: P) -> Response {
        self.stats.challenges += 1;
        self.verifier.challenge(now, peer)
    }

    /// How much of a response goes into a message. A client that did not say that it knows blocks
    /// gets all of it (RFC 8323 §5.3.2).
    fn portion(&self, room: Room, wanted: Option<Block>, response: &Response) -> Portion {
        let portion = self.config.transfer.portion(&response.options, room);
        match wanted {
            Some(block) => portion.at_most(block.size),
            None if room.block_wise => portion,
            None => Portion::WHOLE,
        }
    }

    fn notified_portion(&self, room: Room, due: &Due<P>) -> Portion {
        let first = Block::first(due.block_size);
        self.portion(room, room.block_wise.then_some(first), &due.response)
    }

    /// The message of a notification, with the first block of a large one (RFC 7959 §3.4).
    fn prepare(&mut self, room: Room, due: &Due<P>, portion: Portion) -> Option<&Prepared> {
        let is_same = |(response, last, _): &(Arc<Response>, Portion, Prepared)| {
            Arc::ptr_eq(response, &due.response) && *last == portion
        };
        if !self.prepared.as_ref().is_some_and(is_same) {
            let is_large = due.response.payload.len() > portion.bytes;
            let prepared = if is_large {
                let first = Block::first(portion.size);
                Prepared::new(&slice(&due.response, first, portion), room.bytes)
            } else {
                Prepared::new(&due.response, room.bytes)
            };
            self.prepared = Some((Arc::clone(&due.response), portion, prepared.ok()?));
        }
        self.prepared.as_ref().map(|(_, _, prepared)| prepared)
    }

    /// What is the same in all requests of a block-wise transfer: all but the options that are
    /// about blocks and those that are no part of a cache key (RFC 7959 §2.5, RFC 9175 §3.3).
    fn key_of(&self, request: &Request) -> u64 {
        let mut hasher = SipHasher::new(self.hash_key);
        hasher.write_u8(request.method.code().as_byte());
        for (number, value) in request.options.iter() {
            let is_per_message = matches!(
                number,
                OptionNumber::BLOCK1 | OptionNumber::BLOCK2 | OptionNumber::OBSERVE
            );
            if !is_per_message && !number.is_no_cache_key() {
                hasher.write_u64(u64::from(number.0) << 32 | value.len() as u64);
                hasher.write(value);
            }
        }
        hasher.finish()
    }
}

/// Options that are of no concern to whoever executes a whole request.
fn is_of_blocks(number: OptionNumber) -> bool {
    matches!(
        number,
        OptionNumber::BLOCK1
            | OptionNumber::BLOCK2
            | OptionNumber::SIZE1
            | OptionNumber::SIZE2
            | OptionNumber::REQUEST_TAG
            | OptionNumber::ECHO
    )
}

/// Gives a large representation an entity-tag, once for all its blocks.
fn add_etag(response: &mut Response) {
    if response.options.etag().is_none() && response.code.is_success() {
        let etag = ETag::of(response.options.content_format(), &response.payload);
        response.options.push(OptionNumber::ETAG, &etag);
    }
}
