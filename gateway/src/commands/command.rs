//! What is kept of a command.

use std::fmt;
use std::sync::Arc;

use proto::{Timestamp, Value};
use serde::{Deserialize, Serialize};

use crate::config::Id;

/// Most states of a command that are kept; intermediate ones beyond that are left out.
const MAX_STEPS: usize = 16;

/// What identifies a command: whom it is for, and the identifier that whoever asked gave it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Key {
    /// A device, or a group.
    pub(crate) device: Arc<str>,
    pub(crate) id: Arc<str>,
}

/// How far a command is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CommandState {
    /// It is on disk.
    Accepted,
    /// It waits for the device, or for its turn.
    Queued,
    /// The device has it.
    Delivered,
    /// The device has done it.
    Done,
    /// It was refused, or something went wrong.
    Failed,
    /// Its deadline has passed.
    Expired,
}

/// A state that a command came to.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Step {
    pub(crate) state: CommandState,
    pub(crate) time: Timestamp,
    /// What the device answered.
    pub(crate) result: Option<serde_json::Value>,
    /// Why it failed, or waits.
    pub(crate) error: Option<Failure>,
}

/// Why something is not done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// For programs; docs/topics.md has all of them.
    pub(crate) code: String,
    /// For people.
    pub(crate) detail: String,
}

/// Where else its states are published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ReplyTo {
    /// Response Topic of MQTT 5.
    pub(crate) topic: String,
    /// Correlation Data of MQTT 5.
    pub(crate) correlation: Option<Vec<u8>>,
}

/// Which commands of a device go first.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

/// A command.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Command {
    pub(crate) key: Key,
    pub(crate) operation: Id,
    pub(crate) value: Option<Value>,
    /// The broker that it came from; `None` for one of this machine.
    pub(crate) broker: Option<Id>,
    pub(crate) reply_to: Option<ReplyTo>,
    pub(crate) priority: Priority,
    pub(crate) deadline: Timestamp,
    /// How often it was handed to the device's source.
    pub(crate) attempts: u32,
    /// Whether the source has begun to send it, and has not said what became of that.
    pub(crate) is_begun: bool,
    /// What its source has to know when it is handed to it again: see [`Order::begin_as`](super::Order::begin_as).
    pub(crate) mark: Option<String>,
    /// The group that it is a part of.
    pub(crate) group: Option<Arc<str>>,
    /// The devices of a command to a group; empty for one to a device.
    pub(crate) members: Vec<Arc<str>>,
    pub(crate) steps: Vec<Step>,
    /// How many of the steps are published.
    pub(crate) published: usize,
}

impl CommandState {
    /// Whether no other follows.
    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Expired)
    }

    /// As it is published.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }
}

impl Command {
    /// How far it is.
    pub(crate) fn state(&self) -> CommandState {
        self.steps.last().map_or(CommandState::Accepted, |step| step.state)
    }

    /// When it was accepted.
    pub(crate) fn accepted(&self) -> Timestamp {
        self.steps.first().map_or(Timestamp::from_nanos(0), |step| step.time)
    }

    /// When it came to an end.
    pub(crate) fn ended(&self) -> Option<Timestamp> {
        self.steps.last().filter(|step| step.state.is_final()).map(|step| step.time)
    }

    /// It comes to another state. True if that is news.
    pub(super) fn step(&mut self, step: Step) -> bool {
        let is_news = !self.state().is_final()
            && (self.state() != step.state || self.steps.is_empty())
            && (step.state.is_final() || self.steps.len() < MAX_STEPS);
        if is_news {
            self.steps.push(step);
        }
        is_news
    }

    /// Whether somebody asks for the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same_value = match (&self.value, &other.value) {
            (Some(Value::Number(one)), Some(Value::Number(two))) => one.compare(*two).is_eq(),
            (one, two) => one == two,
        };
        self.operation == other.operation && same_value
    }
}

impl Step {
    /// A state with nothing to say of it.
    pub(super) const fn of(state: CommandState, time: Timestamp) -> Self {
        Self { state, time, result: None, error: None }
    }

    /// With a reason.
    pub(super) fn because(self, code: &str, detail: impl fmt::Display) -> Self {
        Self { error: Some(Failure::new(code, detail)), ..self }
    }
}

impl Failure {
    pub(crate) fn new(code: &str, detail: impl fmt::Display) -> Self {
        Self { code: code.to_owned(), detail: detail.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl Key {
    pub(crate) fn new(device: &str, id: &str) -> Self {
        Self { device: device.into(), id: id.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.id, self.device)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::commands) fn at(seconds: i64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    pub(in crate::commands) fn command(device: &str, id: &str) -> Command {
        Command {
            key: Key::new(device, id),
            operation: "valve".parse().unwrap(),
            value: Some(Value::Boolean(true)),
            broker: Some("cloud".parse().unwrap()),
            reply_to: Some(ReplyTo { topic: "app/7".to_owned(), correlation: Some(vec![0, 255]) }),
            priority: Priority::High,
            deadline: at(60),
            attempts: 2,
            is_begun: true,
            mark: Some("3 17".to_owned()),
            group: Some("north".into()),
            members: vec!["a".into()],
            steps: vec![Step::of(CommandState::Accepted, at(1))],
            published: 1,
        }
    }

    #[test]
    fn nothing_follows_the_last_state() {
        let mut command = command("a", "1");
        assert!(command.step(Step::of(CommandState::Queued, at(2))));
        assert!(!command.step(Step::of(CommandState::Queued, at(3))), "that is no news");
        assert!(command.step(Step::of(CommandState::Expired, at(4))));
        assert!(!command.step(Step::of(CommandState::Done, at(5))));
        assert_eq!(command.state(), CommandState::Expired);
        assert_eq!(command.ended(), Some(at(4)));
    }

    #[test]
    fn a_command_that_goes_to_and_fro_keeps_room_for_its_end() {
        let mut command = command("a", "1");
        for n in 0..100 {
            command.step(Step::of(CommandState::Queued, at(n)));
            command.step(Step::of(CommandState::Delivered, at(n)));
        }
        assert_eq!(command.steps.len(), MAX_STEPS);
        assert!(command.step(Step::of(CommandState::Done, at(100))));
    }
}
