//! What the answer of a node says of an order.

use std::time::Duration;

use proto::base64;
use proto::coap::content_format::{CBOR, JSON, SENML_CBOR, SENML_JSON};
use proto::coap::{CallError, FailReason, RequestError, Response};
use serde_json::{Map, Value as Json, json};

use super::calls::{Ended, Fault};
use crate::cbor;
use crate::commands::Order;

/// The pause before a request is tried that this gateway had no room for.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(1);

/// What becomes of an order.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Outcome {
    Done(Json),
    /// The node refuses, or answers what it must not.
    Failed {
        code: String,
        detail: String,
    },
    /// It was not done, and may be after this pause.
    Later {
        code: String,
        detail: String,
        pause: Duration,
    },
    /// There was no answer.
    Unreachable {
        code: String,
        detail: String,
    },
}

impl Outcome {
    /// What the end of a call says.
    pub(super) fn of(ended: Ended) -> Self {
        let failed = |code: &str, fault: Fault| {
            let (code, detail) = (code.to_owned(), fault.to_string());
            Self::Failed { code, detail }
        };
        match ended {
            Ok(response) => Self::of_response(&response),
            Err(Fault::Call(error)) => Self::of_error(error),
            Err(fault @ Fault::NotObservable) => failed("not_observable", fault),
            Err(fault @ Fault::Configured) => failed("configured", fault),
            Err(fault @ Fault::NotHere) => failed("not_here", fault),
            Err(fault @ Fault::NoRoom) => failed("no_room", fault),
        }
    }

    /// Tells the desk.
    pub(super) async fn report(self, order: Order) {
        match self {
            Self::Done(result) => order.done(Some(result)).await,
            Self::Failed { code, detail } => order.failed(&code, detail).await,
            Self::Later { code, detail, pause } => order.later(&code, detail, pause).await,
            Self::Unreachable { code, detail } => order.unreachable(&code, detail).await,
        }
    }

    fn of_response(response: &Response) -> Self {
        let code = response.code.to_string();
        if response.code.is_success() {
            return Self::Done(result(response));
        }
        // RFC 7252 §5.5.2: a diagnostic payload is text for people.
        let text = String::from_utf8_lossy(&response.payload);
        let detail = match text.trim() {
            "" => "the node refuses, and does not say why".to_owned(),
            text => text.to_owned(),
        };
        match response.retry_after() {
            Some(pause) => Self::Later { code, detail, pause },
            None => Self::Failed { code, detail },
        }
    }

    fn of_error(error: CallError) -> Self {
        let detail = error.to_string();
        let failed = |code: &str| Self::Failed { code: code.to_owned(), detail: detail.clone() };
        match error {
            CallError::Exchange(
                FailReason::Timeout
                | FailReason::NoResponse
                | FailReason::Cancelled
                | FailReason::Aborted
                | FailReason::ConnectionLost,
            ) => Self::Unreachable { code: "no_answer".to_owned(), detail },
            // RFC 7252 §4.2: the node has not processed it.
            CallError::Exchange(FailReason::Reset) => failed("rejected"),
            CallError::Exchange(FailReason::UnrecognisedOption)
            | CallError::Upload(_)
            | CallError::Download(_)
            | CallError::Changed => failed("bad_answer"),
            CallError::Request(RequestError::TooLarge { .. }) => failed("too_large"),
            CallError::Request(
                RequestError::QueueFull
                | RequestError::TooManyRequests
                | RequestError::TooManyPeers
                | RequestError::NotObserving
                | RequestError::Closing,
            ) => Self::Later { code: "no_room".to_owned(), detail, pause: NO_ROOM_PAUSE },
        }
    }
}

/// A success as JSON: its code, and what is in it.
fn result(response: &Response) -> Json {
    let mut result = Map::new();
    result.insert("code".to_owned(), json!(response.code.to_string()));
    let payload = response.payload.as_slice();
    if payload.is_empty() {
        return Json::Object(result);
    }
    let format = response.options.content_format();
    if let Some(format) = format {
        result.insert("content_format".to_owned(), json!(format));
    }
    let read = match format {
        Some(JSON | SENML_JSON) => serde_json::from_slice(payload).ok(),
        Some(CBOR | SENML_CBOR) => cbor::decode(payload).ok(),
        _ => std::str::from_utf8(payload).ok().map(Json::from),
    };
    match read {
        Some(read) => result.insert("payload".to_owned(), read),
        None => {
            let mut text = String::new();
            base64::encode(payload, &mut text);
            result.insert("base64".to_owned(), json!(text))
        }
    };
    Json::Object(result)
}

#[cfg(test)]
mod tests {
    use proto::coap::{Code, DownloadFault};

    use super::*;

    fn content(format: u16, payload: &[u8]) -> Response {
        Response::new(Code::CONTENT).content_format(format).payload(payload)
    }

    #[test]
    fn a_success_is_done_with_what_the_node_says() {
        for (response, result) in [
            (Response::new(Code::CHANGED), json!({"code": "2.04"})),
            (content(0, b"21.5"), json!({"code": "2.05", "content_format": 0, "payload": "21.5"})),
            (
                content(50, b"{\"a\":1}"),
                json!({"code": "2.05", "content_format": 50, "payload": {"a": 1}}),
            ),
            (
                content(60, b"\xa1\x61a\x01"),
                json!({"code": "2.05", "content_format": 60, "payload": {"a": 1}}),
            ),
            (
                content(50, b"{oops"),
                json!({"code": "2.05", "content_format": 50, "base64": "e29vcHM"}),
            ),
            (content(42, b"\xff"), json!({"code": "2.05", "content_format": 42, "base64": "_w"})),
        ] {
            assert_eq!(Outcome::of(Ok(response)), Outcome::Done(result));
        }
    }

    #[test]
    fn an_error_is_a_refusal_unless_the_node_says_when_to_come_back() {
        let refused = Outcome::of(Ok(Response::new(Code::NOT_FOUND).diagnostic("no such valve")));
        let (code, detail) = ("4.04".to_owned(), "no such valve".to_owned());
        assert_eq!(refused, Outcome::Failed { code, detail });
        // RFC 7252 §5.9.3.4, RFC 8516 §3
        for (code, text) in [(Code::SERVICE_UNAVAILABLE, "5.03"), (Code::TOO_MANY_REQUESTS, "4.29")]
        {
            let outcome = Outcome::of(Ok(Response::new(code).max_age(7).diagnostic("calibrating")));
            let (detail, pause) = ("calibrating".to_owned(), Duration::from_secs(7));
            assert_eq!(outcome, Outcome::Later { code: text.to_owned(), detail, pause });
        }
    }

    #[test]
    fn no_answer_is_told_from_one_that_cannot_be() {
        let code = |error: CallError| match Outcome::of(Err(error.into())) {
            Outcome::Unreachable { code, .. } => format!("unreachable {code}"),
            Outcome::Failed { code, .. } => format!("failed {code}"),
            Outcome::Done(_) | Outcome::Later { .. } => panic!("{error}"),
        };
        for reason in [FailReason::Timeout, FailReason::NoResponse] {
            assert_eq!(code(reason.into()), "unreachable no_answer");
        }
        assert_eq!(code(FailReason::Reset.into()), "failed rejected");
        assert_eq!(code(DownloadFault::NoRoom.into()), "failed bad_answer");
        assert_eq!(code(RequestError::TooLarge { limit: 9 }.into()), "failed too_large");
    }
}
