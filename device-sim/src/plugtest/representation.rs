//! The state of a resource as it travels.

use proto::coap::content_format::TEXT_PLAIN;
use proto::coap::{Code, ETag, Request, Response, Target};

/// A payload with its Content-Format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Representation {
    pub(super) format: u16,
    pub(super) payload: Vec<u8>,
}

impl Representation {
    /// Plain text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { format: TEXT_PLAIN, payload: text.into().into_bytes() }
    }

    /// What a request carries; text where it does not say.
    pub(super) fn of(request: &Request) -> Self {
        let format = request.options.content_format().unwrap_or(TEXT_PLAIN);
        Self { format, payload: request.payload.clone() }
    }

    pub(super) fn etag(&self) -> ETag {
        ETag::of(Some(self.format), &self.payload)
    }

    /// As the target of a conditional request.
    pub(super) fn target(this: Option<&Self>) -> Target {
        this.map_or(Target::Absent, |this| Target::Present(Some(this.etag())))
    }

    /// A response with it as the payload.
    pub(super) fn carried_by(&self, code: Code) -> Response {
        Response::new(code).content_format(self.format).payload(self.payload.clone())
    }

    /// The answer to a GET: 4.06 for another format (RFC 7252 §5.10.4), else 2.05.
    pub(super) fn answer(&self, request: &Request) -> Response {
        match request.negotiate(&[self.format]) {
            Ok(_) => self.carried_by(Code::CONTENT),
            Err(refusal) => refusal,
        }
    }

    /// The same with ETag, and 2.03 where the client has it still (RFC 7252 §5.6.2).
    pub(super) fn answer_tagged(&self, request: &Request) -> Response {
        let answer = self.answer(request);
        match request.still_valid(self.etag()) {
            Some(valid) if answer.code.is_success() => valid,
            Some(_) | None if answer.code.is_success() => answer.etag(self.etag()),
            Some(_) | None => answer,
        }
    }
}
