//! What a connection may do: the smaller of what is configured and what the broker says.

use std::time::Duration;

use rumqttc::mqttbytes::QoS;

use super::super::wire::Limits;
use super::SessionOptions;

/// The most publishes of quality of service 2 at a time: their identifiers are kept by both ends.
pub(in crate::broker) const MAX_EXACTLY_ONCE: usize = 20;

/// The terms of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Terms {
    /// Most publishes without acknowledgement.
    pub(in crate::broker) window: usize,
    /// Largest packet, in bytes.
    pub(in crate::broker) max_packet: usize,
    /// The highest quality of service; what a route wants above it is lowered.
    pub(in crate::broker) max_qos: QoS,
    /// Whether the broker keeps messages; where it does not, the flag is left off.
    pub(in crate::broker) retain: bool,
    /// Longest silence before a ping.
    pub(in crate::broker) keep_alive: Duration,
    /// The client identifier that the broker chose.
    pub(in crate::broker) client_id: Option<String>,
}

impl Terms {
    /// What is configured, as long as the broker has not said anything.
    pub(super) fn of(options: &SessionOptions) -> Self {
        Self {
            window: usize::from(options.window),
            max_packet: options.max_packet,
            max_qos: QoS::ExactlyOnce,
            retain: true,
            keep_alive: options.keep_alive,
            client_id: None,
        }
    }

    /// What is left of it under the broker's limits.
    pub(super) fn agree(options: &SessionOptions, limits: &Limits) -> Self {
        let max_packet = usize::try_from(limits.maximum_packet).unwrap_or(usize::MAX);
        // Zero switches it off for the broker; our own pings still find a dead connection.
        let keep_alive = limits.keep_alive.filter(|&seconds| seconds > 0);
        Self {
            window: usize::from(options.window.min(limits.receive_maximum)),
            max_packet: options.max_packet.min(max_packet),
            max_qos: match limits.maximum_qos {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            },
            retain: limits.retain,
            keep_alive: keep_alive.map_or(options.keep_alive, |s| Duration::from_secs(s.into())),
            client_id: limits.client_id.clone(),
        }
    }

    /// The quality of service with which something is sent.
    pub(super) fn lower(&self, qos: QoS) -> QoS {
        if qos <= self.max_qos { qos } else { self.max_qos }
    }
}
