//! Fields of a frame by their place: the table of a data sheet, read without code of its own.
//!
//! A [`Field`] says where a value stands and how it is written; [`Field::read`] gives it. Integers and
//! fixed-point values are decimals all the way, so that 1236 × 0.1 is 123.6. What a device sends where
//! it has no value ([`Field::absent`]; NaN and infinities of floats) is none.

#[cfg(test)]
mod tests;

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt::Write as _;

use crate::frame::Endian;
use crate::{Number, Value};

/// Where a value stands and how it is written.
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    /// Its first byte; negative ones count from the end of the frame.
    pub at: i32,
    /// How it is written.
    pub kind: Kind,
    /// Order of its bytes.
    pub endian: Endian,
    /// Of an integer or boolean, these bits alone.
    pub bits: Option<Bits>,
    /// What a number is multiplied with.
    pub scale: Option<Number>,
    /// What is added then.
    pub offset: Option<Number>,
    /// What stands there where the device has no value, compared before `scale`: bits of an integer,
    /// of which -1 has all, or the number of a float.
    pub absent: Vec<i64>,
    /// What the values of an integer mean; where it is not empty, the value is text.
    pub meanings: BTreeMap<i64, String>,
}

/// How a value is written, with the bytes that it takes; without a number, those up to the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An integer of 1 to 8 bytes.
    Unsigned(u8),
    /// The same in two's complement.
    Signed(u8),
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// Whether any bit of 1 to 8 bytes is set.
    Boolean(u8),
    /// Two decimal digits a byte, 1 to 8 bytes.
    Bcd(u8),
    /// UTF-8 up to the first zero, without white space around it.
    Text(Option<u16>),
    /// Bytes as text: two digits each, as they stand there.
    Hex(Option<u16>),
    /// Bytes.
    Bytes(Option<u16>),
}

/// Some bits of an integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bits {
    /// The lowest of them; the lowest of the integer is 0.
    pub first: u8,
    /// How many.
    pub count: u8,
}

/// Why there is no value in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FieldError {
    /// The frame ends before it.
    #[error("not within its {len} bytes")]
    Short {
        /// Bytes of the frame.
        len: usize,
    },
    /// A digit above 9 in packed decimals.
    #[error("the byte {0:02x}, expected two decimal digits")]
    Digits(u8),
    /// Not UTF-8.
    #[error("not UTF-8 text")]
    NotText,
    /// Beyond the largest double.
    #[error("too large a number")]
    TooLarge,
}

impl Kind {
    /// The bytes that it takes; `None` for all up to the end.
    #[must_use]
    pub fn width(self) -> Option<usize> {
        match self {
            Self::Unsigned(width)
            | Self::Signed(width)
            | Self::Boolean(width)
            | Self::Bcd(width) => Some(width.into()),
            Self::Float32 => Some(4),
            Self::Float64 => Some(8),
            Self::Text(width) | Self::Hex(width) | Self::Bytes(width) => width.map(usize::from),
        }
    }
}

impl Field {
    /// A field at `at` that is no more than its kind.
    #[must_use]
    pub const fn new(at: i32, kind: Kind, endian: Endian) -> Self {
        Self {
            at,
            kind,
            endian,
            bits: None,
            scale: None,
            offset: None,
            absent: Vec::new(),
            meanings: BTreeMap::new(),
        }
    }

    /// The value in `frame`; `None` where the device has none.
    ///
    /// # Errors
    ///
    /// See [`FieldError`].
    pub fn read(&self, frame: &[u8]) -> Result<Option<Value>, FieldError> {
        let bytes = self.bytes(frame)?;
        let code = self.code(bytes);
        match self.kind {
            Kind::Float32 => {
                self.float(first(bytes, self.endian).map(f32::from_be_bytes), Number::from_f32)
            }
            Kind::Float64 => {
                self.float(first(bytes, self.endian).map(f64::from_be_bytes), Number::from_f64)
            }
            Kind::Text(_) => text(bytes).map(Some),
            Kind::Bytes(_) => Ok(Some(Value::Bytes(bytes.to_vec()))),
            _ if bytes.len() <= 8 && self.absent.iter().any(|&absent| code.is(absent)) => Ok(None),
            Kind::Hex(_) => Ok(Some(Value::Text(hex(bytes)))),
            Kind::Boolean(_) => Ok(Some(Value::Boolean(code.raw != 0))),
            Kind::Unsigned(_) => self.integer(code.raw.into(), code.raw.try_into().ok()),
            Kind::Signed(_) => self.integer(code.signed().into(), Some(code.signed())),
            Kind::Bcd(_) => {
                let digits = decimal(bytes, self.endian)?;
                self.integer(digits.into(), digits.try_into().ok())
            }
        }
    }

    /// Whether the integer in `frame` is `value`; the bits of it, of which -1 has all.
    #[must_use]
    pub fn is(&self, frame: &[u8], value: i64) -> bool {
        self.bytes(frame).is_ok_and(|bytes| self.code(bytes).is(value))
    }

    fn bytes<'a>(&self, frame: &'a [u8]) -> Result<&'a [u8], FieldError> {
        let len = frame.len();
        let distance = usize::try_from(self.at.unsigned_abs()).unwrap_or(usize::MAX);
        let start = if self.at < 0 { len.checked_sub(distance) } else { Some(distance) };
        let rest = start.and_then(|start| frame.get(start..));
        let bytes = rest.and_then(|rest| match self.kind.width() {
            Some(width) => rest.get(..width),
            None => Some(rest),
        });
        bytes.ok_or(FieldError::Short { len })
    }

    fn code(&self, bytes: &[u8]) -> Code {
        let code = Code::of(bytes, self.endian);
        self.bits.map_or(code, |bits| code.part(bits))
    }

    fn integer(&self, number: Number, code: Option<i64>) -> Result<Option<Value>, FieldError> {
        if self.meanings.is_empty() {
            return self.number(number).map(Some);
        }
        let meaning = code.and_then(|code| self.meanings.get(&code));
        Ok(Some(Value::Text(meaning.map_or_else(|| number.to_string(), ToOwned::to_owned))))
    }

    fn float<F>(
        &self,
        float: Option<F>,
        number: impl Fn(F) -> Option<Number>,
    ) -> Result<Option<Value>, FieldError> {
        let Some(number) = float.and_then(number) else { return Ok(None) };
        let is_absent = |absent: &i64| number.as_whole() == Some(i128::from(*absent));
        if self.absent.iter().any(is_absent) {
            return Ok(None);
        }
        self.number(number).map(Some)
    }

    fn number(&self, number: Number) -> Result<Value, FieldError> {
        let scaled = match self.scale {
            Some(scale) => number.checked_mul(scale),
            None => Some(number),
        };
        let moved = match self.offset {
            Some(offset) => scaled.and_then(|number| number.checked_add(offset)),
            None => scaled,
        };
        moved.map(Value::Number).ok_or(FieldError::TooLarge)
    }
}

/// The bits of an integer.
#[derive(Clone, Copy)]
struct Code {
    raw: u64,
    width: u32,
}

impl Code {
    fn of(bytes: &[u8], endian: Endian) -> Self {
        let push = |raw: u64, byte: &u8| raw << 8 | u64::from(*byte);
        let raw = match endian {
            Endian::Big => bytes.iter().fold(0, push),
            Endian::Little => bytes.iter().rev().fold(0, push),
        };
        let width = u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_mul(8).min(64);
        Self { raw, width }
    }

    fn part(self, bits: Bits) -> Self {
        let width = u32::from(bits.count).min(64);
        let raw = self.raw.checked_shr(bits.first.into()).unwrap_or(0) & ones(width);
        Self { raw, width }
    }

    const fn is(self, value: i64) -> bool {
        value.cast_unsigned() & ones(self.width) == self.raw
    }

    fn signed(self) -> i64 {
        let unused = 64 - self.width;
        let top = self.raw.checked_shl(unused).unwrap_or(0).cast_signed();
        top.checked_shr(unused).unwrap_or(0)
    }
}

/// So many bits, all set.
const fn ones(width: u32) -> u64 {
    match u64::MAX.checked_shr(64 - width) {
        Some(ones) => ones,
        None => 0,
    }
}

/// Bytes in big-endian order.
fn first<const N: usize>(bytes: &[u8], endian: Endian) -> Option<[u8; N]> {
    let mut bytes: [u8; N] = bytes.first_chunk().copied()?;
    if endian == Endian::Little {
        bytes.reverse();
    }
    Some(bytes)
}

fn decimal(bytes: &[u8], endian: Endian) -> Result<u64, FieldError> {
    let push = |number: u64, &byte: &u8| {
        let (high, low) = (byte >> 4, byte & 0x0f);
        if high > 9 || low > 9 {
            return Err(FieldError::Digits(byte));
        }
        Ok(number.wrapping_mul(100).wrapping_add(u64::from(high * 10 + low)))
    };
    match endian {
        Endian::Big => bytes.iter().try_fold(0, push),
        Endian::Little => bytes.iter().rev().try_fold(0, push),
    }
}

fn text(bytes: &[u8]) -> Result<Value, FieldError> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let text = core::str::from_utf8(bytes.get(..end).unwrap_or_default());
    text.map(|text| Value::Text(text.trim().to_owned())).map_err(|_| FieldError::NotText)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
