//! What the broker asks of MQTT 5 clients.

use std::num::{NonZeroU16, NonZeroU32};

use super::{Limits, QoS};

/// The limits that CONNACK tells an MQTT 5 client, which is then held to them (MQTT 5 §3.2.2.3).
/// A client of MQTT 3.1.1 cannot be told and is not held to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Unacknowledged publishes of QoS 1 and 2; 65,535 when it is not told.
    pub receive_maximum: Option<NonZeroU16>,
    /// Bytes of one packet; [`Limits::max_packet`] when nothing else is said.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// The highest QoS of a publish and of a will.
    pub maximum_qos: QoS,
    /// Whether a publish or a will may be retained.
    pub retain_available: bool,
    /// The highest topic alias; [`Limits::max_topic_aliases`] when nothing else is said.
    pub topic_alias_maximum: Option<u16>,
    /// Seconds, in place of the keep-alive that the client asked for.
    pub server_keep_alive: Option<u16>,
}

impl Default for Announced {
    /// What the limits of the broker say, and nothing else.
    fn default() -> Self {
        Self {
            receive_maximum: None,
            maximum_packet_size: None,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            topic_alias_maximum: None,
            server_keep_alive: None,
        }
    }
}

impl Announced {
    /// The same with what `limits` say where nothing was chosen.
    pub(super) fn within(self, limits: &Limits) -> Self {
        let max_packet = u32::try_from(limits.max_packet).ok().and_then(NonZeroU32::new);
        Self {
            maximum_packet_size: self.maximum_packet_size.or(max_packet),
            topic_alias_maximum: self.topic_alias_maximum.or(Some(limits.max_topic_aliases)),
            ..self
        }
    }
}
