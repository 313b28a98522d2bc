//! The first reading of each kind of failure, and how to see it again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ledger::Mark;

/// What may be wrong with a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Accepted and never seen.
    Lost,
    /// Seen with another value than was sent.
    WrongValue,
    /// Seen again.
    Duplicate,
    /// Seen after a later one.
    OutOfOrder,
    /// Seen later than the scenario calls timely.
    Late,
    /// Refused by the gateway.
    Refused,
    /// Without an answer.
    Unanswered,
    /// Seen, and never sent.
    Unknown,
}

impl Failure {
    /// As it stands in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::WrongValue => "wrong value",
            Self::Duplicate => "duplicate",
            Self::OutOfOrder => "out of order",
            Self::Late => "late",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A reading that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// Its fleet; absent if no device of the scenario has its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// The device that measured it.
    pub device: String,
    /// Its name.
    pub name: String,
    /// Which one it is.
    pub mark: Mark,
    /// When it was meant to be sent, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended_us: Option<u64>,
    /// When it failed.
    pub at_us: u64,
    /// The value that was sent, where that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was seen instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub got: Option<String>,
    /// The command that plays only this device.
    pub replay: String,
}

impl Example {
    /// Whether it is to stand for its kind in place of `other`: by the time at which it was meant to
    /// be sent, and by name among equals, so that all shards agree.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        self.order() < other.order()
    }

    fn order(&self) -> (u64, &str, &str, Mark, u64) {
        let when = self.intended_us.unwrap_or(self.at_us);
        (when, &self.device, &self.name, self.mark, self.at_us)
    }
}

/// The command that plays only `device`.
pub(super) fn replay(file: &str, seed: u64, device: &str) -> String {
    format!("device-sim run {} --seed {seed} --only {}", quoted(file), quoted(device))
}

/// A word of a shell's command.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@%+=,-".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        assert_eq!(
            replay("scenarios/smoke.toml", 42, "th-0007"),
            "device-sim run scenarios/smoke.toml --seed 42 --only th-0007"
        );
        assert_eq!(
            replay("my file.toml", 0, "it's $HOME"),
            r"device-sim run 'my file.toml' --seed 0 --only 'it'\''s $HOME'"
        );
    }
}
