//! Conditions: a subset of the Common Expression Language (CEL) over one reading.
//!
//! `name == "temp" && value > -40.0`, `device.startsWith("th-")`, `unit in ["Cel", "K"]`. What is
//! here means what CEL means by it, with one exception that shows only beyond a double's digits:
//! all numbers are exact decimals, so that `int` and `double` are one type and compare by value.
//!
//! An expression is checked when the configuration is read: its syntax, the names in it, and every
//! type that is known by then; that of `value` is not. What is left to fail is told as
//! a [`Failure`], which does not match. As in CEL, `&&` and `||` ignore a side that fails where
//! the other side decides alone.
//!
//! Cost is bounded by the text: no loops, no functions of the operator's, no value that is longer
//! than what is in the reading or the expression, [`MAX_LENGTH`] and [`MAX_DEPTH`].

mod lexer;
mod parser;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use proto::{Number, Reading, Timestamp, Value};

use crate::store::Record;
use parser::{Binary, ConditionError, Expression, Method, Variable};

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 1000;
/// The deepest nesting of parentheses and operators.
const MAX_DEPTH: usize = 32;

/// An expression that is true or false of a reading.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    text: String,
    expression: Expression,
}

/// What an expression cannot say of this reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("`{0}` is not between two values of one type")]
    Operands(&'static str),
    #[error("`{0}` is not of a text")]
    NotText(&'static str),
    #[error("`{0}` is not a condition: it is neither true nor false")]
    NotBoolean(&'static str),
    #[error("`{0}` has no result for these numbers")]
    Arithmetic(&'static str),
}

/// What a condition is asked about.
#[derive(Clone, Copy)]
struct Subject<'a> {
    record: &'a Record,
    reading: &'a Reading,
}

/// A value while it is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Datum<'a> {
    Boolean(bool),
    Number(Number),
    Text(&'a str),
    Bytes(&'a [u8]),
    Time(Timestamp),
}

impl Condition {
    /// Whether it is true of a record and its reading.
    pub(crate) fn matches(&self, record: &Record, reading: &Reading) -> Result<bool, Failure> {
        self.expression.truth(Subject { record, reading }, "when")
    }
}

impl Expression {
    fn truth(&self, subject: Subject<'_>, of: &'static str) -> Result<bool, Failure> {
        match self.evaluate(subject)? {
            Datum::Boolean(truth) => Ok(truth),
            Datum::Number(_) | Datum::Text(_) | Datum::Bytes(_) | Datum::Time(_) => {
                Err(Failure::NotBoolean(of))
            }
        }
    }

    fn evaluate<'a>(&'a self, subject: Subject<'a>) -> Result<Datum<'a>, Failure> {
        Ok(match self {
            Self::Boolean(boolean) => Datum::Boolean(*boolean),
            Self::Number(number) => Datum::Number(*number),
            Self::Text(text) => Datum::Text(text),
            Self::Time(time) => Datum::Time(*time),
            Self::Variable(variable) => variable.of(subject),
            Self::Not(inner) => Datum::Boolean(!inner.truth(subject, "!")?),
            Self::Negated(inner) => match inner.evaluate(subject)? {
                Datum::Number(number) => Datum::Number(number.negated()),
                Datum::Boolean(_) | Datum::Text(_) | Datum::Bytes(_) | Datum::Time(_) => {
                    return Err(Failure::Arithmetic("-"));
                }
            },
            Self::And(left, right) => Datum::Boolean(decide(left, right, subject, false)?),
            Self::Or(left, right) => Datum::Boolean(decide(left, right, subject, true)?),
            Self::Choice(condition, yes, no) => match condition.truth(subject, "?")? {
                true => yes.evaluate(subject)?,
                false => no.evaluate(subject)?,
            },
            Self::Within(needle, list) => {
                let needle = needle.evaluate(subject)?;
                let mut found = false;
                for item in list {
                    found |= is_equal(needle, item.evaluate(subject)?);
                }
                Datum::Boolean(found)
            }
            Self::Binary(binary, left, right) => {
                binary.apply(left.evaluate(subject)?, right.evaluate(subject)?)?
            }
            Self::Call(method, target, argument) => {
                let target = target.evaluate(subject)?;
                let argument = argument.as_ref().map(|a| a.evaluate(subject)).transpose()?;
                method.apply(target, argument)?
            }
        })
    }
}

/// `&&` where `decisive` is false, `||` where it is true: either side alone can decide, also where
/// the other one fails.
fn decide(
    left: &Expression,
    right: &Expression,
    subject: Subject<'_>,
    decisive: bool,
) -> Result<bool, Failure> {
    let of = if decisive { "||" } else { "&&" };
    let left = left.truth(subject, of);
    if left == Ok(decisive) {
        return left;
    }
    let right = right.truth(subject, of);
    if right == Ok(decisive) { right } else { left.and(right) }
}

impl Variable {
    fn of(self, subject: Subject<'_>) -> Datum<'_> {
        let Subject { record, reading } = subject;
        match self {
            Self::Device => Datum::Text(&reading.device),
            Self::Name => Datum::Text(&reading.name),
            Self::Unit => Datum::Text(reading.unit.as_deref().unwrap_or_default()),
            Self::Source => Datum::Text(&record.source),
            Self::Time => Datum::Time(reading.time),
            Self::N => Datum::Number(record.n.into()),
            Self::Value => match &reading.value {
                Value::Number(number) => Datum::Number(*number),
                Value::Boolean(boolean) => Datum::Boolean(*boolean),
                Value::Text(text) => Datum::Text(text),
                Value::Bytes(bytes) => Datum::Bytes(bytes),
            },
        }
    }
}

impl Binary {
    fn apply<'a>(self, left: Datum<'a>, right: Datum<'a>) -> Result<Datum<'a>, Failure> {
        let order = || order(left, right).ok_or(Failure::Operands(self.text()));
        let numbers = match (left, right) {
            (Datum::Number(left), Datum::Number(right)) => Ok((left, right)),
            _ => Err(Failure::Operands(self.text())),
        };
        let result = match self {
            Self::Equal => return Ok(Datum::Boolean(is_equal(left, right))),
            Self::NotEqual => return Ok(Datum::Boolean(!is_equal(left, right))),
            Self::Less => return Ok(Datum::Boolean(order()?.is_lt())),
            Self::LessOrEqual => return Ok(Datum::Boolean(order()?.is_le())),
            Self::Greater => return Ok(Datum::Boolean(order()?.is_gt())),
            Self::GreaterOrEqual => return Ok(Datum::Boolean(order()?.is_ge())),
            Self::Plus => numbers.map(|(left, right)| left.checked_add(right))?,
            Self::Minus => numbers.map(|(left, right)| left.checked_add(right.negated()))?,
            Self::Times => numbers.map(|(left, right)| left.checked_mul(right))?,
            Self::Remainder => numbers.map(|(left, right)| remainder(left, right))?,
        };
        result.map(Datum::Number).ok_or(Failure::Arithmetic(self.text()))
    }
}

impl Method {
    fn apply<'a>(
        self,
        target: Datum<'a>,
        argument: Option<Datum<'a>>,
    ) -> Result<Datum<'a>, Failure> {
        let failure = Failure::NotText(self.text());
        if let Datum::Time(time) = target {
            return Ok(Datum::Number(self.of_time(time).ok_or(failure)?.into()));
        }
        if let (Self::Size, Datum::Bytes(bytes)) = (self, target) {
            return Ok(Datum::Number((bytes.len() as u64).into()));
        }
        let Datum::Text(text) = target else { return Err(failure) };
        if self == Self::Size {
            return Ok(Datum::Number((text.chars().count() as u64).into()));
        }
        let Some(Datum::Text(argument)) = argument else { return Err(failure) };
        Ok(Datum::Boolean(match self {
            Self::StartsWith => text.starts_with(argument),
            Self::EndsWith => text.ends_with(argument),
            Self::Contains => text.contains(argument),
            Self::Size | Self::GetHours | Self::GetMinutes | Self::GetDayOfWeek => {
                return Err(failure);
            }
        }))
    }

    /// In UTC.
    fn of_time(self, time: Timestamp) -> Option<i64> {
        let seconds = time.as_nanos().div_euclid(1_000_000_000);
        match self {
            Self::GetHours => Some(seconds.div_euclid(3600).rem_euclid(24)),
            Self::GetMinutes => Some(seconds.div_euclid(60).rem_euclid(60)),
            // 1970-01-01 was a Thursday; 0 is Sunday.
            Self::GetDayOfWeek => Some((seconds.div_euclid(86_400) + 4).rem_euclid(7)),
            Self::StartsWith | Self::EndsWith | Self::Contains | Self::Size => None,
        }
    }
}

/// Values of different types are not equal, which is no failure.
fn is_equal(left: Datum<'_>, right: Datum<'_>) -> bool {
    match order(left, right) {
        Some(order) => order == Ordering::Equal,
        None => left == right,
    }
}

/// The order of two values of one type that has one.
fn order(left: Datum<'_>, right: Datum<'_>) -> Option<Ordering> {
    match (left, right) {
        (Datum::Number(left), Datum::Number(right)) => Some(left.compare(right)),
        (Datum::Text(left), Datum::Text(right)) => Some(left.cmp(right)),
        (Datum::Bytes(left), Datum::Bytes(right)) => Some(left.cmp(right)),
        (Datum::Boolean(left), Datum::Boolean(right)) => Some(left.cmp(&right)),
        (Datum::Time(left), Datum::Time(right)) => Some(left.as_nanos().cmp(&right.as_nanos())),
        _ => None,
    }
}

/// Of integers, with the sign of the first, as in CEL.
fn remainder(left: Number, right: Number) -> Option<Number> {
    let rest = left.as_whole()?.checked_rem(right.as_whole()?)?;
    Number::from_decimal(rest, 0)
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        Ok(Self { text: text.to_owned(), expression: parser::parse(text)? })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
