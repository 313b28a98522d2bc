//! When a node measured, by the gateway's clock: nodes say how long they had been running.
//!
//! A frame is never received before it was sent, so the smallest difference between the two clocks
//! is the one that was least delayed. A node's crystal may be slow against ours, and then an old
//! difference is too small for ever; so it is given up slowly.

use core::time::Duration;

use crate::Instant;

/// A node's clock is off by at most one in this many: 100 ppm, a cheap crystal in the cold.
const DRIFT: i128 = 10_000;

/// The difference between a node's uptime and our clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct UptimeClock {
    /// When the node started, in microseconds on our clock; also before its origin.
    start: i128,
    at: Instant,
}

impl UptimeClock {
    /// From the first frame, received `now`.
    pub(super) fn new(now: Instant, uptime: Duration) -> Self {
        Self { start: start(now, uptime), at: now }
    }

    /// Learns from a frame that was received `now` with this `uptime` in it.
    pub(super) fn observe(&mut self, now: Instant, uptime: Duration) {
        let drift = micros((now - self.at).as_micros()) / DRIFT;
        self.start = start(now, uptime).min(self.start + drift);
        self.at = now;
    }

    /// How long before `now` the node's clock showed `uptime`.
    pub(super) fn age(&self, now: Instant, uptime: Duration) -> Duration {
        let age = start(now, uptime) - self.start;
        Duration::from_micros(u64::try_from(age.max(0)).unwrap_or(u64::MAX))
    }
}

fn start(now: Instant, uptime: Duration) -> i128 {
    i128::from(now.as_micros()) - micros(uptime.as_micros())
}

fn micros(micros: u128) -> i128 {
    i128::try_from(micros).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_least_delayed_frame_sets_the_clock() {
        let mut clock = UptimeClock::new(at(10_500), ms(400));
        assert_eq!(clock.age(at(10_500), ms(400)), ms(0));
        clock.observe(at(10_600), ms(590));
        assert_eq!(clock.age(at(10_600), ms(400)), ms(190), "the first one took 90 ms longer");
        clock.observe(at(11_600), ms(590));
        let age = clock.age(at(11_600), ms(590));
        assert!(age > ms(999) && age <= ms(1000), "{age:?}: it came a second late");
    }

    #[test]
    fn a_slow_crystal_is_followed() {
        let mut clock = UptimeClock::new(at(0), ms(0));
        let mut worst = ms(0);
        for minute in 1..=60 * 24 * 10 {
            let ours = minute * 60_000;
            let theirs = ours - ours / 50_000; // 20 ppm slow
            clock.observe(at(ours), ms(theirs));
            worst = worst.max(clock.age(at(ours), ms(theirs)));
        }
        assert!(worst < ms(10), "{worst:?}");
    }

    #[test]
    fn a_node_older_than_our_clock_has_a_time_too() {
        let clock = UptimeClock::new(at(5), Duration::from_secs(86_400 * 400));
        assert_eq!(clock.age(at(1005), Duration::from_secs(86_400 * 400)), ms(1000));
    }
}
