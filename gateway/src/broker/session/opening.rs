//! How a connection begins: CONNECT, CONNACK, and what the broker may still hold of an earlier one.

use proto::Instant;
use rumqttc::mqttbytes::QoS;

use super::super::pulse::Pulse;
use super::super::wire::{ConnAck, Connect, Will, code};
use super::terms::Terms;
use super::{Event, Session, SessionError, State};
use crate::config::Protocol;

/// How long the broker keeps the session of a gateway that does not come back, in seconds.
pub(in crate::broker) const SESSION_EXPIRY: u32 = 24 * 60 * 60;

/// What the broker may hold of a session that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Memory {
    /// Identifiers that we do not know.
    Stale,
    /// Nothing.
    Empty,
    /// What we hold.
    Ours,
}

impl Session {
    /// A new transport is there: introduces the gateway. What was under way on the last one is over.
    pub(in crate::broker) fn handle_connected(&mut self, now: Instant) -> Result<(), SessionError> {
        self.state = State::Connecting;
        self.terms = Terms::of(&self.options);
        self.incoming.clear();
        self.writer.reset();
        self.pulse = Pulse::new(now);
        self.status_due = None;
        match self.memory {
            Memory::Ours => self.inflight.suspend(now),
            Memory::Stale | Memory::Empty => self.inflight.clear(),
        }
        let options = &self.options;
        let will = Will {
            topic: &options.status_topic,
            payload: "offline",
            qos: self.will.0,
            retain: self.will.1,
        };
        let connect = Connect {
            protocol: options.protocol,
            client_id: &options.client_id,
            login: options.login.as_ref(),
            keep_alive: u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX),
            clean: !self.keeps() || self.discards(),
            session_expiry: if self.keeps() && !self.discards() { SESSION_EXPIRY } else { 0 },
            receive_maximum: None,
            will: (!self.discards()).then_some(will),
        };
        Ok(self.writer.outlet.connect(now, &connect)?)
    }

    pub(super) fn handle_connack(
        &mut self,
        now: Instant,
        ack: ConnAck,
    ) -> Result<(), SessionError> {
        let ConnAck { session_present, reason, limits } = ack;
        if !reason.is_success() {
            // MQTT 5 §3.2.2.3.4 and §3.2.2.3.5: a last will that the broker cannot keep is refused.
            match reason.code {
                code::RETAIN_NOT_SUPPORTED => self.will.1 = false,
                code::QOS_NOT_SUPPORTED => self.will.0 = QoS::AtMostOnce,
                _ => {}
            }
            return Err(SessionError::Refused { protocol: self.options.protocol, reason });
        }
        if self.discards() {
            // MQTT 5 §3.2.2.1.1
            if session_present && self.options.protocol == Protocol::V5 {
                return Err(SessionError::Unexpected("CONNACK with a session after Clean Start"));
            }
            self.memory = Memory::Empty;
            return self.disconnect(now);
        }
        let terms = Terms::agree(&self.options, &limits);
        if terms.max_qos == QoS::AtMostOnce && self.options.qos != QoS::AtMostOnce {
            return Err(SessionError::QosTooLow);
        }
        let resumed = match self.memory {
            Memory::Ours => session_present,
            // It can be one of ours that broke off before CONNACK: nothing is in it.
            Memory::Stale | Memory::Empty => false,
        };
        if !resumed {
            self.inflight.clear();
        }
        if self.keeps() {
            self.memory = Memory::Ours;
        }
        if let Some(client_id) = &terms.client_id {
            self.options.client_id.clone_from(client_id);
        }
        self.writer.aliases.reset(limits.alias_maximum);
        self.terms = terms;
        self.state = State::Connected;
        self.events.push_back(Event::Connected { resumed });
        self.publish_status(now, "online")
    }

    /// Whether the session outlives its connections.
    pub(super) fn keeps(&self) -> bool {
        self.options.qos == QoS::ExactlyOnce
    }

    /// Whether this connection is only there to make the broker forget an earlier session.
    fn discards(&self) -> bool {
        self.keeps() && self.memory == Memory::Stale
    }
}
