//! Which fields a record needs in a pack, given those in force before it.
//!
//! The base name is written when it changes. The first of several records carries its time as base
//! time, and the others how far they are from it. A unit that all of several records share is
//! their base unit. Fields stand in the order of the RFC's examples.
//!
//! SenML cannot say an absolute time before 1978-07-04T21:24:16Z, 2^28 seconds after the epoch:
//! it would be read as relative to now (RFC 8428 §4.5.3). A clock that shows such a time was never
//! set, so the record goes without a time, which is how a sender says that it does not know it.

use alloc::vec::Vec;
use core::slice;
use core::time::Duration;

use super::field::Field;
use super::{ABSOLUTE_FROM_NANOS, Record};
use crate::{Number, Timestamp, Value};

/// What is written behind a label.
#[derive(Clone, Copy)]
pub(super) enum Datum<'r> {
    Text(&'r str),
    Number(Number),
    /// A number that must keep its nanoseconds.
    Seconds(Number),
    Boolean(bool),
    Bytes(&'r [u8]),
}

/// Yields the fields of each record in turn.
pub(super) struct Layout<'r> {
    records: slice::Iter<'r, Record>,
    base_name: &'r str,
    base_time: Option<i64>,
    shared_unit: Option<&'r str>,
    is_first: bool,
}

impl<'r> Layout<'r> {
    /// The layout of a pack of these records.
    pub(super) fn new(records: &'r [Record]) -> Self {
        Self {
            records: records.iter(),
            base_name: "",
            base_time: None,
            shared_unit: shared_unit(records),
            is_first: true,
        }
    }

    /// Base time and time.
    fn times(&mut self, time: Timestamp) -> [Option<(Field, i64)>; 2] {
        match (absolute(time), self.base_time) {
            (Some(nanos), Some(base)) => {
                [None, (nanos != base).then_some((Field::Time, nanos - base))]
            }
            (Some(nanos), None) if self.next_has_time() => {
                self.base_time = Some(nanos);
                [Some((Field::BaseTime, nanos)), None]
            }
            (Some(nanos), None) => [None, Some((Field::Time, nanos))],
            (None, Some(_)) => {
                self.base_time = None;
                [Some((Field::BaseTime, 0)), None]
            }
            (None, None) => [None, None],
        }
    }

    fn next_has_time(&self) -> bool {
        self.records.as_slice().first().is_some_and(|next| absolute(next.time).is_some())
    }
}

impl<'r> Iterator for Layout<'r> {
    type Item = Vec<(Field, Datum<'r>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next()?;
        let mut fields = Vec::with_capacity(8);
        if record.base_name != self.base_name {
            self.base_name = &record.base_name;
            fields.push((Field::BaseName, Datum::Text(&record.base_name)));
        }
        let [base_time, time] = self.times(record.time);
        let seconds = |(field, nanos)| (field, Datum::Seconds(seconds(nanos)));
        fields.extend(base_time.map(seconds));
        if self.is_first {
            fields.extend(self.shared_unit.map(|unit| (Field::BaseUnit, Datum::Text(unit))));
            self.is_first = false;
        }
        if !record.name.is_empty() {
            fields.push((Field::Name, Datum::Text(&record.name)));
        }
        if self.shared_unit.is_none() {
            fields.extend(unit(record).map(|unit| (Field::Unit, Datum::Text(unit))));
        }
        fields.extend(time.map(seconds));
        fields.extend(record.value.as_ref().map(value));
        fields.extend(record.sum.map(|sum| (Field::Sum, Datum::Number(sum))));
        fields.extend(record.update_time.map(|period| (Field::UpdateTime, whole_period(period))));
        Some(fields)
    }
}

fn value(value: &Value) -> (Field, Datum<'_>) {
    match value {
        Value::Number(number) => (Field::Value, Datum::Number(*number)),
        Value::Text(text) => (Field::StringValue, Datum::Text(text)),
        Value::Boolean(boolean) => (Field::BooleanValue, Datum::Boolean(*boolean)),
        Value::Bytes(bytes) => (Field::DataValue, Datum::Bytes(bytes)),
    }
}

fn unit(record: &Record) -> Option<&str> {
    record.unit.as_deref().filter(|unit| !unit.is_empty())
}

fn shared_unit(records: &[Record]) -> Option<&str> {
    let (first, others) = records.split_first()?;
    let is_shared = !others.is_empty() && others.iter().all(|other| unit(other) == unit(first));
    if is_shared { unit(first) } else { None }
}

/// Nanoseconds since the epoch, where SenML can say them as an absolute time.
fn absolute(time: Timestamp) -> Option<i64> {
    Some(time.as_nanos()).filter(|nanos| *nanos >= ABSOLUTE_FROM_NANOS)
}

fn seconds(nanos: i64) -> Number {
    decimal_seconds(i128::from(nanos))
}

fn whole_period(period: Duration) -> Datum<'static> {
    Datum::Seconds(decimal_seconds(i128::try_from(period.as_nanos()).unwrap_or(i128::MAX)))
}

fn decimal_seconds(nanos: i128) -> Number {
    Number::from_decimal(nanos, -9).unwrap_or(Number::from(0_u8)).trimmed()
}
