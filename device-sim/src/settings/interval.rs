//! Durations as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

use super::text_value;

const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;
/// The longest interval: a year.
const MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Reads a duration, with a minus before it a negative one: `"1h 30m"`. A day has 24 hours, and stands
/// first: `"1d 12h"`.
pub fn signed_duration(text: &str) -> Option<SignedDuration> {
    let (sign, bare) = match text.strip_prefix('-') {
        Some(bare) => (-1, bare),
        None => (1, text),
    };
    let digits = bare.bytes().take_while(u8::is_ascii_digit).count();
    let (days, rest) = bare.split_at_checked(digits)?;
    let rest = rest.trim_start();
    let units = ["days", "day", "d"];
    let Some(rest) = units.into_iter().find_map(|unit| rest.strip_prefix(unit)) else {
        return text.parse().ok();
    };
    let rest = match rest.trim() {
        "" => SignedDuration::ZERO,
        rest => rest.parse().ok().filter(|rest: &SignedDuration| !rest.is_negative())?,
    };
    let seconds = days.parse::<i64>().ok()?.checked_mul(SECONDS_OF_A_DAY)?;
    SignedDuration::from_secs(seconds).checked_add(rest)?.checked_mul(sign)
}

/// A duration of zero to a year: `"20ms"`, `"5s"`, `"1h 30m"`, `"30d"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(Duration);

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    #[error("expected a number with a unit, such as \"{0}s\" or \"{0}ms\"")]
    Unit(String),
    #[error(
        "expected a duration such as \"5s\", \"20ms\" or \"1h 30m\" (units: d, h, m, s, ms, us)"
    )]
    Syntax,
    #[error("expected a duration of 0s or more")]
    Negative,
    #[error("expected a duration of at most a year (365d)")]
    TooLong,
}

impl Interval {
    /// `count` seconds.
    pub const fn seconds(count: u32) -> Self {
        Self(Duration::from_secs(count as u64))
    }

    /// `count` milliseconds.
    pub const fn millis(count: u32) -> Self {
        Self(Duration::from_millis(count as u64))
    }

    /// The duration.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Interval {
    type Err = IntervalError;

    fn from_str(text: &str) -> Result<Self, IntervalError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(IntervalError::Unit(text.to_owned()));
        }
        let duration = signed_duration(text).ok_or(IntervalError::Syntax)?;
        let duration = Duration::try_from(duration).map_err(|_| IntervalError::Negative)?;
        if duration > MAX {
            return Err(IntervalError::TooLong);
        }
        Ok(Self(duration))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SignedDuration::try_from(self.0) {
            Ok(duration) => write!(f, "{duration:#}"),
            // Not reached: an interval is at most a year.
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

text_value!(Interval, "duration", "expected a duration such as \"5s\", \"20ms\" or \"1h 30m\"", {});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        let table = [
            ("5s", Ok(5_000)),
            ("20ms", Ok(20)),
            ("1h 30m", Ok(5_400_000)),
            ("0s", Ok(0)),
            ("1d", Ok(86_400_000)),
            ("365d", Ok(31_536_000_000)),
            ("1d 12h", Ok(129_600_000)),
            ("2 days 1ms", Ok(172_800_001)),
            ("1d2h", Ok(93_600_000)),
            ("d", Err(IntervalError::Syntax)),
            ("1d -2h", Err(IntervalError::Syntax)),
            ("1d 2", Err(IntervalError::Syntax)),
            ("1dozen", Err(IntervalError::Syntax)),
            ("2h 1d", Err(IntervalError::Syntax)),
            ("99999999999999999d", Err(IntervalError::Syntax)),
            ("-1d", Err(IntervalError::Negative)),
            ("366d", Err(IntervalError::TooLong)),
            ("5", Err(IntervalError::Unit("5".to_owned()))),
            ("", Err(IntervalError::Syntax)),
            ("soon", Err(IntervalError::Syntax)),
            ("-5s", Err(IntervalError::Negative)),
            ("5s ago", Err(IntervalError::Negative)),
            ("8761h", Err(IntervalError::TooLong)),
        ];
        for (text, millis) in table {
            let parsed = text.parse::<Interval>().map(|i| i.duration().as_millis());
            assert_eq!(parsed, millis, "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [0, 1, 1500, 60_000, 5_400_000] {
            let interval = Interval(Duration::from_millis(millis));
            assert_eq!(interval.to_string().parse(), Ok(interval), "{interval}");
        }
    }
}
