//! The record as it stands in the pack, before base fields are applied.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::error::InField as _;
use super::field::Field;
use super::{Error, Problem};
use crate::{Number, Value};

/// The value of one field as the format holds it, to be read as what its label demands.
pub(super) trait Source {
    fn text(self) -> Result<String, Problem>;
    fn number(self) -> Result<Number, Problem>;
    fn boolean(self) -> Result<bool, Problem>;
    fn bytes(self) -> Result<Vec<u8>, Problem>;
    fn version(self) -> Result<u64, Problem>;
    /// Checks that it is well-formed and nests no deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    fn ignore(self) -> Result<(), Problem>;
}

/// A field's label. Only CBOR has integers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    Text(String),
    Integer(i128),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(integer) => integer.fmt(f),
        }
    }
}

/// The fields of one record, each with the type of §4.3, at most one value among them.
#[derive(Default)]
pub(super) struct RawRecord {
    pub(super) base_version: Option<u64>,
    pub(super) base_name: Option<String>,
    pub(super) base_time: Option<Number>,
    pub(super) base_unit: Option<String>,
    pub(super) base_value: Option<Number>,
    pub(super) base_sum: Option<Number>,
    pub(super) name: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) value: Option<Value>,
    pub(super) sum: Option<Number>,
    pub(super) time: Option<Number>,
    pub(super) update_time: Option<Number>,
    known: BTreeSet<Field>,
    ignored: BTreeSet<Label>,
}

impl RawRecord {
    /// Takes one field; the source is consumed to its end unless there is an error.
    pub(super) fn read(&mut self, label: Label, source: impl Source) -> Result<(), Error> {
        let field = match &label {
            Label::Text(text) => Field::from_text(text),
            Label::Integer(integer) => Field::from_integer(*integer),
        };
        match field {
            Some(field) => self.read_known(field, source).in_field(field),
            None => self.ignore(label, source),
        }
    }

    /// Whether the record carries base fields and nothing else, as the first one of §5.1.7.
    pub(super) fn has_only_base_fields(&self) -> bool {
        !self.known.is_empty() && self.known.iter().all(|field| field.is_base())
    }

    fn read_known(&mut self, field: Field, source: impl Source) -> Result<(), Problem> {
        if !self.known.insert(field) {
            return Err(Problem::Duplicate);
        }
        match field {
            Field::BaseVersion => self.base_version = Some(source.version()?),
            Field::BaseName => self.base_name = Some(source.text()?),
            Field::BaseTime => self.base_time = Some(source.number()?),
            Field::BaseUnit => self.base_unit = Some(source.text()?),
            Field::BaseValue => self.base_value = Some(source.number()?),
            Field::BaseSum => self.base_sum = Some(source.number()?),
            Field::Name => self.name = Some(source.text()?),
            Field::Unit => self.unit = Some(source.text()?),
            Field::Value => self.set_value(Value::Number(source.number()?))?,
            Field::StringValue => self.set_value(Value::Text(source.text()?))?,
            Field::BooleanValue => self.set_value(Value::Boolean(source.boolean()?))?,
            Field::Sum => self.sum = Some(source.number()?),
            Field::Time => self.time = Some(source.number()?),
            Field::UpdateTime => self.update_time = Some(source.number()?),
            Field::DataValue => self.set_value(Value::Bytes(source.bytes()?))?,
        }
        Ok(())
    }

    fn set_value(&mut self, value: Value) -> Result<(), Problem> {
        match self.value.replace(value) {
            None => Ok(()),
            Some(_) => Err(Problem::SecondValue),
        }
    }

    /// RFC 8428 §4.4
    fn ignore(&mut self, label: Label, source: impl Source) -> Result<(), Error> {
        let must_understand = matches!(&label, Label::Text(text) if text.ends_with('_'));
        if must_understand {
            return Err(Problem::MustUnderstand.in_field(label));
        }
        source.ignore().map_err(|problem| problem.in_field(&label))?;
        if self.ignored.contains(&label) {
            return Err(Problem::Duplicate.in_field(label));
        }
        self.ignored.insert(label);
        Ok(())
    }
}
