//! A point in time, as an operator names it.

use std::str::FromStr;

use proto::Timestamp;

use crate::clock;
use crate::config::Interval;

/// A time: RFC 3339, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Time(Timestamp);

/// A text is no time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as 2026-11-20T22:39:00Z, or how long ago, such as 2h or 1h 30m")]
pub(in crate::cli) struct TimeError;

impl Time {
    /// Nanoseconds since 1970.
    pub(in crate::cli) const fn as_nanos(self) -> i64 {
        self.0.as_nanos()
    }

    fn parse(text: &str, now: Timestamp) -> Result<Self, TimeError> {
        let nanos = match text.parse::<Interval>() {
            Ok(ago) => {
                let ago = i64::try_from(ago.duration().as_nanos()).map_err(|_| TimeError)?;
                now.as_nanos().saturating_sub(ago)
            }
            Err(_) => {
                let time: jiff::Timestamp = text.parse().map_err(|_| TimeError)?;
                i64::try_from(time.as_nanosecond()).map_err(|_| TimeError)?
            }
        };
        Ok(Self(Timestamp::from_nanos(nanos)))
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        Self::parse(text, clock::wall())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_with_a_zone_or_so_long_ago() {
        const NOW: i64 = 1_795_214_340_000_000_000;
        const HOUR: i64 = 3_600_000_000_000;
        let table = [
            ("2026-11-20T22:39:00Z", Some(NOW)),
            ("2026-11-20T23:39:00+01:00", Some(NOW)),
            ("2h", Some(NOW - 2 * HOUR)),
            ("1h 30m", Some(NOW - HOUR * 3 / 2)),
            ("0s", Some(NOW)),
            ("2026-11-20", None),
            ("2026-11-20T22:39:00", None),
            ("9999-01-01T00:00:00Z", None),
            ("yesterday", None),
            ("2", None),
            ("", None),
        ];
        for (text, expected) in table {
            let time = Time::parse(text, Timestamp::from_nanos(NOW));
            assert_eq!(time.ok().map(Time::as_nanos), expected, "{text:?}");
        }
    }
}
