//! Requests, to send and as received.

use alloc::vec::Vec;

use super::{Method, OptionNumber, Options};

/// A request (RFC 7252 §5.1).
///
/// As received from an endpoint: all options are recognised and as their definition wants them,
/// and every segment of the path passed [`check_segment`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// Uri-Path, Uri-Query and all others.
    pub options: Options,
    /// The payload, empty if there is none.
    pub payload: Vec<u8>,
    /// Whether it travels in a Confirmable message.
    pub confirmable: bool,
}

impl Request {
    /// A Confirmable request for the root, without payload.
    pub const fn new(method: Method) -> Self {
        Self { method, options: Options::new(), payload: Vec::new(), confirmable: true }
    }

    /// Adds the segments of a path such as `r/th-1/temp`; a leading `/` does not count.
    pub fn path(mut self, path: &str) -> Self {
        self.options.push_path(OptionNumber::URI_PATH, path);
        self
    }

    /// Adds a Uri-Query such as `lt=60`.
    pub fn query(self, query: &str) -> Self {
        self.option(OptionNumber::URI_QUERY, query.as_bytes())
    }

    /// Sets Content-Format.
    pub fn content_format(mut self, format: u16) -> Self {
        self.options.push_uint(OptionNumber::CONTENT_FORMAT, format.into());
        self
    }

    /// Sets Accept.
    pub fn accept(mut self, format: u16) -> Self {
        self.options.push_uint(OptionNumber::ACCEPT, format.into());
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

    /// Sends it in a Non-confirmable message.
    pub const fn non_confirmable(mut self) -> Self {
        self.confirmable = false;
        self
    }

    /// The segments of the path (Uri-Path).
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.options.strings(OptionNumber::URI_PATH)
    }

    /// The arguments of the query (Uri-Query).
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        self.options.strings(OptionNumber::URI_QUERY)
    }

    /// The format that the response should have (RFC 7252 §5.10.4).
    pub fn accepts(&self) -> Option<u16> {
        self.options.first_uint(OptionNumber::ACCEPT)?.try_into().ok()
    }

    /// Checks all segments of the path and that the query is text.
    pub fn check_uri(&self) -> Result<(), UriFault> {
        self.options.all(OptionNumber::URI_PATH).try_for_each(|value| {
            check_segment(value)?;
            Ok(())
        })?;
        let is_text = |value: &[u8]| str::from_utf8(value).is_ok();
        if self.options.all(OptionNumber::URI_QUERY).all(is_text) {
            Ok(())
        } else {
            Err(UriFault::QueryNotText)
        }
    }
}

/// Why a URI is refused; `Display` is the diagnostic that the sender sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UriFault {
    /// RFC 7252 §3.2
    #[error("path segment is not UTF-8")]
    SegmentNotText,
    /// The character would change what topic a path maps to.
    #[error("path segment contains {0:?}")]
    SegmentCharacter(char),
    /// RFC 7252 §5.10.1
    #[error("path segment is . or ..")]
    SegmentDots,
    /// RFC 7252 §3.2
    #[error("query is not UTF-8")]
    QueryNotText,
}

/// The text of a path segment that maps to one level of an MQTT topic.
///
/// `/` would become two levels, `+` and `#` are wildcards and NUL is forbidden in topics: letting
/// one of them through would be a way round an access list.
pub fn check_segment(value: &[u8]) -> Result<&str, UriFault> {
    let text = str::from_utf8(value).map_err(|_| UriFault::SegmentNotText)?;
    if let Some(character) = text.chars().find(|c| matches!(c, '/' | '+' | '#' | '\0')) {
        return Err(UriFault::SegmentCharacter(character));
    }
    if text == "." || text == ".." {
        return Err(UriFault::SegmentDots);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_into_segments() {
        // RFC 7252 §6.4: a path of `/` has no segments, `/a/` has an empty second one.
        let segments = |path| {
            let request = Request::new(Method::Get).path(path);
            request.segments().map(alloc::string::String::from).collect::<Vec<_>>()
        };
        assert_eq!(segments("r/th-1/temp"), ["r", "th-1", "temp"]);
        assert_eq!(segments("/a/"), ["a", ""]);
        assert!(segments("/").is_empty() && segments("").is_empty());
    }

    #[test]
    fn segments_that_are_no_topic_level_are_refused() {
        for value in [&b"a/b"[..], b"+", b"a#", b"\0", b"..", b".", b"\xff", b"\xed\xa0\x80"] {
            assert!(check_segment(value).is_err(), "{value:?}");
        }
        for value in ["", "temp", "...", "a.b", "°C", "$SYS", "a b", "%2F"] {
            assert_eq!(check_segment(value.as_bytes()), Ok(value));
        }
    }

    #[test]
    fn queries_are_text() {
        let request = Request::new(Method::Get).option(OptionNumber::URI_QUERY, b"a=\xff");
        assert_eq!(request.check_uri(), Err(UriFault::QueryNotText));
        assert_eq!(Request::new(Method::Get).query("a=/+#").check_uri(), Ok(()));
    }
}
