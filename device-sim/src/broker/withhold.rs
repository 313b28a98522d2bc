//! What a fault plan does to acknowledgements of one kind: drops, delays, reorders and doubles
//! them, and makes up some.
//!
//! Call [`Withhold::handle_ack`] for every one that the core sends and
//! [`Withhold::handle_timeout`] when [`Withhold::poll_timeout`] is due; after each, drain
//! [`Withhold::poll_ack`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::Instant;

use super::core::ConnectionId;
use super::faults::AckPlan;
use super::wire::Ack;

/// How long a group waits for being full.
const GROUP_WAIT: Duration = Duration::from_millis(20);
/// How many acknowledgements are held at most; beyond, the oldest one goes out early.
const MAX_HELD: usize = 1 << 20;
/// How far an identifier that nobody uses is from one that somebody does: half of all of them.
const STRAY: u16 = 1 << 15;

/// The machine between the core's acknowledgements and the sockets.
#[derive(Debug, Default)]
pub(super) struct Withhold {
    plan: AckPlan,
    /// How many came in since `plan.drop` was switched.
    seen: u64,
    /// How many went out since `plan.duplicate` or `plan.stray` was switched.
    gone: u64,
    dropped: u64,
    delayed: VecDeque<(Instant, ConnectionId, Ack)>,
    groups: BTreeMap<ConnectionId, Group>,
    ready: VecDeque<(ConnectionId, Ack)>,
}

#[derive(Debug)]
struct Group {
    since: Instant,
    acks: Vec<Ack>,
}

impl Withhold {
    /// Takes over what the plan says; what a fault that is now off holds back goes out.
    pub(super) fn handle_plan(&mut self, plan: AckPlan) {
        if self.plan.drop != plan.drop {
            self.seen = 0;
        }
        if (self.plan.duplicate, self.plan.stray) != (plan.duplicate, plan.stray) {
            self.gone = 0;
        }
        self.plan = plan;
        if self.plan.delay.is_zero() {
            for (_, connection, ack) in std::mem::take(&mut self.delayed) {
                self.let_go(connection, ack);
            }
        }
        if self.plan.reorder < 2 {
            for (connection, group) in std::mem::take(&mut self.groups) {
                self.release(connection, group);
            }
        }
    }

    /// An acknowledgement is to be sent.
    pub(super) fn handle_ack(&mut self, now: Instant, connection: ConnectionId, ack: Ack) {
        self.seen += 1;
        if self.plan.drop.has(self.seen) {
            self.dropped += 1;
        } else if self.plan.delay.is_zero() {
            self.collect(now, connection, ack);
        } else {
            self.delayed.push_back((now + self.plan.delay, connection, ack));
            if self.delayed.len() > MAX_HELD
                && let Some((_, connection, ack)) = self.delayed.pop_front()
            {
                self.collect(now, connection, ack);
            }
        }
    }

    /// Lets go of what has waited long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(due, connection, ack)) = self.delayed.front()
            && due <= now
        {
            self.delayed.pop_front();
            self.collect(now, connection, ack);
        }
        let due = self.groups.iter().filter(|(_, group)| group.since + GROUP_WAIT <= now);
        for connection in due.map(|(&connection, _)| connection).collect::<Vec<_>>() {
            if let Some(group) = self.groups.remove(&connection) {
                self.release(connection, group);
            }
        }
    }

    /// When [`Withhold::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        let delayed = self.delayed.front().map(|&(due, ..)| due);
        let groups = self.groups.values().map(|group| group.since + GROUP_WAIT);
        groups.chain(delayed).min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// The next acknowledgement to send.
    pub(super) fn poll_ack(&mut self) -> Option<(ConnectionId, Ack)> {
        self.ready.pop_front()
    }

    /// How many were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The connection is gone, and what is held for it with it.
    pub(super) fn handle_closed(&mut self, connection: ConnectionId) {
        self.groups.remove(&connection);
    }

    fn collect(&mut self, now: Instant, connection: ConnectionId, ack: Ack) {
        let size = self.plan.reorder;
        if size < 2 {
            self.let_go(connection, ack);
            return;
        }
        let group = self
            .groups
            .entry(connection)
            .or_insert_with(|| Group { since: now, acks: Vec::with_capacity(size.min(64)) });
        group.acks.push(ack);
        if group.acks.len() >= size
            && let Some(group) = self.groups.remove(&connection)
        {
            self.release(connection, group);
        }
    }

    fn release(&mut self, connection: ConnectionId, group: Group) {
        for ack in group.acks.into_iter().rev() {
            self.let_go(connection, ack);
        }
    }

    fn let_go(&mut self, connection: ConnectionId, ack: Ack) {
        self.gone += 1;
        self.ready.push_back((connection, ack));
        if self.plan.duplicate.has(self.gone) {
            self.ready.push_back((connection, ack));
        }
        if self.plan.stray.has(self.gone) {
            // Zero is no identifier (MQTT 5 §2.2.1).
            let packet_id = match ack.packet_id ^ STRAY {
                0 => 1,
                other => other,
            };
            self.ready.push_back((connection, Ack { packet_id, ..ack }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Which;

    const CLIENT: ConnectionId = ConnectionId(1);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn sent(withhold: &mut Withhold) -> Vec<u16> {
        std::iter::from_fn(|| withhold.poll_ack()).map(|(_, ack)| ack.packet_id).collect()
    }

    fn with(plan: AckPlan) -> Withhold {
        let mut withhold = Withhold::default();
        withhold.handle_plan(plan);
        withhold
    }

    #[test]
    fn every_third_is_dropped() {
        let mut withhold = with(AckPlan { drop: Which::EveryNth(3), ..AckPlan::default() });
        for id in 1..=7 {
            withhold.handle_ack(at(0), CLIENT, Ack::success(id));
        }
        assert_eq!(sent(&mut withhold), [1, 2, 4, 5, 7]);
        assert_eq!(withhold.dropped(), 2);
    }

    #[test]
    fn delayed_ones_leave_in_order_when_they_are_due() {
        let delay = Duration::from_millis(50);
        let mut withhold = with(AckPlan { delay, ..AckPlan::default() });
        withhold.handle_ack(at(0), CLIENT, Ack::success(1));
        withhold.handle_ack(at(10), CLIENT, Ack::success(2));
        assert_eq!(withhold.poll_timeout(), at(50));
        withhold.handle_timeout(at(49));
        assert!(sent(&mut withhold).is_empty());
        withhold.handle_timeout(at(50));
        assert_eq!(sent(&mut withhold), [1]);
        withhold.handle_plan(AckPlan::default());
        assert_eq!(sent(&mut withhold), [2], "switching off lets go");
    }

    #[test]
    fn full_group_leaves_backwards_and_a_partial_one_after_a_while() {
        let mut withhold = with(AckPlan { reorder: 3, ..AckPlan::default() });
        for id in 1..=4 {
            withhold.handle_ack(at(0), CLIENT, Ack::success(id));
        }
        assert_eq!(sent(&mut withhold), [3, 2, 1]);
        assert_eq!(withhold.poll_timeout(), at(20));
        withhold.handle_timeout(at(19));
        assert!(sent(&mut withhold).is_empty());
        withhold.handle_timeout(at(20));
        assert_eq!(sent(&mut withhold), [4]);
        assert_eq!(withhold.poll_timeout(), Instant::FAR_FUTURE);
    }

    #[test]
    fn groups_of_two_clients_do_not_mix() {
        let mut withhold = with(AckPlan { reorder: 2, ..AckPlan::default() });
        withhold.handle_ack(at(0), CLIENT, Ack::success(1));
        withhold.handle_ack(at(0), ConnectionId(2), Ack::success(1));
        assert!(sent(&mut withhold).is_empty());
        withhold.handle_ack(at(0), CLIENT, Ack::success(2));
        assert_eq!(sent(&mut withhold), [2, 1]);
    }

    #[test]
    fn some_are_doubled_and_some_made_up() {
        let mut withhold = with(AckPlan {
            duplicate: Which::EveryNth(2),
            stray: Which::EveryNth(3),
            ..AckPlan::default()
        });
        for id in 1..=4 {
            withhold.handle_ack(at(0), CLIENT, Ack::success(id));
        }
        assert_eq!(sent(&mut withhold), [1, 2, 2, 3, 3 ^ STRAY, 4, 4]);
        withhold.handle_plan(AckPlan { stray: Which::All, ..AckPlan::default() });
        withhold.handle_ack(at(0), CLIENT, Ack::success(STRAY));
        assert_eq!(sent(&mut withhold), [STRAY, 1], "zero is no identifier");
    }
}
