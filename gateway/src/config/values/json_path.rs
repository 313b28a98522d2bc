//! Paths into JSON objects.

use std::fmt;
use std::str::FromStr;

use super::text_value;

/// Deeper than any sensor nests its JSON.
const MAX_SEGMENTS: usize = 16;

/// A path into a JSON value, with dots between keys and array indexes: `meta.sensors.0.id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<String>);

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonPathError {
    #[error("expected keys with dots between them, such as \"meta.id\", none of them empty")]
    EmptySegment,
    #[error("expected at most {MAX_SEGMENTS} keys with dots between them")]
    TooDeep,
}

impl JsonPath {
    /// Keys and indexes from the outside to the inside; at least one, none empty.
    pub(crate) fn segments(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for JsonPath {
    type Err = JsonPathError;

    fn from_str(text: &str) -> Result<Self, JsonPathError> {
        let segments: Vec<_> = text.split('.').map(str::to_owned).collect();
        if segments.iter().any(String::is_empty) {
            return Err(JsonPathError::EmptySegment);
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(JsonPathError::TooDeep);
        }
        Ok(Self(segments))
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

text_value!(JsonPath, "path", "expected a path such as \"meta.id\"", {
    "pattern": r"^[^.]+(\.[^.]+)*$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_keys_with_dots_between() {
        assert_eq!("a.b.0".parse::<JsonPath>().unwrap().segments(), ["a", "b", "0"]);
        for text in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(text.parse::<JsonPath>(), Err(JsonPathError::EmptySegment), "{text:?}");
        }
        assert_eq!(["a"; 17].join(".").parse::<JsonPath>(), Err(JsonPathError::TooDeep));
    }
}
