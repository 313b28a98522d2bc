//! Numbers that keep the precision they came with.
//!
//! A meter that says `21.50` is more precise than one that says `21.5`, and a counter of twenty
//! digits does not fit a double. So a number is a decimal: `mantissa × 10^exponent`, printed with
//! the digits that arrived. Floating-point input becomes the shortest decimal that reads back as
//! the same float of the same width (an `f32` of 0.1 is `0.1`, not `0.10000000149011612`).

use core::fmt::{self, Write as _};
use core::str::FromStr;

mod arithmetic;

/// The most digits a mantissa keeps; longer input is rounded through `f64`.
const MAX_DIGITS: u32 = 38;
/// Exponents beyond this are neither a sensor's value nor a finite double.
const MAX_EXPONENT: i32 = 400;
/// Text is written without an exponent while it needs at most this many zeros of padding.
const MAX_PADDING: u32 = 21;

/// A finite decimal number.
///
/// Equality is by what was written: `21.5` and `21.50` differ. Compare values with [`as_f64`].
///
/// [`as_f64`]: Number::as_f64
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Number {
    mantissa: i128,
    exponent: i32,
}

/// The text is not a finite decimal number of the JSON grammar (RFC 8259 §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a finite decimal number")]
pub struct ParseNumberError;

impl Number {
    /// `mantissa × 10^exponent`, or `None` where the exponent is outside ±400.
    pub const fn from_decimal(mantissa: i128, exponent: i32) -> Option<Self> {
        if exponent.unsigned_abs() > MAX_EXPONENT.unsigned_abs() {
            return None;
        }
        Some(Self { mantissa, exponent })
    }

    /// The shortest decimal that reads back as `value`; `None` for infinities and NaN.
    pub fn from_f64(value: f64) -> Option<Self> {
        value.is_finite().then(|| Self::from_display(&value))
    }

    /// The shortest decimal that reads back as `value`; `None` for infinities and NaN.
    pub fn from_f32(value: f32) -> Option<Self> {
        value.is_finite().then(|| Self::from_display(&value))
    }

    /// The nearest double.
    pub fn as_f64(self) -> f64 {
        Text::of(&format_args!("{}e{}", self.mantissa, self.exponent)).parse().unwrap_or(f64::NAN)
    }

    /// The value if it is an integer written without a fraction or exponent.
    pub const fn as_integer(self) -> Option<i128> {
        if self.exponent == 0 { Some(self.mantissa) } else { None }
    }

    /// The digits, without the decimal point: value = mantissa × 10^[`exponent`](Self::exponent).
    pub const fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// The power of ten that the mantissa is multiplied with.
    pub const fn exponent(self) -> i32 {
        self.exponent
    }

    /// `{:e}` of a finite float always is a number of the grammar and at most 17 digits long.
    fn from_display(value: &impl fmt::LowerExp) -> Self {
        let text = Text::of(&format_args!("{value:e}"));
        text.parse_number().unwrap_or(Self { mantissa: 0, exponent: 0 })
    }
}

impl FromStr for Number {
    type Err = ParseNumberError;

    fn from_str(text: &str) -> Result<Self, ParseNumberError> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(ParseNumberError),
            Some(parts) => parts,
            None => (digits, ""),
        };
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(ParseNumberError);
        }
        let mut mantissa: i128 = 0;
        let mut significant = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(ParseNumberError);
            }
            significant += u32::from(significant > 0 || byte != b'0');
            if significant <= MAX_DIGITS {
                mantissa = mantissa * 10 + i128::from(byte - b'0');
            }
        }
        if significant > MAX_DIGITS {
            let rounded: f64 = text.parse().map_err(|_| ParseNumberError)?;
            return Self::from_f64(rounded).ok_or(ParseNumberError);
        }
        let mantissa = if negative { -mantissa } else { mantissa };
        let scale = i32::try_from(fraction.len()).map_err(|_| ParseNumberError)?;
        let number = Self::from_decimal(mantissa, exponent - scale).ok_or(ParseNumberError)?;
        if number.as_f64().is_finite() { Ok(number) } else { Err(ParseNumberError) }
    }
}

fn parse_exponent(text: &str) -> Result<i32, ParseNumberError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseNumberError);
    }
    text.strip_prefix('+').unwrap_or(text).parse().map_err(|_| ParseNumberError)
}

impl fmt::Display for Number {
    /// JSON's grammar (RFC 8259 §6), with the digits that arrived.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = Text::of(&format_args!("{}", self.mantissa.unsigned_abs()));
        let digits = digits.as_str();
        let places = usize::try_from(self.exponent.unsigned_abs()).unwrap_or(usize::MAX);
        // More digits than are kept would be rounded when they are read again.
        let is_long = self.exponent > 0 && digits.len() + places > MAX_DIGITS as usize;
        if self.exponent.unsigned_abs() > MAX_PADDING || is_long {
            write!(f, "{sign}{digits}e{}", self.exponent)
        } else if self.exponent >= 0 {
            let zeros = if self.mantissa == 0 { 0 } else { places };
            write!(f, "{sign}{digits}{:0<zeros$}", "")
        } else if let Some((whole, fraction)) =
            digits.len().checked_sub(places).and_then(|at| digits.split_at_checked(at))
            && !whole.is_empty()
        {
            write!(f, "{sign}{whole}.{fraction}")
        } else {
            write!(f, "{sign}0.{digits:0>places$}")
        }
    }
}

macro_rules! from_integer {
    ($($int:ty),*) => {$(
        impl From<$int> for Number {
            fn from(value: $int) -> Self {
                Self { mantissa: i128::from(value), exponent: 0 }
            }
        }
    )*};
}
from_integer!(u8, u16, u32, u64, i8, i16, i32, i64);

/// Formats on the stack: the longest text is a mantissa of 40 characters and an exponent of 5.
struct Text {
    bytes: [u8; 64],
    len: usize,
}

impl Text {
    fn of(arguments: &fmt::Arguments<'_>) -> Self {
        let mut text = Self { bytes: [0; 64], len: 0 };
        // Cannot fail: every caller's text is shorter than the buffer.
        let _ = text.write_fmt(*arguments);
        text
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..self.len).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or_default()
    }

    fn parse(&self) -> Result<f64, core::num::ParseFloatError> {
        self.as_str().parse()
    }

    fn parse_number(&self) -> Result<Number, ParseNumberError> {
        self.as_str().parse()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len + s.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    #[test]
    fn digits_survive_as_written() {
        for text in ["0", "21.5", "21.50", "-0.001", "12345678901234567890", "100", "0.10", "-7"] {
            assert_eq!(number(text).to_string(), text);
        }
    }

    #[test]
    fn exponents_are_folded_while_short() {
        assert_eq!(number("1.5e3").to_string(), "1500");
        assert_eq!(number("15E-1").to_string(), "1.5");
        assert_eq!(number("1e-30").to_string(), "1e-30");
        assert_eq!(number("1e+20").to_string(), "100000000000000000000");
        assert_eq!(number("0e5").to_string(), "0");
    }

    #[test]
    fn padding_never_makes_more_digits_than_are_kept() {
        let text = "1234567890.12345678901234567890";
        assert_eq!(number(text).to_string(), text);
        let text = "12345678901234567890123456789e10";
        assert_eq!(number(text).to_string(), text);
        assert_eq!(
            number("1234567890123456789e19").to_string(),
            "12345678901234567890000000000000000000"
        );
    }

    #[test]
    fn what_json_refuses_is_refused() {
        for text in
            ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "0x1", "NaN", "1e999", "1 ", "--1"]
        {
            assert!(text.parse::<Number>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn floats_take_their_shortest_form() {
        assert_eq!(Number::from_f32(0.1).unwrap().to_string(), "0.1");
        assert_eq!(Number::from_f64(23.1).unwrap().to_string(), "23.1");
        assert_eq!(Number::from_f64(-1e300).unwrap().to_string(), "-1e300");
        assert_eq!(Number::from_f64(f64::NAN), None);
    }

    proptest! {
        #[test]
        fn every_finite_double_reads_back(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL) {
            let number = Number::from_f64(value).unwrap();
            prop_assert_eq!(number.as_f64(), value);
            prop_assert_eq!(number.to_string().parse::<f64>().unwrap(), value);
        }

        #[test]
        fn any_text_is_a_number_or_an_error(text in "[-+0-9.eE]{0,60}") {
            if let Ok(number) = text.parse::<Number>() {
                prop_assert_eq!(number.as_f64(), text.parse::<f64>().unwrap());
                prop_assert_eq!(number.to_string().parse::<Number>().unwrap().as_f64(), number.as_f64());
            }
        }
    }
}
