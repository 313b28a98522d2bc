//! The wire: bytes to what a broker may send, what the gateway sends to bytes, for MQTT 3.1.1 and 5.
//!
//! Everything behind this module speaks one vocabulary, that of MQTT 5, into which the return codes
//! of 3.1.1 are translated. Sections are cited of MQTT 5 where both versions have the rule.
//!
//! CONNECT and the packets without content are written by the codecs of `rumqttc`. Reading is our
//! own: its codec for MQTT 5 takes a DISCONNECT of one byte and a CONNACK in the form of 3.1.1 for
//! incomplete and swallows them, refuses a DISCONNECT without content, does not say which reason
//! code it does not know, and lets properties through that are doubled or run over their length.
//! PUBLISH is written here, because the codec wants a `String` for every user property.

mod connect;
mod properties;
mod publish;
mod reader;
mod reason;
mod subscribe;
mod v4;
mod v5;

use bytes::BytesMut;
use rumqttc::mqttbytes::v4 as codec;

use crate::config::Protocol;

pub(super) use connect::{Connect, Will};
pub(super) use properties::{Properties, PropertyValue, name as property_name};
pub(super) use publish::{PublishHead, append_alias, encode_properties};
pub(super) use reader::Reader;
pub(super) use reason::{Reason, code};
pub(super) use subscribe::{Received, SubAck, oversize_head, puback, subscribe, unsubscribe};

/// The largest packet taken from a broker.
pub(super) const MAX_INCOMING: usize = 64 * 1024;

/// What a broker sends, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    ConnAck(Box<ConnAck>),
    PubAck(Ack),
    PubRec(Ack),
    PubComp(Ack),
    PingResp,
    /// This one and the next two are for who has subscribed to something.
    Publish(Box<Received>),
    SubAck(SubAck),
    UnsubAck(u16),
    /// Only in MQTT 5.
    Disconnect(Reason),
}

/// The answer to CONNECT (MQTT 5 §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConnAck {
    pub(super) session_present: bool,
    pub(super) reason: Reason,
    pub(super) limits: Limits,
}

/// What the broker can do; all that MQTT asks for where it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) receive_maximum: u16,
    pub(super) maximum_qos: u8,
    pub(super) retain: bool,
    pub(super) maximum_packet: u32,
    pub(super) alias_maximum: u16,
    pub(super) keep_alive: Option<u16>,
    pub(super) client_id: Option<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            receive_maximum: u16::MAX,
            maximum_qos: 2,
            retain: true,
            maximum_packet: u32::MAX,
            alias_maximum: 0,
            keep_alive: None,
            client_id: None,
        }
    }
}

/// PUBACK, PUBREC or PUBCOMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) id: u16,
    pub(super) reason: Reason,
}

/// Why bytes are not what a broker may send here: a thing, as in "it sent …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("a packet of {0} bytes, which is more than the {MAX_INCOMING} that are taken")]
    TooLarge(usize),
    #[error("a length of more than four bytes (MQTT 5 §1.5.5)")]
    Length,
    #[error("{0}, which a broker must not send here")]
    Kind(&'static str),
    #[error("{0} with wrong flags (MQTT 5 §2.1.3)")]
    Flags(&'static str),
    #[error("{0} that is too short or too long")]
    Size(&'static str),
    #[error("a topic that is empty or has a wildcard in it (MQTT 5 §3.3.2.1)")]
    Topic,
    #[error("packet identifier 0 (MQTT 5 §2.2.1)")]
    IdZero,
    #[error("a text that is not UTF-8 or has U+0000 in it (MQTT 5 §1.5.4)")]
    Text,
    #[error("a property {0:#04x} that is not known, or not here (MQTT 5 §2.2.2.2)")]
    Property(u8),
    #[error("the property {} twice (MQTT 5 §2.2.2.2)", property_name(*.0))]
    Twice(u8),
    #[error("a value that {} must not have", property_name(*.0))]
    Value(u8),
    #[error("return code {0}, which MQTT does not have here (MQTT 3.1.1 §3.2.2.3, §3.9.3)")]
    ReturnCode(u8),
}

/// Why a packet cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WriteError {
    #[error("cannot send a text of {0} bytes: MQTT carries 65535 (MQTT 5 §1.5.4)")]
    TextTooLong(usize),
    #[error("cannot send a packet of {0} bytes: MQTT carries 268435455 (MQTT 5 §1.5.5)")]
    TooLarge(usize),
    #[error("cannot write a packet: {0}")]
    Codec(String),
}

impl WriteError {
    fn codec(error: impl std::fmt::Display) -> Self {
        Self::Codec(error.to_string())
    }
}

/// How long the first packet in `input` is, or `None` as long as that cannot be told or it is not
/// there completely (MQTT 5 §2.1.4).
pub(super) fn frame_length(input: &[u8]) -> Result<Option<usize>, WireError> {
    match frame_size(input)? {
        Some(length) if length > MAX_INCOMING => Err(WireError::TooLarge(length)),
        length => Ok(length.filter(|length| *length <= input.len())),
    }
}

/// How long the first packet in `input` will be, as soon as that can be told.
pub(super) fn frame_size(input: &[u8]) -> Result<Option<usize>, WireError> {
    let mut rest = Reader::new(input.get(1..).unwrap_or_default());
    let Some(remaining) = rest.try_variable()? else { return Ok(None) };
    let header = input.len() - rest.len();
    Ok(Some(header.saturating_add(usize::try_from(remaining).unwrap_or(usize::MAX))))
}

/// Reads one whole packet.
pub(super) fn parse(protocol: Protocol, frame: &[u8]) -> Result<Incoming, WireError> {
    let mut reader = Reader::new(frame);
    let first = reader.u8().ok_or(WireError::Size("a packet"))?;
    reader.try_variable()?;
    let kind = Kind::of(first);
    // Of what a broker sends here, nothing has flags.
    if first & 0x0f != 0 && kind.is_answer() {
        return Err(WireError::Flags(kind.name()));
    }
    match (kind, protocol) {
        (Kind::PUBLISH, _) => {
            Ok(Incoming::Publish(Box::new(subscribe::publish(protocol, first, reader)?)))
        }
        (Kind::SUBACK, _) => Ok(Incoming::SubAck(subscribe::suback(protocol, reader)?)),
        (Kind::UNSUBACK, _) => Ok(Incoming::UnsubAck(subscribe::unsuback(protocol, reader)?)),
        (_, Protocol::V4) => v4::parse(kind, reader),
        (_, Protocol::V5) => v5::parse(kind, reader),
    }
}

/// Appends a PUBREL that says success; without properties it is the same in both versions.
pub(super) fn pubrel(out: &mut BytesMut, id: u16) -> Result<(), WriteError> {
    codec::PubRel::new(id).write(out).map(drop).map_err(WriteError::codec)
}

/// Appends a PINGREQ.
pub(super) fn pingreq(out: &mut BytesMut) -> Result<(), WriteError> {
    codec::PingReq.write(out).map(drop).map_err(WriteError::codec)
}

/// Appends a DISCONNECT. With MQTT 5 it can `forget` the session: it ends at once (MQTT 5
/// §3.14.2.2.2).
pub(super) fn disconnect(
    protocol: Protocol,
    out: &mut BytesMut,
    forget: bool,
) -> Result<(), WriteError> {
    match protocol {
        Protocol::V5 if forget => v5::disconnect(out),
        Protocol::V4 | Protocol::V5 => {
            codec::Disconnect.write(out).map(drop).map_err(WriteError::codec)
        }
    }
}

/// A packet's type (MQTT 5 §2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    pub(super) const CONNECT: Self = Self(1);
    pub(super) const CONNACK: Self = Self(2);
    pub(super) const PUBLISH: Self = Self(3);
    pub(super) const PUBACK: Self = Self(4);
    pub(super) const PUBREC: Self = Self(5);
    pub(super) const PUBREL: Self = Self(6);
    pub(super) const PUBCOMP: Self = Self(7);
    pub(super) const SUBACK: Self = Self(9);
    pub(super) const UNSUBACK: Self = Self(11);
    pub(super) const PINGRESP: Self = Self(13);
    pub(super) const DISCONNECT: Self = Self(14);

    /// The type that a packet's first byte says.
    pub(super) const fn of(first: u8) -> Self {
        Self(first >> 4)
    }

    pub(super) const fn name(self) -> &'static str {
        match self.0 {
            1 => "CONNECT",
            2 => "CONNACK",
            3 => "PUBLISH",
            4 => "PUBACK",
            5 => "PUBREC",
            6 => "PUBREL",
            7 => "PUBCOMP",
            8 => "SUBSCRIBE",
            9 => "SUBACK",
            10 => "UNSUBSCRIBE",
            11 => "UNSUBACK",
            12 => "PINGREQ",
            13 => "PINGRESP",
            14 => "DISCONNECT",
            15 => "AUTH",
            _ => "a reserved packet type",
        }
    }

    /// Whether it is one of [`Incoming`].
    fn is_answer(self) -> bool {
        [
            Self::CONNACK,
            Self::PUBACK,
            Self::PUBREC,
            Self::PUBCOMP,
            Self::SUBACK,
            Self::UNSUBACK,
            Self::PINGRESP,
            Self::DISCONNECT,
        ]
        .contains(&self)
    }
}

#[cfg(test)]
mod tests;
