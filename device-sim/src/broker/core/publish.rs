//! PUBLISH: acknowledging, recording, retaining and delivering (MQTT 3.1.1 §3.3, §4.3; MQTT 5 the
//! same and §4.8).

use std::sync::Arc;

use proto::Instant;

use super::conduct::Verdict;
use super::{ConnectionId, Core, Ending, Output, Phase, count};
use crate::broker::message::{Delivery, Message};
use crate::broker::outbound::{self, Outbound};
use crate::broker::session::SessionId;
use crate::broker::subscriptions::{Selected, Subscription};
use crate::broker::wire::{Ack, Outgoing, Publish, Version, Violation};
use crate::broker::{QoS, Reason, Recorded};

impl Core {
    pub(super) fn handle_publish(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        version: Version,
        mut publish: Publish,
    ) -> Result<(), Violation> {
        let (qos, packet_id) = (publish.message.qos, publish.packet_id);
        if version == Version::V5 && qos != QoS::AtMostOnce {
            self.check_receive_maximum(id, packet_id)?;
        }
        let Some(publisher) = self.sessions.get_mut(&session) else { return Ok(()) };
        // §4.3.3: delivery begins with the first PUBLISH; its repetition is only answered.
        let repeated = qos == QoS::ExactlyOnce && publisher.received.contains(&packet_id);
        let mut reason = Reason::Success;
        if !repeated {
            match self.conduct.judge(&publish.message) {
                Verdict::Poison => {
                    self.counts.poisoned += 1;
                    self.close(id, Ending::Abrupt);
                    return Ok(());
                }
                Verdict::Reject(why) => {
                    self.counts.rejected += 1;
                    self.reject(id, version, qos, Ack { packet_id, reason: why });
                    return Ok(());
                }
                Verdict::Lie => self.counts.lies += 1,
                Verdict::Accept => {
                    let client = publisher.client.clone();
                    publish.message.start_expiry(now);
                    if !self.accept(now, client, session, &publish) {
                        reason = Reason::NoMatchingSubscribers;
                    }
                }
            }
        }
        let ack = Ack { packet_id, reason };
        let answer = match qos {
            QoS::AtMostOnce => return Ok(()),
            QoS::AtLeastOnce => Outgoing::PubAck(ack),
            QoS::ExactlyOnce => {
                if let Some(publisher) = self.sessions.get_mut(&session) {
                    publisher.received.insert(packet_id);
                }
                Outgoing::PubRec(ack)
            }
        };
        self.output.push_back(Output::Send(id, answer));
        Ok(())
    }

    /// Releases a QoS 2 identifier; an unknown one is answered too, so that the client can end
    /// the exchange (§4.3.3; MQTT 5 §3.7.2.1).
    pub(super) fn handle_pubrel(&mut self, id: ConnectionId, session: SessionId, packet_id: u16) {
        let session = self.sessions.get_mut(&session);
        let known = session.is_some_and(|session| session.received.remove(&packet_id));
        let reason = if known { Reason::Success } else { Reason::PacketIdentifierNotFound };
        self.output.push_back(Output::Send(id, Outgoing::PubComp(Ack { packet_id, reason })));
    }

    /// The will of `client` is published in its place.
    pub(super) fn accept_will(&mut self, session: SessionId, client: Arc<str>, message: Message) {
        let mut message = message;
        message.start_expiry(self.now);
        self.counts.wills += 1;
        let publish = Publish { message, dup: false, packet_id: 0, topic_alias: None };
        self.record(self.now, client, &publish, true);
        self.deliver(session, &publish.message);
    }

    /// Gives one message to one session at its QoS.
    pub(super) fn deliver_to(&mut self, id: SessionId, delivery: Delivery) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match (delivery.message.qos, session.connection) {
            (QoS::AtMostOnce, None) => {}
            (QoS::AtMostOnce, Some(connection)) => {
                self.counts.deliveries += 1;
                let packet = outbound::publish(delivery, now, false, 0);
                self.output.push_back(Output::Send(connection, packet));
            }
            (QoS::AtLeastOnce | QoS::ExactlyOnce, _) => {
                let message = delivery.message.detached();
                if session.outbound.push(Delivery { message, ..delivery }) {
                    self.transmit(id);
                } else {
                    self.counts.dropped_queued += 1;
                }
            }
        }
    }

    /// Sends what the window of a connected session allows.
    pub(super) fn transmit(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(connection) = session.connection else { return };
        while let Some(packet) = session.outbound.poll_transmit(now) {
            if matches!(&packet, Outgoing::Publish { dup: false, .. }) {
                self.counts.deliveries += 1;
            }
            self.output.push_back(Output::Send(connection, packet));
        }
        self.counts.dropped_expired += session.outbound.take_expired();
    }

    /// Feeds an acknowledgement to a session's deliveries and sends what it makes room for.
    pub(super) fn outbound<T>(
        &mut self,
        id: SessionId,
        handle: impl FnOnce(&mut Outbound) -> Result<T, Violation>,
    ) -> Result<Option<T>, Violation> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(None) };
        let answer = handle(&mut session.outbound)?;
        self.transmit(id);
        Ok(Some(answer))
    }

    /// MQTT 5 §3.2.2.3.3, §4.9: the client may have so many unacknowledged publishes.
    fn check_receive_maximum(&mut self, id: ConnectionId, packet_id: u16) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let (Phase::Connected(connected), Some(maximum)) =
            (&mut connection.phase, connection.announced.receive_maximum)
        else {
            return Ok(());
        };
        connected.receiving.insert(packet_id);
        if connected.receiving.len() > usize::from(maximum.get()) {
            return Err(Violation::ReceiveMaximum);
        }
        Ok(())
    }

    /// Refuses a message as far as the version and the QoS have a way to say it.
    fn reject(&mut self, id: ConnectionId, version: Version, qos: QoS, ack: Ack) {
        match (qos, version) {
            (QoS::AtMostOnce, _) => {}
            // MQTT 3.1.1 §3.3.5: a positive acknowledgement, or none and the end.
            (_, Version::V4) => self.close(id, Ending::Abrupt),
            (QoS::AtLeastOnce, Version::V5) => {
                self.output.push_back(Output::Send(id, Outgoing::PubAck(ack)));
            }
            (QoS::ExactlyOnce, Version::V5) => {
                self.output.push_back(Output::Send(id, Outgoing::PubRec(ack)));
            }
        }
    }

    /// Counts, records and delivers; whether anybody is subscribed.
    fn accept(
        &mut self,
        now: Instant,
        client: Arc<str>,
        session: SessionId,
        publish: &Publish,
    ) -> bool {
        self.counts.publishes += 1;
        self.counts.publish_bytes += count(publish.message.payload.len());
        self.counts.duplicates += u64::from(publish.dup);
        self.record(now, client, publish, false);
        self.deliver(session, &publish.message)
    }

    fn record(&mut self, at: Instant, client: Arc<str>, publish: &Publish, will: bool) {
        let Message { topic, payload, qos, retain, properties, .. } = publish.message.clone();
        let (dup, topic_alias) = (publish.dup, publish.topic_alias);
        let order = self.arrivals;
        self.arrivals += 1;
        self.output.push_back(Output::Record(Recorded {
            order,
            at,
            client,
            topic,
            payload,
            properties,
            topic_alias,
            qos,
            retain,
            dup,
            will,
        }));
    }

    /// Retains a message and gives it to every subscriber; whether there is any.
    fn deliver(&mut self, publisher: SessionId, message: &Message) -> bool {
        if message.retain && !self.retained.store(message) {
            self.counts.dropped_retained += 1;
        }
        let mut selected = std::mem::take(&mut self.selected);
        let sessions = &self.sessions;
        let is_connected = |id| sessions.get(&id).is_some_and(|all| all.connection.is_some());
        self.subscriptions.select(&message.topic, is_connected, &mut selected);
        // MQTT 5 §3.8.3.1 [MQTT-3.8.3-3]
        selected.retain(|one| !(one.subscription.no_local && one.session == publisher));
        for group in selected.chunk_by(Selected::same_delivery) {
            if let Some(first) = group.first() {
                self.deliver_to(first.session, delivery(message, group));
            }
        }
        let found = !selected.is_empty();
        self.selected = selected;
        found
    }
}

/// A message as overlapping subscriptions of one session want it: at the highest of their QoS
/// (MQTT 3.1.1 §3.3.5 [MQTT-3.3.5-1]; MQTT 5 §3.3.4 [MQTT-3.3.4-2]) and with the identifiers of all
/// of them ([MQTT-3.3.4-3, -4]); as a retained one only where that was asked for
/// (MQTT 3.1.1 [MQTT-3.3.1-9], MQTT 5 [MQTT-3.3.1-12, -13]).
fn delivery(message: &Message, group: &[Selected]) -> Delivery {
    let mut live = Message { retain: false, qos: QoS::AtMostOnce, ..message.clone() };
    for Selected { subscription, .. } in group {
        live.retain |= message.retain && subscription.retain_as_published;
        let qos = lower(message.qos, subscription.qos);
        if qos as u8 > live.qos as u8 {
            live.qos = qos;
        }
    }
    let ids = group.iter().filter_map(|one| one.subscription.id);
    Delivery { message: live, subscriptions: ids.map(|id| id.get()).collect() }
}

/// A retained message as a new subscription gets it (MQTT 3.1.1 §3.3.1.3 [MQTT-3.3.1-8]).
pub(super) fn retained_delivery(message: Message, subscription: &Subscription) -> Delivery {
    let qos = lower(message.qos, subscription.qos);
    let subscriptions = subscription.id.iter().map(|id| id.get()).collect();
    Delivery { message: Message { qos, ..message }, subscriptions }
}

/// §3.8.4 [MQTT-3.8.4-6].
fn lower(published: QoS, granted: QoS) -> QoS {
    if (published as u8) < granted as u8 { published } else { granted }
}
