//! Durations as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

use super::text_value;

/// The longest interval: a year.
const MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A duration of zero to a year: `"20ms"`, `"5s"`, `"1h 30m"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(Duration);

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    #[error("expected a number with a unit, such as \"{0}s\" or \"{0}ms\"")]
    Unit(String),
    #[error("expected a duration such as \"5s\", \"20ms\" or \"1h 30m\" (units: h, m, s, ms, us)")]
    Syntax,
    #[error("expected a duration of 0s or more")]
    Negative,
    #[error("expected a duration of at most a year (8760h)")]
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
        let duration: SignedDuration = text.parse().map_err(|_| IntervalError::Syntax)?;
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
