//! Properties (MQTT 5 §2.2.2): a length, then identifiers with their values.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Violation;
use super::field::{
    put_binary, put_varint, string, take_binary, take_string, take_u8, take_u32, take_varint,
};
use crate::broker::{Properties, topic};

pub(super) const PAYLOAD_FORMAT: u8 = 0x01;
pub(super) const MESSAGE_EXPIRY: u8 = 0x02;
pub(super) const CONTENT_TYPE: u8 = 0x03;
pub(super) const RESPONSE_TOPIC: u8 = 0x08;
pub(super) const CORRELATION_DATA: u8 = 0x09;
pub(super) const SUBSCRIPTION_ID: u8 = 0x0b;
pub(super) const SESSION_EXPIRY: u8 = 0x11;
pub(super) const ASSIGNED_CLIENT: u8 = 0x12;
pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(super) const AUTHENTICATION_METHOD: u8 = 0x15;
pub(super) const AUTHENTICATION_DATA: u8 = 0x16;
pub(super) const REQUEST_PROBLEM: u8 = 0x17;
pub(super) const WILL_DELAY: u8 = 0x18;
pub(super) const REQUEST_RESPONSE: u8 = 0x19;
pub(super) const REASON_STRING: u8 = 0x1f;
pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(super) const TOPIC_ALIAS: u8 = 0x23;
pub(super) const MAXIMUM_QOS: u8 = 0x24;
pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
pub(super) const USER: u8 = 0x26;
pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// Takes a block of properties and gives every one to `take`, which takes its value off the block
/// or fails with [`misplaced`].
pub(super) fn take_properties(
    from: &mut Bytes,
    mut take: impl FnMut(u8, &mut Bytes) -> Result<(), Violation>,
) -> Result<(), Violation> {
    let length = usize::try_from(take_varint(from)?).map_err(|_| Violation::Truncated)?;
    if length > from.len() {
        return Err(Violation::Truncated);
    }
    let mut block = from.split_to(length);
    while block.has_remaining() {
        let id = take_varint(&mut block)?;
        take(u8::try_from(id).map_err(|_| Violation::Property(id))?, &mut block)?;
    }
    Ok(())
}

/// What a property is that the packet must not have (§2.2.2.2).
pub(super) fn misplaced(id: u8) -> Violation {
    Violation::Property(u32::from(id))
}

/// Fills `slot`, which a property may do once (§2.2.2.2).
pub(super) fn once<T>(id: u8, slot: &mut Option<T>, value: T) -> Result<(), Violation> {
    match slot.replace(value) {
        Some(_) => Err(Violation::PropertyTwice(u32::from(id))),
        None => Ok(()),
    }
}

/// A property that is 0 or 1.
pub(super) fn take_flag(id: u8, from: &mut Bytes) -> Result<u8, Violation> {
    match take_u8(from)? {
        flag @ (0 | 1) => Ok(flag),
        _ => Err(Violation::PropertyValue(u32::from(id))),
    }
}

/// A property that must not be zero.
pub(super) fn nonzero<T, N: TryFrom<T>>(id: u8, value: T) -> Result<N, Violation> {
    N::try_from(value).map_err(|_| Violation::PropertyValue(u32::from(id)))
}

pub(super) fn take_user(from: &mut Bytes) -> Result<(String, String), Violation> {
    Ok((take_string(from)?, take_string(from)?))
}

/// Takes a property that the broker has no use for, of those that every answer and DISCONNECT may
/// have.
pub(super) fn skip_reason(
    id: u8,
    reason: &mut Option<()>,
    from: &mut Bytes,
) -> Result<(), Violation> {
    match id {
        REASON_STRING => {
            string(&take_binary(from)?)?;
            once(id, reason, ())
        }
        USER => take_user(from).map(|_| ()),
        _ => Err(misplaced(id)),
    }
}

impl Properties {
    /// Takes one property of a message; `false` when it is none of those.
    pub(super) fn take(&mut self, id: u8, from: &mut Bytes) -> Result<bool, Violation> {
        match id {
            PAYLOAD_FORMAT => once(id, &mut self.payload_format, take_flag(id, from)?)?,
            MESSAGE_EXPIRY => once(id, &mut self.message_expiry, take_u32(from)?)?,
            CONTENT_TYPE => once(id, &mut self.content_type, take_string(from)?)?,
            RESPONSE_TOPIC => {
                // §3.3.2.3.5 [MQTT-3.3.2-14]
                let name = take_string(from)?;
                if !topic::is_valid_topic(&name) {
                    return Err(Violation::Topic(name));
                }
                once(id, &mut self.response_topic, name)?;
            }
            CORRELATION_DATA => once(id, &mut self.correlation_data, take_binary(from)?)?,
            USER => self.user.push(take_user(from)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Writes them, with `expiry` in place of the message's own; `false` when one is too long.
    #[must_use]
    pub(super) fn put(&self, expiry: Option<u32>, into: &mut BytesMut) -> bool {
        if let Some(format) = self.payload_format {
            into.put_slice(&[PAYLOAD_FORMAT, format]);
        }
        if let Some(seconds) = expiry {
            into.put_u8(MESSAGE_EXPIRY);
            into.put_u32(seconds);
        }
        let content_type = self.content_type.as_ref().map(String::as_bytes);
        let response_topic = self.response_topic.as_ref().map(String::as_bytes);
        let correlation_data = self.correlation_data.as_deref();
        let mut fits = put_optional(CONTENT_TYPE, content_type, into)
            && put_optional(RESPONSE_TOPIC, response_topic, into)
            && put_optional(CORRELATION_DATA, correlation_data, into);
        for (name, value) in &self.user {
            into.put_u8(USER);
            fits &= put_binary(name.as_bytes(), into) && put_binary(value.as_bytes(), into);
        }
        fits
    }
}

/// Writes one property whose value is a string or binary data, if it is there.
#[must_use]
pub(super) fn put_optional(id: u8, value: Option<&[u8]>, into: &mut BytesMut) -> bool {
    let Some(value) = value else { return true };
    into.put_u8(id);
    put_binary(value, into)
}

/// Writes a property that is a variable byte integer.
#[must_use]
pub(super) fn put_number(id: u8, value: u32, into: &mut BytesMut) -> bool {
    into.put_u8(id);
    usize::try_from(value).is_ok_and(|value| put_varint(value, into))
}
