//! Notifications: responses that come without another request (RFC 7641 §4.2).

use core::fmt::Debug;

use super::super::arena::Key;
use super::super::encode::Prepared;
use super::super::timers::Timer;
use super::super::transmission::{Owner, Schedule, Transmission};
use super::super::{Event, FailReason, MessageType, NotificationId, Output, Response, Token};
use super::Endpoint;
use crate::Instant;

impl<P: Copy + Ord + Debug> Endpoint<P> {
    /// Prepares a response to be sent to many with [`notify`](Self::notify); `None` if it is larger
    /// than `max_message`.
    pub fn prepare(&self, response: &Response) -> Option<Prepared> {
        Prepared::new(response, self.room()).ok()
    }

    /// Sends a notification for a request that was received with `token`.
    ///
    /// A Confirmable one ends in exactly one [`Event::Delivered`] or [`Event::Undelivered`], a
    /// Non-confirmable one in at most one [`Event::Undelivered`]: when the peer rejects it within
    /// NON_LIFETIME and before [`forget_notification`](Self::forget_notification). `None`, and
    /// nothing is sent, where `max_notifications` or `max_peers` is met or the message ids for the
    /// peer are used up (RFC 7252 §4.4).
    pub fn notify(
        &mut self,
        now: Instant,
        to: P,
        token: Token,
        prepared: &Prepared,
        confirmable: bool,
    ) -> Option<NotificationId> {
        let sent = self.try_notify(now, to, token, prepared, confirmable);
        match sent {
            Some(_) => self.stats.notifications += 1,
            None => self.stats.notifications_refused += 1,
        }
        sent
    }

    /// Stops retransmitting a notification and waiting for what becomes of it: a newer one is to be
    /// sent, or its receiver is not interested any more.
    pub fn forget_notification(&mut self, now: Instant, id: NotificationId) {
        let sent = self.transmissions.get(&(id.peer, id.message_id));
        if sent.is_some_and(|sent| sent.owner == Owner::Notification) {
            self.end_notification(now, id.peer, id.message_id);
        }
    }

    fn try_notify(
        &mut self,
        now: Instant,
        to: P,
        token: Token,
        prepared: &Prepared,
        confirmable: bool,
    ) -> Option<NotificationId> {
        if self.notifying >= self.config.max_notifications {
            return None;
        }
        let peer = self.peer(now, to)?;
        let (to, message_id) = self.next_message_id(now, peer)?;
        let kind = match confirmable {
            true => MessageType::Confirmable,
            false => MessageType::NonConfirmable,
        };
        let datagram = prepared.datagram(kind, message_id, token);
        let transmission = if confirmable {
            let schedule = Schedule::new(now, datagram.clone(), &self.config, &mut self.rng);
            Transmission { owner: Owner::Notification, retransmit: Some(schedule), expires: None }
        } else {
            let expires = Some(now + self.config.non_lifetime);
            Transmission { owner: Owner::Notification, retransmit: None, expires }
        };
        if let Some(due) = transmission.due() {
            self.timers.set(due, Timer::Retransmit(peer, message_id));
        }
        self.transmissions.insert((peer, message_id), transmission);
        self.notifying += 1;
        self.peers.hold(peer);
        self.transmit(to, datagram);
        Some(NotificationId { peer, message_id })
    }

    /// A notification was rejected or given up.
    pub(super) fn lose_notification(
        &mut self,
        now: Instant,
        peer: Key,
        message_id: u16,
        reason: FailReason,
    ) {
        self.stats.notifications_lost += 1;
        self.end_notification(now, peer, message_id);
        let notification = NotificationId { peer, message_id };
        self.outputs.push_back(Output::Event(Event::Undelivered { notification, reason }));
    }

    /// A notification is over.
    pub(super) fn end_notification(&mut self, now: Instant, peer: Key, message_id: u16) {
        self.notifying -= 1;
        self.end_outbound(now, peer, message_id);
    }
}
