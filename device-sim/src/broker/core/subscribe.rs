//! SUBSCRIBE and UNSUBSCRIBE (MQTT 3.1.1 §3.8 to §3.11).

use rumqttc::mqttbytes::v4::SubscribeReasonCode;

use super::{ConnectionId, Core, Output};
use crate::broker::QoS;
use crate::broker::session::SessionId;
use crate::broker::subscriptions::Subscriptions;
use crate::broker::wire::Outgoing;

impl Core {
    /// Answers with one code per filter, in order, then sends the retained messages of every
    /// filter that was accepted, also of one that was subscribed before
    /// (§3.8.4 [MQTT-3.8.4-3, -5], §3.9.3).
    pub(super) fn handle_subscribe(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        packet_id: u16,
        filters: Vec<(String, QoS)>,
    ) {
        let mut codes = Vec::with_capacity(filters.len());
        let mut accepted = Vec::with_capacity(filters.len());
        for (filter, qos) in filters {
            if self.subscribe(session, &filter, qos) {
                codes.push(SubscribeReasonCode::Success(qos));
                accepted.push((filter, qos));
            } else {
                codes.push(SubscribeReasonCode::Failure);
            }
        }
        self.output.push_back(Output::Send(id, Outgoing::SubAck { packet_id, codes }));
        for (filter, qos) in accepted {
            for message in self.retained.select(&filter) {
                self.deliver_to(session, &message, qos);
            }
        }
    }

    /// UNSUBACK follows also when nothing was subscribed (§3.10.4 [MQTT-3.10.4-5]).
    pub(super) fn handle_unsubscribe(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        packet_id: u16,
        filters: &[String],
    ) {
        if let Some(owner) = self.sessions.get_mut(&session) {
            for filter in filters.iter().filter(|filter| owner.filters.remove(*filter)) {
                self.subscriptions.remove(filter, session);
            }
        }
        self.output.push_back(Output::Send(id, Outgoing::UnsubAck(packet_id)));
    }

    fn subscribe(&mut self, id: SessionId, filter: &str, qos: QoS) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        let known = session.filters.contains(filter);
        let full = session.filters.len() >= self.limits.max_subscriptions;
        if !known && full || !Subscriptions::accepts(filter) {
            return false;
        }
        session.filters.insert(filter.to_owned());
        self.subscriptions.insert(filter, id, qos);
        true
    }
}
