//! What became of the commands of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::text::count;
use crate::command::State;

/// How many commands there were, and how they ended. `sent` is the sum of `done`, `failed`, `expired`,
/// `unknown` and `no_outcome`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// Asked for.
    pub sent: u64,
    /// Done, as the gateway says.
    pub done: u64,
    /// Refused, or gone wrong.
    pub failed: u64,
    /// Not done in time.
    pub expired: u64,
    /// Failed with `unknown_outcome`: perhaps done.
    pub unknown: u64,
    /// Without a last state at the end.
    pub no_outcome: u64,
    /// Carried out more than once.
    pub repeated: u64,
    /// Done as the gateway says, and never carried out.
    pub false_done: u64,
    /// Carried out, and not asked for in this run; each time.
    pub unasked: u64,
    /// Of each kind of miss one.
    pub examples: BTreeMap<Miss, Example>,
}

/// What should not become of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Miss {
    /// See [`Commands::no_outcome`].
    NoOutcome,
    /// See [`Commands::repeated`].
    Repeated,
    /// See [`Commands::false_done`].
    FalseDone,
    /// See [`Commands::unasked`].
    Unasked,
}

/// A command of which that became.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub device: String,
    /// What the gateway said of it, in order.
    pub states: Vec<State>,
    /// How often the device carried it out.
    pub carried_out: u64,
}

impl Commands {
    /// Names and counts for people, and whether that is bad.
    pub(super) fn rows(&self) -> [(&'static str, u64, bool); 9] {
        [
            ("sent", self.sent, false),
            ("done", self.done, false),
            ("failed", self.failed, false),
            ("expired", self.expired, false),
            ("unknown", self.unknown, false),
            ("no_outcome", self.no_outcome, self.no_outcome > 0),
            ("repeated", self.repeated, false),
            ("false_done", self.false_done, self.false_done > 0),
            ("unasked", self.unasked, self.unasked > 0),
        ]
    }
}

impl AddAssign<Self> for Commands {
    fn add_assign(&mut self, other: Self) {
        for (own, more) in [
            (&mut self.sent, other.sent),
            (&mut self.done, other.done),
            (&mut self.failed, other.failed),
            (&mut self.expired, other.expired),
            (&mut self.unknown, other.unknown),
            (&mut self.no_outcome, other.no_outcome),
            (&mut self.repeated, other.repeated),
            (&mut self.false_done, other.false_done),
            (&mut self.unasked, other.unasked),
        ] {
            *own = own.saturating_add(more);
        }
        for (miss, example) in other.examples {
            let own = self.examples.entry(miss).or_insert_with(|| example.clone());
            *own = example.min(own.clone());
        }
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOutcome => "no_outcome",
            Self::Repeated => "repeated",
            Self::FalseDone => "false_done",
            Self::Unasked => "unasked",
        })
    }
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, device, states, carried_out } = self;
        let states: Vec<_> = states.iter().map(|state| state.name()).collect();
        let states = match states.as_slice() {
            [] => "nothing was said of it".to_owned(),
            states => states.join(", "),
        };
        let times = if *carried_out == 1 { "time" } else { "times" };
        write!(f, "{id} for {device}: {states}; carried out {} {times}", count(*carried_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_in_any_order_and_keep_one_example_of_each_kind() {
        let part = |id: &str, miss| {
            let (id, device) = (id.to_owned(), "n".to_owned());
            let example = Example { id, device, states: vec![State::Done], carried_out: 2 };
            Commands {
                sent: 2,
                done: 1,
                repeated: 1,
                examples: [(miss, example)].into(),
                ..Commands::default()
            }
        };
        let parts = [
            part("c-2", Miss::Repeated),
            part("c-1", Miss::Repeated),
            part("c-3", Miss::FalseDone),
        ];
        let sum = |parts: &mut dyn Iterator<Item = &Commands>| {
            parts.fold(Commands::default(), |mut sum, part| {
                sum += part.clone();
                sum
            })
        };
        let whole = sum(&mut parts.iter());
        assert_eq!(whole, sum(&mut parts.iter().rev()));
        assert_eq!((whole.sent, whole.done, whole.repeated), (6, 3, 3));
        let ids: Vec<_> = whole.examples.values().map(|example| &*example.id).collect();
        assert_eq!(ids, ["c-1", "c-3"]);
    }
}
