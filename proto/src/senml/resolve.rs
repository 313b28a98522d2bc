//! Resolution of records (RFC 8428 §4.6): the base fields in force, and the rules of §4.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::error::InField as _;
use super::field::Field;
use super::raw::RawRecord;
use super::{
    ABSOLUTE_FROM_NANOS, Error, MAX_NAME, MAX_RECORDS, MAX_UNIT, Problem, Record, TimeSource,
    VERSION,
};
use crate::{Number, Timestamp, Value};

/// Resolves the records of one pack: [`read`](Self::read) each in turn, then
/// [`finish`](Self::finish).
pub(super) struct Resolver {
    now: Timestamp,
    version: Option<u64>,
    base_name: String,
    base_time: Option<Number>,
    base_unit: Option<String>,
    base_value: Option<Number>,
    base_sum: Option<Number>,
    seen: usize,
    records: Vec<Record>,
}

impl Resolver {
    /// A pack received at `now`, before its first record.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            version: None,
            base_name: String::new(),
            base_time: None,
            base_unit: None,
            base_value: None,
            base_sum: None,
            seen: 0,
            records: Vec::new(),
        }
    }

    /// Has `fill` read the next record and resolves it. The error says which record it was.
    pub(super) fn read(
        &mut self,
        fill: impl FnOnce(&mut RawRecord) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.seen == MAX_RECORDS {
            return Err(Problem::TooManyRecords.into());
        }
        let index = self.seen;
        self.seen += 1;
        let mut raw = RawRecord::default();
        fill(&mut raw).and_then(|()| self.resolve(raw)).map_err(|error| error.in_record(index))
    }

    /// The resolved records in chronological order; those of the same time as in the pack.
    pub(super) fn finish(mut self) -> Result<Vec<Record>, Error> {
        if self.seen == 0 {
            return Err(Problem::Expected("at least one record").into());
        }
        self.records.sort_by_key(|record| record.time);
        Ok(self.records)
    }

    fn resolve(&mut self, raw: RawRecord) -> Result<(), Error> {
        self.check_version(raw.base_version).in_field(Field::BaseVersion)?;
        let carries_bases = raw.has_only_base_fields();
        if let Some(name) = raw.base_name {
            self.base_name = short(name, MAX_NAME, Problem::LongName).in_field(Field::BaseName)?;
        }
        if let Some(unit) = raw.base_unit {
            let unit = short(unit, MAX_UNIT, Problem::LongUnit).in_field(Field::BaseUnit)?;
            self.base_unit = Some(unit);
        }
        self.base_time = raw.base_time.or(self.base_time);
        self.base_value = raw.base_value.or(self.base_value);
        self.base_sum = raw.base_sum.or(self.base_sum);
        if carries_bases {
            return Ok(());
        }
        if raw.value.is_none() && raw.sum.is_none() {
            return Err(Problem::NoValue.into());
        }

        let name = raw.name.unwrap_or_default();
        self.check_name(&name).in_field(Field::Name)?;
        let unit = self.unit(raw.unit).in_field(Field::Unit)?;
        let value = self.value(raw.value).in_field(Field::Value)?;
        let sum = added(self.base_sum, raw.sum).in_field(Field::Sum)?;
        let (time, time_source) = self.time(raw.time).in_field(Field::Time)?;
        let update_time = update_time(raw.update_time).in_field(Field::UpdateTime)?;
        self.records.push(Record {
            base_name: self.base_name.clone(),
            name,
            unit,
            value,
            sum,
            time,
            time_source,
            update_time,
        });
        Ok(())
    }

    /// RFC 8428 §4.4: one version in the whole pack, and none that is newer than understood.
    fn check_version(&mut self, own: Option<u64>) -> Result<(), Problem> {
        if own.is_some_and(|version| version == 0 || version > u64::from(VERSION)) {
            return Err(Problem::Version);
        }
        let in_force = *self.version.get_or_insert(own.unwrap_or(u64::from(VERSION)));
        match own {
            Some(version) if version != in_force => Err(Problem::VersionChanged(in_force)),
            Some(_) | None => Ok(()),
        }
    }

    /// RFC 8428 §4.5.1
    fn check_name(&self, name: &str) -> Result<(), Problem> {
        if self.base_name.len() + name.len() > MAX_NAME {
            return Err(Problem::LongName);
        }
        let mut bytes = self.base_name.bytes().chain(name.bytes());
        let starts_well = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric());
        if starts_well && bytes.all(|b| b.is_ascii_alphanumeric() || b"-:./_".contains(&b)) {
            Ok(())
        } else {
            Err(Problem::name_characters(&[self.base_name.as_str(), name].concat()))
        }
    }

    /// RFC 8428 §4.5.2. An empty unit is none, so that a record can do without the base unit.
    fn unit(&self, own: Option<String>) -> Result<Option<String>, Problem> {
        let unit = match own {
            Some(own) => Some(short(own, MAX_UNIT, Problem::LongUnit)?),
            None => self.base_unit.clone(),
        };
        Ok(unit.filter(|unit| !unit.is_empty()))
    }

    /// RFC 8428 §4.5.4. The base value is a number, so it is added to numbers only.
    fn value(&self, own: Option<Value>) -> Result<Option<Value>, Problem> {
        match own {
            Some(Value::Number(number)) => {
                Ok(added(self.base_value, Some(number))?.map(Value::Number))
            }
            Some(Value::Text(_) | Value::Boolean(_) | Value::Bytes(_)) | None => Ok(own),
        }
    }

    /// RFC 8428 §4.5.3
    fn time(&self, own: Option<Number>) -> Result<(Timestamp, TimeSource), Problem> {
        let Some(seconds) = added(self.base_time, own)? else {
            return Ok((self.now, TimeSource::Now));
        };
        let nanos = seconds
            .scaled_to_integer(9)
            .and_then(|nanos| i64::try_from(nanos).ok())
            .ok_or(Problem::TimeRange)?;
        if nanos >= ABSOLUTE_FROM_NANOS {
            return Ok((Timestamp::from_nanos(nanos), TimeSource::Absolute));
        }
        let time = self.now.checked_add_nanos(nanos).ok_or(Problem::TimeRange)?;
        Ok((time, if nanos == 0 { TimeSource::Now } else { TimeSource::Relative }))
    }
}

fn short(text: String, limit: usize, problem: Problem) -> Result<String, Problem> {
    if text.len() <= limit { Ok(text) } else { Err(problem) }
}

/// Base field and field added, a missing one being zero; `None` if both are missing.
fn added(base: Option<Number>, own: Option<Number>) -> Result<Option<Number>, Problem> {
    match (base, own) {
        (Some(base), Some(own)) => base.checked_add(own).map(Some).ok_or(Problem::SumRange),
        (one, None) | (None, one) => Ok(one),
    }
}

fn update_time(seconds: Option<Number>) -> Result<Option<Duration>, Problem> {
    let Some(seconds) = seconds else { return Ok(None) };
    seconds
        .scaled_to_integer(9)
        .and_then(|nanos| u64::try_from(nanos).ok())
        .map(|nanos| Some(Duration::from_nanos(nanos)))
        .ok_or(Problem::Expected("seconds from 0 to 18446744073"))
}
