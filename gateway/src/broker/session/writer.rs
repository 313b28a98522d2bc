//! Publishes, as they are to be sent.

use std::time::Duration;

use proto::Instant;
use rumqttc::mqttbytes::QoS;

use super::super::alias::{Aliases, Name};
use super::super::outlet::Outlet;
use super::super::wire::{self, PublishHead, WriteError};
use super::terms::Terms;
use crate::config::Protocol;
use crate::pipeline::{MAX_TOPIC, Publish};

/// The most by which a topic alias makes a packet longer: the property (3 bytes) and the growth of
/// two lengths.
const ALIAS_OVERHEAD: usize = 5;

/// The way out of one session.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) outlet: Outlet,
    pub(super) aliases: Aliases,
    /// The properties of the publish that was prepared last.
    properties: Vec<u8>,
}

/// How a publish is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sending {
    pub(super) id: u16,
    pub(super) qos: QoS,
    pub(super) dup: bool,
}

impl Writer {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { outlet: Outlet::new(protocol), aliases: Aliases::default(), properties: Vec::new() }
    }

    /// Forgets what was not sent and every alias.
    pub(super) fn reset(&mut self) {
        self.outlet.out.clear();
        self.aliases.reset(0);
    }

    /// Makes ready to send a publish that has `waited` already; or says in a word why the broker
    /// would not take it.
    pub(super) fn prepare(
        &mut self,
        terms: &Terms,
        publish: &Publish,
        qos: QoS,
        waited: Duration,
    ) -> Result<(), &'static str> {
        if publish.topic.len() > MAX_TOPIC {
            return Err("topic_too_long");
        }
        if self.outlet.protocol == Protocol::V5 {
            let properties = publish.properties.as_deref();
            // One that had to be sent again has at least a second left.
            let passed = u32::try_from(waited.as_secs()).unwrap_or(u32::MAX);
            let expiry = properties.and_then(|properties| properties.expiry_seconds);
            let left = expiry.map(|seconds| seconds.saturating_sub(passed).max(1));
            wire::encode_properties(&mut self.properties, properties, left);
        }
        let sending = Sending { id: 0, qos, dup: false };
        match self.head(publish, sending, &publish.topic).size(publish.payload.len()) {
            size if size > terms.max_packet => Err("packet_too_large"),
            _ => Ok(()),
        }
    }

    /// Writes the publish that was prepared last.
    pub(super) fn send(
        &mut self,
        now: Instant,
        terms: &Terms,
        publish: &Publish,
        sending: Sending,
    ) -> Result<(), WriteError> {
        let mut topic = publish.topic.as_str();
        let size = self.head(publish, sending, topic).size(publish.payload.len());
        match self.aliases.name(topic, size + ALIAS_OVERHEAD <= terms.max_packet) {
            Name::Full => {}
            Name::Introduce(alias) => wire::append_alias(&mut self.properties, alias),
            Name::Known(alias) => {
                wire::append_alias(&mut self.properties, alias);
                topic = "";
            }
        }
        let properties =
            (self.outlet.protocol == Protocol::V5).then_some(self.properties.as_slice());
        let head = PublishHead {
            dup: sending.dup,
            qos: sending.qos,
            retain: publish.retain && terms.retain,
            topic,
            id: sending.id,
            properties,
        };
        let start = self.outlet.out.len();
        head.write(&mut self.outlet.out, &publish.payload)?;
        self.outlet.sent(now, start, 0);
        Ok(())
    }

    fn head<'a>(&'a self, publish: &Publish, sending: Sending, topic: &'a str) -> PublishHead<'a> {
        PublishHead {
            dup: sending.dup,
            qos: sending.qos,
            retain: publish.retain,
            topic,
            id: sending.id,
            properties: (self.outlet.protocol == Protocol::V5).then_some(&self.properties),
        }
    }
}
