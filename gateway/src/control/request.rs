//! What a client of the control socket may ask, and how an answer ends.

use serde::{Deserialize, Serialize};

use crate::store::Selection;

/// A request: one line such as `{"request":"status"}`.
///
/// A command that asks a running gateway is a variant here, with an arm in the server; what it
/// needs to know are the variant's fields.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// Where the gateway stands: one line.
    Status,
    /// Delete what is kept of a broker that is not configured: one line, [`Forgotten`].
    Forget {
        /// Its name, as the status shows it.
        broker: String,
    },
    /// Whether the store is sound: one line, a [`Verdict`](crate::store::Verdict).
    StoreVerify,
    /// Records of the store, one a line.
    StoreExport(Selection),
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
