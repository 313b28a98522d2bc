//! Times as devices write them.

use proto::{Number, Timestamp};

use super::draft::{DecodeError, field_error};
use crate::config::TimeUnit;

/// RFC 3339 text, or a number of `unit` since 1970-01-01T00:00:00Z.
pub(super) fn parse(field: &str, text: &str, unit: TimeUnit) -> Result<Timestamp, DecodeError> {
    let parsed = match text.parse::<Number>() {
        Ok(number) => from_number(number, unit),
        Err(_) => from_rfc3339(text),
    };
    let expected = "RFC 3339 with a zone such as 2026-11-20T22:39:00Z, or a number";
    parsed.ok_or_else(|| field_error(field, text, expected))
}

fn from_rfc3339(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

/// Exact, but for digits below a nanosecond.
fn from_number(number: Number, unit: TimeUnit) -> Option<Timestamp> {
    let unit = match unit {
        TimeUnit::S => 9,
        TimeUnit::Ms => 6,
        TimeUnit::Us => 3,
        TimeUnit::Ns => 0,
    };
    let power = number.exponent() + unit;
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    let nanos = match (power >= 0, factor) {
        (true, Some(factor)) => number.mantissa().checked_mul(factor)?,
        (true, None) => return None,
        (false, Some(divisor)) => number.mantissa().div_euclid(divisor),
        (false, None) => 0,
    };
    i64::try_from(nanos).ok().map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact() {
        for (text, unit, nanos) in [
            ("2026-11-20T22:39:00.123Z", TimeUnit::S, 1_795_214_340_123_000_000),
            ("2026-11-20T23:39:00.123+01:00", TimeUnit::S, 1_795_214_340_123_000_000),
            ("1795214340.123456789", TimeUnit::S, 1_795_214_340_123_456_789),
            ("1795214340123", TimeUnit::Ms, 1_795_214_340_123_000_000),
            ("1795214340123456", TimeUnit::Us, 1_795_214_340_123_456_000),
            ("1465839830100400200", TimeUnit::Ns, 1_465_839_830_100_400_200),
            ("1.5e9", TimeUnit::S, 1_500_000_000_000_000_000),
            ("-0.5", TimeUnit::S, -500_000_000),
        ] {
            assert_eq!(parse("t", text, unit), Ok(Timestamp::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn a_time_without_zone_or_out_of_range_is_refused() {
        for text in ["2019-08-29 08:38:19", "2019-08-29T08:38:19", "", "soon", "1e30", "1e300"] {
            assert!(parse("t", text, TimeUnit::S).is_err(), "{text}");
        }
    }
}
