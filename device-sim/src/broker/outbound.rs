//! Deliveries of QoS 1 and 2 to one client: the window of unacknowledged ones and the queue
//! behind it (MQTT 3.1.1 §4.3, §4.4, §4.6; MQTT 5 the same and §4.9). Both survive the connection
//! when the session does.
//!
//! Call [`Outbound::push`] for a new message, `handle_*` for what the client answers and
//! [`Outbound::handle_connect`] when it is there; after each, while it is connected, drain
//! [`Outbound::poll_transmit`].

use std::collections::VecDeque;

use proto::Instant;

use super::message::Delivery;
use super::wire::{Ack, Outgoing, Violation};
use super::{Limits, QoS, Reason};

/// The sender's half of QoS 1 and 2.
#[derive(Debug)]
pub(super) struct Outbound {
    next_id: u16,
    /// In the order of their first transmission, which is also the order of repetition (§4.6).
    inflight: VecDeque<Inflight>,
    /// How many of `inflight`, from the front, were sent on this connection.
    sent: usize,
    queue: VecDeque<Delivery>,
    max_inflight: usize,
    /// How many of `inflight` may be under way on this connection.
    window: usize,
    max_queued: usize,
    /// Messages whose time was over before their delivery began.
    expired: u64,
}

#[derive(Debug)]
struct Inflight {
    id: u16,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// PUBLISH was sent; PUBACK or PUBREC is due.
    Published(Delivery),
    /// PUBREC has arrived; PUBCOMP is due.
    Released,
}

impl Outbound {
    pub(super) fn new(limits: &Limits) -> Self {
        let max_inflight = limits.max_inflight.clamp(1, usize::from(u16::MAX) / 2);
        Self {
            next_id: 0,
            inflight: VecDeque::new(),
            sent: 0,
            queue: VecDeque::new(),
            max_inflight,
            window: max_inflight,
            max_queued: limits.max_queued,
            expired: 0,
        }
    }

    /// Takes a message of QoS 1 or 2, or returns `false` because the queue is full.
    pub(super) fn push(&mut self, delivery: Delivery) -> bool {
        let waits = self.inflight.len() >= self.window || !self.queue.is_empty();
        if waits && self.queue.len() >= self.max_queued {
            return false;
        }
        self.queue.push_back(delivery);
        true
    }

    /// The client is connected, perhaps again: everything unacknowledged is to be sent again
    /// (§4.4), as far as its receive maximum allows (MQTT 5 §4.9).
    pub(super) fn handle_connect(&mut self, receive_maximum: u16) {
        self.sent = 0;
        self.window = self.max_inflight.min(usize::from(receive_maximum).max(1));
    }

    /// PUBACK ends QoS 1, whatever its reason is (MQTT 5 §4.4 [MQTT-4.4.0-2]). An unknown
    /// identifier is ignored: it may belong to a lost session.
    pub(super) fn handle_puback(&mut self, ack: Ack) -> Result<(), Violation> {
        let id = ack.packet_id;
        let Some(at) = self.position(id) else { return Ok(()) };
        match self.inflight.get(at).map(|inflight| &inflight.step) {
            Some(Step::Published(delivery)) if delivery.message.qos == QoS::AtLeastOnce => {
                self.finish(at);
            }
            Some(Step::Published(_) | Step::Released) | None => {
                return Err(Violation::WrongAcknowledgement(id));
            }
        }
        Ok(())
    }

    /// PUBREC moves QoS 2 to its second half, or ends it with an error (MQTT 5 §4.3.3). The answer
    /// is PUBREL, also to an unknown identifier, so that the client can end the exchange.
    pub(super) fn handle_pubrec(&mut self, ack: Ack) -> Result<Option<Outgoing>, Violation> {
        let id = ack.packet_id;
        let Some(at) = self.position(id) else {
            let reason = Reason::PacketIdentifierNotFound;
            let answer = Outgoing::PubRel(Ack { packet_id: id, reason });
            return Ok(Some(answer).filter(|_| !ack.reason.is_error()));
        };
        if let Some(inflight) = self.inflight.get_mut(at) {
            match &inflight.step {
                Step::Published(delivery) if delivery.message.qos != QoS::ExactlyOnce => {
                    return Err(Violation::WrongAcknowledgement(id));
                }
                Step::Published(_) | Step::Released => inflight.step = Step::Released,
            }
        }
        if ack.reason.is_error() {
            self.finish(at);
            return Ok(None);
        }
        Ok(Some(Outgoing::PubRel(Ack::success(id))))
    }

    /// PUBCOMP ends QoS 2. An unknown identifier is ignored.
    pub(super) fn handle_pubcomp(&mut self, ack: Ack) -> Result<(), Violation> {
        let id = ack.packet_id;
        let Some(at) = self.position(id) else { return Ok(()) };
        match self.inflight.get(at).map(|inflight| &inflight.step) {
            Some(Step::Released) => self.finish(at),
            Some(Step::Published(_)) | None => return Err(Violation::WrongAcknowledgement(id)),
        }
        Ok(())
    }

    /// A PUBLISH was longer than the client takes, which ends its exchange
    /// (MQTT 5 §3.1.2.11.4 [MQTT-3.1.2-25]).
    pub(super) fn handle_undeliverable(&mut self, id: u16) {
        if let Some(at) = self.position(id) {
            self.finish(at);
        }
    }

    /// The next packet to send: first what the last connection left unacknowledged, then the
    /// queue, as far as the window allows. What waited longer than it may is left out
    /// (MQTT 5 §3.3.2.3.3 [MQTT-3.3.2-5]).
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<Outgoing> {
        if self.sent >= self.window {
            return None;
        }
        if let Some(Inflight { id, step }) = self.inflight.get(self.sent) {
            self.sent += 1;
            return Some(match step {
                Step::Published(delivery) => publish(delivery.clone(), now, true, *id),
                Step::Released => Outgoing::PubRel(Ack::success(*id)),
            });
        }
        let delivery = loop {
            let delivery = self.queue.pop_front()?;
            if !delivery.message.is_expired(now) {
                break delivery;
            }
            self.expired += 1;
        };
        let id = self.free_id();
        let packet = publish(delivery.clone(), now, false, id);
        self.inflight.push_back(Inflight { id, step: Step::Published(delivery) });
        self.sent += 1;
        Some(packet)
    }

    /// How many messages were left out because their time was over, since the last call.
    pub(super) fn take_expired(&mut self) -> u64 {
        std::mem::take(&mut self.expired)
    }

    fn position(&self, id: u16) -> Option<usize> {
        self.inflight.iter().position(|inflight| inflight.id == id)
    }

    fn finish(&mut self, at: usize) {
        self.inflight.remove(at);
        if at < self.sent {
            self.sent -= 1;
        }
    }

    /// The window is smaller than half of the identifiers, so one is always free.
    fn free_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if self.position(self.next_id).is_none() {
                return self.next_id;
            }
        }
    }
}

/// A PUBLISH with what is left of its message's time.
pub(super) fn publish(delivery: Delivery, now: Instant, dup: bool, packet_id: u16) -> Outgoing {
    let expiry = delivery.message.remaining(now);
    Outgoing::Publish { delivery, expiry, dup, packet_id }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::message::Message;

    fn outbound(max_inflight: usize, max_queued: usize) -> Outbound {
        Outbound::new(&Limits { max_inflight, max_queued, ..Limits::default() })
    }

    const NOW: Instant = Instant::ZERO;

    fn message(text: &'static str, qos: QoS) -> Delivery {
        Message::new("t", text, qos).into()
    }

    fn publish(text: &'static str, qos: QoS, packet_id: u16, dup: bool) -> Outgoing {
        super::publish(message(text, qos), NOW, dup, packet_id)
    }

    fn pubrel(packet_id: u16) -> Outgoing {
        Outgoing::PubRel(Ack::success(packet_id))
    }

    #[test]
    fn window_holds_back_until_an_acknowledgement() {
        let mut outbound = outbound(1, 10);
        assert!(outbound.push(message("a", QoS::AtLeastOnce)));
        assert!(outbound.push(message("b", QoS::AtLeastOnce)));
        assert_eq!(outbound.poll_transmit(NOW), Some(publish("a", QoS::AtLeastOnce, 1, false)));
        assert_eq!(outbound.poll_transmit(NOW), None);
        outbound.handle_puback(Ack::success(1)).unwrap();
        assert_eq!(outbound.poll_transmit(NOW), Some(publish("b", QoS::AtLeastOnce, 2, false)));
    }

    #[test]
    fn full_queue_refuses_the_newest() {
        let mut outbound = outbound(1, 1);
        assert!(outbound.push(message("a", QoS::AtLeastOnce)));
        outbound.poll_transmit(NOW);
        assert!(outbound.push(message("b", QoS::AtLeastOnce)));
        assert!(!outbound.push(message("c", QoS::AtLeastOnce)));
    }

    #[test]
    fn reconnect_repeats_in_order_and_each_in_its_step() {
        // MQTT 3.1.1 §4.4 [MQTT-4.4.0-1], §4.6 [MQTT-4.6.0-1]
        let mut outbound = outbound(10, 10);
        for (text, qos) in
            [("a", QoS::AtLeastOnce), ("b", QoS::ExactlyOnce), ("c", QoS::AtLeastOnce)]
        {
            assert!(outbound.push(message(text, qos)));
            outbound.poll_transmit(NOW);
        }
        assert_eq!(outbound.handle_pubrec(Ack::success(2)).unwrap(), Some(pubrel(2)));
        assert!(outbound.push(message("d", QoS::AtLeastOnce)));
        outbound.handle_connect(u16::MAX);
        let sent: Vec<Outgoing> = std::iter::from_fn(|| outbound.poll_transmit(NOW)).collect();
        assert_eq!(
            sent,
            [
                publish("a", QoS::AtLeastOnce, 1, true),
                pubrel(2),
                publish("c", QoS::AtLeastOnce, 3, true),
                publish("d", QoS::AtLeastOnce, 4, false),
            ]
        );
    }

    #[test]
    fn repetition_skips_nothing_when_acknowledgements_arrive_in_between() {
        let mut outbound = outbound(10, 10);
        for text in ["a", "b", "c"] {
            assert!(outbound.push(message(text, QoS::AtLeastOnce)));
            outbound.poll_transmit(NOW);
        }
        outbound.handle_connect(u16::MAX);
        assert_eq!(outbound.poll_transmit(NOW), Some(publish("a", QoS::AtLeastOnce, 1, true)));
        outbound.handle_puback(Ack::success(1)).unwrap();
        outbound.handle_puback(Ack::success(3)).unwrap();
        assert_eq!(outbound.poll_transmit(NOW), Some(publish("b", QoS::AtLeastOnce, 2, true)));
        assert_eq!(outbound.poll_transmit(NOW), None);
    }

    #[test]
    fn acknowledgement_of_another_qos_is_a_violation() {
        // MQTT 3.1.1 §4.3.2, §4.3.3
        let mut outbound = outbound(10, 10);
        assert!(outbound.push(message("a", QoS::AtLeastOnce)));
        assert!(outbound.push(message("b", QoS::ExactlyOnce)));
        while outbound.poll_transmit(NOW).is_some() {}
        assert!(outbound.handle_pubrec(Ack::success(1)).is_err());
        assert!(outbound.handle_pubcomp(Ack::success(2)).is_err());
        assert!(outbound.handle_puback(Ack::success(2)).is_err());
    }

    #[test]
    fn acknowledgement_of_an_unknown_identifier_is_harmless() {
        let mut outbound = outbound(10, 10);
        outbound.handle_puback(Ack::success(7)).unwrap();
        outbound.handle_pubcomp(Ack::success(7)).unwrap();
        let reason = Reason::PacketIdentifierNotFound;
        assert_eq!(
            outbound.handle_pubrec(Ack::success(7)).unwrap(),
            Some(Outgoing::PubRel(Ack { packet_id: 7, reason })),
            "MQTT 5 §3.6.2.1"
        );
    }

    #[test]
    fn identifiers_wrap_past_zero_and_skip_the_ones_in_use() {
        // MQTT 3.1.1 §2.3.1 [MQTT-2.3.1-1, -2]
        let mut outbound = outbound(2, 10);
        assert!(outbound.push(message("held", QoS::AtLeastOnce)));
        outbound.poll_transmit(NOW);
        for _ in 2..=u16::MAX {
            assert!(outbound.push(message("x", QoS::AtLeastOnce)));
            let Some(Outgoing::Publish { packet_id, .. }) = outbound.poll_transmit(NOW) else {
                panic!("nothing was sent")
            };
            outbound.handle_puback(Ack::success(packet_id)).unwrap();
        }
        assert!(outbound.push(message("next", QoS::AtLeastOnce)));
        assert_eq!(outbound.poll_transmit(NOW), Some(publish("next", QoS::AtLeastOnce, 2, false)));
    }

    #[test]
    fn refused_delivery_is_over() {
        // MQTT 5 §4.4 [MQTT-4.4.0-2], §4.3.3
        let mut outbound = outbound(10, 10);
        assert!(outbound.push(message("a", QoS::AtLeastOnce)));
        assert!(outbound.push(message("b", QoS::ExactlyOnce)));
        while outbound.poll_transmit(NOW).is_some() {}
        let refused = |packet_id| Ack { packet_id, reason: Reason::QuotaExceeded };
        outbound.handle_puback(refused(1)).unwrap();
        assert_eq!(outbound.handle_pubrec(refused(2)), Ok(None));
        outbound.handle_connect(u16::MAX);
        assert_eq!(outbound.poll_transmit(NOW), None);
        assert_eq!(outbound.handle_pubrec(refused(2)), Ok(None), "also when it is unknown");
    }

    #[test]
    fn smaller_receive_maximum_also_holds_back_the_repetition() {
        // MQTT 5 §3.3.4 [MQTT-3.3.4-9], §4.9 [MQTT-4.9.0-1, -2]
        let mut outbound = outbound(10, 10);
        for text in ["a", "b", "c"] {
            assert!(outbound.push(message(text, QoS::AtLeastOnce)));
            outbound.poll_transmit(NOW);
        }
        outbound.handle_connect(2);
        assert_eq!(outbound.poll_transmit(NOW), Some(publish("a", QoS::AtLeastOnce, 1, true)));
        assert_eq!(outbound.poll_transmit(NOW), Some(publish("b", QoS::AtLeastOnce, 2, true)));
        assert_eq!(outbound.poll_transmit(NOW), None);
        outbound.handle_puback(Ack::success(1)).unwrap();
        assert_eq!(outbound.poll_transmit(NOW), Some(publish("c", QoS::AtLeastOnce, 3, true)));
        assert_eq!(outbound.poll_transmit(NOW), None);
    }

    #[test]
    fn message_that_waited_too_long_is_left_out_and_the_others_say_what_is_left() {
        // MQTT 5 §3.3.2.3.3 [MQTT-3.3.2-5, -6]
        let mut outbound = outbound(10, 10);
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        for (text, expires) in [("a", at(5)), ("b", at(10))] {
            let mut delivery = message(text, QoS::AtLeastOnce);
            delivery.message.expires = expires;
            assert!(outbound.push(delivery));
        }
        let Some(Outgoing::Publish { delivery, expiry, .. }) = outbound.poll_transmit(at(7)) else {
            panic!("nothing was sent")
        };
        assert_eq!((&delivery.message.payload[..], expiry), (&b"b"[..], Some(3)));
        assert_eq!((outbound.take_expired(), outbound.take_expired()), (1, 0));
        outbound.handle_connect(u16::MAX);
        let repeated = outbound.poll_transmit(at(60));
        assert!(
            matches!(repeated, Some(Outgoing::Publish { expiry: Some(0), dup: true, .. })),
            "a delivery that has begun goes on: {repeated:?}"
        );
    }

    #[test]
    fn oversize_delivery_gives_its_place_to_the_next() {
        // MQTT 5 §3.1.2.11.4 [MQTT-3.1.2-25]
        let mut outbound = outbound(1, 10);
        assert!(outbound.push(message("large", QoS::AtLeastOnce)));
        assert!(outbound.push(message("a", QoS::AtLeastOnce)));
        outbound.poll_transmit(NOW);
        outbound.handle_undeliverable(1);
        assert_eq!(outbound.poll_transmit(NOW), Some(publish("a", QoS::AtLeastOnce, 2, false)));
    }
}
