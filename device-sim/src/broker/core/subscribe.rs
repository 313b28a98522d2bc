//! SUBSCRIBE and UNSUBSCRIBE (MQTT 3.1.1 §3.8 to §3.11; MQTT 5 the same).

use super::publish::retained_delivery;
use super::{ConnectionId, Core, Output};
use crate::broker::session::SessionId;
use crate::broker::subscriptions::Subscriptions;
use crate::broker::wire::{Outgoing, Request, RetainHandling};
use crate::broker::{QoS, Reason, topic};

impl Core {
    /// Answers with one reason per filter, in order (§3.8.4 [MQTT-3.8.4-5], §3.9.3), then sends the
    /// retained messages of every filter that was accepted and wants them: also of one that was
    /// subscribed before (MQTT 3.1.1 [MQTT-3.8.4-3]) unless MQTT 5 says otherwise
    /// ([MQTT-3.3.1-9, -10, -11]), and never of a shared one (MQTT 5 §4.8.2).
    pub(super) fn handle_subscribe(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        packet_id: u16,
        requests: Vec<Request>,
    ) {
        let mut reasons = Vec::with_capacity(requests.len());
        let mut retained = Vec::new();
        for request in requests {
            match self.subscribe(session, &request) {
                Ok(is_new) => {
                    reasons.push(granted(request.subscription.qos));
                    let wanted = match request.retain_handling {
                        RetainHandling::Always => true,
                        RetainHandling::IfNew => is_new,
                        RetainHandling::Never => false,
                    };
                    if wanted && topic::split_share(&request.filter).0.is_none() {
                        retained.push(request);
                    }
                }
                Err(reason) => reasons.push(reason),
            }
        }
        self.output.push_back(Output::Send(id, Outgoing::SubAck { packet_id, reasons }));
        for Request { filter, subscription, .. } in retained {
            for message in self.retained.select(&filter, self.now) {
                self.deliver_to(session, retained_delivery(message, &subscription));
            }
        }
    }

    /// UNSUBACK follows also when nothing was subscribed (§3.10.4 [MQTT-3.10.4-5]; MQTT 5 says so,
    /// §3.11.3).
    pub(super) fn handle_unsubscribe(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        packet_id: u16,
        filters: &[String],
    ) {
        let Some(owner) = self.sessions.get_mut(&session) else { return };
        let mut reasons = Vec::with_capacity(filters.len());
        for filter in filters {
            if owner.filters.remove(filter) {
                self.subscriptions.remove(filter, session);
                reasons.push(Reason::Success);
            } else {
                reasons.push(Reason::NoSubscriptionExisted);
            }
        }
        self.output.push_back(Output::Send(id, Outgoing::UnsubAck { packet_id, reasons }));
    }

    /// Whether the subscription is a new one, or why there is none.
    fn subscribe(&mut self, id: SessionId, request: &Request) -> Result<bool, Reason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Err(Reason::UnspecifiedError);
        };
        let is_new = !session.filters.contains(&request.filter);
        if is_new && session.filters.len() >= self.limits.max_subscriptions {
            return Err(Reason::QuotaExceeded);
        }
        if !Subscriptions::accepts(&request.filter) {
            return Err(Reason::TopicFilterInvalid);
        }
        session.filters.insert(request.filter.clone());
        self.subscriptions.insert(&request.filter, id, request.subscription);
        Ok(is_new)
    }
}

fn granted(qos: QoS) -> Reason {
    match qos {
        QoS::AtMostOnce => Reason::Success,
        QoS::AtLeastOnce => Reason::GrantedQos1,
        QoS::ExactlyOnce => Reason::GrantedQos2,
    }
}
