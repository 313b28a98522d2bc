//! What is measured, and how several runs become one figure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// One kind of figure, in the order of the table's columns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Readings, datagrams or records a second.
    Rate,
    /// Processor time for each of them, in microseconds.
    CpuMicros,
    /// The same of the device simulator that sends them.
    SimulatorMicros,
    /// Processor seconds in a second at this rate.
    Busy,
    /// Most memory that was resident, in MiB.
    RssMib,
    /// Sent and never arrived.
    Lost,
    /// Arrived more than once.
    Repeated,
    /// Readings in one commit, on average.
    Batch,
    /// From the request to its answer, in milliseconds.
    AnswerP50,
    AnswerP99,
    /// From the request to its arrival at the broker, in milliseconds.
    ArrivalP50,
    ArrivalP99,
    /// From the start of the program to its first answer, in milliseconds.
    Start,
    /// Bytes written for each byte of records.
    Amplification,
    /// Megabytes written in a day that goes on like this.
    DailyMegabytes,
    /// Share of the machine that other programs used meanwhile, in percent.
    Others,
}

impl Metric {
    pub(crate) const ALL: [Self; 16] = [
        Self::Rate,
        Self::CpuMicros,
        Self::SimulatorMicros,
        Self::Busy,
        Self::RssMib,
        Self::Lost,
        Self::Repeated,
        Self::Batch,
        Self::AnswerP50,
        Self::AnswerP99,
        Self::ArrivalP50,
        Self::ArrivalP99,
        Self::Start,
        Self::Amplification,
        Self::DailyMegabytes,
        Self::Others,
    ];

    /// The head of its column.
    pub(crate) const fn head(self) -> &'static str {
        match self {
            Self::Rate => "per second",
            Self::CpuMicros => "CPU µs each",
            Self::SimulatorMicros => "simulator CPU µs each",
            Self::Busy => "CPU s a second",
            Self::RssMib => "RSS max MiB",
            Self::Lost => "lost",
            Self::Repeated => "repeated",
            Self::Batch => "per commit",
            Self::AnswerP50 => "answer p50 ms",
            Self::AnswerP99 => "answer p99 ms",
            Self::ArrivalP50 => "arrival p50 ms",
            Self::ArrivalP99 => "arrival p99 ms",
            Self::Start => "start ms",
            Self::Amplification => "written per byte",
            Self::DailyMegabytes => "MB a day",
            Self::Others => "others %",
        }
    }

    /// Digits behind the point.
    pub(crate) const fn digits(self) -> usize {
        match self {
            Self::Rate | Self::Lost | Self::Repeated | Self::DailyMegabytes | Self::Others => 0,
            Self::RssMib | Self::Batch | Self::Start | Self::Amplification => 1,
            Self::CpuMicros
            | Self::SimulatorMicros
            | Self::AnswerP50
            | Self::AnswerP99
            | Self::ArrivalP50
            | Self::ArrivalP99 => 2,
            Self::Busy => 3,
        }
    }
}

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run(BTreeMap<Metric, f64>);

impl Run {
    /// With one more figure.
    pub(crate) fn with(mut self, metric: Metric, value: f64) -> Self {
        self.0.insert(metric, value);
        self
    }

    /// With the rate of `count` in `elapsed`.
    pub(crate) fn with_rate(self, count: u64, elapsed: Duration) -> Self {
        self.with(Metric::Rate, number(count) / elapsed.as_secs_f64())
    }

    /// What was measured of one kind.
    pub(crate) fn get(&self, metric: Metric) -> Option<f64> {
        self.0.get(&metric).copied()
    }

    /// With the share of each of `count` in `cpu`.
    pub(crate) fn with_cpu(self, count: u64, cpu: Duration) -> Self {
        self.with(Metric::CpuMicros, micros_each(count, cpu))
    }

    /// With the processor time that its rate takes.
    pub(crate) fn with_busy(self) -> Self {
        match (self.get(Metric::Rate), self.get(Metric::CpuMicros)) {
            (Some(rate), Some(micros)) => self.with(Metric::Busy, rate * micros / 1e6),
            _ => self,
        }
    }

    /// With median and 99th percentile of `micros`; without them where nothing was observed.
    pub(crate) fn with_latency(self, p50: Metric, p99: Metric, mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let at = |percent: usize| {
            let at = (micros.len() * percent / 100).min(micros.len().saturating_sub(1));
            micros.get(at).map(|micros| number(*micros) / 1e3)
        };
        match (at(50), at(99)) {
            (Some(median), Some(tail)) => self.with(p50, median).with(p99, tail),
            _ => self,
        }
    }
}

/// Several runs of one case.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) figures: BTreeMap<Metric, Spread>,
}

impl Row {
    pub(crate) fn new(name: &'static str, what: &'static str, runs: &[Run]) -> Self {
        let spread = |metric| {
            let values = runs.iter().filter_map(|run| run.get(metric));
            Some((metric, Spread::of(values.collect())?))
        };
        Self { name, what, figures: Metric::ALL.into_iter().filter_map(spread).collect() }
    }
}

/// Median and extremes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of any number of values but none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = match values.get(middle.wrapping_sub(1)) {
            Some(lower) if values.len().is_multiple_of(2) => f64::midpoint(*lower, upper),
            _ => upper,
        };
        Some(Self { median, min, max })
    }
}

/// The share of each of `count` in `time`, in microseconds.
pub(crate) fn micros_each(count: u64, time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / number(count)
}

/// A count as a number to calculate with; exact up to 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2⁵³")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}
