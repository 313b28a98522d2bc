//! What a client of the control socket may ask, and how an answer ends.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::commands::SendRequest;
use crate::store::{DeadLetter, Selection};

/// A request: one line such as `{"request":"status"}`.
///
/// A command that asks a running gateway is a variant here, with an arm in the server; what it
/// needs to know are the variant's fields.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Where the gateway stands: one line.
    Status,
    /// The devices that were heard of last or have registered, one a line.
    Devices,
    /// Delete what is kept of a broker that is not configured: one line, [`Forgotten`].
    Forget {
        /// Its name, as the status shows it.
        broker: String,
    },
    /// Whether the store is sound: one line, a [`Verdict`](crate::store::Verdict).
    StoreVerify,
    /// Records of the store, one a line.
    StoreExport(Selection),
    /// Send a broker once more what was received in a time: one line,
    /// [`Resent`](crate::broker::Resent). It ends when the client hangs up.
    Replay {
        /// The broker's name.
        broker: String,
        /// From this time on, in nanoseconds since 1970.
        from_ns: Option<i64>,
        /// Before this time.
        to_ns: Option<i64>,
    },
    /// Dead letters, one a line.
    Letters(LetterChoice),
    /// Send dead letters again and delete those that arrive: one line for each broker. It ends when
    /// the client hangs up.
    LettersResend(LetterChoice),
    /// Delete dead letters: one line for each broker.
    LettersDrop(LetterChoice),
    /// Carry a command out: its states, one a line, until the last. It ends when the client hangs up; the
    /// command goes on.
    Send(SendRequest),
    /// Do not carry a command out: its state then, on one line.
    Cancel {
        /// The device or the group.
        device: String,
        /// The command's identifier.
        id: String,
    },
    /// The newest commands, one a line.
    Commands {
        /// Only those of this device or group.
        device: Option<String>,
        /// Most of them.
        limit: usize,
    },
    /// The packets of a broker's connection, one a line, until the client hangs up.
    Wire {
        /// The broker's name.
        broker: String,
    },
}

/// Which dead letters.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct LetterChoice {
    /// Only those of this broker.
    pub(crate) broker: Option<String>,
    /// Only those with these identifiers; all, if there are none.
    pub(crate) ids: BTreeSet<u64>,
}

impl LetterChoice {
    /// Whether a letter is meant.
    pub(super) fn takes(&self, letter: &DeadLetter) -> bool {
        self.broker.as_ref().is_none_or(|broker| *broker == letter.broker)
            && (self.ids.is_empty() || self.ids.contains(&letter.id))
    }
}

/// Whether there was something to forget: the broker is known, and not configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Forgotten {
    pub(crate) forgotten: bool,
}

/// The last line of an answer: `{"end":"complete"}` or `{"end":{"failed":"reason"}}`. No other line
/// begins like that.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Last {
    pub(super) end: End,
}

/// How an answer ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum End {
    /// That was all.
    Complete,
    /// It was not, for this reason.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines_that_others_can_write_too() {
        let table = [
            (r#"{"request":"status"}"#, Request::Status),
            (
                r#"{"request":"forget","broker":"old"}"#,
                Request::Forget { broker: "old".to_owned() },
            ),
            (r#"{"request":"store-verify"}"#, Request::StoreVerify),
            (r#"{"request":"store-export"}"#, Request::StoreExport(Selection::default())),
            (
                r#"{"request":"store-export","broker":"b","device":"th-*"}"#,
                Request::StoreExport(Selection {
                    broker: Some("b".to_owned()),
                    device: Some("th-*".parse().unwrap()),
                    ..Selection::default()
                }),
            ),
            (
                r#"{"request":"replay","broker":"b","from_ns":1}"#,
                Request::Replay { broker: "b".to_owned(), from_ns: Some(1), to_ns: None },
            ),
            (
                r#"{"request":"letters-drop","ids":[3,1]}"#,
                Request::LettersDrop(LetterChoice { broker: None, ids: BTreeSet::from([1, 3]) }),
            ),
        ];
        for (line, request) in table {
            assert_eq!(serde_json::from_str::<Request>(line).unwrap(), request, "{line}");
            let written = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&written).unwrap(), request, "{written}");
        }
        for line in ["", "status", r#"{"request":"stop"}"#, r#"{"request":"forget"}"#] {
            assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
        }
    }
}
