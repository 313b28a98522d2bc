//! Where a POST created something: Location-Path and Location-Query (RFC 7252 §5.10.7).

use alloc::string::String;
use core::fmt::Write as _;

use super::{OptionNumber, Response};

impl Response {
    /// Adds the segments of the path of what was created, such as `rd/4711`; a leading `/` does
    /// not count.
    pub fn location_path(mut self, path: &str) -> Self {
        self.options.push_path(OptionNumber::LOCATION_PATH, path);
        self
    }

    /// Adds an argument of the query of what was created.
    pub fn location_query(self, query: &str) -> Self {
        self.option(OptionNumber::LOCATION_QUERY, query.as_bytes())
    }

    /// The location as a relative reference, such as `/rd/4711?a=b`, with everything escaped that
    /// has to be (RFC 7252 §6.5); `None` if the response has none or one that leads elsewhere: a
    /// segment `.` or `..` (§5.10.7).
    pub fn location(&self) -> Option<String> {
        let mut location = String::new();
        for segment in self.options.all(OptionNumber::LOCATION_PATH) {
            if segment == b"." || segment == b".." {
                return None;
            }
            location.push('/');
            push_escaped(&mut location, segment, b"!$&'()*+,;=:@");
        }
        let mut separator = '?';
        for argument in self.options.all(OptionNumber::LOCATION_QUERY) {
            location.push(separator);
            push_escaped(&mut location, argument, b"!$'()*+,;=:@/?");
            separator = '&';
        }
        (!location.is_empty()).then_some(location)
    }
}

/// Adds bytes, with all escaped but unreserved characters and those in `allowed` (RFC 3986 §2.1).
fn push_escaped(text: &mut String, bytes: &[u8], allowed: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || allowed.contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::Code;

    fn created() -> Response {
        Response::new(Code::CREATED)
    }

    #[test]
    fn a_location_reads_as_a_relative_reference() {
        // RFC 7252 §5.10.7, §6.5
        let response = created().location_path("/rd/4711").location_query("a=b");
        assert_eq!(response.location().as_deref(), Some("/rd/4711?a=b"));
        assert_eq!(created().location(), None);
    }

    #[test]
    fn what_would_change_the_meaning_is_escaped() {
        // RFC 7252 §6.5: `/` in a segment, `&` in an argument.
        let response = created()
            .option(OptionNumber::LOCATION_PATH, b"a/b%")
            .option(OptionNumber::LOCATION_PATH, "°".as_bytes())
            .location_query("x=1&2");
        assert_eq!(response.location().as_deref(), Some("/a%2Fb%25/%C2%B0?x=1%262"));
    }

    #[test]
    fn a_location_does_not_lead_elsewhere() {
        // RFC 7252 §5.10.7: a Location-Path must not be . or ..
        assert_eq!(created().location_path("a/../b").location(), None);
    }
}
