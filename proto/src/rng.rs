//! The one pseudo-random generator: deterministic by seed, and hard to predict from its output.
//!
//! SipHash-2-4 (Aumasson and Bernstein, 2012) of a counter, keyed with the seed. Tokens are drawn
//! from it and shown to peers; unlike a plain xorshift or SplitMix64, seeing some outputs does not
//! reveal the others (RFC 7252 §11.4 asks for tokens that a spoofer cannot guess). It is no
//! stronger than its 64-bit seed and is not for keys.

use core::time::Duration;

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
        siphash_2_4(self.key, self.counter)
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

/// SipHash-2-4 of the eight bytes of `word`, little-endian.
const fn siphash_2_4(key: (u64, u64), word: u64) -> u64 {
    let mut state = [
        key.0 ^ 0x736f_6d65_7073_6575,
        key.1 ^ 0x646f_7261_6e64_6f6d,
        key.0 ^ 0x6c79_6765_6e65_7261,
        key.1 ^ 0x7465_6462_7974_6573,
    ];
    state = absorb(state, word);
    // The last block holds the message's length, 8, in its top byte.
    state = absorb(state, 8 << 56);
    let [a, b, c, d] = state;
    state = [a, b, c ^ 0xff, d];
    state = round(round(round(round(state))));
    let [a, b, c, d] = state;
    a ^ b ^ c ^ d
}

const fn absorb(state: [u64; 4], block: u64) -> [u64; 4] {
    let [a, b, c, d] = state;
    let [a, b, c, d] = round(round([a, b, c, d ^ block]));
    [a ^ block, b, c, d]
}

const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siphash_matches_the_reference_vector() {
        // vectors_sip64[8] of the reference implementation: key 00..0f, input 00..07.
        let key = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        assert_eq!(siphash_2_4(key, 0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
    }

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
