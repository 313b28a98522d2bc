//! What goes to which broker, and as what: readings by the routes, messages as they are.

mod explain;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proto::{Reading, Timestamp};
use rumqttc::mqttbytes::QoS;

use super::Pattern;
use super::encode::{content_type, encode};
use super::topic::{TopicFields, TopicTemplate, mqtt_text};
use super::transform::{LeftOut, Memory, Thin, Transform, Window, Windows};
use crate::config::{Broker, Config, Id, Payload, Protocol, Qos};
use crate::store::{Content, Message, Record};

pub(crate) use explain::{Explained, Gathered, Verdict};

/// What a PUBLISH needs besides topic and payload: the fixed header (2 to 5 bytes), the topic's
/// length (2) and the packet identifier (2), MQTT 5 §3.3.
const PUBLISH_OVERHEAD: usize = 7;
/// The quality of service of messages: they are released once the broker acknowledges them.
const MESSAGE_QOS: QoS = QoS::AtLeastOnce;

/// How long a commit may take before windows do not wait for it.
const COMMIT: Duration = Duration::from_secs(1);

/// All routes.
#[derive(Debug)]
pub(crate) struct Routes {
    gateway: String,
    routes: Vec<Route>,
    /// Brokers for which there may be messages beside the readings.
    addressed: BTreeSet<Id>,
    /// How long after it was received a reading may still be on its way to the disk.
    lateness: Duration,
}

#[derive(Debug)]
struct Route {
    id: Id,
    from: Vec<Pattern>,
    device: Pattern,
    name: Pattern,
    transform: Option<Box<Transform>>,
    thin: Option<Box<Thin>>,
    window: Option<Box<Window>>,
    topic: TopicTemplate,
    payload: Payload,
    qos: QoS,
    retain: bool,
    live_first: bool,
    expiry: Option<Duration>,
    response_topic: Option<TopicTemplate>,
    to: Vec<Id>,
    taken: AtomicU64,
}

/// For whom something is published.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    /// The broker's name.
    pub(crate) broker: String,
    /// Whether its messages have properties: whether it speaks MQTT 5.
    pub(crate) properties: bool,
    /// Whether user properties are among them.
    pub(crate) user_properties: bool,
    /// Which of its routes.
    pub(crate) share: Share,
}

impl Recipient {
    /// A share of what goes to a broker.
    pub(crate) fn new(name: &Id, config: &Broker, share: Share) -> Self {
        Self {
            broker: name.to_string(),
            properties: config.protocol == Protocol::V5,
            user_properties: config.user_properties,
            share,
        }
    }
}

/// Some of the routes of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    All,
    /// Those with `live_first`.
    LiveFirst,
    /// Those without.
    Ordered,
    /// Those that publish windows; no other share has them.
    Windows,
}

/// One message for a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Only for MQTT 5.
    pub(crate) properties: Option<Box<PublishProperties>>,
}

impl Publish {
    /// About how many bytes it takes on the wire.
    pub(crate) fn size(&self) -> usize {
        PUBLISH_OVERHEAD + self.topic.len() + self.payload.len()
    }
}

/// What MQTT 5 carries beside topic and payload (MQTT 5 §3.3.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublishProperties {
    /// MIME type, where it is known.
    pub(crate) content_type: Option<Cow<'static, str>>,
    /// Whether the payload is UTF-8.
    pub(crate) is_text: bool,
    /// How long the message is worth something.
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) response_topic: Option<String>,
    /// Correlation Data, for who waits for a response.
    pub(crate) correlation: Option<Bytes>,
    pub(crate) user: Option<UserProperties>,
}

/// What identifies a reading, for consumers that do not want to parse the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserProperties {
    pub(crate) n: u64,
    /// Empty for a message, which is of no device.
    pub(crate) device: String,
    pub(crate) epoch: Option<u32>,
    pub(crate) sequence: Option<u64>,
}

/// Why a route does not publish a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotSent {
    pub(crate) route: Id,
    pub(crate) why: LeftOut,
}

/// The key of a route that a reading does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    From,
    Device,
    Name,
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
            transform: Transform::new(route).map(Box::new),
            thin: Thin::new(route).map(Box::new),
            window: route.aggregate.as_ref().map(|aggregate| Box::new(Window::new(aggregate))),
            topic: route.topic.clone(),
            payload: route.payload,
            qos: match route.qos {
                Qos::AtMostOnce => QoS::AtMostOnce,
                Qos::AtLeastOnce => QoS::AtLeastOnce,
                Qos::ExactlyOnce => QoS::ExactlyOnce,
            },
            retain: route.retain,
            live_first: route.live_first,
            expiry: route.expiry.map(|expiry| expiry.duration()),
            response_topic: route.response_topic.clone(),
            to: route.to.clone().unwrap_or_else(every_broker),
            taken: AtomicU64::new(0),
        };
        Self {
            gateway: config.gateway.id.to_string(),
            routes: config.routes.iter().map(route).collect(),
            addressed: config
                .bridges()
                .filter(|b| !b.publish.is_empty())
                .map(|b| b.broker.clone())
                .collect(),
            lateness: config.store.commit_interval.duration() + COMMIT,
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

    /// The highest quality of service with which anything is published at a broker.
    pub(crate) fn highest_qos(&self, broker: &str) -> QoS {
        let to_broker = self.routes.iter().filter(|route| route.goes_to(broker));
        let is_addressed = self.addressed.iter().any(|id| id.as_str() == broker);
        let of_messages = is_addressed.then_some(MESSAGE_QOS);
        let all = to_broker.map(|route| route.qos).chain(of_messages);
        all.max_by_key(|&qos| qos as u8).unwrap_or(QoS::AtMostOnce)
    }

    /// A fingerprint of the routes with `live_first` to a broker, if there are any.
    pub(crate) fn live_first(&self, broker: &str) -> Option<u64> {
        self.fingerprint(broker, Share::LiveFirst)
    }

    /// A fingerprint of the routes with windows to a broker, if there are any.
    pub(crate) fn windows(&self, broker: &str) -> Option<u64> {
        self.fingerprint(broker, Share::Windows)
    }

    fn fingerprint(&self, broker: &str, share: Share) -> Option<u64> {
        let mut fingerprint = crc32fast::Hasher::new();
        let mut is_any = false;
        for route in self.routes.iter().filter(|r| r.is_of(share) && r.goes_to(broker)) {
            is_any = true;
            fingerprint.update(route.id.as_str().as_bytes());
            // No identifier has it.
            fingerprint.update(b"/");
        }
        is_any.then(|| fingerprint.finalize().into())
    }

    /// What is published of a record at one broker, `now`; in the same order whatever the memory
    /// is. Without one nothing is left out because of what was sent before.
    pub(crate) fn publishes<'a>(
        &'a self,
        recipient: &'a Recipient,
        record: &'a Record,
        now: Timestamp,
        mut memory: Option<&'a mut Memory>,
    ) -> impl Iterator<Item = Result<Publish, NotSent>> + 'a {
        let (reading, message) = match &record.content {
            Content::Reading(reading) => (Some(reading), None),
            Content::Message(message) => (None, Some(message)),
        };
        let routed = reading.into_iter().flat_map(|reading| {
            self.routes
                .iter()
                .enumerate()
                .filter(|(_, route)| {
                    route.is_of(recipient.share) && route.goes_to(&recipient.broker)
                })
                .filter(|(_, route)| route.takes(&record.source, reading))
                .map(move |(index, route)| (index, route, reading))
        });
        let routed = routed.map(move |(index, route, reading)| {
            let memory = memory.as_deref_mut().map(|memory| (memory, index));
            self.transformed(route, recipient, record, reading, now, memory)
                .map_err(|why| NotSent { route: route.id.clone(), why })
        });
        let addressed = message
            .filter(|message| *message.broker == *recipient.broker)
            .filter(|_| matches!(recipient.share, Share::All | Share::Ordered))
            .map(|message| Ok(publish_message(recipient, record.n, message)));
        routed.chain(addressed)
    }

    /// Takes a record into the windows of a broker's routes; tells what was left out.
    pub(crate) fn fill(
        &self,
        recipient: &Recipient,
        record: &Record,
        windows: &mut Windows,
    ) -> Vec<NotSent> {
        let mut not_sent = Vec::new();
        let Some(reading) = record.reading() else { return not_sent };
        for (index, route) in self.routes.iter().enumerate() {
            let Some(window) = &route.window else { continue };
            if !route.goes_to(&recipient.broker) || !route.takes(&record.source, reading) {
                continue;
            }
            let reading = route.transform(record, reading);
            let taken = reading.and_then(|reading| {
                windows.take(window, index, record, &reading).map_err(LeftOut::from)
            });
            if let Err(why) = taken {
                not_sent.push(NotSent { route: route.id.clone(), why });
            }
        }
        not_sent
    }

    /// The windows of the route at this place.
    pub(crate) fn window(&self, route: usize) -> Option<&Window> {
        self.routes.get(route)?.window.as_deref()
    }

    /// A fingerprint of all windows: what is known of one set says nothing about another one.
    pub(crate) fn windows_version(&self) -> u64 {
        let mut fingerprint = crc32fast::Hasher::new();
        for (index, route) in self.routes.iter().enumerate() {
            if let Some(window) = &route.window {
                fingerprint.update(
                    format!("{index} {} {:?} {window:?}/", route.id, route.transform).as_bytes(),
                );
            }
        }
        fingerprint.finalize().into()
    }

    /// How long after it was received a reading may still be on its way to the disk.
    pub(crate) fn lateness(&self) -> Duration {
        self.lateness
    }

    /// What is published of a window that is over, `now`.
    pub(crate) fn publish_window(
        &self,
        recipient: &Recipient,
        route: usize,
        record: &Record,
        now: Timestamp,
    ) -> Option<Result<Publish, NotSent>> {
        let (route, reading) = (self.routes.get(route)?, record.reading()?);
        let left = route.time_left(reading.time, now);
        let publish = left.map(|left| self.publish(route, recipient, record, reading, left));
        Some(publish.map_err(|why| NotSent { route: route.id.clone(), why }))
    }

    fn transformed(
        &self,
        route: &Route,
        recipient: &Recipient,
        record: &Record,
        reading: &Reading,
        now: Timestamp,
        memory: Option<(&mut Memory, usize)>,
    ) -> Result<Publish, LeftOut> {
        let reading = route.transform(record, reading)?;
        let left = route.time_left(reading.time, now)?;
        if let (Some(thin), Some((memory, index))) = (&route.thin, memory) {
            thin.take(memory, index, &reading)?;
        }
        Ok(self.publish(route, recipient, record, &reading, left))
    }

    fn publish(
        &self,
        route: &Route,
        recipient: &Recipient,
        record: &Record,
        reading: &Reading,
        left: Option<Duration>,
    ) -> Publish {
        let fields = TopicFields {
            gateway: &self.gateway,
            source: &record.source,
            device: &reading.device,
            name: &reading.name,
        };
        let properties = recipient.properties.then(|| {
            let user = recipient.user_properties.then(|| UserProperties {
                n: record.n,
                device: mqtt_text(&reading.device),
                epoch: reading.epoch,
                sequence: reading.sequence,
            });
            let (content_type, is_text) = content_type(route.payload, &reading.value);
            Box::new(PublishProperties {
                content_type: Some(content_type.into()),
                is_text,
                expiry_seconds: left.map(whole_seconds),
                response_topic: route.response_topic.as_ref().map(|topic| topic.render(&fields)),
                correlation: None,
                user,
            })
        });
        Publish {
            topic: route.topic.render(&fields),
            payload: encode(route.payload, &self.gateway, record.n, reading),
            qos: route.qos,
            retain: route.retain,
            properties,
        }
    }

    /// How many readings each route has taken.
    pub(crate) fn taken(&self) -> impl Iterator<Item = (&Id, u64)> {
        self.routes.iter().map(|route| (&route.id, route.taken.load(Ordering::Relaxed)))
    }
}

/// A message is published as it is.
fn publish_message(recipient: &Recipient, n: u64, message: &Message) -> Publish {
    let properties = recipient.properties.then(|| {
        let user = recipient.user_properties.then(|| UserProperties {
            n,
            device: String::new(),
            epoch: None,
            sequence: None,
        });
        Box::new(PublishProperties {
            content_type: message.content_type.clone().map(Cow::Owned),
            is_text: false,
            expiry_seconds: None,
            response_topic: None,
            correlation: message.correlation.clone(),
            user,
        })
    });
    Publish {
        topic: message.topic.clone(),
        payload: message.payload.clone(),
        qos: MESSAGE_QOS,
        retain: message.retain,
        properties,
    }
}

impl Route {
    fn is_of(&self, share: Share) -> bool {
        let has_windows = self.window.is_some();
        match share {
            Share::All => !has_windows,
            Share::LiveFirst => self.live_first && !has_windows,
            Share::Ordered => !self.live_first && !has_windows,
            Share::Windows => has_windows,
        }
    }

    fn goes_to(&self, broker: &str) -> bool {
        self.to.iter().any(|to| to.as_str() == broker)
    }

    /// How long a reading of this time is worth something yet, where that has an end.
    fn time_left(&self, time: Timestamp, now: Timestamp) -> Result<Option<Duration>, LeftOut> {
        let Some(expiry) = self.expiry else { return Ok(None) };
        let failed = || LeftOut::Failed("expired", "too old to be published".to_owned());
        time_left(time, expiry, now).ok_or_else(failed).map(Some)
    }

    /// What it makes of the reading of a record.
    fn transform<'a>(
        &self,
        record: &Record,
        reading: &'a Reading,
    ) -> Result<Cow<'a, Reading>, LeftOut> {
        match &self.transform {
            None => Ok(Cow::Borrowed(reading)),
            Some(transform) => transform.apply(record, reading),
        }
    }

    fn takes(&self, source: &str, reading: &Reading) -> bool {
        self.mismatch(source, reading).is_none()
    }

    /// Why it does not take a reading.
    fn mismatch(&self, source: &str, reading: &Reading) -> Option<Mismatch> {
        if !self.from.iter().any(|from| from.matches(source)) {
            Some(Mismatch::From)
        } else if !self.device.matches(&reading.device) {
            Some(Mismatch::Device)
        } else if !self.name.matches(&reading.name) {
            Some(Mismatch::Name)
        } else {
            None
        }
    }
}

/// How long a reading is worth something yet; no longer than if it were new, whatever its clock
/// says. `None` once it is not.
fn time_left(time: Timestamp, expiry: Duration, now: Timestamp) -> Option<Duration> {
    let age = now.as_nanos().saturating_sub(time.as_nanos());
    let age = Duration::from_nanos(u64::try_from(age).unwrap_or(0));
    expiry.checked_sub(age).filter(|left| !left.is_zero())
}

/// Seconds, rounded up, so that what has any time left does not count as expired.
fn whole_seconds(left: Duration) -> u32 {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_has_the_rest_of_its_time_left() {
        const NOW: i64 = 1_795_214_340_000_000_000;
        let left = |age_ms: i64| {
            let time = Timestamp::from_nanos(NOW - age_ms * 1_000_000);
            let left = time_left(time, Duration::from_secs(60), Timestamp::from_nanos(NOW));
            left.map(whole_seconds)
        };
        assert_eq!(left(0), Some(60));
        assert_eq!(left(1), Some(60));
        assert_eq!(left(58_500), Some(2));
        assert_eq!(left(59_999), Some(1));
        assert_eq!(left(60_000), None);
        assert_eq!(left(i64::MAX / 2_000_000), None);
        assert_eq!(left(-5_000), Some(60), "a clock that is fast does not make it last longer");
    }
}
