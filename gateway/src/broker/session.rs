//! One connection's worth of MQTT 3.1.1, without the connection.
//!
//! The caller drives it in turns: [`handle_connected`](Session::handle_connected) once, then
//! [`handle_bytes`](Session::handle_bytes) and [`handle_timeout`](Session::handle_timeout) as they
//! come, [`begin`](Session::begin) and [`publish`](Session::publish) while there is room; after
//! each turn it sends what is in [`outgoing`](Session::outgoing) and sleeps until
//! [`deadline`](Session::deadline). Any error ends the connection; the next one is a new session
//! that starts from the first record that this one did not release.
//!
//! Sessions are clean: what the broker has not acknowledged is sent again from the store, so there
//! is nothing that the broker would have to remember.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proto::Instant;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, LastWill, Login, Packet, PingReq, Publish as PublishPacket,
};
use rumqttc::mqttbytes::{Error as CodecError, Protocol, QoS};

use super::inflight::{Inflight, Slot};
use crate::pipeline::Publish;

/// The largest packet taken from a broker: it only sends acknowledgements.
const MAX_INCOMING: usize = 64 * 1024;

/// How to introduce the gateway to the broker.
#[derive(Clone, Debug)]
pub(super) struct SessionOptions {
    pub(super) client_id: String,
    pub(super) login: Option<(String, String)>,
    pub(super) keep_alive: Duration,
    /// Longest wait for any answer.
    pub(super) ack_timeout: Duration,
    /// Most publishes without acknowledgement.
    pub(super) window: u16,
    /// Where the gateway says `online`, and the broker `offline` when the gateway is gone.
    pub(super) status_topic: String,
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("the broker refused the connection: {}", refusal(*.0))]
    Refused(ConnectReturnCode),
    #[error("the broker did not answer within {0:?}")]
    Silent(Duration),
    #[error("no acknowledgement of a publish within {0:?}")]
    Unacknowledged(Duration),
    #[error("the broker sent something that is not MQTT 3.1.1: {0}")]
    Codec(CodecError),
    #[error("the broker sent {0}, which it must not now")]
    Unexpected(&'static str),
}

impl SessionError {
    /// A short name to count by.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Silent(_) => "silent",
            Self::Unacknowledged(_) => "unacknowledged",
            Self::Codec(_) | Self::Unexpected(_) => "protocol",
        }
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::Success => "no reason",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        ConnectReturnCode::BadClientId => "it does not take this client_id",
        ConnectReturnCode::ServiceUnavailable => "it is not available",
        ConnectReturnCode::BadUserNamePassword => {
            "wrong username or password, see `username` and `password_file`"
        }
        ConnectReturnCode::NotAuthorized => "not authorised, see `username` and `password_file`",
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// CONNECT is sent.
    Connecting,
    /// CONNACK has come.
    Connected,
}

/// One MQTT 3.1.1 connection.
pub(super) struct Session {
    options: SessionOptions,
    state: State,
    inflight: Inflight,
    incoming: BytesMut,
    outgoing: BytesMut,
    last_sent: Instant,
    last_received: Instant,
    ping_sent: Option<Instant>,
    status_sent: Option<Instant>,
    published: u64,
    acknowledged: u64,
}

impl Session {
    /// A connection that goes on from record `next`.
    pub(super) fn new(options: SessionOptions, next: u64) -> Self {
        let inflight = Inflight::new(options.window, next);
        Self {
            options,
            state: State::Connecting,
            inflight,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            last_sent: Instant::ZERO,
            last_received: Instant::ZERO,
            ping_sent: None,
            status_sent: None,
            published: 0,
            acknowledged: 0,
        }
    }

    /// The transport is there: introduces the gateway.
    pub(super) fn handle_connected(&mut self, now: Instant) -> Result<(), SessionError> {
        let options = &self.options;
        let connect = Connect {
            protocol: Protocol::V4,
            keep_alive: u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX),
            client_id: options.client_id.clone(),
            clean_session: true,
            last_will: Some(LastWill::new(
                &options.status_topic,
                "offline",
                QoS::AtLeastOnce,
                true,
            )),
            login: options.login.clone().map(|(username, password)| Login { username, password }),
        };
        connect.write(&mut self.outgoing).map_err(SessionError::Codec)?;
        (self.last_sent, self.last_received) = (now, now);
        Ok(())
    }

    /// Takes bytes from the broker.
    pub(super) fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> Result<(), SessionError> {
        self.last_received = now;
        self.incoming.extend_from_slice(bytes);
        loop {
            match Packet::read(&mut self.incoming, MAX_INCOMING) {
                Ok(packet) => self.handle_packet(now, packet)?,
                Err(CodecError::InsufficientBytes(_)) => return Ok(()),
                Err(error) => return Err(SessionError::Codec(error)),
            }
        }
    }

    fn handle_packet(&mut self, now: Instant, packet: Packet) -> Result<(), SessionError> {
        match (self.state, packet) {
            (State::Connecting, Packet::ConnAck(ack)) if ack.code == ConnectReturnCode::Success => {
                self.state = State::Connected;
                self.publish_status(now, "online")
            }
            (State::Connecting, Packet::ConnAck(ack)) => Err(SessionError::Refused(ack.code)),
            (State::Connecting, _) => Err(SessionError::Unexpected("a packet before CONNACK")),
            (State::Connected, Packet::PubAck(ack)) => {
                match self.inflight.acknowledge(ack.pkid, now) {
                    Some(Slot::Record(_)) => self.acknowledged += 1,
                    Some(Slot::Status) => self.status_sent = None,
                    // MQTT 3.1.1 §4.8: an acknowledgement for nothing is a fault of the broker.
                    None => return Err(SessionError::Unexpected("a PUBACK for no publish")),
                }
                Ok(())
            }
            (State::Connected, Packet::PingResp) => {
                self.ping_sent = None;
                Ok(())
            }
            (State::Connected, _) => Err(SessionError::Unexpected("a packet of another kind")),
        }
    }

    /// Looks at the clock: pings, and notices a broker that does not answer.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        let patience = self.options.ack_timeout;
        if self.state == State::Connecting {
            return match now - self.last_received >= patience {
                true => Err(SessionError::Silent(patience)),
                false => Ok(()),
            };
        }
        let overdue = |since: Option<Instant>| since.is_some_and(|since| now - since >= patience);
        if overdue(self.inflight.oldest()) || overdue(self.status_sent) {
            return Err(SessionError::Unacknowledged(patience));
        }
        if overdue(self.silent_since()) {
            return Err(SessionError::Silent(patience));
        }
        let quiet_since = self.last_sent.min(self.last_received);
        if self.ping_sent.is_none() && now - quiet_since >= self.options.keep_alive {
            PingReq.write(&mut self.outgoing).map_err(SessionError::Codec)?;
            self.ping_sent = Some(now);
            self.last_sent = now;
        }
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn deadline(&self) -> Instant {
        let patience = self.options.ack_timeout;
        if self.state == State::Connecting {
            return self.last_received + patience;
        }
        let ping = self.last_sent.min(self.last_received) + self.options.keep_alive;
        let waits = [self.inflight.oldest(), self.status_sent, self.silent_since()];
        let answer = waits.into_iter().flatten().min().map(|since| since + patience);
        match (self.ping_sent, answer) {
            (Some(_), Some(answer)) => answer,
            (_, Some(answer)) => answer.min(ping),
            (_, None) => ping,
        }
    }

    /// Since when nothing has come although a ping asks for it.
    fn silent_since(&self) -> Option<Instant> {
        self.ping_sent.map(|sent| sent.max(self.last_received))
    }

    /// Whether a publish can be made now.
    pub(super) fn has_room(&self) -> bool {
        self.is_connected() && self.inflight.has_room()
    }

    /// Whether the broker has accepted the connection.
    pub(super) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Whether everything is acknowledged.
    pub(super) fn is_idle(&self) -> bool {
        self.inflight.is_idle()
    }

    /// Every record below this is acknowledged.
    pub(super) fn released(&self) -> u64 {
        self.inflight.released()
    }

    /// Publishes that were made, and acknowledged, since the last call.
    pub(super) const fn take_counts(&mut self) -> (u64, u64) {
        let counts = (self.published, self.acknowledged);
        (self.published, self.acknowledged) = (0, 0);
        counts
    }

    /// Announces that record `n` is next, with `publishes` of quality of service 1 to come.
    pub(super) fn begin(&mut self, n: u64, publishes: u32, now: Instant) {
        self.inflight.begin(n, publishes, now);
    }

    /// Publishes something of the record begun last; with `again` it may have been sent before.
    ///
    /// Call it only while there is room.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        n: u64,
        publish: Publish,
        again: bool,
    ) -> Result<(), SessionError> {
        let packet_id = match publish.qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce | QoS::ExactlyOnce => {
                self.inflight.publish(Slot::Record(n)).unwrap_or(0)
            }
        };
        self.published += 1;
        let again = again && publish.qos != QoS::AtMostOnce;
        self.write_publish(now, publish, packet_id, again)
    }

    /// Publishes the gateway's own status, retained.
    pub(super) fn publish_status(
        &mut self,
        now: Instant,
        text: &'static str,
    ) -> Result<(), SessionError> {
        let Some(packet_id) = self.inflight.publish(Slot::Status) else { return Ok(()) };
        self.status_sent = Some(now);
        let status = Publish {
            topic: self.options.status_topic.clone(),
            payload: Bytes::from_static(text.as_bytes()),
            qos: QoS::AtLeastOnce,
            retain: true,
        };
        self.write_publish(now, status, packet_id, false)
    }

    fn write_publish(
        &mut self,
        now: Instant,
        publish: Publish,
        pkid: u16,
        dup: bool,
    ) -> Result<(), SessionError> {
        let Publish { topic, payload, qos, retain } = publish;
        let packet = PublishPacket { dup, qos, retain, topic, pkid, payload };
        packet.write(&mut self.outgoing).map_err(SessionError::Codec)?;
        self.last_sent = now;
        Ok(())
    }

    /// Takes leave: the broker drops the will (MQTT 3.1.1 §3.14).
    pub(super) fn disconnect(&mut self) -> Result<(), SessionError> {
        Packet::Disconnect
            .write(&mut self.outgoing, usize::MAX)
            .map(drop)
            .map_err(SessionError::Codec)
    }

    /// What is to be sent.
    pub(super) fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }
}

#[cfg(test)]
mod tests;
