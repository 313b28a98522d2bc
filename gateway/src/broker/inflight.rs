//! Packet identifiers: what each stands for, and which step its exchange is at.

use std::collections::VecDeque;

use proto::Instant;
use rumqttc::mqttbytes::QoS;

use super::session::Ticket;
use crate::pipeline::Publish;

/// Publishes of quality of service 1 and 2 that are not acknowledged completely.
///
/// An identifier is chosen here and free again only after its exchange has ended, so that two
/// messages never share one (MQTT 5 §2.2.1). Where a session outlives its connection, what is
/// under way [stays](Self::suspend) and is sent again in the same order (MQTT 5 §4.4).
#[derive(Debug)]
pub(super) struct Inflight {
    /// The most identifiers.
    limit: u16,
    /// Indexed by packet identifier - 1.
    slots: Vec<Option<Slot>>,
    free: VecDeque<u16>,
    /// Identifiers in the order of their first sending; some of them may have ended.
    order: VecDeque<Mark>,
    /// Identifiers to send again on this connection.
    again: VecDeque<u16>,
    next_serial: u64,
    open: usize,
    /// Open ones that were sent on this connection.
    sent: usize,
    /// Open ones of quality of service 2.
    exactly_once: usize,
}

/// Whose publish it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Ticket(Ticket),
    /// The gateway's own status.
    Status,
}

/// What the broker owes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// PUBACK, which ends quality of service 1.
    Acknowledge,
    /// PUBREC.
    Receive,
    /// PUBCOMP, which ends quality of service 2.
    Complete,
}

/// What to send again.
#[derive(Debug)]
pub(super) enum Again<'a> {
    /// The publish, and since when it is under way.
    Publish(u16, QoS, &'a Publish, Instant),
    PubRel(u16),
}

#[derive(Debug)]
struct Slot {
    owner: Owner,
    step: Step,
    serial: u64,
    /// When it was sent first.
    opened: Instant,
    /// Since when the broker owes the next step, or since when it is the oldest, whichever is later.
    since: Instant,
    /// Whether it was sent on this connection.
    sent: bool,
    /// Kept where the session may outlive the connection.
    publish: Option<Box<Publish>>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    id: u16,
    serial: u64,
}

/// An acknowledgement for which there is no publish, or not at this step (MQTT 5 §4.3).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unasked;

impl Inflight {
    /// At most `limit` at a time.
    pub(super) const fn new(limit: u16) -> Self {
        Self {
            limit,
            slots: Vec::new(),
            free: VecDeque::new(),
            order: VecDeque::new(),
            again: VecDeque::new(),
            next_serial: 0,
            open: 0,
            sent: 0,
            exactly_once: 0,
        }
    }

    /// Takes an identifier for a publish that is sent now; `None` if there is no free one, or
    /// quality of service 0 is asked for.
    pub(super) fn open(
        &mut self,
        owner: Owner,
        qos: QoS,
        publish: Option<Box<Publish>>,
        now: Instant,
    ) -> Option<u16> {
        let step = match qos {
            QoS::AtMostOnce => return None,
            QoS::AtLeastOnce => Step::Acknowledge,
            QoS::ExactlyOnce => Step::Receive,
        };
        let id = self.free.pop_front().or_else(|| self.grow())?;
        let serial = self.next_serial;
        *self.slots.get_mut(usize::from(id) - 1)? =
            Some(Slot { owner, step, serial, opened: now, since: now, sent: true, publish });
        self.next_serial += 1;
        self.open += 1;
        self.sent += 1;
        self.exactly_once += usize::from(step == Step::Receive);
        if self.order.len() >= 2 * self.slots.len() {
            let slots = &self.slots;
            self.order.retain(|mark| find(slots, mark).is_some());
        }
        self.order.push_back(Mark { id, serial });
        Some(id)
    }

    /// Whether an identifier is free.
    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty() || self.slots.len() < usize::from(self.limit)
    }

    fn grow(&mut self) -> Option<u16> {
        let id = u16::try_from(self.slots.len() + 1).ok().filter(|&id| id <= self.limit)?;
        self.slots.push(None);
        Some(id)
    }

    /// Takes the acknowledgement that ends the exchange at `step`.
    pub(super) fn close(&mut self, id: u16, step: Step, now: Instant) -> Result<Owner, Unasked> {
        match self.get(id) {
            Some(slot) if slot.step == step => {}
            _ => return Err(Unasked),
        }
        let owner = self.remove(id).ok_or(Unasked)?.owner;
        self.go_on(now);
        Ok(owner)
    }

    /// Takes a PUBREC that says success; true if a PUBREL is due, which was not sent on this
    /// connection.
    pub(super) fn receive(&mut self, id: u16, now: Instant) -> Result<bool, Unasked> {
        let Some(slot) = self.get_mut(id) else { return Err(Unasked) };
        match slot.step {
            Step::Acknowledge => Err(Unasked),
            Step::Complete => Ok(false),
            Step::Receive => {
                let was_sent = std::mem::replace(&mut slot.sent, true);
                slot.step = Step::Complete;
                slot.since = now;
                // The broker has it: only PUBREL may follow (MQTT 5 §4.3.3).
                slot.publish = None;
                self.sent += usize::from(!was_sent);
                Ok(true)
            }
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    /// The connection is gone and the session stays: everything but the status is to be sent again.
    pub(super) fn suspend(&mut self, now: Instant) {
        let marks = std::mem::take(&mut self.order);
        self.again.clear();
        for mark in marks {
            match find(&self.slots, &mark).map(|slot| slot.owner) {
                None => continue,
                // It is old news, and at quality of service 1 the broker keeps nothing of it.
                Some(Owner::Status) => {
                    self.remove(mark.id);
                    continue;
                }
                Some(Owner::Ticket(_)) => {}
            }
            if let Some(slot) = self.get_mut(mark.id) {
                (slot.sent, slot.since) = (false, now);
            }
            self.order.push_back(mark);
            self.again.push_back(mark.id);
        }
        self.sent = 0;
    }

    /// What to send again next, if there is room for a PUBLISH or it is a PUBREL.
    pub(super) fn poll_again(&mut self, window: usize, now: Instant) -> Option<Again<'_>> {
        loop {
            let id = *self.again.front()?;
            let waits = self.get(id).filter(|slot| !slot.sent).map(|slot| slot.step);
            match waits {
                // It has ended, or gone on by itself.
                None => {
                    self.again.pop_front();
                }
                Some(Step::Acknowledge | Step::Receive) if self.sent >= window => return None,
                Some(_) => break,
            }
        }
        let id = self.again.pop_front()?;
        self.sent += 1;
        let slot = self.get_mut(id)?;
        (slot.sent, slot.since) = (true, now);
        let qos = match slot.step {
            Step::Acknowledge => QoS::AtLeastOnce,
            Step::Receive => QoS::ExactlyOnce,
            Step::Complete => return Some(Again::PubRel(id)),
        };
        slot.publish.as_deref().map(|publish| Again::Publish(id, qos, publish, slot.opened))
    }

    /// Whether something is still to be sent again.
    pub(super) fn has_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// How many were sent on this connection and have not ended.
    pub(super) const fn sent(&self) -> usize {
        self.sent
    }

    /// How many of quality of service 2 have not ended.
    pub(super) const fn exactly_once(&self) -> usize {
        self.exactly_once
    }

    /// Whether nothing waits for an acknowledgement.
    pub(super) const fn is_idle(&self) -> bool {
        self.open == 0
    }

    /// Since when the broker owes the next step of the oldest exchange: it need not be fast, but it
    /// has to go on.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let mark = self.order.front()?;
        find(&self.slots, mark).map(|slot| slot.since)
    }

    /// Makes the oldest open exchange the first in order, and starts its wait where it became it.
    fn go_on(&mut self, now: Instant) {
        let mut is_new = false;
        while let Some(&mark) = self.order.front() {
            match find(&self.slots, &mark) {
                None => {
                    self.order.pop_front();
                    is_new = true;
                }
                // One that waits for room has it a step nearer.
                Some(slot) if is_new || !slot.sent => {
                    if let Some(slot) = self.get_mut(mark.id) {
                        slot.since = now;
                    }
                    return;
                }
                Some(_) => return,
            }
        }
    }

    fn get(&self, id: u16) -> Option<&Slot> {
        self.slots.get(usize::from(id).checked_sub(1)?)?.as_ref()
    }

    fn get_mut(&mut self, id: u16) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(id).checked_sub(1)?)?.as_mut()
    }

    fn remove(&mut self, id: u16) -> Option<Slot> {
        let slot = self.slots.get_mut(usize::from(id).checked_sub(1)?)?.take()?;
        self.free.push_back(id);
        self.open -= 1;
        self.sent -= usize::from(slot.sent);
        self.exactly_once -= usize::from(slot.step != Step::Acknowledge);
        Some(slot)
    }
}

fn find<'a>(slots: &'a [Option<Slot>], mark: &Mark) -> Option<&'a Slot> {
    let slot = slots.get(usize::from(mark.id).checked_sub(1)?)?.as_ref()?;
    (slot.serial == mark.serial).then_some(slot)
}

#[cfg(test)]
mod tests;
