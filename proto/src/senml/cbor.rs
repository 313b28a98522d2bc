//! SenML as CBOR, `application/senml+cbor` (RFC 8428 §6).
//!
//! # Reading
//!
//! Labels are the integers of Table 4; the text labels of JSON are understood too. Lengths may be
//! indefinite, although §6 wants definite ones from a sender. Numbers are integers, floats, decimal
//! fractions (tag 4) or, within 38 digits, bignums (tags 2 and 3). Infinities and NaN are refused.
//!
//! A binary float becomes a decimal as follows. A double: the shortest decimal that reads back as
//! it. A single: the shortest that reads back as that single, so that a sensor's 23.1 does not
//! become 23.100000381469727; but an integer is taken exactly. A half: exactly, since halves come
//! from encoders that shrink a float where nothing is lost.
//!
//! # Writing
//!
//! An integer is written as one. Other numbers are written as the shortest float that has exactly
//! the value of the decimal's double, whether the receiver widens it or reads it as above. A time
//! whose nanoseconds a double cannot hold is written as a decimal fraction.

mod half;
mod number;

pub use self::half::widen as widen_half;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::convert::Infallible;

use minicbor::data::Type;
use minicbor::decode::Error as DecodeError;
use minicbor::encode::Error as EncodeError;
use minicbor::{Decoder, Encoder};

use super::layout::{Datum, Layout};
use super::raw::{Label, RawRecord, Source};
use super::resolve::Resolver;
use super::{Error, MAX_DEPTH, Problem, Record};
use crate::{Number, Timestamp};

/// Reads a pack that arrived at `now` and resolves it, in chronological order.
///
/// # Errors
///
/// The first reason why the pack must not be used; see [`senml`](super).
pub fn decode(bytes: &[u8], now: Timestamp) -> Result<Vec<Record>, Error> {
    let mut input = Decoder::new(bytes);
    let mut resolver = Resolver::new(now);
    let mut items = Items::of_array(&mut input, "an array of records")?;
    while items.has_next(&mut input)? {
        resolver.read(|record| read_record(&mut input, record))?;
    }
    if input.position() < bytes.len() {
        let detail = "bytes follow the pack".to_string();
        return Err(Problem::Syntax { format: "CBOR", detail }.into());
    }
    resolver.finish()
}

/// Writes records, in the order given, as the most compact pack.
///
/// Times are treated as by [`json::encode`](super::json::encode), and the records have to fulfil
/// the same conditions.
pub fn encode(records: &[Record]) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    // Cannot fail: a vector takes everything.
    let _ = write_pack(&mut out, records);
    out.into_writer()
}

/// The items of an array or the entries of a map that are still to come.
struct Items(Option<u64>);

impl Items {
    fn of_array(input: &mut Decoder<'_>, expected: &'static str) -> Result<Self, Problem> {
        if !matches!(kind(input)?, Type::Array | Type::ArrayIndef) {
            return Err(Problem::Expected(expected));
        }
        Ok(Self(input.array().map_err(syntax)?))
    }

    fn of_map(input: &mut Decoder<'_>, expected: &'static str) -> Result<Self, Problem> {
        if !matches!(kind(input)?, Type::Map | Type::MapIndef) {
            return Err(Problem::Expected(expected));
        }
        Ok(Self(input.map().map_err(syntax)?))
    }

    /// Whether an item stands next in the input; where none does, the end is consumed.
    fn has_next(&mut self, input: &mut Decoder<'_>) -> Result<bool, Problem> {
        if let Some(left) = &mut self.0 {
            let has_next = *left > 0;
            *left = left.saturating_sub(1);
            return Ok(has_next);
        }
        if kind(input)? != Type::Break {
            return Ok(true);
        }
        input.set_position(input.position() + 1);
        Ok(false)
    }
}

fn read_record(input: &mut Decoder<'_>, record: &mut RawRecord) -> Result<(), Error> {
    let mut items = Items::of_map(input, "a record, which is a map of fields")?;
    while items.has_next(input)? {
        let label = read_label(input)?;
        record.read(label, &mut *input)?;
    }
    Ok(())
}

fn read_label(input: &mut Decoder<'_>) -> Result<Label, Problem> {
    let kind = kind(input)?;
    if number::is_integer(kind) {
        return Ok(Label::Integer(input.int().map_err(syntax)?.into()));
    }
    if matches!(kind, Type::String | Type::StringIndef) {
        return Ok(Label::Text(input.text()?));
    }
    Err(Problem::Expected("a label, which is an integer or text"))
}

impl Source for &mut Decoder<'_> {
    fn text(self) -> Result<String, Problem> {
        if !matches!(kind(self)?, Type::String | Type::StringIndef) {
            return Err(Problem::Expected("text"));
        }
        let mut text = String::new();
        for chunk in self.str_iter().map_err(syntax)? {
            text.push_str(chunk.map_err(syntax)?);
        }
        Ok(text)
    }

    fn number(self) -> Result<Number, Problem> {
        number::read(self)
    }

    fn boolean(self) -> Result<bool, Problem> {
        if kind(self)? != Type::Bool {
            return Err(Problem::Expected("true or false"));
        }
        self.bool().map_err(syntax)
    }

    fn bytes(self) -> Result<Vec<u8>, Problem> {
        if !matches!(kind(self)?, Type::Bytes | Type::BytesIndef) {
            return Err(Problem::Expected("a byte string"));
        }
        let mut bytes = Vec::new();
        for chunk in self.bytes_iter().map_err(syntax)? {
            bytes.extend_from_slice(chunk.map_err(syntax)?);
        }
        Ok(bytes)
    }

    fn version(self) -> Result<u64, Problem> {
        if !number::is_integer(kind(self)?) {
            return Err(Problem::Version);
        }
        u64::try_from(self.int().map_err(syntax)?).map_err(|_| Problem::Version)
    }

    fn ignore(self) -> Result<(), Problem> {
        skip(self, MAX_DEPTH)
    }
}

/// Passes over one item that may open at most `levels` arrays, maps and tags in one another.
fn skip(input: &mut Decoder<'_>, levels: usize) -> Result<(), Problem> {
    let kind = kind(input)?;
    let inner = levels.checked_sub(1).ok_or(Problem::TooDeep);
    if matches!(kind, Type::Array | Type::ArrayIndef) {
        let mut items = Items::of_array(input, "an array")?;
        while items.has_next(input)? {
            skip(input, inner.clone()?)?;
        }
    } else if matches!(kind, Type::Map | Type::MapIndef) {
        let mut items = Items::of_map(input, "a map")?;
        while items.has_next(input)? {
            skip(input, inner.clone()?)?;
            skip(input, inner.clone()?)?;
        }
    } else if kind == Type::Tag {
        input.tag().map_err(syntax)?;
        skip(input, inner?)?;
    } else if matches!(kind, Type::Break | Type::Unknown(_)) {
        return Err(Problem::Expected("a data item"));
    } else {
        input.skip().map_err(syntax)?;
    }
    Ok(())
}

/// The type of the next item.
fn kind(input: &Decoder<'_>) -> Result<Type, Problem> {
    input.datatype().map_err(syntax)
}

fn syntax(error: DecodeError) -> Problem {
    Problem::Syntax { format: "CBOR", detail: error.to_string() }
}

/// What goes wrong while writing to a vector: nothing.
type Written = Result<(), EncodeError<Infallible>>;

fn write_pack(out: &mut Encoder<Vec<u8>>, records: &[Record]) -> Written {
    out.array(length(records.len()))?;
    for fields in Layout::new(records) {
        out.map(length(fields.len()))?;
        for (field, datum) in fields {
            out.i8(field.integer())?;
            write_datum(out, datum)?;
        }
    }
    Ok(())
}

fn write_datum(out: &mut Encoder<Vec<u8>>, datum: Datum<'_>) -> Written {
    match datum {
        Datum::Text(text) => out.str(text)?.ok(),
        Datum::Number(number) => number::write(out, number),
        Datum::Seconds(seconds) => number::write_exactly(out, seconds),
        Datum::Boolean(boolean) => out.bool(boolean)?.ok(),
        Datum::Bytes(bytes) => out.bytes(bytes)?.ok(),
    }
}

fn length(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}
