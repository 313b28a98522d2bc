//! Latencies, counted in a histogram of high dynamic range.
//!
//! Buckets grow with the value, as in HdrHistogram with three significant digits: below 2048 µs each
//! value has its own, above it one is 1/1024 of the power of two that it lies in. So a percentile is
//! never below the exact one, and less than 0.1 % above it. Only buckets with something in them are
//! kept: a report has a histogram of each second, and most hold few values.
//!
//! Histograms of parts add up to that of the whole, bucket by bucket; so do those that were read
//! back from a report.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets within a power of two.
const STEPS: u64 = 1024;

/// Latencies in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    min_us: u64,
    max_us: u64,
    /// How many by bucket: `[[bucket, count], ...]`.
    #[serde(with = "pairs")]
    counts: BTreeMap<u64, u64>,
}

/// What people ask of a histogram, in microseconds; all zero when nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// The shortest.
    pub min_us: u64,
    /// As long as half of them at most.
    pub p50_us: u64,
    /// As long as 90 % of them at most.
    pub p90_us: u64,
    /// As long as 99 % of them at most.
    pub p99_us: u64,
    /// As long as 99.9 % of them at most.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

/// A share of all values, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantile(u16);

impl Quantile {
    /// Half of them.
    pub const P50: Self = Self(500);
    /// 90 % of them.
    pub const P90: Self = Self(900);
    /// 95 % of them.
    pub const P95: Self = Self(950);
    /// 99 % of them.
    pub const P99: Self = Self(990);
    /// 99.9 % of them.
    pub const P999: Self = Self(999);
}

impl Histogram {
    /// The empty one.
    pub const EMPTY: Self = Self { min_us: 0, max_us: 0, counts: BTreeMap::new() };

    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.extend(micros, micros);
        *self.counts.entry(bucket_of(micros)).or_default() += 1;
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The shortest.
    pub fn min(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_micros(self.min_us))
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_micros(self.max_us))
    }

    /// The value that at least this share of all values does not exceed.
    pub fn quantile(&self, quantile: Quantile) -> Option<Duration> {
        let count = u128::from(self.count());
        let rank = (count * u128::from(quantile.0)).div_ceil(1000).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().find_map(|(bucket, count)| {
            seen += u128::from(*count);
            (seen >= rank).then_some(*bucket)
        })?;
        Some(Duration::from_micros(highest_in(bucket).max(self.min_us).min(self.max_us)))
    }

    /// All of it at a glance.
    pub fn summary(&self) -> Summary {
        let micros = |value: Option<Duration>| {
            value.and_then(|value| u64::try_from(value.as_micros()).ok()).unwrap_or_default()
        };
        Summary {
            count: self.count(),
            min_us: micros(self.min()),
            p50_us: micros(self.quantile(Quantile::P50)),
            p90_us: micros(self.quantile(Quantile::P90)),
            p99_us: micros(self.quantile(Quantile::P99)),
            p999_us: micros(self.quantile(Quantile::P999)),
            max_us: micros(self.max()),
        }
    }

    fn extend(&mut self, min_us: u64, max_us: u64) {
        self.min_us = if self.is_empty() { min_us } else { self.min_us.min(min_us) };
        self.max_us = self.max_us.max(max_us);
    }
}

impl AddAssign<&Self> for Histogram {
    fn add_assign(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        self.extend(other.min_us, other.max_us);
        for (bucket, count) in &other.counts {
            let sum = self.counts.entry(*bucket).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
}

impl<'a> std::iter::Sum<&'a Self> for Histogram {
    fn sum<I: Iterator<Item = &'a Self>>(histograms: I) -> Self {
        histograms.fold(Self::default(), |mut sum, histogram| {
            sum += histogram;
            sum
        })
    }
}

/// The bucket of a value: the value itself, or the power of two and the step within it.
const fn bucket_of(value: u64) -> u64 {
    let shift = (value / STEPS).checked_ilog2();
    match shift {
        Some(shift) => STEPS * shift as u64 + (value >> shift),
        None => value,
    }
}

/// The largest value of a bucket.
const fn highest_in(bucket: u64) -> u64 {
    let shift = (bucket / STEPS).saturating_sub(1);
    let step = bucket - STEPS * shift;
    // A bucket that no value has, from a damaged report, is as high as any.
    if shift >= u64::BITS as u64 - STEPS.ilog2() as u64 {
        u64::MAX
    } else {
        ((step + 1) << shift).wrapping_sub(1)
    }
}

/// Maps as arrays of pairs: JSON has no keys that are numbers.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        counts: &BTreeMap<u64, u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(counts)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<u64, u64>, D::Error> {
        let pairs = Vec::<(u64, u64)>::deserialize(deserializer)?;
        Ok(pairs.into_iter().filter(|(_, count)| *count > 0).collect())
    }
}

#[cfg(test)]
mod tests {
    use proto::Rng;

    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|value| histogram.record(Duration::from_micros(value)));
        histogram
    }

    /// Values of all magnitudes.
    fn values(seed: u64, count: usize) -> Vec<u64> {
        let mut rng = Rng::new(seed);
        let mut value = || {
            let magnitude = rng.below(40);
            rng.below(2 << magnitude)
        };
        (0..count).map(|_| value()).collect()
    }

    #[test]
    fn every_value_is_in_its_bucket_and_the_bucket_is_narrow() {
        let powers = (0..64).flat_map(|n| [(1_u64 << n) - 1, 1 << n, (1 << n) + 1]);
        for value in powers.chain(values(1, 1000)).chain([u64::MAX]) {
            let bucket = bucket_of(value);
            let highest = highest_in(bucket);
            assert!(highest >= value, "{value}: {highest}");
            assert!(highest - value <= value / 1024, "{value}: {highest}");
            assert_eq!(bucket_of(highest), bucket, "{value}");
            assert!(highest == u64::MAX || bucket_of(highest + 1) == bucket + 1, "{value}");
        }
    }

    #[test]
    fn quantiles_are_at_most_a_thousandth_above_the_exact_ones() {
        for count in [1, 2, 3, 10, 99, 100, 101, 1000, 5000] {
            let mut values = values(count, usize::try_from(count).unwrap());
            let histogram = of(values.iter().copied());
            values.sort_unstable();
            for quantile in [Quantile::P50, Quantile::P90, Quantile::P99, Quantile::P999] {
                // The smallest value that no less than this share of all does not exceed.
                let share = |value: u64| values.iter().filter(|other| **other <= value).count();
                let needed = values.len() * usize::from(quantile.0);
                let exact = values.iter().find(|value| share(**value) * 1000 >= needed);
                let exact = Duration::from_micros(*exact.unwrap());
                let found = histogram.quantile(quantile).unwrap();
                assert!(found >= exact && found - exact <= exact / 1024, "{found:?} {exact:?}");
            }
            assert_eq!(histogram.min().unwrap().as_micros(), u128::from(values[0]));
            assert_eq!(histogram.max().unwrap().as_micros(), u128::from(*values.last().unwrap()));
        }
    }

    #[test]
    fn an_empty_one_has_no_quantile() {
        let empty = Histogram::default();
        assert_eq!((empty.min(), empty.max(), empty.quantile(Quantile::P99)), (None, None, None));
        assert_eq!(empty.summary(), Summary::default());
    }

    #[test]
    fn parts_add_up_to_the_whole_in_any_order_also_when_they_were_read_back() {
        let parts = [values(1, 500), values(2, 1), Vec::new(), values(3, 70)];
        let whole = of(parts.concat());
        let parts = parts.map(|part| {
            let text = serde_json::to_string(&of(part)).unwrap();
            serde_json::from_str::<Histogram>(&text).unwrap()
        });
        assert_eq!(parts.iter().sum::<Histogram>(), whole);
        assert_eq!(parts.iter().rev().sum::<Histogram>(), whole);
    }

    #[test]
    fn any_numbers_in_a_file_are_survived() {
        let text = format!(r#"{{"min_us":9,"max_us":{0},"counts":[[{0},{0}],[3,{0}]]}}"#, u64::MAX);
        let mut histogram: Histogram = serde_json::from_str(&text).unwrap();
        histogram += &histogram.clone();
        assert_eq!(histogram.count(), u64::MAX);
        assert_eq!((histogram.summary().p99_us, histogram.summary().max_us), (9, u64::MAX));
        // A shortest that is longer than the longest.
        let text = r#"{"min_us":9,"max_us":1,"counts":[[5,1]]}"#;
        let histogram: Histogram = serde_json::from_str(text).unwrap();
        assert_eq!(histogram.summary().count, 1);
    }
}
