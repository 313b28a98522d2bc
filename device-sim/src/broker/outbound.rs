//! Deliveries of QoS 1 and 2 to one client: the window of unacknowledged ones and the queue
//! behind it (MQTT 3.1.1 §4.3, §4.4, §4.6). Both survive the connection when the session does.
//!
//! Call [`Outbound::push`] for a new message, `handle_*` for what the client answers and
//! [`Outbound::handle_reconnect`] when it came back; after each, while it is connected, drain
//! [`Outbound::poll_transmit`].

use std::collections::VecDeque;

use super::message::Message;
use super::wire::{Outgoing, Violation};
use super::{Limits, QoS};

/// The sender's half of QoS 1 and 2.
#[derive(Debug)]
pub(super) struct Outbound {
    next_id: u16,
    /// In the order of their first transmission, which is also the order of repetition (§4.6).
    inflight: VecDeque<Inflight>,
    /// How many of `inflight`, from the front, were sent on this connection.
    sent: usize,
    queue: VecDeque<Message>,
    window: usize,
    max_queued: usize,
}

#[derive(Debug)]
struct Inflight {
    id: u16,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// PUBLISH was sent; PUBACK or PUBREC is due.
    Published(Message),
    /// PUBREC has arrived; PUBCOMP is due.
    Released,
}

impl Outbound {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            next_id: 0,
            inflight: VecDeque::new(),
            sent: 0,
            queue: VecDeque::new(),
            window: limits.max_inflight.clamp(1, usize::from(u16::MAX) / 2),
            max_queued: limits.max_queued,
        }
    }

    /// Takes a message of QoS 1 or 2, or returns `false` because the queue is full.
    pub(super) fn push(&mut self, message: Message) -> bool {
        let waits = self.inflight.len() >= self.window || !self.queue.is_empty();
        if waits && self.queue.len() >= self.max_queued {
            return false;
        }
        self.queue.push_back(message);
        true
    }

    /// The client is connected again: everything unacknowledged is to be sent again (§4.4).
    pub(super) fn handle_reconnect(&mut self) {
        self.sent = 0;
    }

    /// PUBACK ends QoS 1. An unknown identifier is ignored: it may belong to a lost session.
    pub(super) fn handle_puback(&mut self, id: u16) -> Result<(), Violation> {
        let Some(at) = self.position(id) else { return Ok(()) };
        match self.inflight.get(at).map(|inflight| &inflight.step) {
            Some(Step::Published(message)) if message.qos == QoS::AtLeastOnce => self.finish(at),
            Some(Step::Published(_) | Step::Released) | None => {
                return Err(Violation::WrongAcknowledgement(id));
            }
        }
        Ok(())
    }

    /// PUBREC moves QoS 2 to its second half. The answer is always PUBREL, also to an unknown
    /// identifier, so that the client can end the exchange.
    pub(super) fn handle_pubrec(&mut self, id: u16) -> Result<Outgoing, Violation> {
        if let Some(at) = self.position(id)
            && let Some(inflight) = self.inflight.get_mut(at)
        {
            match &inflight.step {
                Step::Published(message) if message.qos != QoS::ExactlyOnce => {
                    return Err(Violation::WrongAcknowledgement(id));
                }
                Step::Published(_) | Step::Released => inflight.step = Step::Released,
            }
        }
        Ok(Outgoing::PubRel(id))
    }

    /// PUBCOMP ends QoS 2. An unknown identifier is ignored.
    pub(super) fn handle_pubcomp(&mut self, id: u16) -> Result<(), Violation> {
        let Some(at) = self.position(id) else { return Ok(()) };
        match self.inflight.get(at).map(|inflight| &inflight.step) {
            Some(Step::Released) => self.finish(at),
            Some(Step::Published(_)) | None => return Err(Violation::WrongAcknowledgement(id)),
        }
        Ok(())
    }

    /// The next packet to send: first what the last connection left unacknowledged, then the
    /// queue as far as the window allows.
    pub(super) fn poll_transmit(&mut self) -> Option<Outgoing> {
        if let Some(Inflight { id, step }) = self.inflight.get(self.sent) {
            self.sent += 1;
            return Some(match step {
                Step::Published(message) => {
                    Outgoing::Publish { message: message.clone(), dup: true, packet_id: *id }
                }
                Step::Released => Outgoing::PubRel(*id),
            });
        }
        if self.inflight.len() >= self.window {
            return None;
        }
        let message = self.queue.pop_front()?;
        let id = self.free_id();
        let packet = Outgoing::Publish { message: message.clone(), dup: false, packet_id: id };
        self.inflight.push_back(Inflight { id, step: Step::Published(message) });
        self.sent += 1;
        Some(packet)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound(max_inflight: usize, max_queued: usize) -> Outbound {
        Outbound::new(&Limits { max_inflight, max_queued, ..Limits::default() })
    }

    fn message(text: &'static str, qos: QoS) -> Message {
        Message { topic: "t".into(), payload: text.into(), qos, retain: false }
    }

    fn publish(text: &'static str, qos: QoS, packet_id: u16, dup: bool) -> Outgoing {
        Outgoing::Publish { message: message(text, qos), dup, packet_id }
    }

    #[test]
    fn window_holds_back_until_an_acknowledgement() {
        let mut outbound = outbound(1, 10);
        assert!(outbound.push(message("a", QoS::AtLeastOnce)));
        assert!(outbound.push(message("b", QoS::AtLeastOnce)));
        assert_eq!(outbound.poll_transmit(), Some(publish("a", QoS::AtLeastOnce, 1, false)));
        assert_eq!(outbound.poll_transmit(), None);
        outbound.handle_puback(1).unwrap();
        assert_eq!(outbound.poll_transmit(), Some(publish("b", QoS::AtLeastOnce, 2, false)));
    }

    #[test]
    fn full_queue_refuses_the_newest() {
        let mut outbound = outbound(1, 1);
        assert!(outbound.push(message("a", QoS::AtLeastOnce)));
        outbound.poll_transmit();
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
            outbound.poll_transmit();
        }
        assert_eq!(outbound.handle_pubrec(2).unwrap(), Outgoing::PubRel(2));
        assert!(outbound.push(message("d", QoS::AtLeastOnce)));
        outbound.handle_reconnect();
        let sent: Vec<Outgoing> = std::iter::from_fn(|| outbound.poll_transmit()).collect();
        assert_eq!(
            sent,
            [
                publish("a", QoS::AtLeastOnce, 1, true),
                Outgoing::PubRel(2),
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
            outbound.poll_transmit();
        }
        outbound.handle_reconnect();
        assert_eq!(outbound.poll_transmit(), Some(publish("a", QoS::AtLeastOnce, 1, true)));
        outbound.handle_puback(1).unwrap();
        outbound.handle_puback(3).unwrap();
        assert_eq!(outbound.poll_transmit(), Some(publish("b", QoS::AtLeastOnce, 2, true)));
        assert_eq!(outbound.poll_transmit(), None);
    }

    #[test]
    fn acknowledgement_of_another_qos_is_a_violation() {
        // MQTT 3.1.1 §4.3.2, §4.3.3
        let mut outbound = outbound(10, 10);
        assert!(outbound.push(message("a", QoS::AtLeastOnce)));
        assert!(outbound.push(message("b", QoS::ExactlyOnce)));
        while outbound.poll_transmit().is_some() {}
        assert!(outbound.handle_pubrec(1).is_err());
        assert!(outbound.handle_pubcomp(2).is_err());
        assert!(outbound.handle_puback(2).is_err());
    }

    #[test]
    fn acknowledgement_of_an_unknown_identifier_is_harmless() {
        let mut outbound = outbound(10, 10);
        outbound.handle_puback(7).unwrap();
        outbound.handle_pubcomp(7).unwrap();
        assert_eq!(outbound.handle_pubrec(7).unwrap(), Outgoing::PubRel(7));
    }

    #[test]
    fn identifiers_wrap_past_zero_and_skip_the_ones_in_use() {
        // MQTT 3.1.1 §2.3.1 [MQTT-2.3.1-1, -2]
        let mut outbound = outbound(2, 10);
        assert!(outbound.push(message("held", QoS::AtLeastOnce)));
        outbound.poll_transmit();
        for _ in 2..=u16::MAX {
            assert!(outbound.push(message("x", QoS::AtLeastOnce)));
            let Some(Outgoing::Publish { packet_id, .. }) = outbound.poll_transmit() else {
                panic!("nothing was sent")
            };
            outbound.handle_puback(packet_id).unwrap();
        }
        assert!(outbound.push(message("next", QoS::AtLeastOnce)));
        assert_eq!(outbound.poll_transmit(), Some(publish("next", QoS::AtLeastOnce, 2, false)));
    }
}
