//! What the broker sends (MQTT 3.1.1 §3, MQTT 5 §3).

use bytes::{BufMut, BytesMut};

use super::field::{put_binary, put_varint, varint_len};
use super::property::{self, put_number, put_optional};
use super::{Ack, ConnAck, Kind, Outgoing, Version};
use crate::broker::message::Delivery;
use crate::broker::{QoS, Reason};

/// A packet that is longer than MQTT can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet or a field of it is too long for MQTT")]
pub(in crate::broker) struct TooLong;

/// Appends `packet` to `output`, or nothing when it is too long.
pub(in crate::broker) fn encode(
    packet: &Outgoing,
    version: Version,
    output: &mut BytesMut,
) -> Result<(), TooLong> {
    let start = output.len();
    let fits = match packet {
        Outgoing::ConnAck(ack) => put_connack(ack, version, output),
        Outgoing::Publish { delivery, expiry, dup, packet_id } => {
            put_publish(delivery, *expiry, *dup, *packet_id, version, output)
        }
        Outgoing::PubAck(ack) => put_ack(Kind::PubAck, *ack, version, output),
        Outgoing::PubRec(ack) => put_ack(Kind::PubRec, *ack, version, output),
        Outgoing::PubRel(ack) => put_ack(Kind::PubRel, *ack, version, output),
        Outgoing::PubComp(ack) => put_ack(Kind::PubComp, *ack, version, output),
        Outgoing::SubAck { packet_id, reasons } => {
            put_answers(Kind::SubAck, *packet_id, reasons, version, output)
        }
        Outgoing::UnsubAck { packet_id, reasons } => {
            put_answers(Kind::UnsubAck, *packet_id, reasons, version, output)
        }
        Outgoing::PingResp => put_frame(Kind::PingResp, 0, &[], output),
        // The length of the properties could be left out, but not every client knows.
        Outgoing::Disconnect(reason) => put_frame(Kind::Disconnect, 0, &[reason.code(), 0], output),
    };
    if fits {
        Ok(())
    } else {
        output.truncate(start);
        Err(TooLong)
    }
}

fn put_frame(kind: Kind, flags: u8, body: &[u8], output: &mut BytesMut) -> bool {
    output.put_u8((kind as u8) << 4 | flags);
    let fits = put_varint(body.len(), output);
    output.put_slice(body);
    fits
}

/// MQTT 3.1.1 §3.2, MQTT 5 §3.2.
fn put_connack(ack: &ConnAck, version: Version, output: &mut BytesMut) -> bool {
    let flags = u8::from(ack.session_present);
    if version == Version::V4 {
        return put_frame(Kind::ConnAck, 0, &[flags, ack.reason.connect_return_code()], output);
    }
    let mut block = BytesMut::new();
    let fits = ack.reason.is_error() || put_connack_properties(ack, &mut block);
    let mut body = BytesMut::new();
    body.put_slice(&[flags, ack.reason.code()]);
    let fits = fits && put_varint(block.len(), &mut body);
    body.put_slice(&block);
    fits && put_frame(Kind::ConnAck, 0, &body, output)
}

/// MQTT 5 §3.2.2.3.
fn put_connack_properties(ack: &ConnAck, block: &mut BytesMut) -> bool {
    let announced = &ack.announced;
    if let Some(maximum) = announced.receive_maximum {
        block.put_u8(property::RECEIVE_MAXIMUM);
        block.put_u16(maximum.get());
    }
    if announced.maximum_qos != QoS::ExactlyOnce {
        block.put_slice(&[property::MAXIMUM_QOS, announced.maximum_qos as u8]);
    }
    if !announced.retain_available {
        block.put_slice(&[property::RETAIN_AVAILABLE, 0]);
    }
    if let Some(maximum) = announced.maximum_packet_size {
        block.put_u8(property::MAXIMUM_PACKET_SIZE);
        block.put_u32(maximum.get());
    }
    if let Some(maximum) = announced.topic_alias_maximum {
        block.put_u8(property::TOPIC_ALIAS_MAXIMUM);
        block.put_u16(maximum);
    }
    if let Some(seconds) = announced.server_keep_alive {
        block.put_u8(property::SERVER_KEEP_ALIVE);
        block.put_u16(seconds);
    }
    let client = ack.assigned_client.as_ref().map(|client| client.as_bytes());
    put_optional(property::ASSIGNED_CLIENT, client, block)
}

/// MQTT 3.1.1 §3.3, MQTT 5 §3.3.
fn put_publish(
    delivery: &Delivery,
    expiry: Option<u32>,
    dup: bool,
    packet_id: u16,
    version: Version,
    output: &mut BytesMut,
) -> bool {
    let Delivery { message, subscriptions } = delivery;
    let mut block = BytesMut::new();
    let mut fits = true;
    if version == Version::V5 {
        if let Some(properties) = &message.properties {
            fits &= properties.put(expiry, &mut block);
        }
        for &id in subscriptions {
            fits &= put_number(property::SUBSCRIPTION_ID, id, &mut block);
        }
    }
    let properties_len = match version {
        Version::V4 => 0,
        Version::V5 => varint_len(block.len()) + block.len(),
    };
    let id_len = if message.qos == QoS::AtMostOnce { 0 } else { 2 };
    let remaining = 2 + message.topic.len() + id_len + properties_len + message.payload.len();
    let flags = u8::from(dup) << 3 | (message.qos as u8) << 1 | u8::from(message.retain);
    output.reserve(5 + remaining);
    output.put_u8((Kind::Publish as u8) << 4 | flags);
    fits &= put_varint(remaining, output) && put_binary(message.topic.as_bytes(), output);
    if id_len > 0 {
        output.put_u16(packet_id);
    }
    if version == Version::V5 {
        fits &= put_varint(block.len(), output);
        output.put_slice(&block);
    }
    output.put_slice(&message.payload);
    fits
}

/// MQTT 3.1.1 §3.4 to §3.7; MQTT 5 the same, where success needs no reason code.
fn put_ack(kind: Kind, ack: Ack, version: Version, output: &mut BytesMut) -> bool {
    let flags = if kind == Kind::PubRel { 0b0010 } else { 0 };
    let [high, low] = ack.packet_id.to_be_bytes();
    if version == Version::V4 || ack.reason == Reason::Success {
        put_frame(kind, flags, &[high, low], output)
    } else {
        put_frame(kind, flags, &[high, low, ack.reason.code()], output)
    }
}

/// SUBACK and UNSUBACK (MQTT 3.1.1 §3.9, §3.11; MQTT 5 the same).
fn put_answers(
    kind: Kind,
    packet_id: u16,
    reasons: &[Reason],
    version: Version,
    output: &mut BytesMut,
) -> bool {
    let mut body = BytesMut::with_capacity(3 + reasons.len());
    body.put_u16(packet_id);
    match (version, kind) {
        (Version::V5, _) => {
            body.put_u8(0);
            body.extend(reasons.iter().map(|reason| reason.code()));
        }
        (Version::V4, Kind::SubAck) => body.extend(reasons.iter().map(|reason| {
            // §3.9.3: one code for every failure.
            if reason.is_error() { Reason::UnspecifiedError.code() } else { reason.code() }
        })),
        // §3.11.3: it has no payload.
        (Version::V4, _) => {}
    }
    put_frame(kind, 0, &body, output)
}
