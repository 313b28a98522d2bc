//! How the broker misbehaves where only the protocol's state can.

use crate::broker::Reason;
use crate::broker::faults::{FaultPlan, Trigger};
use crate::broker::message::Message;

/// What a fault plan says about CONNECT, sessions and messages.
#[derive(Debug, Default)]
pub(in crate::broker) struct Conduct {
    pub(super) refusal: Option<Reason>,
    pub(super) silence: bool,
    pub(super) lose_sessions: bool,
    pub(super) wrong_session_present: bool,
    poison: Trigger,
    rejection: Trigger,
    rejected_with: Option<Reason>,
    lie: Trigger,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    /// Its connection is closed.
    Poison,
    /// It is refused.
    Reject(Reason),
    /// It is acknowledged and forgotten.
    Lie,
}

impl Conduct {
    /// Takes over what the plan says.
    pub(super) fn handle_plan(&mut self, plan: &FaultPlan) {
        self.refusal = plan.refusal;
        self.silence = plan.silence;
        self.lose_sessions = plan.lose_sessions;
        self.wrong_session_present = plan.wrong_session_present;
        self.poison.handle_setting(&plan.poison, |matching| matching);
        self.rejection.handle_setting(&plan.rejection, |(_, matching)| matching);
        self.rejected_with = plan.rejection.value().map(|&(reason, _)| reason);
        self.lie.handle_setting(&plan.lie, |matching| matching);
    }

    /// Decides about a message that has arrived.
    pub(super) fn judge(&mut self, message: &Message) -> Verdict {
        if self.poison.fires(message) {
            return Verdict::Poison;
        }
        if let Some(reason) = self.rejected_with
            && self.rejection.fires(message)
        {
            return Verdict::Reject(reason);
        }
        if self.lie.fires(message) { Verdict::Lie } else { Verdict::Accept }
    }
}
