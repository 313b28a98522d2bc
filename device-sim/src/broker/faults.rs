//! Misbehaviour on purpose, switched while the broker runs.
//!
//! A [`Faults`] handle changes a [`FaultPlan`], which the tasks of the broker watch. Two pure
//! machines apply it: [`Withhold`](super::withhold::Withhold) to PUBACKs and
//! [`Fuse`](super::fuse::Fuse) to the bytes of one connection.

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

    /// Claims the cut that a [`Fuse`](super::fuse::Fuse) has reached; `false` when another
    /// connection was first or when it was switched off.
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
