//! How a client can break the protocol.

use super::Kind;
use crate::broker::{QoS, Reason};

/// Why the broker closes a connection: the client broke a rule of the specification. Sections are
/// those of MQTT 5.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::broker) enum Violation {
    #[error("packet type {0} is reserved (§2.1.2)")]
    ReservedType(u8),
    #[error("a {0:?} packet is never sent by a client (§2.1.2)")]
    NotFromClient(Kind),
    #[error("a {0:?} packet has reserved flag bits set wrongly (§2.1.3)")]
    ReservedFlags(Kind),
    #[error("a length is written wrongly (§1.5.5)")]
    VariableByteInteger,
    #[error("a {0:?} packet has the wrong length")]
    Length(Kind),
    #[error("a field reaches beyond its packet")]
    Truncated,
    #[error("a string is not UTF-8 (§1.5.4)")]
    NotUtf8,
    #[error("a string contains U+0000 (§1.5.4)")]
    Nul,
    #[error("the protocol name is {0:?} (§3.1.2.1)")]
    ProtocolName(String),
    #[error("the connect flags are {0:#010b} (§3.1.2.3)")]
    ConnectFlags(u8),
    #[error("a publish has QoS 3 (§3.3.1.2)")]
    Qos3,
    #[error("DUP is set at QoS 0 (§3.3.1.1)")]
    DupAtMostOnce,
    #[error("a packet identifier is zero (§2.2.1)")]
    PacketIdZero,
    #[error("property {0:#04x} does not belong there (§2.2.2.2)")]
    Property(u32),
    #[error("property {0:#04x} is there twice (§2.2.2.2)")]
    PropertyTwice(u32),
    #[error("property {0:#04x} has a value that it must not have")]
    PropertyValue(u32),
    #[error("authentication data without a method (§3.1.2.11.10)")]
    NoAuthenticationMethod,
    #[error("reason code {0:#04x} does not belong there (§2.4)")]
    ReasonCode(u8),
    #[error("reserved subscribe options are set (§3.8.3.1)")]
    SubscribeOptions,
    #[error("a packet carries no topic filter (§3.8.3, §3.10.3)")]
    NoFilter,
    #[error("a shared subscription asks for no local (§3.8.3.1)")]
    SharedNoLocal,
    #[error("the topic {0:?} is not valid to publish to (§4.7)")]
    Topic(String),
    #[error("the filter {0:?} is not valid (§4.7, §4.8.2)")]
    Filter(String),
    #[error("topic alias {0} is zero, above the announced maximum, or unknown (§3.3.2.3.4)")]
    TopicAlias(u16),
    #[error("a packet is longer than the maximum packet size (§3.1.2.11.4)")]
    TooLarge,
    #[error("a publish has {0:?}, which is above the announced maximum (§3.2.2.3.4)")]
    MaximumQos(QoS),
    #[error("a publish is to be retained, which is announced as not available (§3.2.2.3.5)")]
    Retain,
    #[error("more unacknowledged publishes than the announced receive maximum (§3.3.4)")]
    ReceiveMaximum,
    #[error("DISCONNECT lets a session live that CONNECT let end (§3.14.2.2.2)")]
    SessionExpiry,
    #[error("AUTH without an authentication method in CONNECT (§4.12)")]
    Auth,
    #[error("the first packet is not CONNECT (§3.1)")]
    NotConnected,
    #[error("a second CONNECT on one connection (§3.1)")]
    SecondConnect,
    #[error("packet identifier {0} is acknowledged in a step that is not that of its QoS (§4.3)")]
    WrongAcknowledgement(u16),
}

impl Violation {
    /// What an MQTT 5 client is told (§4.13).
    pub(in crate::broker) fn reason(&self) -> Reason {
        match self {
            Self::ReservedType(_)
            | Self::ReservedFlags(_)
            | Self::VariableByteInteger
            | Self::Length(_)
            | Self::Truncated
            | Self::NotUtf8
            | Self::Nul
            | Self::ConnectFlags(_)
            | Self::Qos3
            | Self::Property(_)
            | Self::ReasonCode(_)
            | Self::SubscribeOptions => Reason::MalformedPacket,
            Self::NotFromClient(_)
            | Self::ProtocolName(_)
            | Self::DupAtMostOnce
            | Self::PacketIdZero
            | Self::PropertyTwice(_)
            | Self::PropertyValue(_)
            | Self::NoAuthenticationMethod
            | Self::NoFilter
            | Self::SharedNoLocal
            | Self::SessionExpiry
            | Self::Auth
            | Self::NotConnected
            | Self::SecondConnect
            | Self::WrongAcknowledgement(_) => Reason::ProtocolError,
            Self::Topic(_) => Reason::TopicNameInvalid,
            Self::Filter(_) => Reason::TopicFilterInvalid,
            Self::TopicAlias(_) => Reason::TopicAliasInvalid,
            Self::TooLarge => Reason::PacketTooLarge,
            Self::MaximumQos(_) => Reason::QosNotSupported,
            Self::Retain => Reason::RetainNotSupported,
            Self::ReceiveMaximum => Reason::ReceiveMaximumExceeded,
        }
    }
}
