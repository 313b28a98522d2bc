//! What a client sends (MQTT 3.1.1 §3, MQTT 5 §3).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use super::field::{
    string, take_binary, take_packet_id, take_string, take_u8, take_u16, take_u32, take_varint,
    varint, varint_len,
};
use super::property::{self, misplaced, nonzero, once, skip_reason, take_properties};
use super::{Ack, Incoming, Kind, Publish, Request, RetainHandling, Version, Violation, connect};
use crate::broker::message::Message;
use crate::broker::subscriptions::Subscription;
use crate::broker::{Announced, Properties, QoS, Reason, topic};

/// Turns the bytes of one connection into packets, and holds an MQTT 5 client to what it was
/// announced, as far as one packet shows it.
#[derive(Debug)]
pub(in crate::broker) struct Decoder {
    /// Unknown before CONNECT.
    version: Option<Version>,
    /// The longest remaining length.
    max: usize,
    announced: Announced,
    /// As many as were announced, at most (MQTT 5 §3.3.2.3.4).
    aliases: BTreeMap<u16, Arc<str>>,
}

impl Decoder {
    /// A connection that was opened; `max` limits the remaining length in bytes.
    pub(in crate::broker) fn new(max: usize, announced: Announced) -> Self {
        Self { version: None, max, announced, aliases: BTreeMap::new() }
    }

    /// Takes the next packet off `input`, or `None` when it is not there completely.
    pub(in crate::broker) fn decode(
        &mut self,
        input: &mut BytesMut,
    ) -> Result<Option<Incoming>, Violation> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        let version = self.version.unwrap_or_default();
        let kind = kind(first >> 4, version)?;
        check_flags(kind, first & 0x0f)?;
        let Some((length, length_len)) = varint(rest)? else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_| Violation::TooLarge)?;
        if length > self.max {
            return Err(Violation::TooLarge);
        }
        if version == Version::V5 && length_len != varint_len(length) {
            return Err(Violation::VariableByteInteger);
        }
        let header = 1 + length_len;
        if input.len() < header + length {
            return Ok(None);
        }
        let mut body = input.split_to(header + length).freeze();
        body.advance(header);
        let packet = match kind {
            Kind::Connect => connect::parse(body)?,
            Kind::Publish => Incoming::Publish(self.take_publish(first, body, version)?),
            Kind::PubAck => Incoming::PubAck(take_ack(kind, body, version)?),
            Kind::PubRec => Incoming::PubRec(take_ack(kind, body, version)?),
            Kind::PubRel => Incoming::PubRel(take_ack(kind, body, version)?),
            Kind::PubComp => Incoming::PubComp(take_ack(kind, body, version)?),
            Kind::Subscribe => take_subscribe(body, version)?,
            Kind::Unsubscribe => take_unsubscribe(body, version)?,
            Kind::PingReq if body.is_empty() => Incoming::PingReq,
            Kind::PingReq => return Err(Violation::Length(kind)),
            Kind::Disconnect => take_disconnect(body, version)?,
            Kind::Auth => return Err(Violation::Auth),
            Kind::ConnAck | Kind::SubAck | Kind::UnsubAck | Kind::PingResp => {
                return Err(Violation::NotFromClient(kind));
            }
        };
        if let (None, Incoming::Connect(connect)) = (self.version, &packet) {
            self.speak(connect.version);
        }
        Ok(Some(packet))
    }

    fn speak(&mut self, version: Version) {
        self.version = Some(version);
        if version == Version::V5
            && let Some(maximum) = self.announced.maximum_packet_size
        {
            self.max = self.max.min(remaining_length_within(maximum.get()));
        }
    }

    fn take_publish(
        &mut self,
        first: u8,
        mut body: Bytes,
        version: Version,
    ) -> Result<Publish, Violation> {
        let (dup, retain) = (first & 0b1000 != 0, first & 1 != 0);
        let qos = qos(first >> 1 & 0b11).ok_or(Violation::Qos3)?;
        let name_bytes = take_binary(&mut body)?;
        let name = string(&name_bytes)?;
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { take_packet_id(&mut body)? };
        let (mut properties, mut topic_alias) = (Properties::default(), None);
        if version == Version::V5 {
            take_properties(&mut body, |id, from| match id {
                property::TOPIC_ALIAS => once(id, &mut topic_alias, take_u16(from)?),
                _ if properties.take(id, from)? => Ok(()),
                _ => Err(misplaced(id)),
            })?;
            self.check_announced(qos, retain)?;
        }
        let topic = match topic_alias {
            Some(alias) => self.resolve(alias, name)?,
            None => valid_topic(name)?.into(),
        };
        let mut message = Message { retain, ..Message::new(topic, body, qos) };
        if properties != Properties::default() {
            message.properties = Some(Arc::new(properties));
        }
        Ok(Publish { message, dup, packet_id, topic_alias })
    }

    /// §3.2.2.3.4 [MQTT-3.2.2-11], §3.2.2.3.5 [MQTT-3.2.2-14].
    fn check_announced(&self, qos: QoS, retain: bool) -> Result<(), Violation> {
        if qos as u8 > self.announced.maximum_qos as u8 {
            return Err(Violation::MaximumQos(qos));
        }
        if retain && !self.announced.retain_available {
            return Err(Violation::Retain);
        }
        Ok(())
    }

    /// Sets an alias, or looks it up for an empty topic
    /// (§3.3.2.3.4 [MQTT-3.3.2-7, -8, -9, -12]).
    fn resolve(&mut self, alias: u16, name: &str) -> Result<Arc<str>, Violation> {
        if alias == 0 || alias > self.announced.topic_alias_maximum.unwrap_or(0) {
            return Err(Violation::TopicAlias(alias));
        }
        if name.is_empty() {
            return self.aliases.get(&alias).cloned().ok_or(Violation::TopicAlias(alias));
        }
        let topic: Arc<str> = valid_topic(name)?.into();
        self.aliases.insert(alias, topic.clone());
        Ok(topic)
    }
}

/// The largest remaining length of a packet of `total` bytes (MQTT 5 §3.1.2.11.4).
fn remaining_length_within(total: u32) -> usize {
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    let lengths = (1..=4).map(|length_len| {
        let longest = (1_usize << (7 * length_len)) - 1;
        total.saturating_sub(1 + length_len).min(longest)
    });
    lengths.max().unwrap_or(0)
}

fn kind(number: u8, version: Version) -> Result<Kind, Violation> {
    Ok(match number {
        1 => Kind::Connect,
        2 => Kind::ConnAck,
        3 => Kind::Publish,
        4 => Kind::PubAck,
        5 => Kind::PubRec,
        6 => Kind::PubRel,
        7 => Kind::PubComp,
        8 => Kind::Subscribe,
        9 => Kind::SubAck,
        10 => Kind::Unsubscribe,
        11 => Kind::UnsubAck,
        12 => Kind::PingReq,
        13 => Kind::PingResp,
        14 => Kind::Disconnect,
        15 if version == Version::V5 => Kind::Auth,
        _ => return Err(Violation::ReservedType(number)),
    })
}

/// MQTT 3.1.1 §2.2.2 [MQTT-2.2.2-2], MQTT 5 §2.1.3 [MQTT-2.1.3-1]; DUP at QoS 0 is §3.3.1.1
/// [MQTT-3.3.1-2].
fn check_flags(kind: Kind, flags: u8) -> Result<(), Violation> {
    let expected = match kind {
        Kind::Publish if flags & 0b1110 == 0b1000 => return Err(Violation::DupAtMostOnce),
        Kind::Publish => return Ok(()),
        Kind::PubRel | Kind::Subscribe | Kind::Unsubscribe => 0b0010,
        Kind::Connect
        | Kind::PubAck
        | Kind::PubRec
        | Kind::PubComp
        | Kind::PingReq
        | Kind::Disconnect
        | Kind::Auth => 0,
        Kind::ConnAck | Kind::SubAck | Kind::UnsubAck | Kind::PingResp => {
            return Err(Violation::NotFromClient(kind));
        }
    };
    if flags == expected { Ok(()) } else { Err(Violation::ReservedFlags(kind)) }
}

/// MQTT 3.1.1 §3.4 to §3.7; MQTT 5 the same, where a reason code and properties may follow.
fn take_ack(kind: Kind, mut body: Bytes, version: Version) -> Result<Ack, Violation> {
    let packet_id = take_packet_id(&mut body)?;
    let reason = match version {
        Version::V4 => Reason::Success,
        Version::V5 => take_reason(&mut body, |reason| is_ack_reason(kind, reason))?,
    };
    if body.has_remaining() {
        return Err(Violation::Length(kind));
    }
    Ok(Ack { packet_id, reason })
}

/// MQTT 5 §3.4.2.1, §3.5.2.1, §3.6.2.1, §3.7.2.1.
fn is_ack_reason(kind: Kind, reason: Reason) -> bool {
    if matches!(kind, Kind::PubRel | Kind::PubComp) {
        return matches!(reason, Reason::Success | Reason::PacketIdentifierNotFound);
    }
    matches!(
        reason,
        Reason::Success
            | Reason::NoMatchingSubscribers
            | Reason::UnspecifiedError
            | Reason::ImplementationSpecificError
            | Reason::NotAuthorized
            | Reason::TopicNameInvalid
            | Reason::PacketIdentifierInUse
            | Reason::QuotaExceeded
            | Reason::PayloadFormatInvalid
    )
}

/// A reason code with its properties, both of which may be left out at the end of a packet.
fn take_reason(body: &mut Bytes, belongs: impl Fn(Reason) -> bool) -> Result<Reason, Violation> {
    let reason = take_code(body, belongs)?;
    if body.has_remaining() {
        let mut text = None;
        take_properties(body, |id, from| skip_reason(id, &mut text, from))?;
    }
    Ok(reason)
}

fn take_code(body: &mut Bytes, belongs: impl Fn(Reason) -> bool) -> Result<Reason, Violation> {
    if body.is_empty() {
        return Ok(Reason::Success);
    }
    let code = take_u8(body)?;
    Reason::from_code(code).filter(|&reason| belongs(reason)).ok_or(Violation::ReasonCode(code))
}

/// MQTT 3.1.1 §3.8.3, MQTT 5 §3.8.2, §3.8.3.
fn take_subscribe(mut body: Bytes, version: Version) -> Result<Incoming, Violation> {
    let packet_id = take_packet_id(&mut body)?;
    let mut id_of_all = None;
    if version == Version::V5 {
        take_properties(&mut body, |id, from| match id {
            property::SUBSCRIPTION_ID => once(id, &mut id_of_all, nonzero(id, take_varint(from)?)?),
            property::USER => property::take_user(from).map(|_| ()),
            _ => Err(misplaced(id)),
        })?;
    }
    let mut requests = Vec::new();
    while body.has_remaining() {
        let filter = valid_filter(take_string(&mut body)?)?;
        let request = take_options(filter, take_u8(&mut body)?, version)?;
        let subscription = Subscription { id: id_of_all, ..request.subscription };
        requests.push(Request { subscription, ..request });
    }
    if requests.is_empty() {
        return Err(Violation::NoFilter);
    }
    Ok(Incoming::Subscribe { packet_id, requests })
}

/// MQTT 3.1.1 §3.8.3.1 [MQTT-3.8.3-4]; MQTT 5 §3.8.3.1 [MQTT-3.8.3-4, -5].
fn take_options(filter: String, options: u8, version: Version) -> Result<Request, Violation> {
    let reserved = match version {
        Version::V4 => 0b1111_1100,
        Version::V5 => 0b1100_0000,
    };
    if options & reserved != 0 {
        return Err(Violation::SubscribeOptions);
    }
    let qos = qos(options & 0b11).ok_or(Violation::SubscribeOptions)?;
    let no_local = options & 0b100 != 0;
    if no_local && topic::split_share(&filter).0.is_some() {
        return Err(Violation::SharedNoLocal);
    }
    let retain_as_published = options & 0b1000 != 0;
    let retain_handling = match options >> 4 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        _ => return Err(Violation::SubscribeOptions),
    };
    let subscription = Subscription { qos, no_local, retain_as_published, id: None };
    Ok(Request { filter, subscription, retain_handling })
}

/// MQTT 3.1.1 §3.10.3, MQTT 5 §3.10.2, §3.10.3.
fn take_unsubscribe(mut body: Bytes, version: Version) -> Result<Incoming, Violation> {
    let packet_id = take_packet_id(&mut body)?;
    if version == Version::V5 {
        take_properties(&mut body, |id, from| match id {
            property::USER => property::take_user(from).map(|_| ()),
            _ => Err(misplaced(id)),
        })?;
    }
    let mut filters = Vec::new();
    while body.has_remaining() {
        filters.push(valid_filter(take_string(&mut body)?)?);
    }
    if filters.is_empty() {
        return Err(Violation::NoFilter);
    }
    Ok(Incoming::Unsubscribe { packet_id, filters })
}

/// MQTT 3.1.1 §3.14, MQTT 5 §3.14.2.
fn take_disconnect(mut body: Bytes, version: Version) -> Result<Incoming, Violation> {
    let (mut reason, mut session_expiry, mut text) = (Reason::Success, None, None);
    if version == Version::V5 {
        reason = take_code(&mut body, is_disconnect_reason)?;
        if body.has_remaining() {
            take_properties(&mut body, |id, from| match id {
                property::SESSION_EXPIRY => once(id, &mut session_expiry, take_u32(from)?),
                _ => skip_reason(id, &mut text, from),
            })?;
        }
    }
    if body.has_remaining() {
        return Err(Violation::Length(Kind::Disconnect));
    }
    Ok(Incoming::Disconnect { reason, session_expiry })
}

/// Those that a client may send (MQTT 5 §3.14.2.1).
fn is_disconnect_reason(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Success
            | Reason::DisconnectWithWill
            | Reason::UnspecifiedError
            | Reason::MalformedPacket
            | Reason::ProtocolError
            | Reason::ImplementationSpecificError
            | Reason::TopicNameInvalid
            | Reason::ReceiveMaximumExceeded
            | Reason::TopicAliasInvalid
            | Reason::PacketTooLarge
            | Reason::MessageRateTooHigh
            | Reason::QuotaExceeded
            | Reason::AdministrativeAction
            | Reason::PayloadFormatInvalid
    )
}

fn qos(bits: u8) -> Option<QoS> {
    rumqttc::mqttbytes::qos(bits).ok()
}

fn valid_topic(name: &str) -> Result<&str, Violation> {
    if topic::is_valid_topic(name) { Ok(name) } else { Err(Violation::Topic(name.to_owned())) }
}

fn valid_filter(filter: String) -> Result<String, Violation> {
    if topic::is_valid_filter(&filter) { Ok(filter) } else { Err(Violation::Filter(filter)) }
}
