//! Responses, to send and as received.

use alloc::vec::Vec;

use super::{Code, OptionNumber, Options};

/// A response (RFC 7252 §5.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// Of class 2, 4 or 5; an unknown one counts as the `.00` of its class (RFC 7252 §5.2).
    pub code: Code,
    /// All options.
    pub options: Options,
    /// The payload, empty if there is none.
    pub payload: Vec<u8>,
}

impl Response {
    /// A response without options and payload.
    pub const fn new(code: Code) -> Self {
        Self { code, options: Options::new(), payload: Vec::new() }
    }

    /// Sets Content-Format.
    pub fn content_format(mut self, format: u16) -> Self {
        self.options.push_uint(OptionNumber::CONTENT_FORMAT, format.into());
        self
    }

    /// Sets Max-Age, in seconds. In a 5.03 or 4.29: when to try again.
    pub fn max_age(mut self, seconds: u32) -> Self {
        self.options.push_uint(OptionNumber::MAX_AGE, seconds);
        self
    }

    /// Adds any option.
    pub fn option(mut self, number: OptionNumber, value: &[u8]) -> Self {
        self.options.push(number, value);
        self
    }

    /// Sets the payload.
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Sets a diagnostic payload: text without Content-Format (RFC 7252 §5.5.2).
    pub fn diagnostic(self, text: &str) -> Self {
        self.payload(text)
    }
}
