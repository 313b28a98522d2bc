//! The order of notifications (RFC 7641 §3.4, §4.4).

use core::time::Duration;

use super::super::{OptionNumber, Options};
use crate::Instant;

/// The numbers have 24 bits (RFC 7641 §2).
const MASK: u32 = 0xff_ffff;
/// Half of the number space: what is further ahead is behind.
const HALF: u32 = 1 << 23;
/// A notification that comes this long after another one is newer, whatever its number: the
/// network delivers nothing older (RFC 7641 §3.4).
const ALWAYS_NEWER: Duration = Duration::from_secs(128);

/// The value of Observe in a notification.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SequenceNumber(u32);

impl SequenceNumber {
    /// The number with the lowest 24 bits of `value`.
    pub const fn new(value: u32) -> Self {
        Self(value & MASK)
    }

    /// The number in a notification; `None` if it has none.
    pub fn of(options: &Options) -> Option<Self> {
        options.first_uint(OptionNumber::OBSERVE).map(Self::new)
    }

    /// The 24 bits.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The number that comes after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0.wrapping_add(1))
    }

    /// Whether a notification with this number that came at `now` is newer than one with another
    /// number that came at another time (RFC 7641 §3.4).
    pub fn is_newer(self, now: Instant, (other, at): (Self, Instant)) -> bool {
        let ahead = self.0.wrapping_sub(other.0) & MASK;
        (1..HALF).contains(&ahead) || now.saturating_since(at) > ALWAYS_NEWER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule as RFC 7641 §3.4 writes it.
    fn rule(v1: u32, v2: u32, t1: u64, t2: u64) -> bool {
        (v1 < v2 && v2 - v1 < 1 << 23) || (v1 > v2 && v1 - v2 > 1 << 23) || t2 > t1 + 128
    }

    #[test]
    fn newer_is_what_the_rfc_says() {
        // RFC 7641 §3.4
        let at = |seconds| Instant::from_micros(seconds * 1_000_000);
        let extremes = [0, 1, 2, HALF - 1, HALF, HALF + 1, MASK - 1, MASK];
        for v1 in extremes {
            for v2 in extremes {
                for t2 in [1000, 1128, 1129] {
                    let newer = SequenceNumber::new(v2)
                        .is_newer(at(t2), (SequenceNumber::new(v1), at(1000)));
                    assert_eq!(newer, rule(v1, v2, 1000, t2), "{v1} {v2} {t2}");
                }
            }
        }
    }

    #[test]
    fn numbers_wrap_at_24_bits() {
        // RFC 7641 §2
        assert_eq!(SequenceNumber::new(MASK).next(), SequenceNumber::new(0));
        assert_eq!(SequenceNumber::new(u32::MAX).value(), MASK);
    }
}
