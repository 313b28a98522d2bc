//! Latencies as a row of bars.

use std::time::Duration;

/// Heights, from low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last `width` latencies, on a scale from a millisecond to ten seconds that is the same for all
/// fleets.
pub(super) fn sparkline(latencies: &[Option<Duration>], width: usize) -> String {
    let skipped = latencies.len().saturating_sub(width);
    let bars = latencies.iter().skip(skipped).map(|latency| latency.map_or(' ', bar));
    let bars: String = bars.collect();
    format!("{bars:>width$}")
}

fn bar(latency: Duration) -> char {
    const BORDERS_US: [u128; 7] = [1000, 3162, 10_000, 31_623, 100_000, 1_000_000, 10_000_000];
    let step = BORDERS_US.iter().filter(|border| latency.as_micros() >= **border).count();
    BARS.get(step).copied().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_high_as_its_decade_and_a_gap_is_a_gap() {
        let millis = |millis| Some(Duration::from_millis(millis));
        let latencies = [millis(0), millis(2), None, millis(50), millis(500), millis(60_000)];
        assert_eq!(sparkline(&latencies, 8), "  ▁▂ ▅▆█");
        assert_eq!(sparkline(&latencies, 2), "▆█");
    }
}
