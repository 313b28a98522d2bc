//! The server's role: requests in, responses out (RFC 7252 §5.2).

use alloc::vec::Vec;
use core::fmt::Debug;
use core::time::Duration;

use super::super::arena::Key;
use super::super::check::{Refusal, check_request};
use super::super::compact::Compact;
use super::super::dedup::State;
use super::super::encode;
use super::super::timers::Timer;
use super::super::transmission::{Owner, Schedule, Transmission};
use super::super::{
    Code, CodeKind, Delivery, Event, ExchangeId, Message, MessageType, Options, Output, Response,
    Token,
};
use super::Endpoint;
use crate::Instant;

/// What a client is asked to wait before it tries again, in a 5.03: by then the requests that
/// fill the tables are answered, or the caller is in trouble.
const BUSY_MAX_AGE_S: u32 = 5;

/// A response to a group's request that waits for its moment.
#[derive(Debug)]
pub(super) struct Delayed {
    peer: Key,
    token: Token,
    response: Response,
}

impl<P: Copy + Ord + Debug> Endpoint<P> {
    /// Answers a request. Anything but the first answer in the lifetime of the exchange is counted
    /// and dropped.
    pub fn respond(&mut self, now: Instant, exchange: ExchangeId, response: Response) {
        let ExchangeId(key) = exchange;
        let found = self.dedup.get(key).and_then(|entry| {
            let address = self.peers.get(entry.peer)?.address;
            Some((entry.peer, address, entry.message_id, entry.token(), entry.state.clone()))
        });
        let Some((peer, to, message_id, token, state)) = found else {
            self.stats.late_responses += 1;
            return;
        };
        match state {
            State::Waiting { .. } => {
                let kind = MessageType::Acknowledgement;
                let answer = self.encode_response(kind, message_id, token, &response);
                self.answered(now, key, answer.as_slice().into());
                self.transmit(to, answer);
            }
            State::Acknowledged => {
                let answer = encode::empty(MessageType::Acknowledgement, message_id);
                self.send_separate_response(now, peer, token, &response);
                self.answered(now, key, answer.into());
            }
            State::NonConfirmable(Delivery::Unicast) => {
                self.send_non_confirmable(now, peer, token, &response);
                self.answered(now, key, Compact::default());
            }
            State::NonConfirmable(Delivery::Multicast) => {
                self.delay(now, peer, token, response);
                self.answered(now, key, Compact::default());
            }
            State::Answered(_) => self.stats.late_responses += 1,
        }
    }

    /// Finishes an exchange without a response, because the client does not want one (RFC 7967
    /// §2): a Confirmable request is acknowledged.
    pub fn suppress(&mut self, now: Instant, exchange: ExchangeId) {
        let ExchangeId(key) = exchange;
        let found = self.dedup.get(key).and_then(|entry| {
            let address = self.peers.get(entry.peer)?.address;
            Some((address, entry.message_id, entry.state.clone()))
        });
        let Some((to, message_id, state)) = found else {
            self.stats.late_responses += 1;
            return;
        };
        match state {
            State::Waiting { .. } | State::Acknowledged => {
                let answer = encode::empty(MessageType::Acknowledgement, message_id);
                self.answered(now, key, answer.as_slice().into());
                if state != State::Acknowledged {
                    self.transmit(to, answer);
                }
            }
            State::NonConfirmable(_) => self.answered(now, key, Compact::default()),
            State::Answered(_) => {
                self.stats.late_responses += 1;
                return;
            }
        }
        self.stats.unwanted_responses += 1;
    }

    /// Rebuilds the de-duplication after a restart: the message with this identity, executed `age`
    /// ago by an earlier process, gets `response` when it comes again and is not executed.
    ///
    /// What is older than EXCHANGE_LIFETIME, has a token of more than `max_token` bytes (so is no
    /// message) or does not fit the limits beside unanswered requests is not remembered. Call it
    /// with the oldest first: where a limit is met, the first ones give way.
    pub fn remember(
        &mut self,
        now: Instant,
        peer: P,
        message_id: u16,
        token: &[u8],
        age: Duration,
        response: Response,
    ) {
        let longest = self.config.max_token.max(Token::MAX_SHORT);
        let token = Token::new(token).filter(|token| token.len() <= longest);
        let Some(token) = token else { return };
        let Some(left) = self.config.exchange_lifetime.checked_sub(age) else { return };
        let Some(peer) = self.peer(now, peer) else { return };
        let identity = (peer, message_id, token);
        let known = self.peers.get(peer).is_some_and(|p| p.received.contains_key(&message_id));
        if !known {
            let kind = MessageType::Acknowledgement;
            let answer = self.encode_response(kind, message_id, token, &response);
            let state = State::Answered(answer.into());
            let (peers, stats) = (&mut self.peers, &mut self.stats);
            self.dedup.insert(now, peers, stats, identity, state, now + left);
        }
    }

    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        from: P,
        peer: Option<Key>,
        message: &Message<'_>,
        delivery: Delivery,
    ) {
        if let Some(state) = self.find_duplicate(now, peer, message) {
            return self.handle_duplicate(from, message.kind(), message.message_id(), &state);
        }
        let confirmable = message.kind() == MessageType::Confirmable;
        let (code, options, payload) = (message.code(), message.options(), message.payload());
        let recognised = self.config.request_options;
        let request = match check_request(code, options, payload, confirmable, recognised) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(now, from, message, delivery, &refusal),
        };
        let Some(exchange) = self.open_exchange(now, from, peer, message, delivery) else {
            self.stats.refused_busy += 1;
            if confirmable {
                let busy = Response::new(Code::SERVICE_UNAVAILABLE).max_age(BUSY_MAX_AGE_S);
                self.send_piggybacked(from, message, &busy);
            }
            return;
        };
        self.stats.requests += 1;
        let (message_id, token) = (message.message_id(), message.token());
        let size = message.size();
        let event = Event::Request { exchange, from, delivery, message_id, token, size, request };
        self.outputs.push_back(Output::Event(event));
    }

    /// Sends the empty Acknowledgement of a request whose response takes longer.
    pub(super) fn acknowledge(&mut self, now: Instant, key: Key) {
        let Some(entry) = self.dedup.get(key) else { return };
        let message_id = entry.message_id;
        let address = self.peers.get(entry.peer).map(|peer| peer.address);
        self.dedup.advance(now, &mut self.peers, &mut self.stats, key, State::Acknowledged);
        if let Some(to) = address {
            self.transmit(to, encode::empty(MessageType::Acknowledgement, message_id));
        }
    }

    /// Sends a response that had to wait for its leisure (RFC 7252 §8.2).
    pub(super) fn send_delayed(&mut self, now: Instant, number: u64) {
        let Some(Delayed { peer, token, response }) = self.delayed.remove(&number) else { return };
        self.send_non_confirmable(now, peer, token, &response);
        self.peers.release(now, peer);
    }

    /// Answers a request that does not reach the caller. It leaves no entry: when it comes again,
    /// the answer will be the same.
    fn refuse(
        &mut self,
        now: Instant,
        from: P,
        message: &Message<'_>,
        delivery: Delivery,
        refusal: &Refusal,
    ) {
        let confirmable = message.kind() == MessageType::Confirmable;
        let silent = refusal.silent_if_non_confirmable && !confirmable;
        if silent || delivery == Delivery::Multicast {
            self.stats.rejected += 1;
        } else if confirmable {
            self.stats.refused += 1;
            self.send_piggybacked(from, message, &refusal.response);
        } else if let Some(peer) = self.peer(now, from) {
            self.stats.refused += 1;
            self.send_non_confirmable(now, peer, message.token(), &refusal.response);
        } else {
            self.stats.refused_busy += 1;
        }
    }

    /// Remembers a request as unanswered; `None` if a limit is met.
    fn open_exchange(
        &mut self,
        now: Instant,
        from: P,
        peer: Option<Key>,
        message: &Message<'_>,
        delivery: Delivery,
    ) -> Option<ExchangeId> {
        let peer = peer.or_else(|| self.peer(now, from))?;
        let (state, lifetime) = if message.kind() == MessageType::Confirmable {
            let acknowledge_at = now + self.config.ack_delay;
            (State::Waiting { acknowledge_at }, self.config.exchange_lifetime)
        } else {
            (State::NonConfirmable(delivery), self.config.non_lifetime)
        };
        let identity = (peer, message.message_id(), message.token());
        let (peers, stats) = (&mut self.peers, &mut self.stats);
        self.dedup.insert(now, peers, stats, identity, state, now + lifetime).map(ExchangeId)
    }

    fn answered(&mut self, now: Instant, key: Key, answer: Compact) {
        let state = State::Answered(answer);
        self.dedup.advance(now, &mut self.peers, &mut self.stats, key, state);
    }

    fn send_piggybacked(&mut self, to: P, message: &Message<'_>, response: &Response) {
        let kind = MessageType::Acknowledgement;
        let datagram = self.encode_response(kind, message.message_id(), message.token(), response);
        self.transmit(to, datagram);
    }

    fn send_separate_response(
        &mut self,
        now: Instant,
        peer: Key,
        token: Token,
        response: &Response,
    ) {
        let Some((to, message_id)) = self.next_message_id(now, peer) else { return };
        let kind = MessageType::Confirmable;
        let datagram = self.encode_response(kind, message_id, token, response);
        let schedule = Schedule::new(now, datagram.clone(), &self.config, &mut self.rng);
        self.timers.set(schedule.due, Timer::Retransmit(peer, message_id));
        let transmission =
            Transmission { owner: Owner::Response, retransmit: Some(schedule), expires: None };
        self.transmissions.insert((peer, message_id), transmission);
        self.peers.hold(peer);
        self.stats.separate_responses += 1;
        self.transmit(to, datagram);
    }

    fn send_non_confirmable(&mut self, now: Instant, peer: Key, token: Token, response: &Response) {
        let Some((to, message_id)) = self.next_message_id(now, peer) else { return };
        let kind = MessageType::NonConfirmable;
        let datagram = self.encode_response(kind, message_id, token, response);
        self.transmit(to, datagram);
    }

    /// Keeps a response to a group's request until its moment (RFC 7252 §8.2).
    fn delay(&mut self, now: Instant, peer: Key, token: Token, response: Response) {
        if !response.code.is_success() || self.delayed.len() >= self.config.max_delayed {
            self.stats.suppressed_responses += 1;
            return;
        }
        let number = self.next_delayed;
        self.next_delayed += 1;
        let at = now + self.rng.duration(Duration::ZERO, self.config.leisure);
        self.timers.set(at, Timer::Leisure(number));
        self.delayed.insert(number, Delayed { peer, token, response });
        self.peers.hold(peer);
    }

    /// The peer's address and the id of the next response to it; it is dropped if there is none.
    pub(super) fn next_message_id(&mut self, now: Instant, peer: Key) -> Option<(P, u16)> {
        let lifetime = self.config.exchange_lifetime;
        let peer = self.peers.get_mut(peer)?;
        let message_id = peer.message_ids.next(now, lifetime);
        self.stats.out_of_message_ids += u64::from(message_id.is_err());
        Some((peer.address, message_id.ok()?))
    }

    /// Builds a response; one that cannot be sent becomes a 5.00.
    fn encode_response(
        &mut self,
        kind: MessageType,
        message_id: u16,
        token: Token,
        response: &Response,
    ) -> Vec<u8> {
        // RFC 7252 §5.9.1.3: a 2.03 has no payload.
        let payload = if response.code == Code::VALID { &[] } else { response.payload.as_slice() };
        let (code, options, limit) = (response.code, &response.options, self.config.max_message);
        if code.kind() == CodeKind::Response
            && let Ok(datagram) =
                encode::message(kind, code, message_id, token, options, payload, limit)
        {
            return datagram;
        }
        self.stats.unsendable_responses += 1;
        let code = Code::INTERNAL_SERVER_ERROR;
        let text = b"the response does not fit a message";
        encode::message(kind, code, message_id, token, &Options::new(), text, usize::MAX)
            .unwrap_or_default()
    }
}
