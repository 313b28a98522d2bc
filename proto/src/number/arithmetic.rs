//! Exact decimal arithmetic: sums, integers and fixed-point values without a detour through `f64`.

use core::cmp::Ordering;

use super::{MAX_DIGITS, Number};

/// Digits of a quotient that has no end: as many as a double always keeps.
const QUOTIENT_DIGITS: u32 = 15;
/// With it, and with 38 digits, a number is below the largest double.
const SAFE_EXPONENT: i32 = 270;

impl Number {
    /// The sum, exact to the last digit while it fits 38 digits, otherwise rounded through `f64`;
    /// `None` where it is beyond the largest double.
    ///
    /// A zero changes nothing, not even how the other number is written.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.mantissa == 0 {
            return Some(other);
        }
        if other.mantissa == 0 {
            return Some(self);
        }
        Self::exact_or(self.exact_sum(other), || self.as_f64() + other.as_f64())
    }

    /// The product, exact to the last digit while it fits 38 digits, otherwise rounded through
    /// `f64`; `None` where it is beyond the largest double.
    ///
    /// It has as many decimal places as both have together: `4860 × 0.005` is `24.300`.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        Self::exact_or(self.exact_product(other), || self.as_f64() * other.as_f64())
    }

    /// The quotient without zeros at its end: exact where it has an end within 38 digits, otherwise
    /// rounded to 15 digits, halves away from zero; `None` for a division by zero, or where it is beyond
    /// what a number can be.
    pub fn checked_div(self, divisor: Self) -> Option<Self> {
        if divisor.mantissa == 0 {
            return None;
        }
        // As many digits as there is room for.
        let mut mantissa = self.mantissa;
        let mut exponent = self.exponent.checked_sub(divisor.exponent)?;
        while mantissa != 0
            && let Some(longer) = mantissa.checked_mul(10)
        {
            mantissa = longer;
            exponent -= 1;
        }
        let (quotient, rest) =
            (mantissa.checked_div(divisor.mantissa)?, mantissa.checked_rem(divisor.mantissa)?);
        let quotient = if rest == 0 {
            Self::shortened(quotient, exponent, MAX_DIGITS)
        } else {
            Self::shortened(quotient, exponent, QUOTIENT_DIGITS)
        };
        let quotient = quotient?.trimmed();
        // A quotient is as long as possible, so that zeros of an integer are digits, too.
        match quotient.exponent > 0 {
            true => Self::from_decimal(quotient.mantissa_at(0)?, 0).or(Some(quotient)),
            false => Some(quotient),
        }
    }

    /// The number with the other sign.
    #[must_use]
    pub const fn negated(self) -> Self {
        // A mantissa has at most 38 digits, so that it is never the lowest integer.
        Self { mantissa: self.mantissa.saturating_neg(), exponent: self.exponent }
    }

    /// The order of the values, however they are written.
    pub fn compare(self, other: Self) -> Ordering {
        let exponent = self.exponent.min(other.exponent);
        match (self.mantissa_at(exponent), other.mantissa_at(exponent)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // At least one has more digits than fit beside the other's: they are far apart.
            _ => self.as_f64().total_cmp(&other.as_f64()),
        }
    }

    /// A number with at most so many digits, halves away from zero.
    fn shortened(mut mantissa: i128, mut exponent: i32, digits: u32) -> Option<Self> {
        let limit = power_of_ten(digits)?.unsigned_abs();
        let mut last = 0;
        while mantissa.unsigned_abs() >= limit {
            last = mantissa % 10;
            mantissa /= 10;
            exponent = exponent.checked_add(1)?;
        }
        let away = i128::from(last.unsigned_abs() >= 5) * last.signum();
        Self::from_decimal(mantissa.checked_add(away)?, exponent)
    }

    /// The value if it is an integer, however it is written (`21`, `21.00`, `2.1e1`), and fits.
    pub fn as_whole(self) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let power = power_of_ten(self.exponent.unsigned_abs())?;
        if self.exponent >= 0 {
            self.mantissa.checked_mul(power)
        } else {
            (self.mantissa % power == 0).then_some(self.mantissa / power)
        }
    }

    /// The integer nearest to the value × 10^`places`, halves away from zero; `None` if it does
    /// not fit. With nine places, seconds become nanoseconds.
    pub fn scaled_to_integer(self, places: i32) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let shift = self.exponent.checked_add(places)?;
        let Some(power) = power_of_ten(shift.unsigned_abs()) else {
            // Either far too large, or less than half of one.
            return (shift < 0).then_some(0);
        };
        if shift >= 0 {
            return self.mantissa.checked_mul(power);
        }
        let rest = (self.mantissa % power).unsigned_abs();
        let away = i128::from(rest >= power.unsigned_abs() - rest);
        Some(self.mantissa / power + away * self.mantissa.signum())
    }

    /// The same value without zeros at the end of its fraction: `1.500` is `1.5`, `2.0` is `2`.
    pub fn trimmed(self) -> Self {
        let mut number = self;
        while number.exponent < 0 && number.mantissa % 10 == 0 {
            number.mantissa /= 10;
            number.exponent += 1;
        }
        number
    }

    /// The exact number, unless it is too long or beyond the largest double.
    fn exact_or(exact: Option<Self>, rounded: impl FnOnce() -> f64) -> Option<Self> {
        if exact.is_some_and(|exact| exact.exponent <= SAFE_EXPONENT) {
            return exact;
        }
        let rounded = Self::from_f64(rounded())?;
        Some(exact.unwrap_or(rounded))
    }

    fn exact_product(self, other: Self) -> Option<Self> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        let is_short = mantissa.unsigned_abs() < 10_u128.pow(MAX_DIGITS);
        let product = Self::from_decimal(mantissa, self.exponent.checked_add(other.exponent)?);
        product.filter(|_| is_short)
    }

    fn exact_sum(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let mantissa = self.mantissa_at(exponent)?.checked_add(other.mantissa_at(exponent)?)?;
        fits(mantissa).then_some(Self { mantissa, exponent })
    }

    /// The mantissa of the same value at an exponent that is not greater than its own.
    fn mantissa_at(self, exponent: i32) -> Option<i128> {
        let places = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        self.mantissa.checked_mul(power_of_ten(places)?)
    }
}

/// Whether a mantissa has no more digits than are kept.
const fn fits(mantissa: i128) -> bool {
    mantissa.unsigned_abs() < 10_u128.pow(MAX_DIGITS)
}

/// 10^`places`, up to 10^38.
fn power_of_ten(places: u32) -> Option<i128> {
    10_i128.checked_pow(places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    fn sum(left: &str, right: &str) -> Number {
        number(left).checked_add(number(right)).unwrap()
    }

    #[test]
    fn sums_are_exact_where_doubles_are_not() {
        assert_eq!(sum("0.1", "0.2").to_string(), "0.3");
        assert_eq!(sum("1276020076.001", "-5").to_string(), "1276020071.001");
        assert_eq!(sum("12345678901234567890", "0.01").to_string(), "12345678901234567890.01");
        assert_eq!(sum("1e3", "-0.5").to_string(), "999.5");
    }

    #[test]
    fn zero_leaves_the_digits_of_the_other_number() {
        assert_eq!(sum("0", "21.50").to_string(), "21.50");
        assert_eq!(sum("21.50", "0e300").to_string(), "21.50");
    }

    #[test]
    fn sums_of_too_many_digits_are_rounded() {
        assert_eq!(sum("1e30", "1e-30").to_string(), "1e30");
        let nines = "99999999999999999999999999999999999999";
        assert_eq!(sum(nines, "1").to_string(), "1e38");
    }

    #[test]
    fn products_are_exact_where_doubles_are_not() {
        let product = |left: &str, right: &str| number(left).checked_mul(number(right));
        for (left, right, expected) in [
            ("1236", "0.1", "123.6"),
            ("3", "0.1", "0.3"),
            ("4860", "0.005", "24.300"),
            ("-7", "1e3", "-7000"),
            ("0", "0.1", "0.0"),
            ("1013.25", "1e2", "101325"),
            ("-12345678901234567890", "10.5", "-129629628462962962845.0"),
            ("230", "0.10", "23.00"),
            ("18446744073709551615", "0.01", "184467440737095516.15"),
            ("99999999999999999999", "99999999999999999999", "1e40"),
        ] {
            let product = product(left, right).map(|product| product.to_string());
            assert_eq!(product.as_deref(), Some(expected), "{left} {right}");
        }
        let long = product("12345678901234567890", "12345678901234567890").unwrap();
        assert_eq!(long.as_f64(), 12345678901234567890_f64.powi(2), "rounded");
        assert_eq!(product("1e200", "1e200"), None);
        assert_eq!(product("1e-300", "1e-300"), Some(number("0")));
    }

    #[test]
    fn a_sum_beyond_the_largest_double_is_none() {
        let large = number("1.7e308");
        assert_eq!(large.checked_add(large), None);
    }

    #[test]
    fn quotients_are_exact_or_have_fifteen_digits() {
        let quotient = |a, b| number(a).checked_div(number(b)).unwrap().to_string();
        for (a, b, expected) in [
            ("198.0", "9", "22"),
            ("1", "3", "0.333333333333333"),
            ("2", "-3", "-0.666666666666667"),
            ("0", "7", "0"),
            ("100", "1", "100"),
            ("21.50", "1", "21.5"),
            ("1", "3.6e6", "2.77777777777778e-7"),
            ("36", "3.6e6", "0.00001"),
            (
                "99999999999999999999999999999999999999",
                "1",
                "99999999999999999999999999999999999999",
            ),
        ] {
            let shown: Number = quotient(a, b).parse().unwrap();
            assert_eq!(shown.compare(number(expected)), Ordering::Equal, "{a} / {b}: {shown}");
        }
        assert_eq!(quotient("198.0", "9"), "22");
        assert_eq!(quotient("100", "1"), "100");
        assert_eq!(number("1").checked_div(number("0.0")), None);
    }

    #[test]
    fn order_is_that_of_the_values() {
        for (a, b, order) in [
            ("21.5", "21.50", Ordering::Equal),
            ("12345678901234567890", "12345678901234567891", Ordering::Less),
            ("1e300", "-1", Ordering::Greater),
            ("0e300", "0", Ordering::Equal),
            ("-0.1", "0", Ordering::Less),
        ] {
            assert_eq!(number(a).compare(number(b)), order, "{a} {b}");
        }
    }

    #[test]
    fn integers_are_found_however_they_are_written() {
        for text in ["21", "21.00", "2.1e1", "0.21e2"] {
            assert_eq!(number(text).as_whole(), Some(21), "{text}");
        }
        assert_eq!(number("0.000").as_whole(), Some(0));
        assert_eq!(number("0e99").as_whole(), Some(0));
        assert_eq!(number("21.5").as_whole(), None);
        assert_eq!(number("1e-99").as_whole(), None);
        assert_eq!(number("1e39").as_whole(), None);
    }

    #[test]
    fn scaling_rounds_to_the_nearest_integer() {
        let nanos = |text| number(text).scaled_to_integer(9);
        assert_eq!(nanos("1276020076.001"), Some(1_276_020_076_001_000_000));
        assert_eq!(nanos("0.0000000015"), Some(2));
        assert_eq!(nanos("-0.0000000015"), Some(-2));
        assert_eq!(nanos("0.00000000149"), Some(1));
        assert_eq!(nanos("1e-300"), Some(0));
        assert_eq!(nanos("1e300"), None);
        assert_eq!(nanos("0e300"), Some(0));
    }

    #[test]
    fn trimming_takes_only_zeros_of_the_fraction() {
        for (text, trimmed) in [("1.500", "1.5"), ("2.0", "2"), ("100", "100"), ("-0.010", "-0.01")]
        {
            assert_eq!(number(text).trimmed().to_string(), trimmed);
        }
    }

    proptest! {
        /// Against doubles, which are near.
        #[test]
        fn arithmetic_is_near_that_of_doubles(a in -1e15..1e15_f64, b in -1e15..1e15_f64) {
            let (x, y) = (Number::from_f64(a).unwrap(), Number::from_f64(b).unwrap());
            let near = |n: Option<Number>, f: f64| (n.unwrap().as_f64() - f).abs() <= f.abs() * 1e-14;
            prop_assert!(near(x.checked_mul(y), a * b));
            prop_assert!(b == 0.0 || near(x.checked_div(y), a / b));
            prop_assert_eq!(Some(x.compare(y)), a.partial_cmp(&b));
        }

        #[test]
        fn any_two_numbers_add_up_or_overflow(
            left in any::<i128>(), up in -400..=400, right in any::<i128>(), down in -400..=400,
        ) {
            let left = Number::from_decimal(left, up).unwrap();
            let right = Number::from_decimal(right, down).unwrap();
            let expected = left.as_f64() + right.as_f64();
            if let Some(sum) = left.checked_add(right) && expected.is_finite() {
                let tolerance = (left.as_f64().abs() + right.as_f64().abs()) * 1e-15;
                prop_assert!((sum.as_f64() - expected).abs() <= tolerance);
            }
            if let Some(product) = left.checked_mul(right) {
                let expected = left.as_f64() * right.as_f64();
                prop_assert!((product.as_f64() - expected).abs() <= expected.abs() * 1e-15);
            }
            let _ = (left.as_whole(), left.scaled_to_integer(9), left.trimmed());
        }
    }
}
