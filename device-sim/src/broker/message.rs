//! The application message, as it travels from a publisher to its subscribers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::Instant;

use super::{Properties, QoS};

/// An application message (MQTT 3.1.1 §1.2): what is published, kept and delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    /// `None` without any.
    pub(super) properties: Option<Arc<Properties>>,
    /// When it is not to be delivered any more; far in the future until it has arrived.
    pub(super) expires: Instant,
}

/// A message on its way to one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) message: Message,
    /// The identifiers of the subscriptions that selected it (MQTT 5 §3.3.2.3.8).
    pub(super) subscriptions: Vec<u32>,
}

impl Message {
    /// A message without properties.
    pub(super) fn new(topic: impl Into<Arc<str>>, payload: impl Into<Bytes>, qos: QoS) -> Self {
        let (topic, payload) = (topic.into(), payload.into());
        Self { topic, payload, qos, retain: false, properties: None, expires: Instant::FAR_FUTURE }
    }

    /// It has arrived: from now on its time runs (MQTT 5 §3.3.2.3.3).
    pub(super) fn start_expiry(&mut self, now: Instant) {
        if let Some(seconds) = self.properties.as_ref().and_then(|all| all.message_expiry) {
            self.expires = now + Duration::from_secs(u64::from(seconds));
        }
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires <= now
    }

    /// The seconds that are left of its time, if it is limited (MQTT 5 §3.3.2.3.3).
    pub(super) fn remaining(&self, now: Instant) -> Option<u32> {
        if self.expires == Instant::FAR_FUTURE {
            return None;
        }
        let left = self.expires.saturating_since(now);
        // A started second counts: what was not delayed keeps its interval.
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// The same message with a payload of its own, so that keeping a few bytes does not keep the
    /// read buffer that they arrived in.
    pub(super) fn detached(&self) -> Self {
        Self { payload: Bytes::copy_from_slice(&self.payload), ..self.clone() }
    }
}

impl From<Message> for Delivery {
    fn from(message: Message) -> Self {
        Self { message, subscriptions: Vec::new() }
    }
}
