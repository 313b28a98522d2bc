//! The subscribing side of MQTT 3.1.1 and 5 without a socket: one client that only listens.
//!
//! The caller drives it as it drives a [`Session`](super::session::Session):
//! [`handle_connected`](Listener::handle_connected) once for each connection, then
//! [`handle_bytes`](Listener::handle_bytes), as long as it [wants them](Listener::wants_bytes), and
//! [`handle_timeout`](Listener::handle_timeout). After each turn it takes what
//! [`poll_event`](Listener::poll_event) gives, sends what is in [`outgoing`](Listener::outgoing) and
//! sleeps until [`deadline`](Listener::deadline). Any error ends the connection; so does
//! [`is_closing`](Listener::is_closing), once everything is sent.
//!
//! # Subscriptions
//! The listener does not remember what is subscribed. After [`ListenerEvent::Connected`] the caller
//! subscribes to what it wants, one filter at a time while there [is room](Listener::has_room);
//! each ends in [`ListenerEvent::Granted`] or [`ListenerEvent::Refused`].
//!
//! # Messages
//! A message of quality of service 1 has a [`Receipt`], and PUBACK waits until the caller
//! [acknowledges](Listener::acknowledge) it: at once where only the latest state counts, after it
//! is on disk where no message may be lost. In between at most [`MAX_UNACKNOWLEDGED`] are handed
//! over; then the connection is not read. What was not acknowledged when it ended comes again if
//! the session is [kept](ListenerOptions::keeps), and a receipt of an earlier connection means
//! nothing any more. PUBACKs go out in the order in which the messages came (MQTT 5 §4.6).
//!
//! A message that is larger than [`wire::MAX_INCOMING`] is read over and acknowledged, because a
//! broker that keeps it would send it on each connection again.

mod receipts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use proto::Instant;

use super::outlet::Outlet;
use super::pulse::Pulse;
use super::session::{SESSION_EXPIRY, SessionError, State};
use super::wire::{self, ConnAck, Connect, Incoming, Reason, Received, SubAck, code};
use super::wire_log::{Direction, WireLog};
use crate::config::Protocol;
use receipts::Receipts;
pub(super) use receipts::{MAX_UNACKNOWLEDGED, Receipt};

/// Requests to subscribe or unsubscribe that wait for their answer; the next waits for room.
const MAX_ASKED: u16 = 32;
/// Bytes to send with which nothing more is read: a broker that takes no PUBACK sends no message.
const MAX_UNSENT: usize = 64 * 1024;

/// How to introduce the listener to the broker.
#[derive(Clone, Debug)]
pub(super) struct ListenerOptions {
    pub(super) protocol: Protocol,
    pub(super) client_id: String,
    pub(super) login: Option<(String, String)>,
    pub(super) keep_alive: Duration,
    /// Longest wait for any answer.
    pub(super) ack_timeout: Duration,
    /// Whether the broker keeps subscriptions, and messages of quality of service 1, while the
    /// listener is away.
    pub(super) keeps: bool,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListenerEvent {
    /// The broker has accepted the connection; whether with the session that it had kept.
    Connected { resumed: bool },
    /// This filter is subscribed.
    Granted(Arc<str>),
    /// The broker does not subscribe us to this filter.
    Refused(Arc<str>, Reason),
    /// A message; without a receipt at quality of service 0.
    Message(Box<Received>, Option<Receipt>),
    /// A message to this topic was too large to be taken.
    Oversize(String),
}

/// One client that listens.
pub(super) struct Listener {
    options: ListenerOptions,
    state: State,
    outlet: Outlet,
    pulse: Pulse,
    keep_alive: Duration,
    /// Largest packet that the broker takes.
    max_packet: usize,
    incoming: BytesMut,
    /// Bytes of a packet that is read over, still to come.
    skip: usize,
    asked: BTreeMap<u16, Asked>,
    receipts: Receipts,
    events: VecDeque<ListenerEvent>,
}

/// What SUBACK or UNSUBACK is to answer.
struct Asked {
    /// The filter, of a SUBSCRIBE.
    filter: Option<Arc<str>>,
    since: Instant,
}

impl Listener {
    /// A client that was not connected yet.
    pub(super) fn new(options: ListenerOptions) -> Self {
        Self {
            state: State::Disconnected,
            outlet: Outlet::new(options.protocol),
            pulse: Pulse::new(Instant::ZERO),
            keep_alive: options.keep_alive,
            max_packet: usize::MAX,
            incoming: BytesMut::new(),
            skip: 0,
            asked: BTreeMap::new(),
            receipts: Receipts::default(),
            events: VecDeque::new(),
            options,
        }
    }

    /// A new transport is there: introduces the listener.
    pub(super) fn handle_connected(&mut self, now: Instant) -> Result<(), SessionError> {
        self.state = State::Connecting;
        self.pulse = Pulse::new(now);
        self.keep_alive = self.options.keep_alive;
        self.max_packet = usize::MAX;
        self.incoming.clear();
        self.outlet.out.clear();
        self.skip = 0;
        self.asked.clear();
        self.receipts.start_over();
        let options = &self.options;
        let connect = Connect {
            protocol: options.protocol,
            client_id: &options.client_id,
            login: options.login.as_ref(),
            keep_alive: u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX),
            clean: !options.keeps,
            session_expiry: if options.keeps { SESSION_EXPIRY } else { 0 },
            receive_maximum: Some(MAX_UNACKNOWLEDGED),
            will: None,
        };
        Ok(self.outlet.connect(now, &connect)?)
    }

    /// Takes bytes from the broker.
    pub(super) fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SessionError> {
        if matches!(self.state, State::Disconnected | State::Closing) {
            return Ok(());
        }
        self.pulse.handle_bytes(now);
        self.incoming.extend_from_slice(bytes);
        self.read(now)
    }

    /// Whether it is to be given bytes: not while too many messages wait to be acknowledged, or too
    /// many acknowledgements to be sent.
    pub(super) fn wants_bytes(&self) -> bool {
        self.receipts.has_room() && self.outlet.out.len() < MAX_UNSENT
    }

    /// Reads packets as long as there is room for what is in them.
    fn read(&mut self, now: Instant) -> Result<(), SessionError> {
        loop {
            let passed = self.skip.min(self.incoming.len());
            self.incoming.advance(passed);
            self.skip -= passed;
            if self.skip > 0 || !self.receipts.has_room() {
                return Ok(());
            }
            match wire::frame_size(&self.incoming)? {
                Some(size) if size > wire::MAX_INCOMING => {
                    if !self.read_over(now, size)? {
                        return Ok(());
                    }
                }
                Some(size) if size <= self.incoming.len() => {
                    let frame = self.incoming.split_to(size);
                    let protocol = self.options.protocol;
                    self.outlet.log.record(now, Direction::FromBroker, protocol, &frame, 0);
                    self.handle_packet(wire::parse(protocol, &frame)?)?;
                }
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Takes the head of a message that is too large, and lets the rest pass; false as long as the
    /// head is not there.
    fn read_over(&mut self, now: Instant, size: usize) -> Result<bool, SessionError> {
        let is_message = self.incoming.first().is_some_and(|first| first >> 4 == 3);
        if self.state != State::Connected || !is_message {
            return Err(wire::WireError::TooLarge(size).into());
        }
        let Some(head) = wire::oversize_head(&self.incoming)? else { return Ok(false) };
        self.skip = size;
        if let Some(receipt) = self.receipt_of(head.id)? {
            self.acknowledge_only(now, receipt);
        }
        self.events.push_back(ListenerEvent::Oversize(head.topic));
        Ok(true)
    }

    fn handle_packet(&mut self, packet: Incoming) -> Result<(), SessionError> {
        match (self.state, packet) {
            // Nothing that comes after DISCONNECT matters.
            (State::Disconnected | State::Closing, _) => Ok(()),
            (_, Incoming::Disconnect(reason)) => Err(SessionError::Disconnected(reason)),
            (State::Connecting, Incoming::ConnAck(ack)) => self.handle_connack(*ack),
            (State::Connecting, _) => Err(SessionError::Unexpected("a packet before CONNACK")),
            (State::Connected, Incoming::ConnAck(_)) => {
                Err(SessionError::Unexpected("a second CONNACK"))
            }
            (
                State::Connected,
                Incoming::PubAck(_) | Incoming::PubRec(_) | Incoming::PubComp(_),
            ) => Err(SessionError::Unexpected("an acknowledgement that no publish waits for")),
            (State::Connected, Incoming::Publish(message)) => {
                let receipt = self.receipt_of(message.id)?;
                self.events.push_back(ListenerEvent::Message(message, receipt));
                Ok(())
            }
            (State::Connected, Incoming::SubAck(SubAck { id, reason })) => {
                let filter = self.asked.remove(&id).and_then(|asked| asked.filter);
                let filter = filter.ok_or(SessionError::Unexpected("SUBACK for no SUBSCRIBE"))?;
                self.events.push_back(match reason.is_success() {
                    true => ListenerEvent::Granted(filter),
                    false => ListenerEvent::Refused(filter, reason),
                });
                Ok(())
            }
            (State::Connected, Incoming::UnsubAck(id)) => match self.asked.remove(&id) {
                Some(Asked { filter: None, .. }) => Ok(()),
                _ => Err(SessionError::Unexpected("UNSUBACK for no UNSUBSCRIBE")),
            },
            (State::Connected, Incoming::PingResp) => {
                self.pulse.handle_answer();
                Ok(())
            }
        }
    }

    fn handle_connack(&mut self, ack: ConnAck) -> Result<(), SessionError> {
        let ConnAck { session_present, reason, limits } = ack;
        if !reason.is_success() {
            return Err(SessionError::Refused { protocol: self.options.protocol, reason });
        }
        if session_present && !self.options.keeps {
            return Err(SessionError::Unexpected("CONNACK with a session after a clean start"));
        }
        self.max_packet = usize::try_from(limits.maximum_packet).unwrap_or(usize::MAX);
        // Zero switches it off for the broker; our own pings still find a dead connection.
        if let Some(seconds) = limits.keep_alive.filter(|seconds| *seconds > 0) {
            self.keep_alive = Duration::from_secs(seconds.into());
        }
        self.state = State::Connected;
        self.events.push_back(ListenerEvent::Connected { resumed: session_present });
        Ok(())
    }

    /// A receipt for a message with this packet identifier.
    fn receipt_of(&mut self, id: Option<u16>) -> Result<Option<Receipt>, SessionError> {
        let Some(id) = id else { return Ok(None) };
        let receipt = self.receipts.open(id);
        // MQTT 5 §2.2.1
        receipt.map(Some).ok_or(SessionError::Unexpected("a packet identifier that is in use"))
    }

    /// The message is taken care of: PUBACK, as soon as those before it are acknowledged.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        receipt: Receipt,
    ) -> Result<(), SessionError> {
        self.acknowledge_only(now, receipt);
        match self.state {
            State::Connecting | State::Connected => self.read(now),
            State::Disconnected | State::Closing => Ok(()),
        }
    }

    fn acknowledge_only(&mut self, now: Instant, receipt: Receipt) {
        self.receipts.close(receipt);
        while let Some(id) = self.receipts.poll_closed() {
            self.outlet.puback(now, id);
        }
    }

    /// Whether one more filter can be subscribed or unsubscribed now.
    pub(super) fn has_room(&self) -> bool {
        self.state == State::Connected && self.asked.len() < usize::from(MAX_ASKED)
    }

    /// Subscribes to a filter, with quality of service 1. Call it only while there is room.
    pub(super) fn subscribe(&mut self, now: Instant, filter: Arc<str>) -> Result<(), SessionError> {
        let id = self.free_id().ok_or(SessionError::NoRoom)?;
        let start = self.outlet.out.len();
        self.outlet.subscribe(now, id, &filter)?;
        if self.outlet.out.len() - start > self.max_packet {
            self.outlet.out.truncate(start);
            let reason = Reason::of(code::PACKET_TOO_LARGE);
            self.events.push_back(ListenerEvent::Refused(filter, reason));
            return Ok(());
        }
        self.asked.insert(id, Asked { filter: Some(filter), since: now });
        Ok(())
    }

    /// Ends a subscription. Call it only while there is room.
    pub(super) fn unsubscribe(&mut self, now: Instant, filter: &str) -> Result<(), SessionError> {
        let id = self.free_id().ok_or(SessionError::NoRoom)?;
        self.outlet.unsubscribe(now, id, filter)?;
        self.asked.insert(id, Asked { filter: None, since: now });
        Ok(())
    }

    fn free_id(&self) -> Option<u16> {
        (1..=MAX_ASKED).find(|id| self.has_room() && !self.asked.contains_key(id))
    }

    /// Takes leave. A session that is kept stays.
    pub(super) fn disconnect(&mut self, now: Instant) -> Result<(), SessionError> {
        self.outlet.disconnect(now, false)?;
        self.state = State::Closing;
        Ok(())
    }

    /// Looks at the clock: pings, and notices a broker that does not answer.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        let patience = self.options.ack_timeout;
        let overdue = |since: Option<Instant>| since.is_some_and(|since| now - since >= patience);
        match self.state {
            State::Disconnected => return Ok(()),
            State::Connecting | State::Closing if overdue(Some(self.waiting_since())) => {
                return Err(SessionError::Silent(patience));
            }
            State::Connecting | State::Closing => return Ok(()),
            State::Connected => {}
        }
        // What is not read cannot be judged.
        if !self.wants_bytes() {
            self.pulse = Pulse::new(now);
        } else if overdue(self.pulse.silent_since()) || overdue(self.asked_since()) {
            return Err(SessionError::Silent(patience));
        }
        if self.next_ping().is_some_and(|due| now >= due) {
            self.outlet.pingreq(now)?;
            self.pulse.handle_ping(now);
        }
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn deadline(&self) -> Instant {
        let patience = self.options.ack_timeout;
        if self.state != State::Connected {
            return self.waiting_since() + patience;
        }
        let waits = [self.pulse.silent_since(), self.asked_since()];
        let judged = waits.into_iter().flatten().filter(|_| self.wants_bytes());
        let answer = judged.min().map(|since| since + patience);
        [answer, self.next_ping()].into_iter().flatten().min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Since when CONNECT waits for an answer, or DISCONNECT to be sent.
    fn waiting_since(&self) -> Instant {
        self.outlet.last_sent.max(self.pulse.last_received())
    }

    fn asked_since(&self) -> Option<Instant> {
        self.asked.values().map(|asked| asked.since).min()
    }

    fn next_ping(&self) -> Option<Instant> {
        self.pulse.next_ping(self.outlet.last_sent, self.keep_alive)
    }

    /// What it means that the broker has closed the connection now.
    pub(super) const fn closed(&self) -> SessionError {
        self.state.closed(self.options.protocol)
    }

    /// Whether the broker has accepted the connection.
    pub(super) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Whether the connection is to be closed once everything is sent.
    pub(super) fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    /// What has happened, in order.
    pub(super) fn poll_event(&mut self) -> Option<ListenerEvent> {
        self.events.pop_front()
    }

    /// What is to be sent.
    pub(super) const fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outlet.out
    }

    /// The packets that went over the wire, in either direction.
    pub(super) const fn wire_log(&mut self) -> &mut WireLog {
        &mut self.outlet.log
    }
}

#[cfg(test)]
mod tests;
