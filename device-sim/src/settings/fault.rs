//! Why a value does not fit its type: serde's errors, kept apart so that messages can be made of them.

use std::fmt;

use serde::de::{self, Unexpected};

use super::tree::KeyPath;

/// Why a value does not fit its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Where; `None` only until the first container on the way out has set it.
    pub path: Option<KeyPath>,
    /// What.
    pub kind: FaultKind,
}

/// What does not fit.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// A value of another type, or outside of its type's rule.
    Mismatch {
        /// "invalid type" or "invalid value".
        what: &'static str,
        /// The kind of value that is there, such as "integer".
        kind: &'static str,
        /// The value as it reads, where it is short to say.
        value: Option<String>,
        /// The whole sentence of what was expected.
        expected: String,
    },
    /// A choice that does not exist.
    Variant {
        /// What is there.
        value: String,
        /// What could be there.
        choices: &'static [&'static str],
    },
    /// A key of a table that breaks the rule for names.
    Key(String),
    /// A key that its table does not have.
    Unknown,
    /// Keys that must be there: this one, and others of the same table.
    Missing(String),
    /// Anything else.
    Other(String),
}

impl Fault {
    /// A fault at a place that is not known yet.
    pub fn new(kind: FaultKind) -> Self {
        Self { path: None, kind }
    }

    /// A value that is not what was expected.
    pub fn mismatch(what: &'static str, unexpected: Unexpected<'_>, expected: String) -> Self {
        let (kind, value) = match unexpected {
            Unexpected::Bool(value) => ("boolean", Some(format!("`{value}`"))),
            Unexpected::Unsigned(value) => ("integer", Some(format!("`{value}`"))),
            Unexpected::Signed(value) => ("integer", Some(format!("`{value}`"))),
            Unexpected::Float(value) => ("floating point", Some(format!("`{value:?}`"))),
            Unexpected::Char(value) => ("string", Some(format!("{value:?}"))),
            Unexpected::Str(value) => ("string", Some(format!("{value:?}"))),
            Unexpected::Seq => ("array", None),
            Unexpected::Map => ("table", None),
            Unexpected::Bytes(_)
            | Unexpected::Unit
            | Unexpected::Option
            | Unexpected::NewtypeStruct
            | Unexpected::Enum
            | Unexpected::UnitVariant
            | Unexpected::NewtypeVariant
            | Unexpected::TupleVariant
            | Unexpected::StructVariant
            | Unexpected::Other(_) => ("value", None),
        };
        Self::new(FaultKind::Mismatch { what, kind, value, expected })
    }

    /// Sets the path, where none is set yet.
    pub fn within(mut self, path: &KeyPath) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(FaultKind::Other(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::mismatch("invalid type", unexpected, expected.to_string())
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::mismatch("invalid value", unexpected, expected.to_string())
    }

    fn invalid_length(_: usize, expected: &dyn de::Expected) -> Self {
        Self::mismatch("invalid value", Unexpected::Seq, expected.to_string())
    }

    fn unknown_variant(value: &str, choices: &'static [&'static str]) -> Self {
        Self::new(FaultKind::Variant { value: value.to_owned(), choices })
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::new(FaultKind::Unknown)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(FaultKind::Missing(field.to_owned()))
    }
}
