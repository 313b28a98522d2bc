//! Requests that are not done: why, and what to do about it.

use std::fmt::Display;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::resources::Answer;
use crate::decode::DecodeError;
use crate::store::NotStored;

/// Seconds until a client should try again when the pipeline is full.
const BUSY_SECONDS: u16 = 2;
/// Seconds until a client should try again when the disk is full.
const FULL_SECONDS: u16 = 30;

/// Why a request is not done.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// What to count it by; none where that is done, or where it is no fault.
    pub(super) reason: Option<&'static str>,
    /// What is wrong, and what to do.
    pub(super) why: String,
    line: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    fn new(status: StatusCode, reason: &'static str, why: impl Display) -> Self {
        Self { status, reason: Some(reason), why: why.to_string(), line: None }
    }

    fn with(self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        Self { line: Some((name, value.into())), ..self }
    }

    fn uncounted(self) -> Self {
        Self { reason: None, ..self }
    }

    /// No such path.
    pub(super) fn not_found(why: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", why).uncounted()
    }

    /// Another method than these.
    pub(super) fn not_allowed(methods: &'static str) -> Self {
        let why = format!("this path has the methods {methods}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", why)
            .with(header::ALLOW, HeaderValue::from_static(methods))
    }

    /// A unit of time that is none.
    pub(super) fn precision() -> Self {
        let why = "`precision` is ns, us, ms or s, or one of n, u, m and h of InfluxDB 1";
        Self::new(StatusCode::BAD_REQUEST, "precision", why)
    }

    /// No format that it accepts.
    pub(super) fn not_acceptable() -> Self {
        let why = "there is application/json, application/senml+json and application/senml+cbor";
        Self::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", why).uncounted()
    }

    /// HTTP that is none.
    pub(super) fn malformed(why: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", why)
    }

    /// An outcome of a command that is none.
    pub(super) fn outcome(why: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "outcome", why)
    }

    /// A missing or wrong token.
    pub(super) fn unauthorized() -> Self {
        let why = "send the token of this source: `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", why)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"gateway\""))
    }

    /// A page of another server.
    pub(super) fn cross_origin() -> Self {
        let why = "a web page of another server may not post readings";
        Self::new(StatusCode::FORBIDDEN, "cross_origin", why)
    }

    /// A body that is longer than `max` bytes.
    pub(super) fn too_large(max: usize) -> Self {
        let why = format!("the body is larger than {max} bytes; see `link.max_body`");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", why)
    }

    /// More readings than one request may have.
    pub(super) fn too_many(max: usize) -> Self {
        let why = format!("more than {max} readings in one request; send fewer at a time");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many", why)
    }

    /// A body that takes too long.
    pub(super) fn slow() -> Self {
        let why = "the body took too long; see `link.timeout`";
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow_client", why)
            .with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// A media type without readings; `expected` are those that have some.
    pub(super) fn media_type(expected: &'static str) -> Self {
        let why = format!("the gateway cannot read this Content-Type; send {expected}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", why)
    }

    /// Packed in a way that it cannot unpack (RFC 9110 §15.5.16).
    pub(super) fn encoding() -> Self {
        let why = "the gateway cannot unpack this Content-Encoding; send gzip, or none";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoding", why)
            .with(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))
    }

    /// No reading in it; counted by who decoded it.
    pub(super) fn decode(error: &DecodeError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.reason(), error).uncounted()
    }

    /// No room now.
    pub(super) fn busy(why: impl Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", why)
            .with(header::RETRY_AFTER, BUSY_SECONDS)
    }

    /// Not on disk; counted by who told of it.
    pub(super) fn not_stored(why: NotStored) -> Self {
        match why {
            NotStored::Full => Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_stored", why)
                .with(header::RETRY_AFTER, FULL_SECONDS),
            NotStored::Failed => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "not_stored", why),
        }
        .uncounted()
    }

    /// The status and the reason.
    pub(super) fn into_words(self) -> (String, String) {
        (self.status.as_str().to_owned(), self.why)
    }

    /// The answer.
    pub(super) fn into_answer(self) -> Answer {
        let body = format!("{}\n", json!({ "error": self.why }));
        let mut answer = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
        *answer.status_mut() = self.status;
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().extend(self.line);
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }
}
