//! MQTT 3.1.1 and 5 without a socket: one client, over as many connections as it takes.
//!
//! The caller drives it in turns: [`handle_connected`](Session::handle_connected) once for each
//! connection, then [`handle_bytes`](Session::handle_bytes) and
//! [`handle_timeout`](Session::handle_timeout) as they come, and [`publish`](Session::publish) while
//! there [is room](Session::has_room). After each turn it takes what [`poll_event`](Session::poll_event)
//! gives, sends what is in [`outgoing`](Session::outgoing) and sleeps until
//! [`deadline`](Session::deadline). Any error ends the connection; so does
//! [`is_closing`](Session::is_closing), once everything is sent.
//!
//! It knows tickets, not readings: each publish has exactly one outcome, [`Event::Acknowledged`] or
//! [`Event::Rejected`], unless [`Event::Connected`] says that the session was not resumed. Then
//! whatever had no outcome is forgotten and the caller makes it again.
//!
//! With quality of service 0 and 1 sessions are clean: there is nothing that the broker would have
//! to remember. With quality of service 2 both ends keep the identifiers over disconnects, so that
//! no message comes twice (MQTT 5 §4.3.3, §4.4): a resumed session sends again what is under way,
//! with the same identifiers. What a broker still holds of an earlier process would make it swallow
//! new messages that reuse its identifiers, so it is discarded first, by a connection of its own.
//! With 3.1.1 there is no other way. With MQTT 5 Clean Start could begin the new session as well,
//! but Mosquitto (2.0.11) does not write such a session down: its next restart would lose it.

mod error;
mod event;
mod opening;
mod patience;
mod terms;
mod writer;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use proto::Instant;
use rumqttc::mqttbytes::QoS;

use super::inflight::{Again, Inflight, Owner, Step, Unasked};
use super::pulse::Pulse;
use super::wire::{self, Ack, Incoming};
use super::wire_log::{Direction, WireLog};
use crate::config::Protocol;
use crate::pipeline::Publish;

pub(super) use error::SessionError;
pub(super) use event::{Event, Rejection, Ticket};
use opening::Memory;
pub(super) use opening::SESSION_EXPIRY;
use terms::MAX_EXACTLY_ONCE;
pub(super) use terms::Terms;
use writer::{Sending, Writer};

/// How to introduce the gateway to the broker.
#[derive(Clone, Debug)]
pub(super) struct SessionOptions {
    pub(super) protocol: Protocol,
    pub(super) client_id: String,
    pub(super) login: Option<(String, String)>,
    pub(super) keep_alive: Duration,
    /// Longest wait for any answer.
    pub(super) ack_timeout: Duration,
    /// Most publishes without acknowledgement.
    pub(super) window: u16,
    /// Largest packet to send.
    pub(super) max_packet: usize,
    /// The highest quality of service that is published here; 2 keeps the session.
    pub(super) qos: QoS,
    /// Where the gateway says `online`, and the broker `offline` when the gateway is gone.
    pub(super) status_topic: String,
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Disconnected,
    /// CONNECT is written.
    Connecting,
    /// CONNACK has come.
    Connected,
    /// DISCONNECT is written.
    Closing,
}

impl State {
    /// What it means that the broker closes the connection now.
    pub(super) const fn closed(self, protocol: Protocol) -> SessionError {
        match self {
            Self::Connecting => SessionError::Unanswered(protocol),
            Self::Disconnected | Self::Connected | Self::Closing => SessionError::Closed,
        }
    }
}

/// One client of one broker.
pub(super) struct Session {
    options: SessionOptions,
    state: State,
    memory: Memory,
    terms: Terms,
    /// Quality of service and RETAIN of the last will, as far as the broker takes them.
    will: (QoS, bool),
    inflight: Inflight,
    incoming: BytesMut,
    writer: Writer,
    events: VecDeque<Event>,
    pulse: Pulse,
    /// What the status topic is to say, as soon as there is room.
    status_due: Option<&'static str>,
    published: u64,
    acknowledged: u64,
}

impl Session {
    /// A client that was not connected yet.
    pub(super) fn new(options: SessionOptions) -> Self {
        Self {
            state: State::Disconnected,
            memory: Memory::Stale,
            terms: Terms::of(&options),
            will: (QoS::AtLeastOnce, true),
            inflight: Inflight::new(options.window),
            incoming: BytesMut::new(),
            writer: Writer::new(options.protocol),
            events: VecDeque::new(),
            pulse: Pulse::new(Instant::ZERO),
            status_due: None,
            published: 0,
            acknowledged: 0,
            options,
        }
    }

    /// Takes bytes from the broker.
    pub(super) fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SessionError> {
        let taken = self.take_bytes(now, bytes);
        if taken.as_ref().is_err_and(SessionError::breaks_session) {
            self.memory = Memory::Stale;
        }
        taken
    }

    fn take_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SessionError> {
        if matches!(self.state, State::Disconnected | State::Closing) {
            return Ok(());
        }
        self.pulse.handle_bytes(now);
        self.incoming.extend_from_slice(bytes);
        while let Some(length) = wire::frame_length(&self.incoming)? {
            let frame = self.incoming.get(..length).unwrap_or_default();
            self.writer.outlet.log.record(
                now,
                Direction::FromBroker,
                self.options.protocol,
                frame,
                0,
            );
            let packet = wire::parse(self.options.protocol, frame)?;
            self.incoming.advance(length);
            self.handle_packet(now, packet)?;
        }
        Ok(())
    }

    fn handle_packet(&mut self, now: Instant, packet: Incoming) -> Result<(), SessionError> {
        match (self.state, packet) {
            // Nothing that comes after DISCONNECT matters.
            (State::Disconnected | State::Closing, _) => Ok(()),
            (_, Incoming::Disconnect(reason)) => Err(SessionError::Disconnected(reason)),
            (State::Connecting, Incoming::ConnAck(ack)) => self.handle_connack(now, *ack),
            (State::Connecting, _) => Err(SessionError::Unexpected("a packet before CONNACK")),
            (State::Connected, Incoming::ConnAck(_)) => {
                Err(SessionError::Unexpected("a second CONNACK"))
            }
            (State::Connected, Incoming::PubAck(ack)) => {
                self.handle_end(now, ack, Step::Acknowledge)
            }
            (State::Connected, Incoming::PubRec(ack)) if !ack.reason.is_success() => {
                self.handle_end(now, ack, Step::Receive)
            }
            (State::Connected, Incoming::PubRec(ack)) => {
                if self.inflight.receive(ack.id, now).map_err(unasked)? {
                    self.writer.outlet.pubrel(now, ack.id)?;
                }
                Ok(())
            }
            (State::Connected, Incoming::PubComp(ack)) => self.handle_end(now, ack, Step::Complete),
            (
                State::Connected,
                Incoming::Publish(_) | Incoming::SubAck(_) | Incoming::UnsubAck(_),
            ) => Err(SessionError::Unexpected("something for a subscriber")),
            (State::Connected, Incoming::PingResp) => {
                self.pulse.handle_answer();
                Ok(())
            }
        }
    }

    /// An acknowledgement after which the identifier is free.
    fn handle_end(&mut self, now: Instant, ack: Ack, step: Step) -> Result<(), SessionError> {
        let Ack { id, reason } = ack;
        // PUBREC was the answer to the message; PUBCOMP only ends the exchange, also where the
        // broker says that it had ended it before (MQTT 5 §3.7.2.1).
        let is_success = step == Step::Complete || reason.is_success();
        if !is_success && event::is_passing(reason.code) {
            return Err(SessionError::Busy(reason));
        }
        let owner = self.inflight.close(id, step, now).map_err(unasked)?;
        match (owner, is_success) {
            (Owner::Ticket(ticket), true) => {
                self.acknowledged += 1;
                self.events.push_back(Event::Acknowledged(ticket));
            }
            (Owner::Ticket(ticket), false) => {
                let rejection = Rejection::by_broker(&reason);
                self.events.push_back(Event::Rejected(ticket, rejection));
            }
            (Owner::Status, true) => {}
            (Owner::Status, false) => {
                self.events.push_back(Event::StatusRejected(Rejection::by_broker(&reason)));
            }
        }
        self.send_waiting(now)
    }

    /// What it means that the broker has closed the connection now.
    pub(super) const fn closed(&self) -> SessionError {
        self.state.closed(self.options.protocol)
    }

    /// Whether a publish of this quality of service can be made now.
    pub(super) fn has_room(&self, qos: QoS) -> bool {
        if !self.is_connected() || self.inflight.has_again() || self.status_due.is_some() {
            return false;
        }
        let below_window = self.inflight.sent() < self.terms.window;
        match self.terms.lower(qos) {
            QoS::AtMostOnce => true,
            QoS::AtLeastOnce => below_window,
            QoS::ExactlyOnce => below_window && self.inflight.exactly_once() < MAX_EXACTLY_ONCE,
        }
    }

    /// Whether the broker has accepted the connection.
    pub(super) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Whether everything is acknowledged.
    pub(super) const fn is_idle(&self) -> bool {
        self.inflight.is_idle() && self.status_due.is_none()
    }

    /// Whether the connection is to be closed once everything is sent.
    pub(super) fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    /// What this connection may do.
    pub(super) const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Publishes that were made, and acknowledged, since the last call.
    pub(super) const fn take_counts(&mut self) -> (u64, u64) {
        let counts = (self.published, self.acknowledged);
        (self.published, self.acknowledged) = (0, 0);
        counts
    }

    /// What has happened, in order.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Publishes something; with `again` it may have been sent before.
    ///
    /// Call it only while there is room for its quality of service.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        ticket: Ticket,
        publish: Publish,
        again: bool,
    ) -> Result<(), SessionError> {
        let qos = self.terms.lower(publish.qos);
        if let Err(reason) = self.writer.prepare(&self.terms, &publish, qos, Duration::ZERO) {
            let rejection = Rejection { reason, detail: publish.topic };
            self.events.push_back(Event::Rejected(ticket, rejection));
            return Ok(());
        }
        let id = match qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                let kept = self.keeps().then(|| Box::new(publish.clone()));
                let id = self.inflight.open(Owner::Ticket(ticket), qos, kept, now);
                id.ok_or(SessionError::NoRoom)?
            }
        };
        let dup = again && qos != QoS::AtMostOnce;
        self.writer.send(now, &self.terms, &publish, Sending { id, qos, dup })?;
        self.published += 1;
        if qos == QoS::AtMostOnce {
            self.events.push_back(Event::Acknowledged(ticket));
        }
        Ok(())
    }

    /// Publishes the gateway's own status, retained, as soon as there is room.
    pub(super) fn publish_status(
        &mut self,
        now: Instant,
        text: &'static str,
    ) -> Result<(), SessionError> {
        self.status_due = Some(text);
        self.send_waiting(now)
    }

    /// Sends the status, then what a resumed session has to send again, as long as there is room.
    fn send_waiting(&mut self, now: Instant) -> Result<(), SessionError> {
        let qos = self.terms.lower(QoS::AtLeastOnce);
        // A resumed session can hold every identifier before it has sent anything.
        let room = qos == QoS::AtMostOnce
            || self.inflight.sent() < self.terms.window && self.inflight.has_free();
        if let Some(text) = self.status_due.take_if(|_| room) {
            let status = Publish {
                topic: self.options.status_topic.clone(),
                payload: Bytes::from_static(text.as_bytes()),
                qos,
                retain: true,
                properties: None,
            };
            let ready = self.writer.prepare(&self.terms, &status, qos, Duration::ZERO);
            if let Err(reason) = ready {
                let rejection = Rejection { reason, detail: status.topic };
                self.events.push_back(Event::StatusRejected(rejection));
            } else {
                let id = match qos {
                    QoS::AtMostOnce => 0,
                    QoS::AtLeastOnce | QoS::ExactlyOnce => {
                        let id = self.inflight.open(Owner::Status, qos, None, now);
                        id.ok_or(SessionError::NoRoom)?
                    }
                };
                let sending = Sending { id, qos, dup: false };
                self.writer.send(now, &self.terms, &status, sending)?;
            }
        }
        while let Some(again) = self.inflight.poll_again(self.terms.window, now) {
            match again {
                Again::PubRel(id) => self.writer.outlet.pubrel(now, id)?,
                Again::Publish(id, qos, publish, opened) => {
                    if qos > self.terms.max_qos
                        || self.writer.prepare(&self.terms, publish, qos, now - opened).is_err()
                    {
                        return Err(SessionError::NotResumable);
                    }
                    let sending = Sending { id, qos, dup: true };
                    self.writer.send(now, &self.terms, publish, sending)?;
                    self.published += 1;
                }
            }
        }
        Ok(())
    }

    /// Takes leave: the broker drops the will and the session (MQTT 5 §3.14).
    pub(super) fn disconnect(&mut self, now: Instant) -> Result<(), SessionError> {
        self.writer.outlet.disconnect(now, self.memory == Memory::Ours)?;
        self.state = State::Closing;
        Ok(())
    }

    /// Ends the session with the connection: the next one is new, and everything that is under way
    /// is made again.
    pub(super) fn forget(&mut self) {
        self.memory = Memory::Stale;
    }

    /// What is to be sent.
    pub(super) fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.writer.outlet.out
    }

    /// The packets that went over the wire, in either direction.
    pub(super) const fn wire_log(&mut self) -> &mut WireLog {
        &mut self.writer.outlet.log
    }
}

/// MQTT 5 §4.13.1: an acknowledgement for nothing is a fault of the broker.
fn unasked(_: Unasked) -> SessionError {
    SessionError::Unexpected("an acknowledgement that no publish waits for")
}

#[cfg(test)]
pub(super) mod tests;
