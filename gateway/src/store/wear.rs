//! What the store costs the device in writes: flash wears out with each of them.
//!
//! The kernel counts the bytes that this process has caused to be written to a device
//! (`write_bytes` of `/proc/self/io`, proc(5)). What a device makes of them inside is not known
//! here.

use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

use proto::Instant;
use serde::Serialize;

/// Samples that are kept: the rate is that of the last ten minutes.
const SAMPLES: usize = 60;
/// The pause between two samples.
const PAUSE: Duration = Duration::from_secs(10);
/// The shortest span that says something about a day.
const LEAST_SPAN: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes written, and when.
#[derive(Debug, Default)]
pub(super) struct Wear {
    samples: VecDeque<(Instant, u64)>,
}

/// Writes to the device, as `gateway status` shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct WearReport {
    /// Bytes that this process has written to devices since it was started, where the system
    /// tells.
    pub(crate) written_bytes: Option<u64>,
    /// Bytes a day at the rate of the last minutes; from the second minute on.
    pub(crate) written_per_day: Option<u64>,
}

impl Wear {
    /// Takes a sample, if it is time for one; `read` tells what was written until now.
    pub(super) fn sample(&mut self, now: Instant, read: impl FnOnce() -> Option<u64>) {
        if self.samples.back().is_some_and(|&(last, _)| now - last < PAUSE) {
            return;
        }
        if let Some(bytes) = read() {
            if self.samples.len() >= SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back((now, bytes));
        }
    }

    /// What the samples say.
    pub(super) fn report(&self) -> WearReport {
        let (Some(&(start, before)), Some(&(end, after))) =
            (self.samples.front(), self.samples.back())
        else {
            return WearReport::default();
        };
        let span = end - start;
        let per_day = || {
            let written = u128::from(after.saturating_sub(before));
            u64::try_from(written * DAY.as_micros() / span.as_micros()).unwrap_or(u64::MAX)
        };
        WearReport {
            written_bytes: Some(after),
            written_per_day: (span >= LEAST_SPAN).then(per_day),
        }
    }
}

/// Bytes that this process has caused to be written to devices.
pub(super) fn written() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/io").ok()?)
}

fn parse(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: u64) -> Instant {
        Instant::from_micros(second * 1_000_000)
    }

    #[test]
    fn the_rate_of_a_day_is_that_of_the_last_ten_minutes() {
        let mut wear = Wear::default();
        assert_eq!(wear.report(), WearReport::default());
        // A flood at the start, then 100 bytes a second.
        for now in 0..2000 {
            let written = if now == 0 { 0 } else { 1_000_000 + now * 100 };
            wear.sample(second(now), || Some(written));
        }
        let report = wear.report();
        assert_eq!(report.written_bytes, Some(1_000_000 + 1990 * 100));
        assert_eq!(report.written_per_day, Some(100 * 24 * 60 * 60));
    }

    #[test]
    fn a_few_seconds_say_nothing_about_a_day() {
        let mut wear = Wear::default();
        for now in [0, 30, 59] {
            wear.sample(second(now), || Some(now));
            assert_eq!(wear.report().written_per_day, None);
        }
        wear.sample(second(69), || Some(69));
        assert_eq!(wear.report().written_per_day, Some(24 * 60 * 60));
    }

    #[test]
    fn the_counter_is_found_among_the_others() {
        let io = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 8192\n\
                  cancelled_write_bytes: 7\n";
        assert_eq!(parse(io), Some(8192));
        assert!(written().is_some(), "Linux tells");
    }
}
