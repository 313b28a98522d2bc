//! Misbehaviour on purpose, switched while the broker runs.
//!
//! A [`Faults`] handle changes a [`FaultPlan`], which the tasks of the broker watch. Two
//! pure machines apply it: [`Withhold`](super::withhold::Withhold) to PUBACKs and [`Fuse`] to the
//! bytes of one connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Why a CONNECT is refused (MQTT 3.1.1 §3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Code 1.
    ProtocolVersion,
    /// Code 2.
    ClientId,
    /// Code 3.
    ServerUnavailable,
    /// Code 4.
    BadLogin,
    /// Code 5.
    NotAuthorized,
}

/// Which PUBACKs are never sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DropPubacks {
    /// All are sent.
    #[default]
    None,
    /// Every nth one that would be sent is dropped, counted over all connections; `EveryNth(1)`
    /// drops all and `EveryNth(0)` none.
    EveryNth(u64),
    /// None is sent.
    All,
}

/// Where a connection is cut, counted from the later of its start and the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutAfter {
    /// When so many packets have arrived. They are handled and recorded; the answers to the last
    /// ones are lost.
    Packets(u64),
    /// When so many bytes have arrived, most likely in the middle of a packet. Complete packets
    /// before are handled.
    Bytes(u64),
    /// When so many bytes were sent, most likely in the middle of a packet.
    SentBytes(u64),
}

/// What is wrong with the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FaultPlan {
    pub(super) turn_away: bool,
    pub(super) refusal: Option<Refusal>,
    pub(super) drop_pubacks: DropPubacks,
    pub(super) delay_pubacks: Duration,
    pub(super) reorder_pubacks: usize,
    pub(super) stall: bool,
    pub(super) cut: Option<Cut>,
    /// Counts the switches of `cut`, so that a connection knows when to count anew.
    pub(super) cut_switched: u64,
    /// Counts [`Faults::cut_all`].
    pub(super) cut_all: u64,
    /// Counts [`Faults::forget_everything`].
    pub(super) forget: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) after: CutAfter,
    /// Whether only the first connection to get there is cut.
    pub(super) once: bool,
}

/// The switches of a broker's misbehaviour; clones switch the same broker.
#[derive(Clone, Debug)]
pub struct Faults {
    plan: Arc<watch::Sender<FaultPlan>>,
}

impl Faults {
    pub(super) fn new() -> Self {
        Self { plan: Arc::new(watch::Sender::new(FaultPlan::default())) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<FaultPlan> {
        self.plan.subscribe()
    }

    /// Behaves again: undoes every switch below.
    pub fn clear(&self) {
        self.plan.send_modify(|plan| {
            *plan = FaultPlan {
                cut_switched: plan.cut_switched + 1,
                cut_all: plan.cut_all,
                forget: plan.forget,
                ..FaultPlan::default()
            };
        });
    }

    /// Accepts new TCP connections and closes them at once.
    pub fn turn_away(&self, on: bool) {
        self.plan.send_modify(|plan| plan.turn_away = on);
    }

    /// Answers every CONNECT with a refusal.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.plan.send_modify(|plan| plan.refusal = refusal);
    }

    /// Swallows PUBACKs.
    pub fn drop_pubacks(&self, which: DropPubacks) {
        self.plan.send_modify(|plan| plan.drop_pubacks = which);
    }

    /// Sends every PUBACK so much later; zero turns it off.
    pub fn delay_pubacks(&self, delay: Duration) {
        self.plan.send_modify(|plan| plan.delay_pubacks = delay);
    }

    /// Sends the PUBACKs of each connection in groups of `group`, each in reverse order. A group
    /// that does not fill up goes out 20 ms after its first; 0 and 1 turn it off.
    pub fn reorder_pubacks(&self, group: usize) {
        self.plan.send_modify(|plan| plan.reorder_pubacks = group);
    }

    /// Leaves the sockets open but reads nothing more from them, and does not enforce keep-alive,
    /// as if the broker hung.
    pub fn stall_reading(&self, on: bool) {
        self.plan.send_modify(|plan| plan.stall = on);
    }

    /// Cuts every connection, also the later ones, each at that point.
    pub fn cut_each(&self, after: CutAfter) {
        self.set_cut(Some(Cut { after, once: false }));
    }

    /// Cuts the first connection that gets to that point, and no other one.
    pub fn cut_once(&self, after: CutAfter) {
        self.set_cut(Some(Cut { after, once: true }));
    }

    /// Turns [`Faults::cut_each`] and [`Faults::cut_once`] off.
    pub fn cut_none(&self) {
        self.set_cut(None);
    }

    /// Cuts all connections that are open, now.
    pub fn cut_all(&self) {
        self.plan.send_modify(|plan| plan.cut_all += 1);
    }

    /// Forgets every session, subscription and retained message and closes all connections
    /// without publishing wills, as if the broker was killed and had stored nothing.
    pub fn forget_everything(&self) {
        self.plan.send_modify(|plan| plan.forget += 1);
    }

    fn set_cut(&self, cut: Option<Cut>) {
        self.plan.send_modify(|plan| {
            plan.cut = cut;
            plan.cut_switched += 1;
        });
    }

    /// Claims the cut that a [`Fuse`] has reached; `false` when another connection was first or
    /// when it was switched off.
    pub(super) fn claim_cut(&self, switched: u64) -> bool {
        let mut claimed = false;
        self.plan.send_if_modified(|plan| {
            let current = plan.cut.filter(|_| plan.cut_switched == switched);
            claimed = current.is_some();
            match current {
                Some(cut) if cut.once => {
                    plan.cut = None;
                    plan.cut_switched += 1;
                    true
                }
                Some(_) | None => false,
            }
        });
        claimed
    }
}

/// Counts one connection down to its cut.
#[derive(Debug, Default)]
pub(super) struct Fuse {
    switched: u64,
    cut: Option<CutAfter>,
    packets: u64,
    received: u64,
    sent: u64,
}

impl Fuse {
    /// Takes over what the plan says, and counts anew when it was switched.
    pub(super) fn handle_plan(&mut self, plan: &FaultPlan) {
        if plan.cut_switched != self.switched {
            let cut = plan.cut.map(|cut| cut.after);
            *self = Self { switched: plan.cut_switched, cut, ..Self::default() };
        }
    }

    /// Counts bytes that arrived; returns how many of them lie beyond the cut.
    pub(super) fn handle_received(&mut self, bytes: usize) -> usize {
        self.received += as_u64(bytes);
        match self.cut {
            Some(CutAfter::Bytes(limit)) => at_most(bytes, self.received.saturating_sub(limit)),
            Some(CutAfter::Packets(_) | CutAfter::SentBytes(_)) | None => 0,
        }
    }

    /// Counts a packet that arrived.
    pub(super) fn handle_packet(&mut self) {
        self.packets += 1;
    }

    /// Counts bytes that were sent.
    pub(super) fn handle_sent(&mut self, bytes: usize) {
        self.sent += as_u64(bytes);
    }

    /// How many of `bytes` may be sent before the cut.
    pub(super) fn sendable(&self, bytes: usize) -> usize {
        match self.cut {
            Some(CutAfter::SentBytes(limit)) => at_most(bytes, limit.saturating_sub(self.sent)),
            Some(CutAfter::Packets(_) | CutAfter::Bytes(_)) | None => bytes,
        }
    }

    /// Whether the point of the cut is reached; the number goes to [`Faults::claim_cut`].
    pub(super) fn poll_cut(&self) -> Option<u64> {
        let reached = match self.cut? {
            CutAfter::Packets(limit) => self.packets >= limit,
            CutAfter::Bytes(limit) => self.received >= limit,
            CutAfter::SentBytes(limit) => self.sent >= limit,
        };
        reached.then_some(self.switched)
    }

    /// The cut belongs to another connection.
    pub(super) fn disarm(&mut self) {
        self.cut = None;
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn at_most(n: usize, limit: u64) -> usize {
    n.min(usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fuse(faults: &Faults) -> Fuse {
        let mut fuse = Fuse::default();
        fuse.handle_plan(&faults.watch().borrow());
        fuse
    }

    #[test]
    fn cut_that_was_switched_since_cannot_be_claimed() {
        let faults = Faults::new();
        faults.cut_each(CutAfter::Packets(1));
        let mut fuse = fuse(&faults);
        fuse.handle_packet();
        let reached = fuse.poll_cut().unwrap();
        assert!(faults.claim_cut(reached));
        assert!(faults.claim_cut(reached), "each connection can");
        faults.cut_each(CutAfter::Packets(100));
        assert!(!faults.claim_cut(reached));
    }

    #[test]
    fn single_cut_is_claimed_once() {
        let faults = Faults::new();
        faults.cut_once(CutAfter::Bytes(0));
        let reached = fuse(&faults).poll_cut().unwrap();
        assert!(faults.claim_cut(reached));
        assert!(!faults.claim_cut(reached));
        assert_eq!(fuse(&faults).poll_cut(), None, "later connections are spared");
    }

    #[test]
    fn switch_begins_to_count_anew() {
        let faults = Faults::new();
        faults.cut_each(CutAfter::Bytes(10));
        let mut fuse = fuse(&faults);
        assert_eq!(fuse.handle_received(9), 0);
        faults.cut_each(CutAfter::Bytes(10));
        fuse.handle_plan(&faults.watch().borrow());
        assert_eq!(fuse.handle_received(9), 0);
        assert_eq!(fuse.poll_cut(), None);
        assert_eq!(fuse.handle_received(4), 3);
        assert!(fuse.poll_cut().is_some());
    }

    #[test]
    fn other_switches_do_not_disturb_the_count() {
        let faults = Faults::new();
        faults.cut_each(CutAfter::SentBytes(10));
        let mut fuse = fuse(&faults);
        fuse.handle_sent(8);
        faults.drop_pubacks(DropPubacks::All);
        fuse.handle_plan(&faults.watch().borrow());
        assert_eq!(fuse.sendable(5), 2);
    }
}
