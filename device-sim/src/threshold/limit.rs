//! Where a threshold ends.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

use super::measure::Measured;
use crate::report::text;
use crate::settings::signed_duration;

/// A whole, in the unit of [`Value::Share`]: a millionth of a percent.
const WHOLE: u64 = 100_000_000;
/// Decimals of a percentage.
const DECIMALS: usize = 6;

/// A comparison with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    sign: Sign,
    value: Value,
}

/// How a measured value is to be, compared with the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Smaller.
    Below,
    /// Smaller or equal.
    AtMost,
    /// Larger.
    Above,
    /// Larger or equal.
    AtLeast,
}

/// What a measured value is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number of readings.
    Count(u64),
    /// A share of them, in millionths of a percent.
    Share(u64),
    /// A time.
    Duration(Duration),
}

/// What the limit of a metric is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number.
    Count,
    /// A number, or a percentage.
    CountOrShare,
    /// A time.
    Duration,
}

/// A text is no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// It is neither of the values that there are.
    #[error(
        "`{0}` is no limit; write a count (`0`), a percentage (`< 0.1%`) or a duration (`< 2s`)"
    )]
    Syntax(String),
    /// It is one, but not of this metric.
    #[error("the limit of `{name}` is {expected}, not `{found}`")]
    Kind {
        /// The metric.
        name: &'static str,
        /// What to write.
        expected: &'static str,
        /// What was written.
        found: String,
    },
}

impl Limit {
    /// This value, or less.
    pub const fn at_most(value: Value) -> Self {
        Self { sign: Sign::AtMost, value }
    }

    /// This value, or more.
    pub const fn at_least(value: Value) -> Self {
        Self { sign: Sign::AtLeast, value }
    }

    /// The value.
    pub const fn value(&self) -> Value {
        self.value
    }

    /// Whether a metric of this kind can have it.
    pub(super) fn check(self, name: &'static str, kind: Kind) -> Result<Self, LimitError> {
        let expected = match (kind, self.value) {
            (Kind::Count | Kind::CountOrShare, Value::Count(_))
            | (Kind::CountOrShare, Value::Share(_))
            | (Kind::Duration, Value::Duration(_)) => return Ok(self),
            (Kind::Count, Value::Share(_) | Value::Duration(_)) => "a count, such as `0`",
            (Kind::CountOrShare, Value::Duration(_)) => "a count or a percentage, such as `< 0.1%`",
            (Kind::Duration, Value::Count(_) | Value::Share(_)) => "a duration, such as `< 2s`",
        };
        Err(LimitError::Kind { name, expected, found: self.to_string() })
    }

    /// Whether a measured value is within it; `None` if it is a share of nothing.
    pub(super) fn allows(&self, measured: Measured) -> Option<bool> {
        // count / of <sign> share / WHOLE, without rounding.
        let (left, right) = match (measured, self.value) {
            (Measured::Count { of: 0, .. }, Value::Share(_)) => return None,
            (Measured::Count { count, of }, Value::Share(share)) => {
                (u128::from(count) * u128::from(WHOLE), u128::from(of) * u128::from(share))
            }
            (Measured::Count { count, .. }, Value::Count(limit)) => (count.into(), limit.into()),
            (Measured::Duration(duration), Value::Duration(limit)) => {
                (duration.as_nanos(), limit.as_nanos())
            }
            (Measured::Count { .. }, Value::Duration(_))
            | (Measured::Duration(_), Value::Count(_) | Value::Share(_)) => return None,
        };
        Some(match self.sign {
            Sign::Below => left < right,
            Sign::AtMost => left <= right,
            Sign::Above => left > right,
            Sign::AtLeast => left >= right,
        })
    }
}

impl Value {
    /// A measured value, written as this one is.
    pub(super) fn like(self, measured: Measured) -> String {
        match (measured, self) {
            (Measured::Count { count, of }, Self::Share(_)) => text::share(count, of),
            (Measured::Count { count, .. }, Self::Count(_) | Self::Duration(_)) => {
                count.to_string()
            }
            (Measured::Duration(duration), _) => text::duration(duration),
        }
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let trimmed = text.trim();
        let signs = [
            ("<=", Sign::AtMost),
            (">=", Sign::AtLeast),
            ("<", Sign::Below),
            (">", Sign::Above),
            ("", Sign::AtMost),
        ];
        let mut found = signs.into_iter().filter_map(|(word, sign)| {
            trimmed.strip_prefix(word).map(|rest| (sign, rest.trim_start()))
        });
        let (sign, rest) = found.next().ok_or_else(|| LimitError::Syntax(text.to_owned()))?;
        let value = rest.parse().map_err(|_| LimitError::Syntax(text.to_owned()))?;
        Ok(Self { sign, value })
    }
}

impl FromStr for Value {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let count = || text.parse().ok().map(Self::Count);
        let share = || share(text.strip_suffix('%')?.trim_end()).map(Self::Share);
        let duration = || Duration::try_from(signed_duration(text)?).ok().map(Self::Duration);
        let value = count().or_else(share).or_else(duration);
        value.ok_or_else(|| LimitError::Syntax(text.to_owned()))
    }
}

/// A percentage without its sign, exactly.
fn share(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > DECIMALS {
        return None;
    }
    let decimals: u64 = format!("{decimals:0<DECIMALS$}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(WHOLE / 100)?.checked_add(decimals)
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Below => "<",
            Sign::AtMost => "<=",
            Sign::Above => ">",
            Sign::AtLeast => ">=",
        };
        write!(f, "{sign} {}", self.value)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Share(share) => {
                let (whole, decimals) = (share / (WHOLE / 100), share % (WHOLE / 100));
                let text = format!("{whole}.{decimals:0DECIMALS$}");
                write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
            }
            Self::Duration(duration) => match SignedDuration::try_from(*duration) {
                Ok(duration) => write!(f, "{duration:#}"),
                Err(_) => write!(f, "{}s", duration.as_secs()),
            },
        }
    }
}
