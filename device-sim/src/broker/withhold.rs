//! What a fault plan does to PUBACKs: drops, delays and reorders them.
//!
//! Call [`Withhold::handle_puback`] for every PUBACK that the core sends and
//! [`Withhold::handle_timeout`] when [`Withhold::poll_timeout`] is due; after each, drain
//! [`Withhold::poll_puback`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use proto::Instant;

use super::core::ConnectionId;
use super::faults::{DropPubacks, FaultPlan};

/// How long a group waits for being full.
const GROUP_WAIT: Duration = Duration::from_millis(20);
/// How many PUBACKs are held at most; beyond, the oldest one goes out early.
const MAX_HELD: usize = 1 << 20;

/// The machine between the core's PUBACKs and the sockets.
#[derive(Debug, Default)]
pub(super) struct Withhold {
    drop: DropPubacks,
    delay: Duration,
    group: usize,
    seen: u64,
    dropped: u64,
    delayed: VecDeque<(Instant, ConnectionId, u16)>,
    groups: BTreeMap<ConnectionId, Group>,
    ready: VecDeque<(ConnectionId, u16)>,
}

#[derive(Debug)]
struct Group {
    since: Instant,
    ids: Vec<u16>,
}

impl Withhold {
    /// Takes over what the plan says; what a fault that is now off holds back goes out.
    pub(super) fn handle_plan(&mut self, plan: &FaultPlan) {
        if self.drop != plan.drop_pubacks {
            self.seen = 0;
        }
        self.drop = plan.drop_pubacks;
        self.delay = plan.delay_pubacks;
        self.group = plan.reorder_pubacks;
        if self.delay.is_zero() {
            let held = self.delayed.drain(..);
            self.ready.extend(held.map(|(_, connection, id)| (connection, id)));
        }
        if self.group < 2 {
            for (connection, group) in std::mem::take(&mut self.groups) {
                self.release(connection, group);
            }
        }
    }

    /// A PUBACK is to be sent.
    pub(super) fn handle_puback(&mut self, now: Instant, connection: ConnectionId, id: u16) {
        self.seen += 1;
        let dropped = match self.drop {
            DropPubacks::None | DropPubacks::EveryNth(0) => false,
            DropPubacks::EveryNth(n) => self.seen.is_multiple_of(n),
            DropPubacks::All => true,
        };
        if dropped {
            self.dropped += 1;
        } else if self.delay.is_zero() {
            self.collect(now, connection, id);
        } else {
            self.delayed.push_back((now + self.delay, connection, id));
            if self.delayed.len() > MAX_HELD
                && let Some((_, connection, id)) = self.delayed.pop_front()
            {
                self.collect(now, connection, id);
            }
        }
    }

    /// Lets go of what has waited long enough.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(due, connection, id)) = self.delayed.front()
            && due <= now
        {
            self.delayed.pop_front();
            self.collect(now, connection, id);
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

    /// The next PUBACK to send.
    pub(super) fn poll_puback(&mut self) -> Option<(ConnectionId, u16)> {
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

    fn collect(&mut self, now: Instant, connection: ConnectionId, id: u16) {
        if self.group < 2 {
            self.ready.push_back((connection, id));
            return;
        }
        let group = self
            .groups
            .entry(connection)
            .or_insert_with(|| Group { since: now, ids: Vec::with_capacity(self.group.min(64)) });
        group.ids.push(id);
        if group.ids.len() >= self.group
            && let Some(group) = self.groups.remove(&connection)
        {
            self.release(connection, group);
        }
    }

    fn release(&mut self, connection: ConnectionId, group: Group) {
        self.ready.extend(group.ids.into_iter().rev().map(|id| (connection, id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ConnectionId = ConnectionId(1);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn sent(withhold: &mut Withhold) -> Vec<u16> {
        std::iter::from_fn(|| withhold.poll_puback()).map(|(_, id)| id).collect()
    }

    fn with(plan: FaultPlan) -> Withhold {
        let mut withhold = Withhold::default();
        withhold.handle_plan(&plan);
        withhold
    }

    #[test]
    fn every_third_is_dropped() {
        let mut withhold =
            with(FaultPlan { drop_pubacks: DropPubacks::EveryNth(3), ..FaultPlan::default() });
        for id in 1..=7 {
            withhold.handle_puback(at(0), CLIENT, id);
        }
        assert_eq!(sent(&mut withhold), [1, 2, 4, 5, 7]);
        assert_eq!(withhold.dropped(), 2);
    }

    #[test]
    fn delayed_ones_leave_in_order_when_they_are_due() {
        let delay = Duration::from_millis(50);
        let mut withhold = with(FaultPlan { delay_pubacks: delay, ..FaultPlan::default() });
        withhold.handle_puback(at(0), CLIENT, 1);
        withhold.handle_puback(at(10), CLIENT, 2);
        assert_eq!(withhold.poll_timeout(), at(50));
        withhold.handle_timeout(at(49));
        assert!(sent(&mut withhold).is_empty());
        withhold.handle_timeout(at(50));
        assert_eq!(sent(&mut withhold), [1]);
        withhold.handle_plan(&FaultPlan::default());
        assert_eq!(sent(&mut withhold), [2], "switching off lets go");
    }

    #[test]
    fn full_group_leaves_backwards_and_a_partial_one_after_a_while() {
        let mut withhold = with(FaultPlan { reorder_pubacks: 3, ..FaultPlan::default() });
        for id in 1..=4 {
            withhold.handle_puback(at(0), CLIENT, id);
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
        let mut withhold = with(FaultPlan { reorder_pubacks: 2, ..FaultPlan::default() });
        withhold.handle_puback(at(0), CLIENT, 1);
        withhold.handle_puback(at(0), ConnectionId(2), 1);
        assert!(sent(&mut withhold).is_empty());
        withhold.handle_puback(at(0), CLIENT, 2);
        assert_eq!(sent(&mut withhold), [2, 1]);
    }
}
