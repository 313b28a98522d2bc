//! What a sensor measures, made up: pure and the same for the same seed.
//!
//! A [`Signal`] describes a quantity, a [`Generator`] produces its values. A value depends on the
//! seed, on how many came before it and, for what repeats after a period, on the time, which is an
//! argument. Sine and logarithm are the platform's: two machines may differ in the last digit, which
//! rounding hides nearly always.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use proto::{Instant, Number, Rng, Value};

/// The most digits after the decimal point.
pub const MAX_DECIMALS: u8 = 9;
/// What stands for the number of the value in a text, counted from 1.
const COUNT: &str = "{count}";
/// What stands for eight random hexadecimal digits in a text.
const HEX: &str = "{hex}";

/// How a quantity behaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// Always the same.
    Constant(Value),
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
    /// `high` for a part of each `period`, then `low`, as a compressor's current.
    Square {
        /// The lower value.
        low: f64,
        /// The higher value.
        high: f64,
        /// From one rise to the next; without a length it stays high.
        period: Duration,
        /// The part of the period that is high, 0 to 1.
        duty: f64,
    },
    /// Evenly `from` one value `to` the other in each `period`, then from the first again.
    Ramp {
        /// The value at the start.
        from: f64,
        /// The value at the end.
        to: f64,
        /// How long it takes; without a length it stays at the start.
        period: Duration,
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
    /// Normally distributed and independent of each other, as the noise of a sensor.
    Gauss {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        deviation: f64,
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
    },
    /// What was recorded, one value after the other.
    Replay {
        /// The values.
        values: Arc<[f64]>,
        /// Whether it starts again at the end; else the last value stays.
        repeat: bool,
    },
    /// Grows by `step` with each value, as a meter.
    Counter {
        /// The first value.
        start: f64,
        /// What each following value is more.
        step: f64,
    },
    /// One of several, as the state of a door.
    Choice {
        /// The values, each with its weight.
        values: Arc<[(Value, f64)]>,
        /// Whether they come in turn; else at random, by their weights.
        in_turn: bool,
    },
    /// A text in which `{count}` is the number of the value and `{hex}` eight random digits.
    Text(Arc<str>),
}

/// Produces the values of a [`Signal`].
#[derive(Clone, Debug)]
pub struct Generator {
    signal: Signal,
    decimals: u8,
    rng: Rng,
    /// Where a walk stands.
    position: f64,
    /// How many values there were.
    count: u64,
}

impl Generator {
    /// The values of `signal`; numbers with `decimals` digits after the point, at most nine.
    pub fn new(signal: Signal, decimals: u8, seed: u64) -> Self {
        let position = if let Signal::Walk { start, .. } = signal { start } else { 0.0 };
        let decimals = decimals.min(MAX_DECIMALS);
        Self { signal, decimals, rng: Rng::new(seed), position, count: 0 }
    }

    /// The next value, measured at `at`.
    pub fn sample(&mut self, at: Instant) -> Value {
        let Self { signal, rng, count, .. } = self;
        let before = *count;
        *count += 1;
        let number = match signal {
            Signal::Constant(value) => return value.clone(),
            Signal::Choice { values, in_turn } => return choose(values, *in_turn, before, rng),
            Signal::Text(template) => return Value::Text(fill(template, *count, rng)),
            Signal::Sine { mean, amplitude, period, noise } => {
                *mean + *amplitude * (TAU * turns(at, *period)).sin() + *noise * offset(rng)
            }
            Signal::Square { low, high, period, duty } => {
                if turns(at, *period) < *duty {
                    *high
                } else {
                    *low
                }
            }
            Signal::Ramp { from, to, period } => *from + (*to - *from) * turns(at, *period),
            Signal::Walk { step, min, max, .. } => {
                let moved = self.position + *step * offset(rng);
                self.position = moved.min(*max).max(*min);
                self.position
            }
            Signal::Gauss { mean, deviation, min, max } => {
                (*mean + *deviation * normal(rng)).min(*max).max(*min)
            }
            Signal::Replay { values, repeat } => recorded(values, *repeat, before),
            Signal::Counter { start, step } => *start + *step * before as f64,
        };
        Value::Number(rounded(number, self.decimals))
    }
}

/// A number from -1 to 1.
fn offset(rng: &mut Rng) -> f64 {
    part(rng) * 2.0 - 1.0
}

/// A number from 0 to 1, without 1.
fn part(rng: &mut Rng) -> f64 {
    const STEPS: f64 = (1_u64 << 53) as f64;
    (rng.next_u64() >> 11) as f64 / STEPS
}

/// A number of the standard normal distribution, by Box and Muller.
pub(crate) fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - part(rng)).ln()).sqrt();
    radius * (TAU * part(rng)).cos()
}

fn recorded(values: &[f64], repeat: bool, before: u64) -> f64 {
    let length = u64::try_from(values.len()).unwrap_or(u64::MAX).max(1);
    let index = if repeat { before % length } else { before.min(length - 1) };
    usize::try_from(index).ok().and_then(|index| values.get(index)).copied().unwrap_or(0.0)
}

fn choose(values: &[(Value, f64)], in_turn: bool, before: u64, rng: &mut Rng) -> Value {
    let total: f64 = values.iter().map(|(_, weight)| weight).sum();
    let mut left = part(rng) * total;
    let by_weight = values.iter().find(|(_, weight)| {
        left -= weight;
        left < 0.0
    });
    let next = usize::try_from(before).unwrap_or(usize::MAX).checked_rem(values.len());
    let chosen = if in_turn { next.and_then(|next| values.get(next)) } else { by_weight };
    let (value, _) = chosen.or(values.last()).cloned().unwrap_or((Value::Boolean(false), 0.0));
    value
}

fn fill(template: &str, count: u64, rng: &mut Rng) -> String {
    let text = template.replace(COUNT, &count.to_string());
    let mut parts = text.split(HEX);
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        filled.push_str(&format!("{:08x}{part}", rng.next_u64() >> 32));
    }
    filled
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

    fn number(value: &Value) -> Number {
        let Value::Number(number) = value else { panic!("{value:?}") };
        *number
    }

    fn values(signal: Signal, seed: u64, count: u64) -> Vec<f64> {
        let mut generator = Generator::new(signal, 3, seed);
        let sample = |n| number(&generator.sample(Instant::from_micros(n * 1_000_000))).as_f64();
        (0..count).map(sample).collect()
    }

    const SINE: Signal =
        Signal::Sine { mean: 21.0, amplitude: 4.0, period: Duration::from_secs(60), noise: 0.2 };
    const WALK: Signal = Signal::Walk { start: 55.0, step: 0.5, min: 54.0, max: 56.0 };
    const GAUSS: Signal = Signal::Gauss { mean: 50.0, deviation: 2.0, min: 45.0, max: 90.0 };

    #[test]
    fn equal_seeds_give_equal_values_and_others_do_not() {
        for signal in [SINE, WALK, GAUSS] {
            assert_eq!(values(signal.clone(), 7, 50), values(signal.clone(), 7, 50));
            assert_ne!(values(signal.clone(), 7, 50), values(signal, 8, 50));
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
            number(&generator.sample(Instant::ZERO)).to_string()
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

    #[test]
    fn squares_and_ramps_follow_the_time() {
        let period = Duration::from_secs(4);
        let square = Signal::Square { low: 1.0, high: 5.0, period, duty: 0.25 };
        assert_eq!(values(square, 1, 6), [5.0, 1.0, 1.0, 1.0, 5.0, 1.0]);
        let ramp = Signal::Ramp { from: 10.0, to: 2.0, period };
        assert_eq!(values(ramp, 1, 5), [10.0, 8.0, 6.0, 4.0, 10.0]);
    }

    #[test]
    fn a_normal_distribution_has_its_mean_and_deviation_within_its_bounds() {
        let values = values(GAUSS, 3, 20_000);
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        assert!((49.9..50.1).contains(&mean), "{mean}");
        assert!((1.9..2.1).contains(&variance.sqrt()), "{variance}");
        assert!(values.iter().all(|value| (45.0..=90.0).contains(value)));
    }

    #[test]
    fn what_was_recorded_comes_again_or_stays_at_its_end() {
        let replay = |repeat| Signal::Replay { values: Arc::from([1.0, 2.5]), repeat };
        assert_eq!(values(replay(true), 1, 5), [1.0, 2.5, 1.0, 2.5, 1.0]);
        assert_eq!(values(replay(false), 1, 4), [1.0, 2.5, 2.5, 2.5]);
    }

    #[test]
    fn choices_come_in_turn_or_by_their_weights() {
        let values = [("a", 3.0), ("b", 1.0), ("c", 0.0)];
        let values: Arc<[_]> = values.map(|(v, weight)| (Value::Text(v.to_owned()), weight)).into();
        let sampled = |in_turn, count| {
            let signal = Signal::Choice { values: Arc::clone(&values), in_turn };
            let mut generator = Generator::new(signal, 0, 1);
            let text = |_| {
                let Value::Text(text) = generator.sample(Instant::ZERO) else { panic!("no text") };
                text
            };
            (0..count).map(text).collect::<Vec<_>>()
        };
        assert_eq!(sampled(true, 4), ["a", "b", "c", "a"]);
        let drawn = sampled(false, 4000);
        let share = |of: &str| drawn.iter().filter(|value| *value == of).count();
        assert!((2900..3100).contains(&share("a")) && share("c") == 0, "{}", share("a"));
    }

    #[test]
    fn texts_are_filled_in() {
        let template = Signal::Text("event {count} of {hex}-{hex}".into());
        let mut generator = Generator::new(template, 0, 1);
        let Value::Text(first) = generator.sample(Instant::ZERO) else { panic!("no text") };
        let Value::Text(second) = generator.sample(Instant::ZERO) else { panic!("no text") };
        assert!(first.starts_with("event 1 of ") && second.starts_with("event 2 of "), "{first}");
        assert_eq!((first.len(), first == second), ("event 1 of ".len() + 17, false));
    }
}
