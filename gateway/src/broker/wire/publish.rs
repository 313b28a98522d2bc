//! PUBLISH (MQTT 3.1.1 and 5, §3.3).

use std::io::Write as _;

use bytes::{BufMut as _, BytesMut};
use rumqttc::mqttbytes::QoS;

use super::WriteError;
use super::properties::id;
use crate::pipeline::{PublishProperties, UserProperties};

/// The largest remaining length (MQTT 5 §2.1.4).
const MAX_REMAINING: usize = 268_435_455;

/// What stands before the payload.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct PublishHead<'a> {
    pub(in crate::broker) dup: bool,
    pub(in crate::broker) qos: QoS,
    pub(in crate::broker) retain: bool,
    /// Empty where a topic alias stands for it.
    pub(in crate::broker) topic: &'a str,
    /// Not written at quality of service 0.
    pub(in crate::broker) id: u16,
    /// Encoded properties; `None` in MQTT 3.1.1, which has none.
    pub(in crate::broker) properties: Option<&'a [u8]>,
}

impl PublishHead<'_> {
    fn remaining(&self, payload: usize) -> usize {
        let id = if self.qos == QoS::AtMostOnce { 0 } else { 2 };
        let properties = self.properties.map_or(0, |p| variable_size(p.len()) + p.len());
        2 + self.topic.len() + id + properties + payload
    }

    /// Bytes of the whole packet with so much payload.
    pub(in crate::broker) fn size(&self, payload: usize) -> usize {
        let remaining = self.remaining(payload);
        1 + variable_size(remaining) + remaining
    }

    /// Appends the packet.
    pub(in crate::broker) fn write(
        &self,
        out: &mut BytesMut,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        let topic = u16::try_from(self.topic.len())
            .map_err(|_| WriteError::TextTooLong(self.topic.len()))?;
        let remaining = self.remaining(payload.len());
        if remaining > MAX_REMAINING {
            return Err(WriteError::TooLarge(remaining));
        }
        out.reserve(self.size(payload.len()));
        let qos = match self.qos {
            QoS::AtMostOnce => 0,
            QoS::AtLeastOnce => 0x02,
            QoS::ExactlyOnce => 0x04,
        };
        out.put_u8(0x30 | u8::from(self.dup) << 3 | qos | u8::from(self.retain));
        put_variable(out, remaining);
        out.put_u16(topic);
        out.put_slice(self.topic.as_bytes());
        if self.qos != QoS::AtMostOnce {
            out.put_u16(self.id);
        }
        if let Some(properties) = self.properties {
            put_variable(out, properties.len());
            out.put_slice(properties);
        }
        out.put_slice(payload);
        Ok(())
    }
}

/// Encodes the properties of a PUBLISH, without their length, in place of what was in `out`.
///
/// A text that MQTT cannot carry is left out.
pub(in crate::broker) fn encode_properties(
    out: &mut Vec<u8>,
    properties: Option<&PublishProperties>,
    expiry_seconds: Option<u32>,
) {
    out.clear();
    if let Some(seconds) = expiry_seconds {
        out.push(id::MESSAGE_EXPIRY_INTERVAL);
        out.extend(seconds.to_be_bytes());
    }
    let Some(properties) = properties else { return };
    if properties.is_text {
        out.extend([id::PAYLOAD_FORMAT_INDICATOR, 1]);
    }
    if let Some(content_type) = &properties.content_type {
        put_text(out, id::CONTENT_TYPE, content_type);
    }
    if let Some(topic) = &properties.response_topic {
        put_text(out, id::RESPONSE_TOPIC, topic);
    }
    if let Some(data) =
        properties.correlation.as_ref().filter(|data| u16::try_from(data.len()).is_ok())
    {
        out.push(id::CORRELATION_DATA);
        put_bytes(out, data);
    }
    if let Some(user) = &properties.user {
        put_user(out, user);
    }
}

fn put_user(out: &mut Vec<u8>, user: &UserProperties) {
    put_number(out, "n", Some(user.n));
    if !user.device.is_empty() && u16::try_from(user.device.len()).is_ok() {
        out.push(id::USER_PROPERTY);
        put_bytes(out, b"device");
        put_bytes(out, user.device.as_bytes());
    }
    put_number(out, "epoch", user.epoch.map(u64::from));
    put_number(out, "seq", user.sequence);
}

/// Adds a topic alias to encoded properties.
pub(in crate::broker) fn append_alias(out: &mut Vec<u8>, alias: u16) {
    out.push(id::TOPIC_ALIAS);
    out.extend(alias.to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, property: u8, text: &str) {
    if u16::try_from(text.len()).is_ok() {
        out.push(property);
        put_bytes(out, text.as_bytes());
    }
}

fn put_number(out: &mut Vec<u8>, name: &str, number: Option<u64>) {
    let Some(number) = number else { return };
    out.push(id::USER_PROPERTY);
    put_bytes(out, name.as_bytes());
    let digits = number.checked_ilog10().unwrap_or(0) + 1;
    out.extend(u16::try_from(digits).unwrap_or(0).to_be_bytes());
    // Writing to a vector cannot fail.
    let _ = write!(out, "{number}");
}

/// At most 65535 bytes.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// How many bytes a variable byte integer takes (MQTT 5 §1.5.5).
const fn variable_size(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

pub(super) fn put_variable(out: &mut BytesMut, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
    }
}
