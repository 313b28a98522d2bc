//! Names of things in the configuration.

use std::fmt;
use std::str::FromStr;

use super::text_value;

/// The longest name: it becomes a level of topics and a part of client identifiers.
const MAX_LENGTH: usize = 64;

/// A name of `[a-z0-9_-]`, so that it can be a topic level, an environment variable and a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("expected a name of 1 to {MAX_LENGTH} characters: a-z, 0-9, `_` and `-`")]
    Length,
    #[error("expected a name of a-z, 0-9, `_` and `-`, without {0:?}")]
    Character(char),
}

impl Id {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(IdError::Length);
        }
        let allowed = |c: &char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-');
        match text.chars().find(|c| !allowed(c)) {
            Some(other) => Err(IdError::Character(other)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for Id {
    fn default() -> Self {
        Self("gateway".to_owned())
    }
}

text_value!(Id, "name", "expected a name of a-z, 0-9, `_` and `-`", {
    "pattern": "^[a-z0-9_-]{1,64}$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_case_and_short() {
        assert_eq!("th-1_a".parse::<Id>().unwrap().as_str(), "th-1_a");
        assert_eq!("".parse::<Id>(), Err(IdError::Length));
        assert_eq!("x".repeat(65).parse::<Id>(), Err(IdError::Length));
        assert_eq!("Cloud".parse::<Id>(), Err(IdError::Character('C')));
        assert_eq!("a.b".parse::<Id>(), Err(IdError::Character('.')));
    }
}
