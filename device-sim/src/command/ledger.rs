//! The ledger of commands: what was asked for, what the gateway said of it, and what devices did.
//!
//! A command is known by its id, which is unique in a run; a response for another device than the one that was
//! asked for, or of an id that nobody has sent, is none of this run. States are kept in the order in which
//! they came. The last one is that of the last response with a last state: an earlier state that is
//! published again after it changes nothing.
//!
//! A response is published at least once, so the same state twice in a row is one. Of more than
//! `MAX_STATES` the first ones are kept, and what is last is known all the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::{CommandExample, CommandMiss, Commands};

/// States of a command that are kept.
const MAX_STATES: usize = 16;

/// What the gateway says of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is on disk.
    Accepted,
    /// It waits.
    Queued,
    /// The device has it.
    Delivered,
    /// The device has done it.
    Done,
    /// It was refused, or went wrong.
    Failed,
    /// It failed, and nobody knows whether it was done; in a response `failed` with this code.
    UnknownOutcome,
    /// Its deadline has passed.
    Expired,
}

/// All commands of a run, as many as were [sent](super::MAX_COMMANDS).
#[derive(Clone, Debug, Default)]
pub struct CommandLedger {
    commands: BTreeMap<String, Row>,
    /// Commands without a last state.
    open: usize,
    unasked: u64,
    first_unasked: Option<CommandExample>,
}

#[derive(Clone, Debug)]
struct Row {
    device: String,
    states: Vec<State>,
    last: Option<State>,
    carried_out: u64,
}

#[derive(Deserialize)]
struct Response {
    device: String,
    id: String,
    state: State,
    #[serde(default)]
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
}

impl State {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Expired => "expired",
        }
    }

    const fn is_last(self) -> bool {
        match self {
            Self::Accepted | Self::Queued | Self::Delivered => false,
            Self::Done | Self::Failed | Self::UnknownOutcome | Self::Expired => true,
        }
    }
}

impl CommandLedger {
    /// A request is about to be published; before it is, so that nothing comes earlier.
    pub fn handle_sent(&mut self, device: &str, id: &str) {
        let device = device.to_owned();
        let row = Row { device, states: Vec::new(), last: None, carried_out: 0 };
        if self.commands.insert(id.to_owned(), row).is_none() {
            self.open += 1;
        }
    }

    /// The gateway says how far a command is.
    ///
    /// # Errors
    /// When it is no response as `docs/topics.md` has it.
    pub fn handle_response(&mut self, payload: &[u8]) -> Result<(), serde_json::Error> {
        let Response { device, id, state, error } = serde_json::from_slice(payload)?;
        let is_unknown = error.is_some_and(|error| error.code == "unknown_outcome");
        let is_unknown = is_unknown && state == State::Failed;
        let state = if is_unknown { State::UnknownOutcome } else { state };
        let Some(row) = self.commands.get_mut(&id).filter(|row| row.device == device) else {
            return Ok(());
        };
        if row.states.last() != Some(&state) && row.states.len() < MAX_STATES {
            row.states.push(state);
        }
        if state.is_last() && row.last.replace(state).is_none() {
            self.open -= 1;
        }
        Ok(())
    }

    /// A device has carried a command out.
    pub fn handle_carried_out(&mut self, device: &str, id: &str) {
        match self.commands.get_mut(id).filter(|row| row.device == device) {
            Some(row) => row.carried_out += 1,
            None => {
                self.unasked += 1;
                self.first_unasked.get_or_insert_with(|| CommandExample {
                    id: id.to_owned(),
                    device: device.to_owned(),
                    states: Vec::new(),
                    carried_out: 1,
                });
            }
        }
    }

    /// How often a device has carried out a command.
    pub fn carried_out(&self, device: &str, id: &str) -> u64 {
        self.commands.get(id).filter(|row| row.device == device).map_or(0, |row| row.carried_out)
    }

    /// Whether every command has a last state.
    pub const fn is_settled(&self) -> bool {
        self.open == 0
    }

    /// What became of them so far.
    pub fn verdict(&self) -> Commands {
        let mut verdict = Commands { unasked: self.unasked, ..Commands::default() };
        let unasked = self.first_unasked.clone();
        verdict.examples.extend(unasked.map(|first| (CommandMiss::Unasked, first)));
        for (id, row) in &self.commands {
            verdict.sent += 1;
            match row.last {
                Some(State::Done) => verdict.done += 1,
                Some(State::Failed) => verdict.failed += 1,
                Some(State::UnknownOutcome) => verdict.unknown += 1,
                Some(State::Expired) => verdict.expired += 1,
                Some(State::Accepted | State::Queued | State::Delivered) | None => {
                    verdict.no_outcome += 1;
                }
            }
            let is_false = row.last == Some(State::Done) && row.carried_out == 0;
            verdict.false_done += u64::from(is_false);
            verdict.repeated += u64::from(row.carried_out > 1);
            let misses = [
                (row.last.is_none(), CommandMiss::NoOutcome),
                (row.carried_out > 1, CommandMiss::Repeated),
                (is_false, CommandMiss::FalseDone),
            ];
            for (_, miss) in misses.into_iter().filter(|(is_one, _)| *is_one) {
                verdict.examples.entry(miss).or_insert_with(|| CommandExample {
                    id: id.clone(),
                    device: row.device.clone(),
                    states: row.states.clone(),
                    carried_out: row.carried_out,
                });
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests;
