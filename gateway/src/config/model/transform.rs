//! What a route does to its readings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{self, Decimal, Interval};

/// Another unit, or another scale.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct Convert {
    /// Unit that the value gets. Alone it converts the value from the unit that it has; with `scale` or
    /// `offset` it only names what comes out.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) unit: Option<String>,
    /// Unit of readings that come without one.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) from: Option<String>,
    /// Factor, before `offset`.
    pub(crate) scale: Option<Decimal>,
    /// What is added.
    pub(crate) offset: Option<Decimal>,
}

/// One reading for all of a window of time.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct Aggregate {
    /// Length of a window, 1s to 24h. Windows are aligned to the clock in UTC: with `"15m"` they begin at
    /// the full hour and a quarter past it.
    #[serde(deserialize_with = "values::span::<_, 1, 86_400>")]
    pub(crate) window: Interval,
    /// What is published of a window: each is a reading named `{name}.mean` and so on.
    pub(crate) of: Vec<Statistic>,
    /// How long after its end a window still waits for readings, 0s to 1h. Those that come later become
    /// further aggregates of the same window.
    #[serde(default = "default_grace", deserialize_with = "values::span::<_, 0, 3600>")]
    pub(crate) grace: Interval,
}

/// What is made of the values of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Statistic {
    /// The lowest.
    Min,
    /// The sum through the count.
    Mean,
    /// The highest.
    Max,
    /// The one with the latest time.
    Last,
    /// How many.
    Count,
    /// All together.
    Sum,
}

impl Statistic {
    /// As it is written.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Mean => "mean",
            Self::Max => "max",
            Self::Last => "last",
            Self::Count => "count",
            Self::Sum => "sum",
        }
    }

    /// What the name of a reading becomes.
    pub(crate) fn name_of(self, reading: &str) -> String {
        format!("{reading}.{}", self.name())
    }
}

const fn default_grace() -> Interval {
    Interval::seconds(5)
}
