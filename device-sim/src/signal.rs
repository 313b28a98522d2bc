//! What a sensor measures, made up: pure and the same for the same seed.
//!
//! A [`Signal`] describes a quantity, a [`Generator`] produces its values. A value depends on the
//! seed, on how many came before it and, for a sine, on the time, which is an argument. The sine is
//! the platform's: two machines may differ in its last digit, which rounding hides nearly always.

use std::f64::consts::TAU;
use std::time::Duration;

use proto::{Instant, Number, Rng};

/// The most digits after the decimal point.
const MAX_DECIMALS: u8 = 9;

/// How a quantity behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal {
    /// `mean` ± `amplitude` once a `period`, as a temperature over the day, and up to `noise` more
    /// or less.
    Sine {
        /// The middle.
        mean: f64,
        /// The distance of the highest value from it.
        amplitude: f64,
        /// From one highest value to the next; without a length it stays in the middle.
        period: Duration,
        /// The most that a value is off.
        noise: f64,
    },
    /// Each value is up to `step` from the one before, as humidity or a battery's voltage.
    Walk {
        /// The value that the first one is near.
        start: f64,
        /// The most that changes at a time.
        step: f64,
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
    },
    /// Grows by `step` with each value, as a meter.
    Counter {
        /// The first value.
        start: f64,
        /// What each following value is more.
        step: f64,
    },
}

/// Produces the values of a [`Signal`].
#[derive(Clone, Debug)]
pub struct Generator {
    signal: Signal,
    decimals: u8,
    rng: Rng,
    /// Where a walk stands; how many values a counter gave.
    state: f64,
}

impl Generator {
    /// The values of `signal` with `decimals` digits after the point, at most nine.
    pub fn new(signal: Signal, decimals: u8, seed: u64) -> Self {
        let state = match signal {
            Signal::Walk { start, .. } => start,
            Signal::Sine { .. } | Signal::Counter { .. } => 0.0,
        };
        Self { signal, decimals: decimals.min(MAX_DECIMALS), rng: Rng::new(seed), state }
    }

    /// The next value, measured at `at`.
    pub fn sample(&mut self, at: Instant) -> Number {
        let value = match self.signal {
            Signal::Sine { mean, amplitude, period, noise } => {
                mean + amplitude * (TAU * turns(at, period)).sin() + noise * self.offset()
            }
            Signal::Walk { step, min, max, .. } => {
                let moved = self.state + step * self.offset();
                self.state = moved.min(max).max(min);
                self.state
            }
            Signal::Counter { start, step } => {
                let value = start + step * self.state;
                self.state += 1.0;
                value
            }
        };
        rounded(value, self.decimals)
    }

    /// A number from -1 to 1.
    fn offset(&mut self) -> f64 {
        const STEPS: f64 = (1_u64 << 53) as f64;
        (self.rng.next_u64() >> 11) as f64 / STEPS * 2.0 - 1.0
    }
}

/// How much of the current period is over, 0 to 1.
fn turns(at: Instant, period: Duration) -> f64 {
    match u64::try_from(period.as_micros()) {
        Ok(micros @ 1..) => (at.as_micros() % micros) as f64 / micros as f64,
        Ok(0) | Err(_) => 0.0,
    }
}

/// The digits that a sensor would send; a value that is no finite number becomes zero.
fn rounded(value: f64, decimals: u8) -> Number {
    let text = format!("{value:.*}", usize::from(decimals));
    text.parse().unwrap_or_else(|_| Number::from(0_u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(signal: Signal, seed: u64, count: u64) -> Vec<f64> {
        let mut generator = Generator::new(signal, 3, seed);
        (0..count).map(|n| generator.sample(Instant::from_micros(n * 1_000_000)).as_f64()).collect()
    }

    const SINE: Signal =
        Signal::Sine { mean: 21.0, amplitude: 4.0, period: Duration::from_secs(60), noise: 0.2 };
    const WALK: Signal = Signal::Walk { start: 55.0, step: 0.5, min: 54.0, max: 56.0 };

    #[test]
    fn equal_seeds_give_equal_values_and_others_do_not() {
        for signal in [SINE, WALK] {
            assert_eq!(values(signal, 7, 50), values(signal, 7, 50));
            assert_ne!(values(signal, 7, 50), values(signal, 8, 50));
        }
    }

    #[test]
    fn a_sine_reaches_both_ends_within_its_period() {
        let values = values(SINE, 1, 60);
        let highest = values.iter().copied().fold(f64::MIN, f64::max);
        let lowest = values.iter().copied().fold(f64::MAX, f64::min);
        assert!((24.7..=25.2).contains(&highest), "{highest}");
        assert!((16.8..=17.3).contains(&lowest), "{lowest}");
    }

    #[test]
    fn a_walk_takes_small_steps_within_its_bounds() {
        let values = values(WALK, 1, 500);
        assert!(values.iter().all(|value| (54.0..=56.0).contains(value)), "{values:?}");
        assert!(values.windows(2).all(|pair| (pair[1] - pair[0]).abs() <= 0.501));
        assert!(values.iter().any(|&value| value > 55.8) && values.iter().any(|&v| v < 54.2));
    }

    #[test]
    fn a_counter_counts() {
        assert_eq!(
            values(Signal::Counter { start: 100.0, step: 0.25 }, 1, 3),
            [100.0, 100.25, 100.5]
        );
    }

    #[test]
    fn values_have_the_digits_that_were_asked_for() {
        let text = |decimals, start| {
            let mut generator = Generator::new(Signal::Counter { start, step: 0.0 }, decimals, 1);
            generator.sample(Instant::ZERO).to_string()
        };
        assert_eq!(
            (text(2, 21.5), text(0, 21.5), text(1, -0.04)),
            ("21.50".into(), "22".into(), "0.0".into())
        );
        assert_eq!(text(200, 1.0), "1.000000000");
        assert_eq!(text(2, f64::NAN), "0");
    }

    #[test]
    fn a_sine_without_a_period_stays_in_the_middle() {
        let flat = Signal::Sine { mean: 5.0, amplitude: 1.0, period: Duration::ZERO, noise: 0.0 };
        assert_eq!(values(flat, 1, 2), [5.0, 5.0]);
    }
}
