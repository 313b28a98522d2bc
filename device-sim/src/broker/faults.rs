//! Misbehaviour on purpose, switched while the broker runs.
//!
//! A [`Faults`] handle changes a [`FaultPlan`], which the tasks of the broker watch; a [`Switch`] is
//! one such change written as text. Pure machines apply the plan:
//! [`Conduct`](super::core::Conduct) to the protocol, [`Withhold`](super::withhold::Withhold) to
//! acknowledgements and [`Fuse`](super::fuse::Fuse) to the bytes of one connection.

mod matching;
mod plan;
mod switch;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Announced, Reason};

pub use matching::Matching;
pub use switch::{Switch, SwitchError};

pub(super) use matching::Trigger;
pub(super) use plan::{AckPlan, Cut, FaultPlan};

/// Which ones of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// None of them.
    #[default]
    None,
    /// Every nth, counted over all connections; `EveryNth(1)` is all of them and `EveryNth(0)` none.
    EveryNth(u64),
    /// All of them.
    All,
}

impl Which {
    /// Whether the one with this number, from 1, is meant.
    pub(super) const fn has(self, number: u64) -> bool {
        match self {
            Self::None | Self::EveryNth(0) => false,
            Self::EveryNth(n) => number.is_multiple_of(n),
            Self::All => true,
        }
    }
}

/// Where a connection ends, counted from the later of its start and the switch.
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
        self.plan.send_modify(FaultPlan::clear);
    }

    /// Accepts new TCP connections and closes them at once.
    pub fn turn_away(&self, on: bool) {
        self.plan.send_modify(|plan| plan.turn_away = on);
    }

    /// Answers every CONNECT with that reason, which has to be an error, or with the nearest code of
    /// MQTT 3.1.1, and closes.
    pub fn refuse(&self, reason: Option<Reason>) {
        self.plan.send_modify(|plan| plan.refusal = reason.filter(|reason| reason.is_error()));
    }

    /// Answers no CONNECT and leaves its connection open without a word.
    pub fn silence(&self, on: bool) {
        self.plan.send_modify(|plan| plan.silence = on);
    }

    /// Swallows PUBACKs.
    pub fn drop_pubacks(&self, which: Which) {
        self.plan.send_modify(|plan| plan.pubacks.drop = which);
    }

    /// Sends every PUBACK so much later; zero turns it off.
    pub fn delay_pubacks(&self, delay: Duration) {
        self.plan.send_modify(|plan| plan.pubacks.delay = delay);
    }

    /// Sends the PUBACKs of each connection in groups of `group`, each in reverse order. A group
    /// that does not fill up goes out 20 ms after its first; 0 and 1 turn it off.
    pub fn reorder_pubacks(&self, group: usize) {
        self.plan.send_modify(|plan| plan.pubacks.reorder = group);
    }

    /// Sends PUBACKs twice.
    pub fn duplicate_pubacks(&self, which: Which) {
        self.plan.send_modify(|plan| plan.pubacks.duplicate = which);
    }

    /// Sends, behind a PUBACK, one for an identifier that is not in use: half of all identifiers
    /// away from it.
    pub fn stray_pubacks(&self, which: Which) {
        self.plan.send_modify(|plan| plan.pubacks.stray = which);
    }

    /// Swallows PUBRECs, the first answer to QoS 2.
    pub fn drop_pubrecs(&self, which: Which) {
        self.plan.send_modify(|plan| plan.pubrecs.drop = which);
    }

    /// Sends every PUBREC so much later; zero turns it off.
    pub fn delay_pubrecs(&self, delay: Duration) {
        self.plan.send_modify(|plan| plan.pubrecs.delay = delay);
    }

    /// Swallows PUBCOMPs, the last answer to QoS 2.
    pub fn drop_pubcomps(&self, which: Which) {
        self.plan.send_modify(|plan| plan.pubcomps.drop = which);
    }

    /// Sends every PUBCOMP so much later; zero turns it off.
    pub fn delay_pubcomps(&self, delay: Duration) {
        self.plan.send_modify(|plan| plan.pubcomps.delay = delay);
    }

    /// Refuses messages: PUBACK or PUBREC has that reason, which has to be an error, and the message
    /// is neither recorded nor delivered. A client of MQTT 3.1.1, which cannot be told, is
    /// disconnected (MQTT 3.1.1 §3.3.5); at QoS 0 nobody learns.
    pub fn reject(&self, rejection: Option<(Reason, Matching)>) {
        let rejection = rejection.filter(|(reason, _)| reason.is_error());
        self.plan.send_modify(|plan| plan.rejection.set(rejection));
    }

    /// Closes the connection on which such a message arrives, without recording it, but after the
    /// answers to what came before.
    pub fn poison(&self, matching: Option<Matching>) {
        self.plan.send_modify(|plan| plan.poison.set(matching));
    }

    /// Lies: acknowledges a message and forgets it, so that whoever counts can be tested.
    pub fn lie(&self, matching: Option<Matching>) {
        self.plan.send_modify(|plan| plan.lie.set(matching));
    }

    /// Has lost the session of every client that comes back, and says so: session present is 0.
    pub fn lose_sessions(&self, on: bool) {
        self.plan.send_modify(|plan| plan.lose_sessions = on);
    }

    /// Says the opposite of what is true in session present; the session itself is as it should be.
    pub fn wrong_session_present(&self, on: bool) {
        self.plan.send_modify(|plan| plan.wrong_session_present = on);
    }

    /// Changes the limits that new connections of MQTT 5 are told and held to; open ones keep theirs.
    pub fn announce(&self, change: impl FnOnce(&mut Announced)) {
        self.plan.send_modify(|plan| change(&mut plan.announced));
    }

    /// Leaves the sockets open but reads nothing more from them, and does not enforce keep-alive,
    /// as if the broker hung.
    pub fn stall_reading(&self, on: bool) {
        self.plan.send_modify(|plan| plan.stall = on);
    }

    /// Cuts every connection, also the later ones, each at that point.
    pub fn cut_each(&self, after: CutAfter) {
        self.set_cut(Some(Cut { after, once: false, goodbye: None }));
    }

    /// Cuts the first connection that gets to that point, and no other one.
    pub fn cut_once(&self, after: CutAfter) {
        self.set_cut(Some(Cut { after, once: true, goodbye: None }));
    }

    /// Ends every connection, also the later ones, each after so many packets, with a DISCONNECT
    /// that has this reason. They are handled and answered; MQTT 3.1.1 has no DISCONNECT from a
    /// broker, so that there the connection is only closed. It takes the place of
    /// [`Faults::cut_each`], and that of this.
    pub fn disconnect_each(&self, reason: Reason, packets: u64) {
        let after = CutAfter::Packets(packets);
        self.set_cut(Some(Cut { after, once: false, goodbye: Some(reason) }));
    }

    /// The same with the first connection that gets there, and no other one.
    pub fn disconnect_once(&self, reason: Reason, packets: u64) {
        let after = CutAfter::Packets(packets);
        self.set_cut(Some(Cut { after, once: true, goodbye: Some(reason) }));
    }

    /// Turns [`Faults::cut_each`], [`Faults::cut_once`], [`Faults::disconnect_each`] and
    /// [`Faults::disconnect_once`] off.
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
        self.plan.send_modify(|plan| plan.cut.set(cut));
    }

    /// Claims the cut that a [`Fuse`](super::fuse::Fuse) has reached; `None` when another
    /// connection was first or when it was switched off.
    pub(super) fn claim_cut(&self, switched: u64) -> Option<Cut> {
        let mut claimed = None;
        self.plan.send_if_modified(|plan| {
            if plan.cut.switched() == switched {
                claimed = plan.cut.value().copied();
            }
            let once = claimed.is_some_and(|cut| cut.once);
            if once {
                plan.cut.set(None);
            }
            once
        });
        claimed
    }
}
