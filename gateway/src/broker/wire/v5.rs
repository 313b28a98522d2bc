//! What a broker sends in MQTT 5.

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5 as codec;

use super::properties::id;
use super::{
    Ack, ConnAck, Incoming, Kind, Limits, Properties, PropertyValue, Reader, Reason, WireError,
    WriteError, v4,
};

/// Reads what is behind the fixed header.
pub(super) fn parse(kind: Kind, mut body: Reader<'_>) -> Result<Incoming, WireError> {
    let packet = match kind {
        Kind::CONNACK => Incoming::ConnAck(Box::new(connack(&mut body)?)),
        Kind::PUBACK => Incoming::PubAck(ack(kind, &mut body)?),
        Kind::PUBREC => Incoming::PubRec(ack(kind, &mut body)?),
        Kind::PUBCOMP => Incoming::PubComp(ack(kind, &mut body)?),
        Kind::PINGRESP => Incoming::PingResp,
        Kind::DISCONNECT => Incoming::Disconnect(reason(&mut body, true)?),
        other => return Err(WireError::Kind(other.name())),
    };
    if body.is_empty() { Ok(packet) } else { Err(WireError::Size(kind.name())) }
}

/// MQTT 5 §3.2.
fn connack(body: &mut Reader<'_>) -> Result<ConnAck, WireError> {
    const NAME: &str = Kind::CONNACK.name();
    let (flags, code) = body.u8().zip(body.u8()).ok_or(WireError::Size(NAME))?;
    // A broker that does not know MQTT 5 answers in the form of 3.1.1 (MQTT 5 §3.1.2.2).
    if body.is_empty() && (1..0x80).contains(&code) {
        return v4::connack(flags, code);
    }
    if flags > u8::from(code == 0) {
        return Err(WireError::Flags(NAME));
    }
    if body.is_empty() && code == 0 {
        return Err(WireError::Size(NAME));
    }
    let mut reason = Reason::of(code);
    let mut limits = Limits::default();
    let mut properties = Properties::take(body)?;
    while let Some((property, value)) = properties.next()? {
        match (property, value) {
            (id::RECEIVE_MAXIMUM, PropertyValue::Integer(value)) => {
                limits.receive_maximum = within(property, value, 1..=u32::from(u16::MAX))?;
            }
            (id::MAXIMUM_QOS, PropertyValue::Integer(value)) => {
                limits.maximum_qos = within(property, value, 0..=1)?;
            }
            (id::RETAIN_AVAILABLE, PropertyValue::Integer(value)) => {
                limits.retain = within::<u8>(property, value, 0..=1)? == 1;
            }
            (id::MAXIMUM_PACKET_SIZE, PropertyValue::Integer(value)) => {
                limits.maximum_packet = within(property, value, 1..=u32::MAX)?;
            }
            (id::TOPIC_ALIAS_MAXIMUM, PropertyValue::Integer(value)) => {
                limits.alias_maximum = within(property, value, 0..=u32::from(u16::MAX))?;
            }
            (id::SERVER_KEEP_ALIVE, PropertyValue::Integer(value)) => {
                limits.keep_alive = Some(within(property, value, 0..=u32::from(u16::MAX))?);
            }
            (id::ASSIGNED_CLIENT_IDENTIFIER, PropertyValue::Text(text)) => {
                limits.client_id = Some(text.to_owned());
            }
            (id::REASON_STRING, PropertyValue::Text(text)) => {
                reason.text = Some(Reason::keep(text));
            }
            (id::SERVER_REFERENCE, PropertyValue::Text(text)) => {
                reason.server = Some(Reason::keep(text));
            }
            // Of no use to a client that does not subscribe and has no other authentication.
            (
                id::SESSION_EXPIRY_INTERVAL
                | id::USER_PROPERTY
                | id::WILDCARD_SUBSCRIPTION_AVAILABLE
                | id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE
                | id::SHARED_SUBSCRIPTION_AVAILABLE
                | id::RESPONSE_INFORMATION
                | id::AUTHENTICATION_METHOD
                | id::AUTHENTICATION_DATA,
                _,
            ) => {}
            (other, _) => return Err(WireError::Property(other)),
        }
    }
    Ok(ConnAck { session_present: flags == 1, reason, limits })
}

fn within<T: TryFrom<u32>>(
    property: u8,
    value: u32,
    range: std::ops::RangeInclusive<u32>,
) -> Result<T, WireError> {
    let inside = range.contains(&value);
    T::try_from(value).ok().filter(|_| inside).ok_or(WireError::Value(property))
}

/// MQTT 5 §3.4, §3.5, §3.7: reason code and properties may be left out.
fn ack(kind: Kind, body: &mut Reader<'_>) -> Result<Ack, WireError> {
    match body.u16() {
        None => Err(WireError::Size(kind.name())),
        Some(0) => Err(WireError::IdZero),
        Some(id) => Ok(Ack { id, reason: reason(body, false)? }),
    }
}

/// A reason code with its properties; a packet that ends before them says success.
fn reason(body: &mut Reader<'_>, disconnect: bool) -> Result<Reason, WireError> {
    let Some(code) = body.u8() else { return Ok(Reason::default()) };
    let mut reason = Reason::of(code);
    let mut properties = Properties::take(body)?;
    while let Some((property, value)) = properties.next()? {
        match (property, value) {
            (id::REASON_STRING, PropertyValue::Text(text)) => {
                reason.text = Some(Reason::keep(text));
            }
            (id::SERVER_REFERENCE, PropertyValue::Text(text)) if disconnect => {
                reason.server = Some(Reason::keep(text));
            }
            (id::USER_PROPERTY, _) => {}
            (other, _) => return Err(WireError::Property(other)),
        }
    }
    Ok(reason)
}

/// A DISCONNECT that ends the session.
pub(super) fn disconnect(out: &mut BytesMut) -> Result<(), WriteError> {
    let properties = codec::DisconnectProperties {
        session_expiry_interval: Some(0),
        reason_string: None,
        user_properties: Vec::new(),
        server_reference: None,
    };
    let reason_code = codec::DisconnectReasonCode::NormalDisconnection;
    let packet = codec::Disconnect { reason_code, properties: Some(properties) };
    packet.write(out).map(drop).map_err(WriteError::codec)
}
