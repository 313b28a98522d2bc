//! The application message, as it travels from a publisher to its subscribers.

use std::sync::Arc;

use bytes::Bytes;

use super::QoS;

/// An application message (MQTT 3.1.1 §1.2): what is published, kept and delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

impl Message {
    /// The same message with a payload of its own, so that keeping a few bytes does not keep the
    /// read buffer that they arrived in.
    pub(super) fn detached(&self) -> Self {
        Self { payload: Bytes::copy_from_slice(&self.payload), ..self.clone() }
    }
}
