//! The wire: bytes to what a client may send, what the broker sends to bytes.
//!
//! This is the seam between the protocol and its two versions: everything behind it speaks
//! [`Incoming`] and [`Outgoing`] and knows no packet layout. A [`Decoder`] belongs to one connection
//! and learns from CONNECT which version that speaks; [`encode()`] is told. Both versions are parsed
//! by the same code, which takes nothing that the specification forbids: reserved bits, wrong
//! lengths, strings with U+0000, invalid topics and filters, properties that are out of place, out
//! of range or doubled. No public codec does: that of `rumqttc`, for one, loses binary passwords,
//! reads properties past their length and cannot read an empty DISCONNECT of version 5.

mod connect;
mod decode;
mod encode;
mod field;
mod property;
mod violation;

use std::sync::Arc;

use super::message::{Delivery, Message};
use super::subscriptions::Subscription;
use super::{Announced, Reason};

pub(super) use connect::{Connect, Will};
pub(super) use decode::Decoder;
pub(super) use encode::encode;
pub(super) use violation::Violation;

/// The protocol level of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Version {
    /// MQTT 3.1.1.
    #[default]
    V4,
    /// MQTT 5.
    V5,
}

/// What a client sends, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Connect(Box<Connect>),
    /// A CONNECT in a protocol level that the broker does not speak.
    UnsupportedLevel(u8),
    Publish(Publish),
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    Subscribe {
        packet_id: u16,
        requests: Vec<Request>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    PingReq,
    Disconnect {
        reason: Reason,
        /// In seconds, in place of that of CONNECT.
        session_expiry: Option<u32>,
    },
}

/// A message on its way to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Publish {
    pub(super) message: Message,
    pub(super) dup: bool,
    /// Zero at QoS 0.
    pub(super) packet_id: u16,
    /// With which the topic was set or told; it is in the message in any case.
    pub(super) topic_alias: Option<u16>,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) packet_id: u16,
    /// Success in MQTT 3.1.1, which has no others.
    pub(super) reason: Reason,
}

impl Ack {
    pub(super) const fn success(packet_id: u16) -> Self {
        Self { packet_id, reason: Reason::Success }
    }
}

/// One topic filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) filter: String,
    pub(super) subscription: Subscription,
    pub(super) retain_handling: RetainHandling,
}

/// When a subscription gets the retained messages (MQTT 5 §3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RetainHandling {
    /// Each time; the only way of MQTT 3.1.1.
    #[default]
    Always,
    /// When there was no such subscription before.
    IfNew,
    Never,
}

/// What the broker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    ConnAck(Box<ConnAck>),
    Publish {
        delivery: Delivery,
        /// Seconds that are left to the message.
        expiry: Option<u32>,
        dup: bool,
        /// Zero at QoS 0.
        packet_id: u16,
    },
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    SubAck {
        packet_id: u16,
        reasons: Vec<Reason>,
    },
    UnsubAck {
        packet_id: u16,
        reasons: Vec<Reason>,
    },
    PingResp,
    /// Only in MQTT 5.
    Disconnect(Reason),
}

/// The answer to CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConnAck {
    pub(super) session_present: bool,
    pub(super) reason: Reason,
    /// The name that the broker gave to a client without one.
    pub(super) assigned_client: Option<Arc<str>>,
    pub(super) announced: Announced,
}

/// A control packet type (MQTT 5 §2.1.2); only MQTT 5 has the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Connect = 1,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    PingReq,
    PingResp,
    Disconnect,
    Auth,
}

#[cfg(test)]
mod tests;
