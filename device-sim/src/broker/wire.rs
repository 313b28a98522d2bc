//! The wire: bytes to what a client may send, what the broker sends to bytes.
//!
//! Packets are read and written by the codec of `rumqttc`. It accepts more than MQTT 3.1.1 allows,
//! so this module checks first what the codec lets through: reserved flag bits, fixed lengths,
//! reserved subscribe options, packet identifier zero, U+0000, topics and filters. CONNECT has a
//! parser of its own ([`connect`]), because the codec's one loses binary passwords and reads a
//! version 5 CONNECT as version 4.
//!
//! This is the seam for other protocol versions: everything behind it speaks [`Incoming`] and
//! [`Outgoing`] and knows no packet layout.

mod connect;

use bytes::{Buf, BytesMut};
use rumqttc::mqttbytes::v4::{self, Packet};
use rumqttc::mqttbytes::{Error as CodecError, PacketType};

use super::QoS;
use super::message::Message;
use super::topic;

pub(super) use connect::{Connect, Will};

/// What a client sends, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Connect(Box<Connect>),
    /// A CONNECT in a protocol level that the broker does not speak.
    UnsupportedLevel(u8),
    Publish {
        message: Message,
        dup: bool,
        /// Zero at QoS 0.
        packet_id: u16,
    },
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    Subscribe {
        packet_id: u16,
        filters: Vec<(String, QoS)>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    PingReq,
    Disconnect,
}

/// What the broker sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outgoing {
    ConnAck {
        session_present: bool,
        code: v4::ConnectReturnCode,
    },
    Publish {
        message: Message,
        dup: bool,
        /// Zero at QoS 0.
        packet_id: u16,
    },
    PubAck(u16),
    PubRec(u16),
    PubRel(u16),
    PubComp(u16),
    SubAck {
        packet_id: u16,
        codes: Vec<v4::SubscribeReasonCode>,
    },
    UnsubAck(u16),
    PingResp,
}

/// Why the broker closes a connection: the client broke a rule of the specification.
#[derive(Debug, thiserror::Error)]
pub(super) enum Violation {
    #[error("a packet cannot be decoded")]
    Malformed(#[from] CodecError),
    #[error("a {0:?} packet has reserved flag bits set wrongly (§2.2.2)")]
    ReservedFlags(PacketType),
    #[error("a {0:?} packet has the wrong length")]
    Length(PacketType),
    #[error("packet type {0} is reserved (§2.2.1)")]
    ReservedType(u8),
    #[error("a {0:?} packet is never sent by a client (§2.2.1)")]
    NotFromClient(PacketType),
    #[error("a packet identifier is zero (§2.3.1)")]
    PacketIdZero,
    #[error("DUP is set at QoS 0 (§3.3.1.1)")]
    DupAtMostOnce,
    #[error("the topic {0:?} is not valid to publish to (§4.7)")]
    Topic(String),
    #[error("the filter {0:?} is not valid (§4.7)")]
    Filter(String),
    #[error("a packet carries no topic filter (§3.8.3, §3.10.3)")]
    NoFilter,
    #[error("reserved subscribe options are set (§3.8.3)")]
    SubscribeOptions,
    #[error("a string contains U+0000 (§1.5.3)")]
    Nul,
    #[error("the protocol name is {0:?} (§3.1.2.1)")]
    ProtocolName(String),
    #[error("the connect flags are {0:#010b} (§3.1.2.3)")]
    ConnectFlags(u8),
    #[error("the first packet is not CONNECT (§3.1)")]
    NotConnected,
    #[error("a second CONNECT on one connection (§3.1)")]
    SecondConnect,
    #[error(
        "packet identifier {0} is acknowledged in a step that does not belong to its QoS (§4.3)"
    )]
    WrongAcknowledgement(u16),
}

/// Takes the next packet off `input`, or `None` when it is not there completely.
///
/// `max` limits the remaining length in bytes.
pub(super) fn decode(input: &mut BytesMut, max: usize) -> Result<Option<Incoming>, Violation> {
    let Some(&first) = input.first() else { return Ok(None) };
    let kind = packet_type(first >> 4).ok_or(Violation::ReservedType(first >> 4))?;
    check_flags(kind, first & 0x0f)?;
    let frame = match rumqttc::mqttbytes::check(input.iter(), max) {
        Ok(header) => header.frame_length(),
        Err(CodecError::InsufficientBytes(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    check_length(kind, frame)?;
    match kind {
        PacketType::Connect => return connect::parse(input.split_to(frame).freeze()).map(Some),
        PacketType::Subscribe => check_subscribe_options(input.get(..frame).unwrap_or_default())?,
        PacketType::ConnAck
        | PacketType::Publish
        | PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubRel
        | PacketType::PubComp
        | PacketType::SubAck
        | PacketType::Unsubscribe
        | PacketType::UnsubAck
        | PacketType::PingReq
        | PacketType::PingResp
        | PacketType::Disconnect => {}
    }
    parse(Packet::read(input, max)?).map(Some)
}

/// Appends `packet` to `output`.
pub(super) fn encode(packet: &Outgoing, output: &mut BytesMut) -> Result<(), CodecError> {
    match packet {
        Outgoing::ConnAck { session_present, code } => {
            v4::ConnAck::new(*code, *session_present).write(output)
        }
        Outgoing::Publish { message, dup, packet_id } => v4::Publish {
            dup: *dup,
            qos: message.qos,
            retain: message.retain,
            topic: message.topic.as_ref().to_owned(),
            pkid: *packet_id,
            payload: message.payload.clone(),
        }
        .write(output),
        Outgoing::PubAck(id) => v4::PubAck::new(*id).write(output),
        Outgoing::PubRec(id) => v4::PubRec::new(*id).write(output),
        Outgoing::PubRel(id) => v4::PubRel::new(*id).write(output),
        Outgoing::PubComp(id) => v4::PubComp::new(*id).write(output),
        Outgoing::SubAck { packet_id, codes } => {
            v4::SubAck::new(*packet_id, codes.clone()).write(output)
        }
        Outgoing::UnsubAck(id) => v4::UnsubAck::new(*id).write(output),
        Outgoing::PingResp => v4::PingResp.write(output),
    }
    .map(|_| ())
}

fn packet_type(number: u8) -> Option<PacketType> {
    Some(match number {
        1 => PacketType::Connect,
        2 => PacketType::ConnAck,
        3 => PacketType::Publish,
        4 => PacketType::PubAck,
        5 => PacketType::PubRec,
        6 => PacketType::PubRel,
        7 => PacketType::PubComp,
        8 => PacketType::Subscribe,
        9 => PacketType::SubAck,
        10 => PacketType::Unsubscribe,
        11 => PacketType::UnsubAck,
        12 => PacketType::PingReq,
        13 => PacketType::PingResp,
        14 => PacketType::Disconnect,
        _ => return None,
    })
}

/// §2.2.2, Table 2.2 [MQTT-2.2.2-2]; DUP at QoS 0 is §3.3.1.1 [MQTT-3.3.1-2].
fn check_flags(kind: PacketType, flags: u8) -> Result<(), Violation> {
    let expected = match kind {
        PacketType::Publish if flags & 0b1110 == 0b1000 => return Err(Violation::DupAtMostOnce),
        PacketType::Publish => return Ok(()),
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
        PacketType::Connect
        | PacketType::PubAck
        | PacketType::PubRec
        | PacketType::PubComp
        | PacketType::PingReq
        | PacketType::Disconnect => 0,
        PacketType::ConnAck | PacketType::SubAck | PacketType::UnsubAck | PacketType::PingResp => {
            return Err(Violation::NotFromClient(kind));
        }
    };
    if flags == expected { Ok(()) } else { Err(Violation::ReservedFlags(kind)) }
}

/// The packets of a fixed length have exactly that one (§3.4 to §3.7, §3.12, §3.14).
fn check_length(kind: PacketType, frame: usize) -> Result<(), Violation> {
    let expected = match kind {
        PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp => 4,
        PacketType::PingReq | PacketType::Disconnect => 2,
        PacketType::Connect
        | PacketType::ConnAck
        | PacketType::Publish
        | PacketType::Subscribe
        | PacketType::SubAck
        | PacketType::Unsubscribe
        | PacketType::UnsubAck
        | PacketType::PingResp => return Ok(()),
    };
    if frame == expected { Ok(()) } else { Err(Violation::Length(kind)) }
}

/// The upper six bits of every requested QoS byte are zero (§3.8.3.1 [MQTT-3.8.3-4]). What is cut
/// short here is left to the codec.
fn check_subscribe_options(mut frame: &[u8]) -> Result<(), Violation> {
    frame.advance(1);
    while frame.has_remaining() && frame.get_u8() & 0x80 != 0 {}
    let _packet_id = frame.try_get_u16();
    while let Ok(length) = frame.try_get_u16() {
        let Some((&options, rest)) = frame.get(usize::from(length)..).and_then(<[u8]>::split_first)
        else {
            return Ok(());
        };
        if options & 0b1111_1100 != 0 {
            return Err(Violation::SubscribeOptions);
        }
        frame = rest;
    }
    Ok(())
}

fn parse(packet: Packet) -> Result<Incoming, Violation> {
    Ok(match packet {
        Packet::Publish(publish) => parse_publish(publish)?,
        Packet::PubAck(ack) => Incoming::PubAck(nonzero(ack.pkid)?),
        Packet::PubRec(ack) => Incoming::PubRec(nonzero(ack.pkid)?),
        Packet::PubRel(ack) => Incoming::PubRel(nonzero(ack.pkid)?),
        Packet::PubComp(ack) => Incoming::PubComp(nonzero(ack.pkid)?),
        Packet::Subscribe(subscribe) => Incoming::Subscribe {
            packet_id: nonzero(subscribe.pkid)?,
            filters: subscribe
                .filters
                .into_iter()
                .map(|filter| Ok((check_filter(filter.path)?, filter.qos)))
                .collect::<Result<_, Violation>>()?,
        },
        Packet::Unsubscribe(unsubscribe) if unsubscribe.topics.is_empty() => {
            return Err(Violation::NoFilter);
        }
        Packet::Unsubscribe(unsubscribe) => Incoming::Unsubscribe {
            packet_id: nonzero(unsubscribe.pkid)?,
            filters: unsubscribe
                .topics
                .into_iter()
                .map(check_filter)
                .collect::<Result<_, Violation>>()?,
        },
        Packet::PingReq => Incoming::PingReq,
        Packet::Disconnect => Incoming::Disconnect,
        Packet::Connect(_) => return Err(Violation::NotFromClient(PacketType::Connect)),
        Packet::ConnAck(_) => return Err(Violation::NotFromClient(PacketType::ConnAck)),
        Packet::SubAck(_) => return Err(Violation::NotFromClient(PacketType::SubAck)),
        Packet::UnsubAck(_) => return Err(Violation::NotFromClient(PacketType::UnsubAck)),
        Packet::PingResp => return Err(Violation::NotFromClient(PacketType::PingResp)),
    })
}

fn parse_publish(publish: v4::Publish) -> Result<Incoming, Violation> {
    if !topic::is_valid_topic(&publish.topic) {
        return Err(Violation::Topic(publish.topic));
    }
    Ok(Incoming::Publish {
        message: Message {
            topic: publish.topic.into(),
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
        },
        dup: publish.dup,
        packet_id: publish.pkid,
    })
}

fn check_filter(filter: String) -> Result<String, Violation> {
    if topic::is_valid_filter(&filter) { Ok(filter) } else { Err(Violation::Filter(filter)) }
}

fn nonzero(packet_id: u16) -> Result<u16, Violation> {
    if packet_id == 0 { Err(Violation::PacketIdZero) } else { Ok(packet_id) }
}

#[cfg(test)]
mod tests;
