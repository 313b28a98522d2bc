//! Properties of MQTT 5 (§2.2.2), read one after the other.

use super::{Reader, WireError};

/// What a property holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum PropertyValue<'a> {
    Integer(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    Pair(&'a str, &'a str),
}

/// The properties of one packet.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct Properties<'a> {
    rest: Reader<'a>,
    /// One bit for each identifier that has come.
    seen: u64,
}

impl<'a> Properties<'a> {
    /// Takes the properties off a packet; a packet that ends before their length has none.
    pub(in crate::broker) fn take(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        const CUT: WireError = WireError::Size("properties");
        let length = match reader.is_empty() {
            true => 0,
            false => reader.try_variable()?.ok_or(CUT)?,
        };
        let length = usize::try_from(length).map_err(|_| CUT)?;
        Ok(Self { rest: Reader::new(reader.take(length).ok_or(CUT)?), seen: 0 })
    }

    /// The next one; each but a user property and a subscription identifier may be there once.
    pub(in crate::broker) fn next(&mut self) -> Result<Option<(u8, PropertyValue<'a>)>, WireError> {
        let Some(id) = self.rest.u8() else { return Ok(None) };
        let value = self.value(id)?.ok_or(WireError::Size("properties"))?;
        let bit = 1 << (id & 0x3f);
        if self.seen & bit != 0 && !matches!(id, id::SUBSCRIPTION_IDENTIFIER | id::USER_PROPERTY) {
            return Err(WireError::Twice(id));
        }
        self.seen |= bit;
        Ok(Some((id, value)))
    }

    fn value(&mut self, id: u8) -> Result<Option<PropertyValue<'a>>, WireError> {
        use PropertyValue::{Binary, Integer, Pair, Text};
        let rest = &mut self.rest;
        Ok(match id {
            id::PAYLOAD_FORMAT_INDICATOR
            | id::REQUEST_PROBLEM_INFORMATION
            | id::REQUEST_RESPONSE_INFORMATION
            | id::MAXIMUM_QOS
            | id::RETAIN_AVAILABLE
            | id::WILDCARD_SUBSCRIPTION_AVAILABLE
            | id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE
            | id::SHARED_SUBSCRIPTION_AVAILABLE => rest.u8().map(|v| Integer(v.into())),
            id::SERVER_KEEP_ALIVE
            | id::RECEIVE_MAXIMUM
            | id::TOPIC_ALIAS_MAXIMUM
            | id::TOPIC_ALIAS => rest.u16().map(|v| Integer(v.into())),
            id::MESSAGE_EXPIRY_INTERVAL
            | id::SESSION_EXPIRY_INTERVAL
            | id::WILL_DELAY_INTERVAL
            | id::MAXIMUM_PACKET_SIZE => rest.u32().map(Integer),
            id::SUBSCRIPTION_IDENTIFIER => rest.try_variable()?.map(Integer),
            id::CONTENT_TYPE
            | id::RESPONSE_TOPIC
            | id::ASSIGNED_CLIENT_IDENTIFIER
            | id::AUTHENTICATION_METHOD
            | id::RESPONSE_INFORMATION
            | id::SERVER_REFERENCE
            | id::REASON_STRING => rest.try_text()?.map(Text),
            id::CORRELATION_DATA | id::AUTHENTICATION_DATA => rest.binary().map(Binary),
            id::USER_PROPERTY => match (rest.try_text()?, rest.try_text()?) {
                (Some(name), Some(value)) => Some(Pair(name, value)),
                _ => None,
            },
            unknown => return Err(WireError::Property(unknown)),
        })
    }
}

/// Identifiers of properties (MQTT 5 §2.2.2.2).
pub(super) mod id {
    pub(in super::super) const PAYLOAD_FORMAT_INDICATOR: u8 = 0x01;
    pub(in super::super) const MESSAGE_EXPIRY_INTERVAL: u8 = 0x02;
    pub(in super::super) const CONTENT_TYPE: u8 = 0x03;
    pub(in super::super) const RESPONSE_TOPIC: u8 = 0x08;
    pub(in super::super) const CORRELATION_DATA: u8 = 0x09;
    pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;
    pub(in super::super) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub(in super::super) const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    pub(in super::super) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(in super::super) const AUTHENTICATION_METHOD: u8 = 0x15;
    pub(in super::super) const AUTHENTICATION_DATA: u8 = 0x16;
    pub(super) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub(super) const WILL_DELAY_INTERVAL: u8 = 0x18;
    pub(super) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
    pub(in super::super) const RESPONSE_INFORMATION: u8 = 0x1a;
    pub(in super::super) const SERVER_REFERENCE: u8 = 0x1c;
    pub(in super::super) const REASON_STRING: u8 = 0x1f;
    pub(in super::super) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(in super::super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(in super::super) const TOPIC_ALIAS: u8 = 0x23;
    pub(in super::super) const MAXIMUM_QOS: u8 = 0x24;
    pub(in super::super) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(in super::super) const USER_PROPERTY: u8 = 0x26;
    pub(in super::super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(in super::super) const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
    pub(in super::super) const SUBSCRIPTION_IDENTIFIERS_AVAILABLE: u8 = 0x29;
    pub(in super::super) const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2a;
}

/// A property's name, as one word.
pub(in crate::broker) const fn name(property: u8) -> &'static str {
    match property {
        id::PAYLOAD_FORMAT_INDICATOR => "payload_format_indicator",
        id::MESSAGE_EXPIRY_INTERVAL => "message_expiry_interval",
        id::CONTENT_TYPE => "content_type",
        id::RESPONSE_TOPIC => "response_topic",
        id::CORRELATION_DATA => "correlation_data",
        id::SUBSCRIPTION_IDENTIFIER => "subscription_identifier",
        id::SESSION_EXPIRY_INTERVAL => "session_expiry_interval",
        id::ASSIGNED_CLIENT_IDENTIFIER => "assigned_client_identifier",
        id::SERVER_KEEP_ALIVE => "server_keep_alive",
        id::AUTHENTICATION_METHOD => "authentication_method",
        id::AUTHENTICATION_DATA => "authentication_data",
        id::REQUEST_PROBLEM_INFORMATION => "request_problem_information",
        id::WILL_DELAY_INTERVAL => "will_delay_interval",
        id::REQUEST_RESPONSE_INFORMATION => "request_response_information",
        id::RESPONSE_INFORMATION => "response_information",
        id::SERVER_REFERENCE => "server_reference",
        id::REASON_STRING => "reason_string",
        id::RECEIVE_MAXIMUM => "receive_maximum",
        id::TOPIC_ALIAS_MAXIMUM => "topic_alias_maximum",
        id::TOPIC_ALIAS => "topic_alias",
        id::MAXIMUM_QOS => "maximum_qos",
        id::RETAIN_AVAILABLE => "retain_available",
        id::USER_PROPERTY => "user_property",
        id::MAXIMUM_PACKET_SIZE => "maximum_packet_size",
        id::WILDCARD_SUBSCRIPTION_AVAILABLE => "wildcard_subscription_available",
        id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE => "subscription_identifiers_available",
        id::SHARED_SUBSCRIPTION_AVAILABLE => "shared_subscription_available",
        _ => "unknown_property",
    }
}
