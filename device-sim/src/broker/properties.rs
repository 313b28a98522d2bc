//! What an MQTT 5 publisher may say about a message besides its topic and payload.

use bytes::Bytes;

/// The properties of a PUBLISH or a will that go with the message to every subscriber (MQTT 5
/// §3.3.2.3, §3.1.3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// 0 for bytes, 1 for UTF-8.
    pub payload_format: Option<u8>,
    /// Seconds for which the message may wait for its delivery.
    pub message_expiry: Option<u32>,
    /// What the payload is, for instance a MIME type.
    pub content_type: Option<String>,
    /// Where an answer is expected.
    pub response_topic: Option<String>,
    /// What an answer has to carry.
    pub correlation_data: Option<Bytes>,
    /// Names and values, in order; a name may be there more than once.
    pub user: Vec<(String, String)>,
}

impl Properties {
    /// The values of a user property.
    pub fn user<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.user.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
