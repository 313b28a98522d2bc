//! Axes: where a value is, and which values are written beside it.

use std::time::Duration;

/// Steps of a time axis, in seconds.
const TIME_STEPS: [u64; 20] = [
    1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200,
    86_400, 604_800,
];

/// From zero to a round number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Linear {
    pub(super) highest: f64,
    step: f64,
}

impl Linear {
    /// One that holds `highest`, with a handful of steps.
    pub(super) fn holding(highest: f64) -> Self {
        let highest = if highest.is_finite() && highest > 0.0 { highest } else { 1.0 };
        let decade = 10_f64.powf((highest / 4.0).log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * decade);
        let step = steps.into_iter().find(|step| highest / step <= 4.0).unwrap_or(decade * 10.0);
        Self { highest: (highest / step).ceil() * step, step }
    }

    /// The share of the axis at which a value is.
    pub(super) fn at(self, value: f64) -> f64 {
        (value / self.highest).clamp(0.0, 1.0)
    }

    /// What is written beside it.
    pub(super) fn ticks(self) -> impl Iterator<Item = f64> {
        let count = (self.highest / self.step).round();
        (0..=10)
            .map(f64::from)
            .take_while(move |index| *index <= count)
            .map(move |index| index * self.step)
    }
}

/// Powers of ten, of microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    lowest: u32,
    highest: u32,
}

impl Log {
    /// One that holds all from `shortest` to `longest`, at least a decade.
    pub(super) fn holding(shortest: u64, longest: u64) -> Self {
        let lowest = shortest.checked_ilog10().unwrap_or(0);
        let highest = longest.saturating_sub(1).checked_ilog10().map_or(1, |decade| decade + 1);
        Self { lowest, highest: highest.max(lowest + 1) }
    }

    /// The share of the axis at which a value is.
    pub(super) fn at(self, micros: u64) -> f64 {
        let decades = f64::from(self.highest - self.lowest);
        (((micros.max(1) as f64).log10() - f64::from(self.lowest)) / decades).clamp(0.0, 1.0)
    }

    /// What is written beside it: each power of ten.
    pub(super) fn ticks(self) -> impl Iterator<Item = u64> {
        (self.lowest..=self.highest).filter_map(|decade| 10_u64.checked_pow(decade))
    }
}

/// Round times from zero to `end`, no more than `most` and one.
pub(super) fn times(end: Duration, most: u64) -> impl Iterator<Item = Duration> {
    let seconds = end.as_secs();
    let fits = |step: &u64| seconds / step <= most;
    // A run of years has a tick for each year's share.
    let step = TIME_STEPS.into_iter().find(fits).unwrap_or(seconds / most.max(1) + 1);
    (0..=seconds / step).map(move |index| Duration::from_secs(index * step))
}

/// A power of ten of microseconds.
pub(super) fn label(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..1_000_000 => format!("{} ms", micros / 1000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_ends_at_a_round_number_that_holds_the_highest() {
        let ticks = |highest| Linear::holding(highest).ticks().collect::<Vec<_>>();
        assert_eq!(ticks(0.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(ticks(16.0), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(ticks(98.0), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(ticks(f64::NAN).len(), 5);
        for highest in [0.01, 1.0, 3.0, 7.0, 1234.0, 1e9] {
            let axis = Linear::holding(highest);
            assert!(axis.highest >= highest && axis.highest <= highest * 2.0, "{axis:?}");
            assert!((3..=6).contains(&axis.ticks().count()), "{axis:?}");
        }
    }

    #[test]
    fn a_logarithmic_axis_has_whole_decades() {
        let ticks = |from, to| Log::holding(from, to).ticks().collect::<Vec<_>>();
        assert_eq!(ticks(0, 0), [1, 10]);
        assert_eq!(
            ticks(3000, 10_300_000),
            [1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000]
        );
        assert_eq!(ticks(1000, 10_000), [1000, 10_000]);
        assert_eq!(Log::holding(1000, 100_000).at(10_000), 0.5);
        assert!(ticks(0, u64::MAX).len() > 19);
    }

    #[test]
    fn times_are_round_and_few() {
        let seconds = |end, most| {
            times(Duration::from_secs(end), most).map(|time| time.as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(seconds(65, 8), [0, 10, 20, 30, 40, 50, 60]);
        assert_eq!(seconds(65, 4), [0, 15, 30, 45, 60]);
        assert_eq!(seconds(0, 4), [0]);
        assert!(seconds(u64::MAX / 1_000_000, 4).len() <= 5);
    }
}
