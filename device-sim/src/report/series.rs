//! The run second by second, in a bounded number of windows.
//!
//! Windows are a second wide at first. When there would be more than [`MAX_WINDOWS`] of them, each
//! two become one, twice as wide; so a day fits as a minute does, and series of any width merge into
//! the wider one.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::Instant;
use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;

/// The most windows.
pub const MAX_WINDOWS: u64 = 600;
/// How wide they are at first.
const WIDTH_US: u64 = 1_000_000;

/// A time series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Series {
    /// A power of two, in seconds.
    width_us: u64,
    /// Those in which something happened, by their index, which is below [`MAX_WINDOWS`].
    windows: BTreeMap<u64, Window>,
}

/// As it is in a report, which may be damaged.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    width_us: u64,
    windows: BTreeMap<u64, Window>,
}

impl TryFrom<Raw> for Series {
    type Error = &'static str;

    fn try_from(Raw { width_us, windows }: Raw) -> Result<Self, Self::Error> {
        if width_us % WIDTH_US != 0 || !(width_us / WIDTH_US).is_power_of_two() {
            return Err("windows are 1, 2, 4, ... seconds wide");
        }
        if windows.keys().any(|index| *index >= MAX_WINDOWS) {
            return Err("there are more than 600 windows");
        }
        Ok(Self { width_us, windows })
    }
}

/// What happened in a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Written in it.
    pub sent: u64,
    /// Acknowledged in it.
    pub acknowledged: u64,
    /// Seen at the far end in it, for the first time.
    pub arrived: u64,
    /// 99 % of the latencies of what was *meant to be sent* in it are this long at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
    /// All of them.
    #[serde(default, skip_serializing_if = "Histogram::is_empty")]
    pub latency: Histogram,
}

impl Default for Series {
    fn default() -> Self {
        Self { width_us: WIDTH_US, windows: BTreeMap::new() }
    }
}

impl Series {
    /// One more was written.
    pub(super) fn handle_sent(&mut self, at: Instant) {
        self.window(at).sent += 1;
    }

    /// One more was acknowledged.
    pub(super) fn handle_acknowledged(&mut self, at: Instant) {
        self.window(at).acknowledged += 1;
    }

    /// One that was due then arrived.
    pub(super) fn handle_arrived(&mut self, at: Instant, due: Instant, latency: Duration) {
        self.window(at).arrived += 1;
        self.window(due).latency.record(latency);
    }

    /// How wide a window is.
    pub const fn width(&self) -> Duration {
        Duration::from_micros(self.width_us)
    }

    /// The windows from the first to the last in which something happened.
    pub fn windows(&self) -> impl Iterator<Item = &Window> {
        static EMPTY: Window = Window::EMPTY;
        let end = self.windows.last_key_value().map_or(0, |(last, _)| last.saturating_add(1));
        (0..end).map(|index| self.windows.get(&index).unwrap_or(&EMPTY))
    }

    /// Adds another one, of any width.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.widen(other.width_us);
        other.widen(self.width_us);
        for (index, window) in other.windows {
            self.windows.entry(index).or_default().add(&window);
        }
    }

    /// Computes the percentiles of each window.
    pub(super) fn conclude(&mut self) {
        for window in self.windows.values_mut() {
            window.p99_us =
                Some(window.latency.summary().p99_us).filter(|_| !window.latency.is_empty());
        }
    }

    fn window(&mut self, at: Instant) -> &mut Window {
        while at.as_micros() / self.width_us >= MAX_WINDOWS {
            self.widen(self.width_us.saturating_mul(2));
        }
        self.windows.entry(at.as_micros() / self.width_us).or_default()
    }

    fn widen(&mut self, width_us: u64) {
        while self.width_us < width_us {
            self.width_us = self.width_us.saturating_mul(2);
            let mut windows: BTreeMap<u64, Window> = BTreeMap::new();
            for (index, window) in std::mem::take(&mut self.windows) {
                windows.entry(index / 2).or_default().add(&window);
            }
            self.windows = windows;
        }
    }
}

impl Window {
    const EMPTY: Self =
        Self { sent: 0, acknowledged: 0, arrived: 0, p99_us: None, latency: Histogram::EMPTY };

    fn add(&mut self, other: &Self) {
        self.sent = self.sent.saturating_add(other.sent);
        self.acknowledged = self.acknowledged.saturating_add(other.acknowledged);
        self.arrived = self.arrived.saturating_add(other.arrived);
        self.latency += &other.latency;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn sent(seconds: impl IntoIterator<Item = u64>) -> Series {
        let mut series = Series::default();
        seconds.into_iter().for_each(|second| series.handle_sent(at(second)));
        series
    }

    fn counts(series: &Series) -> Vec<u64> {
        series.windows().map(|window| window.sent).collect()
    }

    #[test]
    fn a_window_is_a_second() {
        assert_eq!(counts(&sent([0, 0, 3])), [2, 0, 0, 1]);
    }

    #[test]
    fn windows_double_their_width_when_there_are_too_many() {
        assert_eq!(sent([599]).width_us, WIDTH_US);
        let series = sent([0, 1, 2, 600, 1199]);
        assert_eq!(series.width_us, 2 * WIDTH_US);
        assert_eq!((counts(&series).len(), &counts(&series)[..3]), (600, &[2, 1, 0][..]));
        let days = sent((0..200_000).step_by(100));
        assert!(counts(&days).len() <= 600 && counts(&days).iter().sum::<u64>() == 2000);
        assert_eq!(sent([u64::MAX / 1_000_000]).windows.len(), 1);
    }

    #[test]
    fn parts_of_any_width_add_up_to_the_whole() {
        let (short, long) = (vec![1, 2, 3, 3], vec![5, 700, 1900]);
        let whole = sent([short.clone(), long.clone()].concat());
        for (mut first, second) in
            [(sent(short.clone()), sent(long.clone())), (sent(long), sent(short))]
        {
            first.merge(second);
            assert_eq!(first, whole);
        }
    }

    #[test]
    fn latency_is_that_of_what_was_due_in_a_window() {
        let mut series = Series::default();
        series.handle_arrived(at(3), at(1), Duration::from_secs(2));
        series.conclude();
        let shown: Vec<_> =
            series.windows().map(|window| (window.arrived, window.p99_us)).collect();
        assert_eq!(shown, [(0, None), (0, Some(2_000_000)), (0, None), (1, None)]);
    }

    #[test]
    fn a_damaged_series_is_not_read() {
        let read = |text| serde_json::from_str::<Series>(text).map_err(|error| error.to_string());
        assert!(read(r#"{"width_us":2000000,"windows":{}}"#).is_ok());
        for text in [
            r#"{"width_us":0,"windows":{}}"#,
            r#"{"width_us":3000000,"windows":{}}"#,
            r#"{"width_us":1000000,"windows":{"600":{"sent":1,"acknowledged":0,"arrived":0}}}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
