//! The endpoint: one state machine for the server's and the client's role.

mod client;
mod notify;
mod server;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt::Debug;

use self::server::Delayed;
use super::arena::Key;
use super::dedup::{Dedup, State};
use super::encode;
use super::own_requests::OwnRequests;
use super::peers::Peers;
use super::timers::{Timer, Timers};
use super::transmission::{Owner, Step, Transmission};
use super::{
    CodeKind, Delivery, EndpointConfig, Event, FailReason, Malformed, Message, MessageType, Output,
    Stats, Token,
};
use crate::{Instant, Rng};

/// Outputs that may wait before further datagrams are dropped. A caller that drains them, as it
/// must, never gets there.
const MAX_OUTPUTS: usize = 65_536;
/// Silent peers that are forgotten in one go.
const PEERS_PURGED_PER_CALL: usize = 4;

/// A CoAP endpoint (RFC 7252): server and client over one socket.
///
/// `P` is the address of a peer. The endpoint does nothing on its own: hand it every datagram with
/// [`handle_datagram`](Self::handle_datagram), call [`handle_timeout`](Self::handle_timeout) when
/// the time of the last [`Output::Wait`] has come, and after *every* call of a method that takes
/// `&mut self` call [`poll_output`](Self::poll_output) until it gives [`Output::Wait`]. `now` never
/// goes back between calls.
///
/// As a server it turns a datagram into at most one [`Event::Request`], which the caller answers
/// with [`respond`](Self::respond), at once or later: up to `ack_delay` the response is
/// piggybacked, after that it travels in a Confirmable message of its own. What the protocol
/// itself has an answer for never reaches the caller:
///
/// | Received | Reaction |
/// |---|---|
/// | unknown version | silence |
/// | malformed, reserved code class, ping | Reset to a Confirmable message, else silence |
/// | duplicate | the same answer again; silence while there is none, or if Non-confirmable |
/// | unknown method | 4.05 |
/// | unrecognised critical option, bad length, forbidden repetition | 4.02 to a Confirmable request, else silence |
/// | Proxy-Uri, Proxy-Scheme | 5.05 |
/// | a path segment that is no topic level, text that is not UTF-8 | 4.00 |
/// | a limit is met by unanswered requests | 5.03 with Max-Age to a Confirmable request, else silence |
/// | response that matches nothing | Reset to a Confirmable message, else silence |
/// | any of these to a group | silence |
///
/// As a client it takes a [`Request`](super::Request) and ends it in exactly one
/// [`Event::Response`] or [`Event::Failed`]. One that asks for notifications (RFC 7641) gets any
/// number of [`Event::Notification`] before; a server sends them with [`notify`](Self::notify) and
/// keeps the list of whom to send them to itself: [`Observers`](super::Observers).
///
/// The message layer of one endpoint is lost in a restart. A caller that stores what it executed
/// calls [`remember`](Self::remember) for every message that is young enough.
#[derive(Debug)]
pub struct Endpoint<P> {
    config: EndpointConfig,
    rng: Rng,
    stats: Stats,
    peers: Peers<P>,
    dedup: Dedup,
    requests: OwnRequests,
    /// Messages that a Reset or an Acknowledgement can refer to, by peer and message id.
    transmissions: BTreeMap<(Key, u16), Transmission>,
    /// How many of them are notifications.
    notifying: usize,
    delayed: BTreeMap<u64, Delayed>,
    next_delayed: u64,
    timers: Timers,
    outputs: VecDeque<Output<P>>,
}

impl<P: Copy + Ord + Debug> Endpoint<P> {
    /// An endpoint whose message ids and tokens are drawn from `seed`, which must be random.
    pub fn new(config: EndpointConfig, seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            stats: Stats::default(),
            peers: Peers::new(),
            dedup: Dedup::new(&config),
            requests: OwnRequests::new(),
            transmissions: BTreeMap::new(),
            notifying: 0,
            delayed: BTreeMap::new(),
            next_delayed: 0,
            timers: Timers::new(),
            outputs: VecDeque::new(),
            config,
        }
    }

    /// Takes a datagram that arrived from `from`.
    pub fn handle_datagram(&mut self, now: Instant, from: P, datagram: &[u8], delivery: Delivery) {
        self.stats.received += 1;
        if self.outputs.len() >= MAX_OUTPUTS {
            self.stats.undrained += 1;
            return;
        }
        self.purge(now);
        let message = match Message::parse_extended(datagram, self.config.max_token) {
            Ok(message) => message,
            Err(malformed) => return self.handle_malformed(from, malformed, delivery),
        };
        let peer = self.peers.find(from);
        if let Some(peer) = peer {
            self.peers.touch(now, peer);
        }
        match (delivery, message.kind(), message.code().kind()) {
            (
                Delivery::Unicast,
                MessageType::Confirmable | MessageType::NonConfirmable,
                CodeKind::Request,
            )
            // RFC 7252 §8.1: a request to a group is Non-confirmable.
            | (Delivery::Multicast, MessageType::NonConfirmable, CodeKind::Request) => {
                self.handle_request(now, from, peer, &message, delivery);
            }
            (
                Delivery::Unicast,
                MessageType::Confirmable | MessageType::NonConfirmable,
                CodeKind::Response,
            ) => self.handle_separate_response(now, from, peer, &message),
            (Delivery::Unicast, MessageType::Confirmable, CodeKind::Empty) => {
                // RFC 7252 §4.3: the "CoAP ping".
                self.stats.pings += 1;
                self.send_reset(from, message.message_id());
            }
            (Delivery::Unicast, MessageType::Acknowledgement, CodeKind::Empty) => {
                self.handle_acknowledgement(now, peer, message.message_id());
            }
            (Delivery::Unicast, MessageType::Acknowledgement, CodeKind::Response) => {
                self.handle_piggybacked_response(now, peer, &message);
            }
            (Delivery::Unicast, MessageType::Reset, CodeKind::Empty) => {
                self.handle_reset(now, peer, message.message_id());
            }
            // RFC 7252 §4.2, §4.3, §8.1: an Acknowledgement or Reset with a request, a Reset that
            // is not Empty, a Non-confirmable Empty message, anything else to a group.
            _ => self.stats.ignored += 1,
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.purge(now);
        while let Some((key, at)) = self.dedup.next_acknowledgement()
            && at <= now
        {
            self.acknowledge(now, key);
        }
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Retransmit(peer, message_id) => self.retransmit(now, peer, message_id),
                Timer::Response(id) => self.finish(now, id, Err(FailReason::NoResponse)),
                Timer::Slot(id) => self.free_slot(now, id),
                Timer::MessageIds(peer) => self.start_queued(now, peer),
                Timer::Leisure(number) => self.send_delayed(now, number),
            }
        }
    }

    /// What to do next; see the type for the order of calls.
    pub fn poll_output(&mut self) -> Output<P> {
        self.outputs.pop_front().unwrap_or_else(|| Output::Wait(self.next_wait()))
    }

    /// Bytes of a message that is sent, whatever its token, but for the header.
    pub(super) fn room(&self) -> usize {
        let token = self.config.max_token.clamp(Token::MAX_SHORT, Token::MAX_LEN);
        self.config.max_message.saturating_sub(token)
    }

    /// What happened so far.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// When something is due next.
    fn next_wait(&self) -> Option<Instant> {
        let acknowledgement = self.dedup.next_acknowledgement().map(|(_, at)| at);
        [acknowledgement, self.timers.next_at()].into_iter().flatten().min()
    }

    fn handle_malformed(&mut self, from: P, malformed: Malformed, delivery: Delivery) {
        self.stats.malformed += 1;
        if let Some((MessageType::Confirmable, message_id)) = malformed.header
            && delivery == Delivery::Unicast
        {
            self.send_reset(from, message_id);
        }
        self.outputs.push_back(Output::Event(Event::Malformed { from, fault: malformed.fault }));
    }

    /// Reacts to a message that came before, as it did then (RFC 7252 §4.5).
    fn handle_duplicate(&mut self, to: P, kind: MessageType, message_id: u16, state: &State) {
        self.stats.duplicates += 1;
        if kind != MessageType::Confirmable {
            return;
        }
        match state {
            // At most `ack_delay` from now the Acknowledgement comes anyway. To send it now would
            // make every answer separate that a copying network doubles the request of.
            State::Waiting { .. } | State::NonConfirmable(_) => {}
            // RFC 7252 §5.2.2: never the response, once an empty Acknowledgement was sent.
            State::Acknowledged => {
                self.transmit(to, encode::empty(MessageType::Acknowledgement, message_id));
            }
            State::Answered(answer) => self.transmit(to, answer.to_vec()),
        }
    }

    /// The state of the earlier copy of a message, if there was one.
    fn find_duplicate(
        &mut self,
        now: Instant,
        peer: Option<Key>,
        message: &Message<'_>,
    ) -> Option<State> {
        let identity = (peer?, message.message_id(), message.token());
        let confirmable = message.kind() == MessageType::Confirmable;
        let (peers, stats) = (&mut self.peers, &mut self.stats);
        let earlier = self.dedup.find(now, peers, stats, identity, confirmable)?;
        Some(earlier.state.clone())
    }

    /// The table's entry for an address, made if there is room; not held.
    fn peer(&mut self, now: Instant, address: P) -> Option<Key> {
        if let Some(peer) = self.peers.find(address) {
            self.peers.touch(now, peer);
            return Some(peer);
        }
        if self.peers.len() >= self.config.max_peers {
            let (silent, _) = self.peers.longest_idle()?;
            self.stats.evicted += self.dedup.forget_peer(&mut self.peers, silent);
            self.peers.remove_idle(silent);
        }
        Some(self.peers.insert(now, address, &mut self.rng))
    }

    /// Forgets some of what is too old to matter.
    fn purge(&mut self, now: Instant) {
        self.dedup.purge(now, &mut self.peers, &mut self.stats);
        for _ in 0..PEERS_PURGED_PER_CALL {
            match self.peers.longest_idle() {
                Some((silent, since)) if since + self.config.exchange_lifetime <= now => {
                    self.dedup.forget_peer(&mut self.peers, silent);
                    self.peers.remove_idle(silent);
                }
                Some(_) | None => return,
            }
        }
    }

    fn retransmit(&mut self, now: Instant, peer: Key, message_id: u16) {
        let Some(address) = self.peers.get(peer).map(|peer| peer.address) else { return };
        let Some(transmission) = self.transmissions.get_mut(&(peer, message_id)) else { return };
        let Some(schedule) = &mut transmission.retransmit else {
            // A Non-confirmable notification: its Reset is not expected any more.
            return self.end_notification(now, peer, message_id);
        };
        match schedule.step(now, &self.config) {
            Step::Retransmit => {
                self.timers.set(schedule.due, Timer::Retransmit(peer, message_id));
                let datagram = schedule.datagram.clone();
                self.stats.retransmissions += 1;
                self.transmit(address, datagram);
            }
            Step::Wait => self.timers.set(schedule.due, Timer::Retransmit(peer, message_id)),
            Step::GiveUp => match transmission.owner {
                Owner::Request(id) => self.finish(now, id, Err(FailReason::Timeout)),
                Owner::Response => {
                    self.stats.separate_responses_lost += 1;
                    self.end_outbound(now, peer, message_id);
                }
                Owner::Notification => {
                    self.lose_notification(now, peer, message_id, FailReason::Timeout);
                }
            },
        }
    }

    /// Takes a message out of the schedule.
    fn end_transmission(&mut self, peer: Key, message_id: u16) {
        if let Some(transmission) = self.transmissions.remove(&(peer, message_id))
            && let Some(due) = transmission.due()
        {
            self.timers.clear(due, Timer::Retransmit(peer, message_id));
        }
    }

    /// Forgets a separate response or notification that was acknowledged or given up.
    fn end_outbound(&mut self, now: Instant, peer: Key, message_id: u16) {
        if self.transmissions.contains_key(&(peer, message_id)) {
            self.end_transmission(peer, message_id);
            self.peers.release(now, peer);
        }
    }

    fn send_reset(&mut self, to: P, message_id: u16) {
        self.stats.resets_sent += 1;
        self.transmit(to, encode::empty(MessageType::Reset, message_id));
    }

    fn transmit(&mut self, to: P, datagram: Vec<u8>) {
        self.stats.sent += 1;
        self.outputs.push_back(Output::Transmit { to, datagram });
    }
}

#[cfg(test)]
pub(super) mod tests;
