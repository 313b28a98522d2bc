//! Integers that stand for something.

use std::fmt;
use std::str::FromStr;

use super::text_value;

/// An integer as a key: `3`, `-1`, `0x1f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Code(i64);

/// A key is no integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an integer, such as 3 or 0x1f")]
pub(crate) struct CodeError;

impl Code {
    /// The integer.
    pub(crate) const fn integer(self) -> i64 {
        self.0
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let parsed = match text.strip_prefix("0x") {
            Some(digits) if !digits.starts_with(['+', '-']) => i64::from_str_radix(digits, 16),
            Some(_) => return Err(CodeError),
            None => return canonical(text).map(Self).ok_or(CodeError),
        };
        parsed.map(Self).map_err(|_| CodeError)
    }
}

/// A number that is written in the one way in which it is shown: `01` would be a second name of `1`.
pub(super) fn canonical<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_value!(Code, "integer", "expected an integer, such as 3 or 0x1f", {
    "pattern": "^(0|-?[1-9][0-9]*|0x[0-9A-Fa-f]+)$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_an_integer() {
        for (text, integer) in [("0", 0), ("-1", -1), ("0x1F", 31)] {
            assert_eq!(text.parse(), Ok(Code(integer)), "{text}");
        }
        for text in ["", "a", "1.5", "007", "-0", "+1", "0x", "0x-1", "99999999999999999999"] {
            assert_eq!(text.parse::<Code>(), Err(CodeError), "{text}");
        }
    }
}
