//! Which readings go to which broker, and as what.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proto::Reading;
use rumqttc::mqttbytes::QoS;

use super::Pattern;
use super::encode::encode;
use super::topic::{TopicFields, TopicTemplate};
use crate::config::{Config, Id, Payload, Qos};
use crate::store::Record;

/// The longest topic that MQTT can carry (MQTT 3.1.1 §1.5.3).
const MAX_TOPIC: usize = 65_535;
/// The most that a PUBLISH needs besides topic and payload: the fixed header (5 bytes), the
/// topic's length (2) and the packet identifier (2), MQTT 3.1.1 §3.3.
const PUBLISH_OVERHEAD: usize = 9;

/// All routes.
#[derive(Debug)]
pub(crate) struct Routes {
    gateway: String,
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    id: Id,
    from: Vec<Pattern>,
    device: Pattern,
    name: Pattern,
    topic: TopicTemplate,
    payload: Payload,
    qos: QoS,
    retain: bool,
    to: Vec<Id>,
    taken: AtomicU64,
}

/// One message for a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

impl Publish {
    /// Whether the broker acknowledges it.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.qos != QoS::AtMostOnce
    }

    /// Whether it can be sent in a packet of at most `max_packet` bytes, or a word for why not.
    pub(crate) fn check(&self, max_packet: usize) -> Result<(), &'static str> {
        if self.topic.len() > MAX_TOPIC {
            return Err("topic_too_long");
        }
        if PUBLISH_OVERHEAD + self.topic.len() + self.payload.len() > max_packet {
            return Err("packet_too_large");
        }
        Ok(())
    }
}

impl Routes {
    /// The routes of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let every_broker = || config.brokers.keys().cloned().collect();
        let route = |(id, route): (&Id, &crate::config::Route)| Route {
            id: id.clone(),
            from: route.from.clone(),
            device: route.device.clone(),
            name: route.name.clone(),
            topic: route.topic.clone(),
            payload: route.payload,
            qos: match route.qos {
                Qos::AtMostOnce => QoS::AtMostOnce,
                Qos::AtLeastOnce => QoS::AtLeastOnce,
            },
            retain: route.retain,
            to: route.to.clone().unwrap_or_else(every_broker),
            taken: AtomicU64::new(0),
        };
        Self {
            gateway: config.gateway.id.to_string(),
            routes: config.routes.iter().map(route).collect(),
        }
    }

    /// Counts the reading with every route that takes it; false if there is none.
    pub(crate) fn take(&self, source: &str, reading: &Reading) -> bool {
        let mut taken = false;
        for route in self.routes.iter().filter(|route| route.takes(source, reading)) {
            route.taken.fetch_add(1, Ordering::Relaxed);
            taken = true;
        }
        taken
    }

    /// What is published of a record at one broker.
    pub(crate) fn publishes<'a>(
        &'a self,
        broker: &'a str,
        record: &'a Record,
    ) -> impl Iterator<Item = Publish> + 'a {
        let to_broker = move |route: &&Route| route.to.iter().any(|to| to.as_str() == broker);
        self.routes
            .iter()
            .filter(to_broker)
            .filter(|route| route.takes(&record.source, &record.reading))
            .map(|route| Publish {
                topic: route.topic.render(&TopicFields {
                    gateway: &self.gateway,
                    source: &record.source,
                    device: &record.reading.device,
                    name: &record.reading.name,
                }),
                payload: encode(route.payload, &self.gateway, record),
                qos: route.qos,
                retain: route.retain,
            })
    }

    /// How many readings each route has taken.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (&Id, u64)> {
        self.routes.iter().map(|route| (&route.id, route.taken.load(Ordering::Relaxed)))
    }
}

impl Route {
    fn takes(&self, source: &str, reading: &Reading) -> bool {
        self.from.iter().any(|from| from.matches(source))
            && self.device.matches(&reading.device)
            && self.name.matches(&reading.name)
    }
}
