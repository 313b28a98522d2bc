//! The one pseudo-random generator: deterministic by seed, and hard to predict from its output.
//!
//! SipHash-2-4 of a counter, keyed with the seed. Tokens are drawn
//! from it and shown to peers; unlike a plain xorshift or SplitMix64, seeing some outputs does not
//! reveal the others (RFC 7252 §11.4 asks for tokens that a spoofer cannot guess). It is no
//! stronger than its 64-bit seed and is not for keys.

use core::hash::Hasher as _;
use core::time::Duration;

use crate::siphash::SipHasher;

/// A deterministic source of pseudo-random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    key: (u64, u64),
    counter: u64,
}

impl Rng {
    /// The generator of `seed`: equal seeds give equal sequences.
    pub const fn new(seed: u64) -> Self {
        Self { key: (seed, 0x636f_6170_2d72_6e67), counter: 0 }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        let mut hasher = SipHasher::new(self.key);
        hasher.write_u64(self.counter.to_le());
        hasher.finish()
    }

    /// The next 16 bits.
    pub fn next_u16(&mut self) -> u16 {
        let [a, b, ..] = self.next_u64().to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is uniform enough: the bias is below bound / 2^64.
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// A duration in `from..=to`, in microseconds; `from` if `to` is not longer.
    pub fn duration(&mut self, from: Duration, to: Duration) -> Duration {
        let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX);
        from + Duration::from_micros(self.below(span.saturating_add(1)))
    }

    /// True with `probability`: never at 0 or less, always at 1 or more.
    pub fn chance(&mut self, probability: f64) -> bool {
        const STEPS: f64 = (1_u64 << 53) as f64;
        let draw = (self.next_u64() >> 11) as f64 / STEPS;
        draw < probability
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            for (byte, random) in chunk.iter_mut().zip(self.next_u64().to_le_bytes()) {
                *byte = random;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_sequences_and_others_do_not() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            [rng.next_u64(), rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn durations_cover_their_range_and_stay_in_it() {
        let (from, to) = (Duration::from_micros(10), Duration::from_micros(13));
        let mut rng = Rng::new(1);
        let mut seen = [0_u32; 4];
        for _ in 0..1000 {
            let micros = rng.duration(from, to).as_micros();
            seen[usize::try_from(micros - 10).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| count > 200), "{seen:?}");
        assert_eq!(rng.duration(to, from), to);
    }

    #[test]
    fn chance_is_near_its_probability_and_exact_at_the_ends() {
        let mut rng = Rng::new(2);
        let hits = (0..10_000).filter(|_| rng.chance(0.2)).count();
        assert!((1800..2200).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| !rng.chance(0.0) && rng.chance(1.0)));
        assert!(!rng.chance(f64::NAN));
    }

    #[test]
    fn fill_reaches_every_byte() {
        let mut bytes = [0; 19];
        Rng::new(3).fill(&mut bytes);
        assert!(bytes.iter().filter(|&&byte| byte == 0).count() < 3);
    }
}
