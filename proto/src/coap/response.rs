//! Responses, to send and as received.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Code, ETag, OptionNumber, Options};

/// Max-Age where a response has none (RFC 7252 §5.10.5).
const DEFAULT_MAX_AGE_S: u32 = 60;

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

    /// Sets ETag (RFC 7252 §5.10.6.1).
    pub fn etag(self, etag: ETag) -> Self {
        self.option(OptionNumber::ETAG, &etag)
    }

    /// Sets Size1: the largest body that the server takes, in a 4.13 (RFC 7252 §5.10.9).
    pub fn size1(mut self, bytes: u32) -> Self {
        self.options.push_uint(OptionNumber::SIZE1, bytes);
        self
    }

    /// How long the response stays fresh, in a 5.03 or 4.29 how long to wait: Max-Age, 60 s where
    /// there is none (RFC 7252 §5.10.5).
    pub fn freshness(&self) -> Duration {
        let seconds = self.options.first_uint(OptionNumber::MAX_AGE);
        Duration::from_secs(seconds.unwrap_or(DEFAULT_MAX_AGE_S).into())
    }

    /// When the request may be made again: Max-Age of a 4.29 (RFC 8516 §3) or 5.03 (RFC 7252
    /// §5.9.3.4).
    pub fn retry_after(&self) -> Option<Duration> {
        let is_busy = matches!(self.code, Code::TOO_MANY_REQUESTS | Code::SERVICE_UNAVAILABLE);
        is_busy.then(|| self.freshness())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_fresh_for_its_max_age_or_a_minute() {
        // RFC 7252 §5.10.5
        let response = Response::new(Code::CONTENT);
        assert_eq!(response.freshness(), Duration::from_secs(60));
        assert_eq!(response.clone().max_age(0).freshness(), Duration::ZERO);
        let longest = response.max_age(u32::MAX).freshness();
        assert_eq!(longest, Duration::from_secs(u32::MAX.into()));
    }

    #[test]
    fn a_busy_server_says_when_to_come_back() {
        // RFC 8516 §3, RFC 7252 §5.9.3.4
        for code in [Code::TOO_MANY_REQUESTS, Code::SERVICE_UNAVAILABLE] {
            let wait = Response::new(code).max_age(7).retry_after();
            assert_eq!(wait, Some(Duration::from_secs(7)));
        }
        assert_eq!(Response::new(Code::NOT_FOUND).max_age(7).retry_after(), None);
    }
}
