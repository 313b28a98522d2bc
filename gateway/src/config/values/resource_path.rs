//! The path of a CoAP resource.

use std::fmt;
use std::str::FromStr;

use proto::coap::{OptionNumber, Request};

use super::text_value;

/// The longest segment and argument (RFC 7252 §5.10.1).
const MAX_OPTION: usize = 255;
/// The longest path: it has to fit into a message beside other options.
const MAX_LENGTH: usize = 512;

/// The path of a resource, and the query where there is one: `/sensors/temp?unit=c`. Characters
/// that a URI cannot hold are percent-encoded (RFC 3986 §2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourcePath(String);

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResourcePathError {
    #[error("expected a path from the root of the node, such as \"/sensors/temp\"")]
    Relative,
    #[error(
        "expected a path alone, such as \"/sensors/temp\"\nwrite the address of the node in `nodes`"
    )]
    Address,
    #[error(
        "expected characters of a URI; write {0:?} as % and the hexadecimal digits of its bytes"
    )]
    Character(char),
    #[error("expected two hexadecimal digits of UTF-8 text after `%`")]
    Percent,
    #[error("expected no segment `.` or `..`")]
    Dots,
    #[error(
        "expected at most {MAX_LENGTH} characters, and at most {MAX_OPTION} bytes in a segment or argument"
    )]
    TooLong,
}

impl ResourcePath {
    /// Where a node has its links (RFC 6690 §4).
    pub(crate) fn links() -> Self {
        Self("/.well-known/core".to_owned())
    }

    /// The request for this resource (RFC 7252 §6.4).
    pub(crate) fn request(&self, mut request: Request) -> Request {
        let (path, query) = self.parts();
        if path != "/" {
            for segment in path.split('/').skip(1) {
                request = request.option(OptionNumber::URI_PATH, &decode(segment));
            }
        }
        for argument in query.into_iter().flat_map(|query| query.split('&')) {
            request = request.option(OptionNumber::URI_QUERY, &decode(argument));
        }
        request
    }

    /// What a reading of the resource is called where nothing else names it: the path without the
    /// first `/`, decoded.
    pub(crate) fn name(&self) -> String {
        let name =
            String::from_utf8_lossy(&decode(self.0.get(1..).unwrap_or_default())).into_owned();
        if name.is_empty() { "/".to_owned() } else { name }
    }

    /// The path and the query, as written.
    fn parts(&self) -> (&str, Option<&str>) {
        match self.0.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&self.0, None),
        }
    }

    fn check(&self) -> Result<(), ResourcePathError> {
        let (path, query) = self.parts();
        let segments = path.split('/').skip(1);
        if segments.clone().any(|segment| matches!(segment, "." | "..")) {
            return Err(ResourcePathError::Dots);
        }
        let arguments = query.into_iter().flat_map(|query| query.split('&'));
        for part in segments.chain(arguments) {
            let decoded = decode(part);
            if decoded.len() > MAX_OPTION {
                return Err(ResourcePathError::TooLong);
            }
            let digits = part.split('%').skip(1);
            let is_digits = |rest: &str| {
                rest.get(..2).is_some_and(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))
            };
            if !digits.into_iter().all(is_digits) || std::str::from_utf8(&decoded).is_err() {
                return Err(ResourcePathError::Percent);
            }
        }
        Ok(())
    }
}

/// The bytes that a part of a URI stands for.
fn decode(part: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let pair = pair.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok());
        decoded.push(pair.unwrap_or(byte));
        rest = if pair.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    decoded
}

impl FromStr for ResourcePath {
    type Err = ResourcePathError;

    fn from_str(text: &str) -> Result<Self, ResourcePathError> {
        // RFC 3986 §3.3, §3.4
        let in_uri = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/?%".contains(c);
        if text.contains("://") {
            return Err(ResourcePathError::Address);
        }
        if !text.starts_with('/') || text.starts_with("//") {
            return Err(ResourcePathError::Relative);
        }
        if let Some(other) = text.chars().find(|c| !in_uri(*c)) {
            return Err(ResourcePathError::Character(other));
        }
        if text.len() > MAX_LENGTH {
            return Err(ResourcePathError::TooLong);
        }
        let path = Self(text.to_owned());
        path.check().map(|()| path)
    }
}

impl fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_value!(ResourcePath, "path", "expected a path such as \"/sensors/temp\"", {
    "pattern": "^/",
});

#[cfg(test)]
mod tests {
    use proto::coap::Method;

    use super::*;

    #[test]
    fn a_path_becomes_options_and_a_name() {
        // RFC 7252 §6.4
        for (text, segments, queries, name) in [
            ("/", &[][..], &[][..], "/"),
            ("/time", &["time"], &[], "time"),
            ("/a/b%20c?x=1&y=%26", &["a", "b c"], &["x=1", "y=&"], "a/b c?x=1&y=&"),
            ("/a/", &["a", ""], &[], "a/"),
            ("/%C2%B0?", &["°"], &[""], "°?"),
        ] {
            let path: ResourcePath = text.parse().unwrap();
            let request = path.request(Request::new(Method::Get));
            assert_eq!(request.segments().collect::<Vec<_>>(), segments, "{text}");
            assert_eq!(request.queries().collect::<Vec<_>>(), queries, "{text}");
            assert_eq!((path.name().as_str(), path.to_string().as_str()), (name, text));
        }
    }

    #[test]
    fn what_is_no_path_is_refused_by_name() {
        use ResourcePathError as E;
        for (text, error) in [
            ("", E::Relative),
            ("temp", E::Relative),
            ("//host/temp", E::Relative),
            ("coap://h/temp", E::Address),
            ("/a b", E::Character(' ')),
            ("/a#b", E::Character('#')),
            ("/°", E::Character('°')),
            ("/a%2", E::Percent),
            ("/a%zz", E::Percent),
            ("/%ff", E::Percent),
            ("/a/../b", E::Dots),
        ] {
            assert_eq!(text.parse::<ResourcePath>(), Err(error), "{text}");
        }
        let long = format!("/{}", "x".repeat(256));
        assert_eq!(long.parse::<ResourcePath>(), Err(E::TooLong));
    }
}
