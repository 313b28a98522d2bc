//! SUBSCRIBE and UNSUBSCRIBE of one filter, PUBACK, and what a broker sends to a subscriber
//! (MQTT 3.1.1 and 5, §3.3, §3.4, §3.8 to §3.11).

use bytes::{BufMut as _, Bytes, BytesMut};

use super::properties::id;
use super::publish::put_variable;
use super::{Kind, Properties, PropertyValue, Reader, Reason, WireError, WriteError};
use crate::config::Protocol;

/// What a broker publishes to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Received {
    pub(in crate::broker) topic: String,
    /// Whether the broker had kept it, so that it was published before we subscribed.
    pub(in crate::broker) retain: bool,
    /// The packet identifier, at quality of service 1.
    pub(in crate::broker) id: Option<u16>,
    pub(in crate::broker) payload: Bytes,
    /// MIME type; only in MQTT 5.
    pub(in crate::broker) content_type: Option<String>,
    /// Where an answer is wanted; only in MQTT 5.
    pub(in crate::broker) response_topic: Option<String>,
    /// What the answer is to say; only in MQTT 5.
    pub(in crate::broker) correlation: Option<Bytes>,
    /// How many seconds it is still worth something; only in MQTT 5.
    pub(in crate::broker) expiry_seconds: Option<u32>,
}

/// The start of a PUBLISH: its topic and its packet identifier, which is there at quality of
/// service 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct ReceivedHead {
    pub(in crate::broker) topic: String,
    pub(in crate::broker) id: Option<u16>,
}

/// The answer to SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct SubAck {
    pub(in crate::broker) id: u16,
    /// For the filter that was asked for: a granted quality of service, or why not.
    pub(in crate::broker) reason: Reason,
}

/// Appends a SUBSCRIBE with quality of service 1, and with everything else as MQTT 3.1.1 has it.
pub(in crate::broker) fn subscribe(
    protocol: Protocol,
    out: &mut BytesMut,
    id: u16,
    filter: &str,
) -> Result<(), WriteError> {
    request(protocol, out, 0x82, id, filter, &[1])
}

/// Appends an UNSUBSCRIBE.
pub(in crate::broker) fn unsubscribe(
    protocol: Protocol,
    out: &mut BytesMut,
    id: u16,
    filter: &str,
) -> Result<(), WriteError> {
    request(protocol, out, 0xa2, id, filter, &[])
}

/// Appends a PUBACK that says success; without properties it is the same in both versions.
pub(in crate::broker) fn puback(out: &mut BytesMut, id: u16) {
    out.put_slice(&[0x40, 2]);
    out.put_u16(id);
}

fn request(
    protocol: Protocol,
    out: &mut BytesMut,
    first: u8,
    id: u16,
    filter: &str,
    options: &[u8],
) -> Result<(), WriteError> {
    let length = u16::try_from(filter.len()).map_err(|_| WriteError::TextTooLong(filter.len()))?;
    let properties: &[u8] = match protocol {
        Protocol::V4 => &[],
        Protocol::V5 => &[0],
    };
    out.put_u8(first);
    put_variable(out, 2 + properties.len() + 2 + filter.len() + options.len());
    out.put_u16(id);
    out.put_slice(properties);
    out.put_u16(length);
    out.put_slice(filter.as_bytes());
    out.put_slice(options);
    Ok(())
}

/// Reads a PUBLISH (§3.3) behind its fixed header.
pub(super) fn publish(
    protocol: Protocol,
    first: u8,
    mut body: Reader<'_>,
) -> Result<Received, WireError> {
    const CUT: WireError = WireError::Size(Kind::PUBLISH.name());
    let ReceivedHead { topic, id } = head(first, &mut body)?.ok_or(CUT)?;
    let (mut content_type, mut response_topic) = (None, None);
    let (mut correlation, mut expiry_seconds) = (None, None);
    if protocol == Protocol::V5 {
        // In a PUBLISH their length is never left out (MQTT 5 §3.3.2.3.1).
        if body.is_empty() {
            return Err(CUT);
        }
        let mut properties = Properties::take(&mut body)?;
        while let Some((property, value)) = properties.next()? {
            match (property, value) {
                (id::CONTENT_TYPE, PropertyValue::Text(text)) => {
                    content_type = Some(text.to_owned());
                }
                (id::RESPONSE_TOPIC, PropertyValue::Text(text)) => {
                    response_topic = Some(text.to_owned());
                }
                (id::CORRELATION_DATA, PropertyValue::Binary(bytes)) => {
                    correlation = Some(Bytes::copy_from_slice(bytes));
                }
                (id::MESSAGE_EXPIRY_INTERVAL, PropertyValue::Integer(seconds)) => {
                    expiry_seconds = Some(seconds);
                }
                (
                    id::PAYLOAD_FORMAT_INDICATOR
                    | id::MESSAGE_EXPIRY_INTERVAL
                    | id::RESPONSE_TOPIC
                    | id::CORRELATION_DATA
                    | id::USER_PROPERTY,
                    _,
                ) => {}
                // Topic aliases and subscription identifiers were not asked for.
                (other, _) => return Err(WireError::Property(other)),
            }
        }
    }
    let payload = body.take(body.len()).unwrap_or_default();
    let payload = Bytes::copy_from_slice(payload);
    let retain = first & 1 != 0;
    Ok(Received {
        topic,
        retain,
        id,
        payload,
        content_type,
        response_topic,
        correlation,
        expiry_seconds,
    })
}

/// Reads the start of a PUBLISH, whose first byte is `first`; `None` as long as it is not there.
fn head(first: u8, body: &mut Reader<'_>) -> Result<Option<ReceivedHead>, WireError> {
    let Some(topic) = body.try_text()? else { return Ok(None) };
    if topic.is_empty() || topic.contains(['+', '#']) {
        return Err(WireError::Topic);
    }
    let id = match first >> 1 & 3 {
        // MQTT 5 §3.3.1.1
        0 if first & 0x08 != 0 => return Err(WireError::Flags(Kind::PUBLISH.name())),
        0 => None,
        1 => match body.u16() {
            None => return Ok(None),
            Some(0) => return Err(WireError::IdZero),
            id => id,
        },
        // Nothing is subscribed to with more than 1.
        _ => return Err(WireError::Flags(Kind::PUBLISH.name())),
    };
    Ok(Some(ReceivedHead { topic: topic.to_owned(), id }))
}

/// Reads the start of a PUBLISH that is too large to be taken as a whole; `None` as long as that is
/// not there.
pub(in crate::broker) fn oversize_head(input: &[u8]) -> Result<Option<ReceivedHead>, WireError> {
    let mut reader = Reader::new(input);
    let Some(first) = reader.u8() else { return Ok(None) };
    if reader.try_variable()?.is_none() {
        return Ok(None);
    }
    head(first, &mut reader)
}

/// Reads a SUBACK (§3.9) behind its fixed header.
pub(super) fn suback(protocol: Protocol, mut body: Reader<'_>) -> Result<SubAck, WireError> {
    const NAME: &str = Kind::SUBACK.name();
    let (id, text) = answer(protocol, NAME, &mut body)?;
    let code = body.u8().filter(|_| body.is_empty()).ok_or(WireError::Size(NAME))?;
    match (protocol, code) {
        (_, 0..=2) | (Protocol::V5, 0x80..) | (Protocol::V4, 0x80) => {}
        (_, unknown) => return Err(WireError::ReturnCode(unknown)),
    }
    Ok(SubAck { id, reason: Reason { text, ..Reason::of(code) } })
}

/// Reads an UNSUBACK (§3.11) behind its fixed header: which request it answers.
pub(super) fn unsuback(protocol: Protocol, mut body: Reader<'_>) -> Result<u16, WireError> {
    const NAME: &str = Kind::UNSUBACK.name();
    let (id, _) = answer(protocol, NAME, &mut body)?;
    let codes = usize::from(protocol == Protocol::V5);
    if body.len() == codes { Ok(id) } else { Err(WireError::Size(NAME)) }
}

/// Packet identifier, and the broker's text.
fn answer(
    protocol: Protocol,
    name: &'static str,
    body: &mut Reader<'_>,
) -> Result<(u16, Option<Box<str>>), WireError> {
    let id = match body.u16() {
        None => return Err(WireError::Size(name)),
        Some(0) => return Err(WireError::IdZero),
        Some(id) => id,
    };
    let mut kept = None;
    if protocol == Protocol::V5 {
        let mut properties = Properties::take(body)?;
        while let Some((property, value)) = properties.next()? {
            match (property, value) {
                (id::REASON_STRING, PropertyValue::Text(text)) => kept = Some(Reason::keep(text)),
                (id::USER_PROPERTY, _) => {}
                (other, _) => return Err(WireError::Property(other)),
            }
        }
    }
    Ok((id, kept))
}
