//! PUBLISH: acknowledging, recording, retaining and delivering (MQTT 3.1.1 §3.3, §4.3).

use std::sync::Arc;

use proto::Instant;

use super::{ConnectionId, Core, Output, count};
use crate::broker::message::Message;
use crate::broker::outbound::Outbound;
use crate::broker::session::SessionId;
use crate::broker::wire::{Outgoing, Violation, Will};
use crate::broker::{QoS, Recorded};

impl Core {
    pub(super) fn handle_publish(
        &mut self,
        now: Instant,
        id: ConnectionId,
        session: SessionId,
        message: &Message,
        dup: bool,
        packet_id: u16,
    ) {
        let Some(publisher) = self.sessions.get_mut(&session) else { return };
        let client = publisher.client.clone();
        // §4.3.3: delivery begins with the first PUBLISH; its repetition is only answered.
        let repeated = message.qos == QoS::ExactlyOnce && !publisher.received.insert(packet_id);
        if !repeated {
            self.counts.publishes += 1;
            self.counts.publish_bytes += count(message.payload.len());
            self.counts.duplicates += u64::from(dup);
            self.record(now, client, message, dup, false);
            self.deliver(message);
        }
        let answer = match message.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => Outgoing::PubAck(packet_id),
            QoS::ExactlyOnce => Outgoing::PubRec(packet_id),
        };
        self.output.push_back(Output::Send(id, answer));
    }

    /// Releases a QoS 2 identifier; an unknown one is answered too, so that the client can end
    /// the exchange (§4.3.3).
    pub(super) fn handle_pubrel(&mut self, id: ConnectionId, session: SessionId, packet_id: u16) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.received.remove(&packet_id);
        }
        self.output.push_back(Output::Send(id, Outgoing::PubComp(packet_id)));
    }

    pub(super) fn publish_will(&mut self, client: Arc<str>, will: &Will) {
        self.counts.wills += 1;
        self.record(self.now, client, will, false, true);
        self.deliver(will);
    }

    /// Gives one message to one session at `qos`, at most (§3.8.4 [MQTT-3.8.4-6]).
    pub(super) fn deliver_to(&mut self, id: SessionId, message: &Message, qos: QoS) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let qos = if (message.qos as u8) < (qos as u8) { message.qos } else { qos };
        match (qos, session.connection) {
            (QoS::AtMostOnce, None) => {}
            (QoS::AtMostOnce, Some(connection)) => {
                self.counts.deliveries += 1;
                let message = Message { qos, ..message.clone() };
                let packet = Outgoing::Publish { message, dup: false, packet_id: 0 };
                self.output.push_back(Output::Send(connection, packet));
            }
            (QoS::AtLeastOnce | QoS::ExactlyOnce, _) => {
                if session.outbound.push(Message { qos, ..message.detached() }) {
                    self.transmit(id);
                } else {
                    self.counts.dropped_queued += 1;
                }
            }
        }
    }

    /// Sends what the window of a connected session allows.
    pub(super) fn transmit(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(connection) = session.connection else { return };
        while let Some(packet) = session.outbound.poll_transmit() {
            if matches!(&packet, Outgoing::Publish { dup: false, .. }) {
                self.counts.deliveries += 1;
            }
            self.output.push_back(Output::Send(connection, packet));
        }
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

    fn record(&mut self, at: Instant, client: Arc<str>, message: &Message, dup: bool, will: bool) {
        let Message { topic, payload, qos, retain } = message.clone();
        let order = self.arrivals;
        self.arrivals += 1;
        let recorded = Recorded { order, at, client, topic, payload, qos, retain, dup, will };
        self.output.push_back(Output::Record(recorded));
    }

    fn deliver(&mut self, message: &Message) {
        if message.retain && !self.retained.store(message) {
            self.counts.dropped_retained += 1;
        }
        let mut selected = std::mem::take(&mut self.selected);
        self.subscriptions.select(&message.topic, &mut selected);
        if !selected.is_empty() {
            // §3.3.1.3 [MQTT-3.3.1-9]: to an established subscription it is not a retained one.
            let live = Message { retain: false, ..message.clone() };
            for &(session, qos) in &selected {
                self.deliver_to(session, &live, qos);
            }
        }
        self.selected = selected;
    }
}
