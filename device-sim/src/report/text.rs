//! Numbers for people.

use std::time::Duration;

/// A duration with three digits that count, in the unit that fits.
pub fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let with = |unit: u128, name: &str| {
        // The last digit that counts, in microseconds.
        let step = (unit / 100).max(1)
            * if micros >= unit * 100 {
                100
            } else if micros >= unit * 10 {
                10
            } else {
                1
            };
        let rounded = (micros + step / 2) / step * step;
        let decimals = if step >= unit {
            0
        } else if step * 10 >= unit {
            1
        } else {
            2
        };
        let fraction = rounded % unit * 10_u128.pow(decimals) / unit;
        match usize::try_from(decimals) {
            Ok(width @ 1..) => format!("{}.{fraction:0width$} {name}", rounded / unit),
            Ok(0) | Err(_) => format!("{} {name}", rounded / unit),
        }
    };
    match micros {
        0 => "0".to_owned(),
        micros @ 1..1000 => format!("{micros} µs"),
        1000..999_500 => with(1000, "ms"),
        999_500..60_000_000 => with(1_000_000, "s"),
        _ => {
            let seconds = duration.as_secs() + u64::from(duration.subsec_millis() >= 500);
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            match (hours, minutes, seconds) {
                (0, minutes, 0) => format!("{minutes} min"),
                (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
                (hours, 0, _) => format!("{hours} h"),
                (hours, minutes, _) => format!("{hours} h {minutes} min"),
            }
        }
    }
}

/// A share as a percentage, with as many digits as tell it from nothing and from everything.
pub fn share(count: u64, of: u64) -> String {
    if of == 0 {
        return "-".to_owned();
    }
    let percent = count as f64 * 100.0 / of as f64;
    match (count, percent) {
        (0, _) => "0 %".to_owned(),
        (count, _) if count == of => "100 %".to_owned(),
        (_, 0.0..0.0001) => "< 0.0001 %".to_owned(),
        (_, 0.0001..0.1) => format!("{percent:.4} %"),
        (_, 0.1..99.0) => format!("{percent:.2} %"),
        (count, _) if count < of => format!("{:.4} %", percent.min(99.9999)),
        _ => format!("{percent:.0} %"),
    }
}

/// A count in groups of three digits.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            // A narrow space that does not break.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// An amount of memory.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..100_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_the_unit_that_fits() {
        for (micros, expected) in [
            (0, "0"),
            (1, "1 µs"),
            (999, "999 µs"),
            (1000, "1.00 ms"),
            (1234, "1.23 ms"),
            (12_345, "12.3 ms"),
            (99_960, "100.0 ms"),
            (123_456, "123 ms"),
            (999_499, "999 ms"),
            (999_500, "1.00 s"),
            (1_500_000, "1.50 s"),
            (12_340_000, "12.3 s"),
            (60_000_000, "1 min"),
            (90_000_000, "1 min 30 s"),
            (3_600_000_000, "1 h"),
            (3_720_000_000, "1 h 2 min"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), expected, "{micros}");
        }
    }

    #[test]
    fn a_share_is_neither_nothing_nor_all_unless_it_is() {
        assert_eq!(share(0, 10), "0 %");
        assert_eq!(share(10, 10), "100 %");
        assert_eq!(share(1, 1_000_000_000), "< 0.0001 %");
        assert_eq!(share(1, 100_000), "0.0010 %");
        assert_eq!(share(1, 3), "33.33 %");
        assert_eq!(share(999_999_999, 1_000_000_000), "99.9999 %");
        assert_eq!(share(3, 2), "150 %");
        assert_eq!(share(0, 0), "-");
    }

    #[test]
    fn counts_are_in_groups() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
    }
}
