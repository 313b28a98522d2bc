//! Numbers in CBOR (RFC 8428 §6): integers, floats, decimal fractions and bignums.

use alloc::vec::Vec;

use minicbor::data::{IanaTag, Int, Type};
use minicbor::{Decoder, Encoder};

use super::{Items, Problem, Source, Written, half, kind, syntax};
use crate::Number;

/// Mantissas and bignums stay below this, the 38 digits that a [`Number`] keeps in text too.
const MANTISSA_LIMIT: u128 = 10_u128.pow(38);

const OUT_OF_RANGE: Problem =
    Problem::Expected("a number of at most 38 digits that a double can hold");
const NOT_A_NUMBER: Problem = Problem::Expected("a number");

/// Whether an item is a plain integer.
pub(super) fn is_integer(kind: Type) -> bool {
    matches!(
        kind,
        Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::I8
            | Type::I16
            | Type::I32
            | Type::I64
            | Type::Int
    )
}

/// Reads any number that SenML allows.
pub(super) fn read(input: &mut Decoder<'_>) -> Result<Number, Problem> {
    let kind = kind(input)?;
    let float = if kind == Type::F16 {
        Number::from_f64(half::widen(read_half(input)?))
    } else if kind == Type::F32 {
        from_single(input.f32().map_err(syntax)?)
    } else if kind == Type::F64 {
        Number::from_f64(input.f64().map_err(syntax)?)
    } else {
        return read_decimal(input);
    };
    float.ok_or(Problem::Expected("a finite number"))
}

/// Writes an integer, else the shortest float that has exactly the value of the number's double.
pub(super) fn write(out: &mut Encoder<Vec<u8>>, number: Number) -> Written {
    if let Some(int) = number.as_whole().and_then(|whole| Int::try_from(whole).ok()) {
        return out.int(int)?.ok();
    }
    let double = number.as_f64();
    if let Some(bits) = half::narrow(double) {
        out.writer_mut().extend([[0xf9].as_slice(), &bits.to_be_bytes()].concat());
        Ok(())
    } else if let Some(single) = to_single(double) {
        out.f32(single)?.ok()
    } else {
        out.f64(double)?.ok()
    }
}

/// As [`write()`], but as a decimal fraction where the float would read back as another decimal.
pub(super) fn write_exactly(out: &mut Encoder<Vec<u8>>, number: Number) -> Written {
    let number = number.trimmed();
    let reads_back = Number::from_f64(number.as_f64()).is_some_and(|read| read.trimmed() == number);
    match Int::try_from(number.mantissa()) {
        Ok(mantissa) if number.exponent() < 0 && !reads_back => {
            out.tag(IanaTag::Decimal)?.array(2)?.i32(number.exponent())?.int(mantissa)?.ok()
        }
        Ok(_) | Err(_) => write(out, number),
    }
}

/// A single as the module says: an integer exactly, else the shortest decimal of its width.
fn from_single(single: f32) -> Option<Number> {
    let exact = Number::from_f64(f64::from(single))?;
    if exact.exponent() >= 0 { Some(exact) } else { Number::from_f32(single) }
}

/// The single of exactly this value, if it also reads back as it.
fn to_single(double: f64) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "what is lost is found by comparing")]
    let single = double as f32;
    let is_exact = f64::from(single) == double
        && from_single(single).is_some_and(|number| number.as_f64() == double);
    is_exact.then_some(single)
}

fn read_half(input: &mut Decoder<'_>) -> Result<u16, Problem> {
    let start = input.position();
    let Some([_, high, low]) = input.input().get(start..).and_then(<[u8]>::first_chunk::<3>) else {
        return Err(syntax(minicbor::decode::Error::end_of_input()));
    };
    input.set_position(start + 3);
    Ok(u16::from_be_bytes([*high, *low]))
}

/// An integer, a bignum or a decimal fraction.
fn read_decimal(input: &mut Decoder<'_>) -> Result<Number, Problem> {
    let start = input.position();
    let (exponent, mantissa) =
        if kind(input)? == Type::Tag && input.tag().map_err(syntax)? == IanaTag::Decimal.tag() {
            read_fraction(input)?
        } else {
            input.set_position(start);
            (0, read_integer(input)?)
        };
    i32::try_from(exponent)
        .ok()
        .and_then(|exponent| Number::from_decimal(mantissa, exponent))
        .filter(|number| mantissa.unsigned_abs() < MANTISSA_LIMIT && number.as_f64().is_finite())
        .ok_or(OUT_OF_RANGE)
}

/// The exponent and the mantissa behind tag 4 (RFC 8949 §3.4.4).
fn read_fraction(input: &mut Decoder<'_>) -> Result<(i128, i128), Problem> {
    const SHAPE: &str = "a decimal fraction, which is an array of an exponent and a mantissa";
    let mut items = Items::of_array(input, SHAPE)?;
    let mut next = |input: &mut Decoder<'_>, is_expected| {
        if items.has_next(input)? == is_expected { Ok(()) } else { Err(Problem::Expected(SHAPE)) }
    };
    next(input, true)?;
    if !is_integer(kind(input)?) {
        return Err(Problem::Expected(SHAPE));
    }
    let exponent = input.int().map_err(syntax)?.into();
    next(input, true)?;
    let mantissa = read_integer(input)?;
    next(input, false)?;
    Ok((exponent, mantissa))
}

/// An integer or a bignum.
fn read_integer(input: &mut Decoder<'_>) -> Result<i128, Problem> {
    let kind = kind(input)?;
    if is_integer(kind) {
        return Ok(input.int().map_err(syntax)?.into());
    }
    if kind != Type::Tag {
        return Err(NOT_A_NUMBER);
    }
    let tag = input.tag().map_err(syntax)?;
    if tag == IanaTag::PosBignum.tag() {
        read_magnitude(input)
    } else if tag == IanaTag::NegBignum.tag() {
        Ok(-1 - read_magnitude(input)?)
    } else {
        Err(NOT_A_NUMBER)
    }
}

/// The byte string behind tag 2 or 3 (RFC 8949 §3.4.3).
fn read_magnitude(input: &mut Decoder<'_>) -> Result<i128, Problem> {
    let bytes = Source::bytes(input)?;
    bytes
        .into_iter()
        .try_fold(0_i128, |magnitude, byte| {
            magnitude.checked_mul(256)?.checked_add(i128::from(byte))
        })
        .ok_or(OUT_OF_RANGE)
}
