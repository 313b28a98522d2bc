//! What a run has to keep: the table `[thresholds]` of a scenario.
//!
//! ```toml
//! [thresholds]
//! lost = 0                               # at most
//! duplicates = "< 0.1%"                  # of what arrived
//! arrived = ">= 1000"
//! latency.p99 = { max = "2s", except = ["broker down"] }
//! recovery = "< 5s"
//! ```
//!
//! # Grammar
//!
//! ```text
//! threshold = count | text | { limit = text } | { max = value } | { min = value }, and except = [...]
//! text      = [ "<" | "<=" | ">" | ">=" ] value        without a sign: "<="
//! value     = count | percent | duration               "12", "0.1%", "1m 30s"
//! ```
//!
//! | Name | Value | What it is |
//! |---|---|---|
//! | `lost`, `refused`, `unanswered`, `acknowledged` | count, or percent of what was sent | see [`Fleet`](crate::report::Fleet) |
//! | `arrived` | count, or percent of what was sent | |
//! | `late`, `duplicates`, `wrong_value`, `out_of_order` | count, or percent of what arrived | |
//! | `unknown` | count | arrivals that nobody has sent |
//! | `latency.min`, `.p50`, `.p90`, `.p95`, `.p99`, `.p999`, `.max` | duration | from the intended send to the far end |
//! | `commands.sent`, `commands.unasked` | count | see [`Commands`](crate::report::Commands) |
//! | `commands.done`, `.expired`, `.failed`, `.false_done`, `.no_outcome`, `.repeated`, `.unknown` | count, or percent of the commands | |
//! | `recovery` | duration | after the fault that took longest to recover from |
//!
//! `except` names faults: latencies of what was meant to be sent during them, and their recovery, are
//! left out. What cannot be measured, because nothing was sent or nothing arrived, is a miss: a run in
//! which nothing happens proves nothing. So is `lost` where nothing was taken (`weight`).
//!
//! Shares are compared exactly, without rounding; percentiles have the width of their bucket (see
//! [`histogram`](crate::histogram)).

mod limit;
mod measure;
mod metric;
mod table;
mod weight;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use limit::{Limit, LimitError, Sign, Value};
pub use metric::Metric;

use crate::report::Report;
use crate::report::phase::QUIET;
use crate::suggest::did_you_mean;

/// All thresholds of a scenario, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds(BTreeMap<Metric, Threshold>);

/// What is asked of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Where it ends.
    pub limit: Limit,
    /// Faults that do not count.
    pub except: Vec<String>,
}

/// An exception names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("threshold `{name}` excepts `{fault}`, which is no fault of this scenario{help}")]
pub struct ExceptError {
    name: &'static str,
    fault: String,
    help: String,
}

/// Whether a threshold was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// What was asked.
    pub limit: String,
    /// What was measured; absent when nothing could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<String>,
    /// Whether it was kept.
    pub passed: bool,
    /// How that comes.
    pub reason: String,
}

impl Default for Thresholds {
    /// What holds where a scenario has no table: nothing is lost, and nothing is falsified.
    fn default() -> Self {
        Self([Metric::Lost, Metric::WrongValue].map(|metric| (metric, Threshold::none())).into())
    }
}

impl Thresholds {
    /// These.
    pub fn new(thresholds: impl IntoIterator<Item = (Metric, Threshold)>) -> Self {
        Self(thresholds.into_iter().collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (Metric, &Threshold)> {
        self.0.iter().map(|(metric, threshold)| (*metric, threshold))
    }

    /// Whether what is excepted are faults of the scenario.
    ///
    /// # Errors
    /// For the first that is none.
    pub fn check<'a>(
        &self,
        faults: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<(), ExceptError> {
        let known = faults.chain([QUIET]);
        for (metric, threshold) in self.iter() {
            for fault in &threshold.except {
                if !known.clone().any(|known| known == fault) {
                    let help = did_you_mean(fault, known.clone());
                    return Err(ExceptError { name: metric.name(), fault: fault.clone(), help });
                }
            }
        }
        Ok(())
    }

    /// Each with what was measured, in the order of their names.
    pub fn evaluate(&self, report: &Report) -> Vec<Outcome> {
        let hollow = self.hollow(report);
        let outcome = |(metric, threshold): (Metric, &Threshold)| {
            let outcome = threshold.evaluate(metric, report);
            match &hollow {
                Some(why) if metric == Metric::Lost && outcome.passed => {
                    Outcome { passed: false, reason: why.clone(), ..outcome }
                }
                Some(_) | None => outcome,
            }
        };
        self.iter().map(outcome).collect()
    }
}

impl Threshold {
    /// Not a single one.
    pub fn none() -> Self {
        Self { limit: Limit::at_most(Value::Count(0)), except: Vec::new() }
    }

    fn evaluate(&self, metric: Metric, report: &Report) -> Outcome {
        let Self { limit, except } = self;
        let (measured, passed, reason) = match metric.measure(report, except) {
            Ok((measured, what)) => match limit.allows(measured) {
                Some(true) => (Some(measured), true, what),
                Some(false) => (Some(measured), false, format!("{what}; asked was {limit}")),
                None => (None, false, format!("there is nothing to take a share of: {what}")),
            },
            Err(why) => (None, false, why.to_owned()),
        };
        Outcome {
            name: metric.name().to_owned(),
            limit: self.to_string(),
            measured: measured.map(|measured| limit.value().like(measured)),
            passed,
            reason,
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, except } = self;
        match except.as_slice() {
            [] => limit.fmt(f),
            except => write!(f, "{limit} except {}", except.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests;
