//! How fast a broker may be fed: so many publishes, and so many bytes, a second.

use proto::Instant;

/// What may be sent ahead of the steady rate, in time (nanoseconds): enough that a timer that comes
/// late costs no throughput, and little beside a limit that is counted by the second.
const AHEAD: u64 = 100_000_000;
const SECOND: u128 = 1_000_000_000;

/// A bucket of tokens for publishes and one for bytes; a publish needs room in both.
///
/// A bucket is kept as the time at which it is full again (the virtual scheduling of ITU-T I.371,
/// annex A): a publish moves that time by what it costs at the steady rate, and the next one waits
/// while it lies more than [`AHEAD`] in the future. A publish that is larger than the bucket is let
/// through and paid off afterwards.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    publishes: Option<Bucket>,
    bytes: Option<Bucket>,
}

#[derive(Clone, Debug)]
struct Bucket {
    per_second: u64,
    /// Nanoseconds on the clock of [`Instant`].
    full_at: u64,
}

impl Rate {
    /// So many a second of each; no limit where there is none.
    pub(super) fn new(publishes: Option<u64>, bytes: Option<u64>) -> Self {
        let bucket = |per_second| Bucket { per_second, full_at: 0 };
        Self { publishes: publishes.map(bucket), bytes: bytes.map(bucket) }
    }

    /// When the next publish may be made.
    pub(super) fn ready_at(&self) -> Instant {
        let full_at = [&self.publishes, &self.bytes].into_iter().flatten().map(|b| b.full_at).max();
        Instant::from_micros(full_at.unwrap_or(0).saturating_sub(AHEAD).div_ceil(1000))
    }

    /// Counts a publish of so many bytes.
    pub(super) fn take(&mut self, now: Instant, bytes: usize) {
        for (bucket, tokens) in [(&mut self.publishes, 1), (&mut self.bytes, bytes as u64)] {
            if let Some(bucket) = bucket {
                bucket.take(now, tokens);
            }
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Instant, tokens: u64) {
        let cost = u128::from(tokens) * SECOND / u128::from(self.per_second.max(1));
        let from = self.full_at.max(now.as_micros().saturating_mul(1000));
        self.full_at = from.saturating_add(u64::try_from(cost).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sends as fast as it may for `time`; returns how many were sent.
    fn drain(rate: &mut Rate, start: Instant, time: Duration, bytes: usize) -> u64 {
        let mut now = start;
        let mut sent = 0;
        while now <= start + time {
            if rate.ready_at() > now {
                now = rate.ready_at();
            } else {
                rate.take(now, bytes);
                sent += 1;
            }
        }
        sent
    }

    const START: Instant = Instant::from_micros(5_000_000);

    #[test]
    fn without_a_limit_everything_may_be_sent_at_once() {
        let mut rate = Rate::new(None, None);
        (0..1000).for_each(|_| rate.take(START, 1_000_000));
        assert!(rate.ready_at() <= START);
    }

    #[test]
    fn publishes_and_bytes_keep_to_their_limits() {
        let minute = Duration::from_secs(60);
        for (publishes, bytes, size, expected) in [
            (Some(100), None, 50, 6000),
            (None, Some(512 * 1024), 1024, 30_720),
            (Some(100), Some(10 * 1024), 1024, 600),
            // A byte costs less than a microsecond.
            (None, Some(100 << 20), 100, 62_914_560),
        ] {
            let sent = drain(&mut Rate::new(publishes, bytes), START, minute, size);
            // A tenth of a second ahead, and costs in whole nanoseconds.
            let ahead = expected / 400 + 2;
            assert!((expected..=expected + ahead).contains(&sent), "{sent} of {expected}");
        }
    }

    #[test]
    fn silence_saves_up_no_more_than_a_tenth_of_a_second() {
        let mut rate = Rate::new(Some(1000), None);
        rate.take(START, 1);
        let later = START + Duration::from_secs(3600);
        let sent = drain(&mut rate, later, Duration::ZERO, 1);
        assert!((100..=102).contains(&sent), "{sent}");
    }

    #[test]
    fn a_publish_larger_than_the_bucket_goes_through_and_is_paid_off() {
        let mut rate = Rate::new(None, Some(1000));
        rate.take(START, 5000);
        assert_eq!(rate.ready_at(), START + Duration::from_millis(4900));
    }
}
