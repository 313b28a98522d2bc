//! Why a pack is refused.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Display;

use super::field::Field;
use super::{MAX_DEPTH, MAX_NAME, MAX_RECORDS, MAX_UNIT, VERSION};

/// The most characters of a sender's label or name that an error repeats.
const MAX_SHOWN: usize = 40;

/// A pack was refused: which record, which field, and what was expected there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("SenML {}: {problem}", place(*record, field.as_deref()))]
pub struct Error {
    /// The record's index in the pack, from zero; `None` where the problem is the pack's.
    pub record: Option<usize>,
    /// The field's label; `None` where the problem is the record's or the pack's.
    pub field: Option<String>,
    /// What was expected.
    pub problem: Problem,
}

/// What was expected of a pack, a record or a field.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// The bytes end early, go on after the pack, or are not of the format at all.
    #[error("not well-formed {format}: {detail}")]
    Syntax {
        /// `JSON` or `CBOR`.
        format: &'static str,
        /// What is wrong and, where it is known, at which position.
        detail: String,
    },
    /// Something is of another type, or outside the range of its type.
    #[error("expected {0}")]
    Expected(&'static str),
    /// More than [`MAX_RECORDS`].
    #[error("expected at most {MAX_RECORDS} records; send the others in a pack of their own")]
    TooManyRecords,
    /// Neither a value nor a sum, in a record of more than base fields (RFC 8428 §4.2).
    #[error("expected a value (`v`, `vs`, `vb` or `vd`) or a sum (`s`)")]
    NoValue,
    /// A second value in one record (RFC 8428 §4.2).
    #[error("expected one value, but there is another one before it")]
    SecondValue,
    /// The same label twice in one record.
    #[error("expected once in a record, but it is there twice")]
    Duplicate,
    /// An unknown label that ends in `_` (RFC 8428 §4.4).
    #[error("unknown, and the `_` at its end says that the pack must not be used without it")]
    MustUnderstand,
    /// A version that is not understood (RFC 8428 §4.4).
    #[error("expected a version from 1 to {VERSION}")]
    Version,
    /// Records of several versions; without a `bver`, the first record has version 10 (§4.4).
    #[error("expected the version of the records before, {0}")]
    VersionChanged(u64),
    /// A full name of other characters (RFC 8428 §4.5.1).
    #[error(
        "expected a full name of A-Z a-z 0-9 - : . / _ that starts with one of A-Z a-z 0-9, but it is {0:?}"
    )]
    NameCharacters(String),
    /// A full name longer than [`MAX_NAME`].
    #[error("expected a full name of at most {MAX_NAME} bytes")]
    LongName,
    /// A unit longer than [`MAX_UNIT`].
    #[error("expected a unit of at most {MAX_UNIT} bytes")]
    LongUnit,
    /// A sum with the base field that is beyond the largest double.
    #[error("expected a number that a double can hold after the base field is added")]
    SumRange,
    /// A time that [`Timestamp`](crate::Timestamp) cannot hold.
    #[error("expected a time from the year 1677 to 2262")]
    TimeRange,
    /// The value of an ignored field nests deeper than [`MAX_DEPTH`].
    #[error("expected at most {MAX_DEPTH} levels of nesting")]
    TooDeep,
}

impl Error {
    /// The error of the record with this index.
    pub(super) fn in_record(self, index: usize) -> Self {
        Self { record: Some(index), ..self }
    }
}

impl Problem {
    /// The error of the field with this label.
    pub(super) fn in_field(self, label: impl Display) -> Error {
        Error { record: None, field: Some(shown(&label.to_string())), problem: self }
    }

    /// A name that breaks the rules, in a length fit for a log.
    pub(super) fn name_characters(full_name: &str) -> Self {
        Self::NameCharacters(shown(full_name))
    }
}

impl From<Problem> for Error {
    /// The error of the pack, or of a record once its index is set.
    fn from(problem: Problem) -> Self {
        Self { record: None, field: None, problem }
    }
}

/// Puts a field to a problem.
pub(super) trait InField<T> {
    /// The error of this field, if it is one.
    fn in_field(self, field: Field) -> Result<T, Error>;
}

impl<T> InField<T> for Result<T, Problem> {
    fn in_field(self, field: Field) -> Result<T, Error> {
        self.map_err(|problem| problem.in_field(field.text()))
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_string(),
    }
}

fn place(record: Option<usize>, field: Option<&str>) -> String {
    match (record, field) {
        (Some(index), Some(label)) => format!("record [{index}], field `{label}`"),
        (Some(index), None) => format!("record [{index}]"),
        (None, Some(label)) => format!("field `{label}`"),
        (None, None) => "pack".to_string(),
    }
}
