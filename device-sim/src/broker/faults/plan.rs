//! What is wrong with a broker, as its tasks see it.

use std::time::Duration;

use super::{CutAfter, Matching, Which};
use crate::broker::{Announced, Reason};

/// Everything that can be switched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::broker) struct FaultPlan {
    pub(in crate::broker) turn_away: bool,
    pub(in crate::broker) refusal: Option<Reason>,
    pub(in crate::broker) silence: bool,
    pub(in crate::broker) pubacks: AckPlan,
    pub(in crate::broker) pubrecs: AckPlan,
    pub(in crate::broker) pubcomps: AckPlan,
    pub(in crate::broker) rejection: Setting<(Reason, Matching)>,
    pub(in crate::broker) poison: Setting<Matching>,
    pub(in crate::broker) lie: Setting<Matching>,
    pub(in crate::broker) lose_sessions: bool,
    pub(in crate::broker) wrong_session_present: bool,
    pub(in crate::broker) announced: Announced,
    pub(in crate::broker) stall: bool,
    pub(in crate::broker) cut: Setting<Cut>,
    /// Counts [`Faults::cut_all`](super::Faults::cut_all).
    pub(in crate::broker) cut_all: u64,
    /// Counts [`Faults::forget_everything`](super::Faults::forget_everything).
    pub(in crate::broker) forget: u64,
}

/// What happens to one kind of acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::broker) struct AckPlan {
    pub(in crate::broker) drop: Which,
    pub(in crate::broker) delay: Duration,
    pub(in crate::broker) reorder: usize,
    pub(in crate::broker) duplicate: Which,
    pub(in crate::broker) stray: Which,
}

/// Where connections end, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Cut {
    pub(in crate::broker) after: CutAfter,
    /// Whether only the first connection to get there ends.
    pub(in crate::broker) once: bool,
    /// Whether it ends with DISCONNECT.
    pub(in crate::broker) goodbye: Option<Reason>,
}

/// A switch with a state behind it, which begins anew each time that it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Setting<T> {
    value: Option<T>,
    switched: u64,
}

impl<T> Default for Setting<T> {
    fn default() -> Self {
        Self { value: None, switched: 0 }
    }
}

impl<T> Setting<T> {
    pub(in crate::broker) fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// How often it was set.
    pub(in crate::broker) fn switched(&self) -> u64 {
        self.switched
    }

    pub(in crate::broker) fn set(&mut self, value: Option<T>) {
        self.value = value;
        self.switched += 1;
    }
}

impl FaultPlan {
    /// Switches everything off. What has happened has happened.
    pub(in crate::broker) fn clear(&mut self) {
        let Self { rejection, poison, lie, cut, cut_all, forget, .. } = std::mem::take(self);
        *self = Self { rejection, poison, lie, cut, cut_all, forget, ..Self::default() };
        self.rejection.set(None);
        self.poison.set(None);
        self.lie.set(None);
        self.cut.set(None);
    }
}
