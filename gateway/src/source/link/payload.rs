//! What answers to commands say.

use proto::link::{Reply, ReplyStatus};
use serde_json::Value as Json;

use crate::cbor;

/// Why something is not done: for programs, and for people.
pub(super) type Refusal = (&'static str, String);

/// The result in an RSP, or why there is none.
pub(super) fn outcome(payload: &[u8]) -> Result<Option<Json>, Refusal> {
    let reply = Reply::decode(payload).map_err(|fault| bad_answer(&fault.to_string()))?;
    match (reply.status, &reply.result) {
        (ReplyStatus::Done, None) => Ok(None),
        (ReplyStatus::Done, Some(result)) => {
            cbor::decode(result).map(Some).map_err(|error| bad_answer(&error.to_string()))
        }
        _ => Err(refusal(reply)),
    }
}

/// Why a node does not do it.
pub(super) fn refusal(reply: Reply) -> Refusal {
    let (code, usual) = match reply.status {
        ReplyStatus::UnknownCode => ("unknown_code", "the node has no operation with this `code`"),
        ReplyStatus::BadValue => ("bad_value", "the node does not take this value"),
        ReplyStatus::Failed => ("failed", "the node has failed to do it"),
        ReplyStatus::Other(status) => {
            let detail = reply.detail.unwrap_or_else(|| "the node refuses".to_owned());
            return ("refused", format!("status {status}: {detail}"));
        }
        ReplyStatus::Done | ReplyStatus::More | ReplyStatus::Checksum => {
            return bad_answer("a status that is none of this command");
        }
    };
    (code, reply.detail.unwrap_or_else(|| usual.to_owned()))
}

/// A node answers what it must not.
pub(super) fn bad_answer(why: &str) -> Refusal {
    ("bad_answer", format!("the RSP of the node cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::Value;
    use serde_json::json;

    fn done(result: &[u8]) -> Result<Option<Json>, Refusal> {
        outcome(&[b"\xa2\x00\x00\x01", result].concat())
    }

    #[test]
    fn a_result_is_json() {
        assert_eq!(done(b"\xa1\x61a\x82\x02\xf5"), Ok(Some(json!({ "a": [2, true] }))));
        let exact = Reply::default().with(&Value::Number("21.50".parse().unwrap()));
        assert_eq!(outcome(&exact.encode()), Ok(Some(json!(21.5))));
        assert_eq!(outcome(b"\xa1\x00\x00"), Ok(None));
    }

    #[test]
    fn what_is_no_result_is_a_bad_answer() {
        let deep = [vec![0x81; 100], vec![0]].concat();
        for result in [&b"\x1c"[..], &deep, b"\xc4\x81\x00", b"\xc4\x82\x1a\x7f\xff\xff\xff\x01"] {
            assert_eq!(done(result).unwrap_err().0, "bad_answer", "{result:x?}");
        }
        assert_eq!(outcome(b"").unwrap_err().0, "bad_answer");
    }

    #[test]
    fn a_node_that_refuses_says_why() {
        let refused = |payload: &[u8]| outcome(payload).unwrap_err();
        assert_eq!(refused(b"\xa1\x00\x01").0, "unknown_code");
        assert_eq!(refused(b"\xa2\x00\x03\x02\x63jam"), ("failed", "jam".to_owned()));
        let other = ("refused", "status 99: the node refuses".to_owned());
        assert_eq!(refused(b"\xa1\x00\x18\x63"), other);
    }
}
