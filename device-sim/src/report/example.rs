//! The first reading of each kind of failure, and how to see it again.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text;
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
    /// Whether those who look on are told of each.
    pub(super) const fn is_logged(self) -> bool {
        match self {
            Self::Lost | Self::WrongValue | Self::Duplicate | Self::Unknown => true,
            // A slow or full gateway makes many of them.
            Self::OutOfOrder | Self::Late | Self::Refused | Self::Unanswered => false,
        }
    }

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

    /// When it was meant to be sent, what was sent and what was seen, in a sentence.
    pub(super) fn story(&self) -> String {
        let since_start = |micros| text::duration(Duration::from_micros(micros));
        let mut parts = Vec::new();
        if let Some(intended) = self.intended_us {
            parts.push(format!("meant to be sent after {}", since_start(intended)));
        }
        if self.intended_us != Some(self.at_us) {
            parts.push(format!("noticed after {}", since_start(self.at_us)));
        }
        if let Some(expected) = &self.expected {
            parts.push(format!("expected {expected}"));
        }
        if let Some(got) = &self.got {
            parts.push(format!("got {got}"));
        }
        parts.join(", ")
    }

    fn order(&self) -> (u64, &str, &str, Mark, u64) {
        let when = self.intended_us.unwrap_or(self.at_us);
        (when, &self.device, &self.name, self.mark, self.at_us)
    }
}

/// What came from elsewhere, on one line and without a terminal's orders.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|character| match character.is_control() {
            true => character.escape_default().collect::<Vec<_>>(),
            false => vec![character],
        })
        .collect()
}

/// The command that plays only `device` of what `command` plays.
pub(super) fn replay(command: &[String], seed: u64, device: &str) -> String {
    let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
    format!("{} --seed {seed} --only {}", words.join(" "), quoted(device))
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
        let words = |file: &str| ["device-sim", "run", file].map(str::to_owned);
        assert_eq!(
            replay(&words("scenarios/smoke.toml"), 42, "th-0007"),
            "device-sim run scenarios/smoke.toml --seed 42 --only th-0007"
        );
        assert_eq!(
            replay(&words("my file.toml"), 0, "it's $HOME"),
            r"device-sim run 'my file.toml' --seed 0 --only 'it'\''s $HOME'"
        );
    }
}
