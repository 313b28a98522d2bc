//! SipHash-2-4 (Aumasson and Bernstein, 2012): a short hash that cannot be foreseen without its
//! key. Random numbers, entity-tags, Echo values and keys of tables are made with it.

use core::hash::Hasher;

/// A hash under way.
#[derive(Clone, Debug)]
pub(crate) struct SipHasher {
    state: [u64; 4],
    /// Bytes that do not fill a word yet, the first one lowest.
    tail: u64,
    len: usize,
}

impl SipHasher {
    pub(crate) const fn new(key: (u64, u64)) -> Self {
        let state = [
            key.0 ^ 0x736f_6d65_7073_6575,
            key.1 ^ 0x646f_7261_6e64_6f6d,
            key.0 ^ 0x6c79_6765_6e65_7261,
            key.1 ^ 0x7465_6462_7974_6573,
        ];
        Self { state, tail: 0, len: 0 }
    }

    /// Takes up to eight bytes, the first one lowest and zeros above the last.
    const fn push(&mut self, word: u64, bytes: usize) {
        let before = self.len % 8;
        self.tail |= word << (8 * before);
        self.len += bytes;
        if before + bytes >= 8 {
            self.state = absorb(self.state, self.tail);
            self.tail = match before {
                0 => 0,
                _ => word >> (64 - 8 * before),
            };
        }
    }
}

impl Hasher for SipHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.push(u64::from_le_bytes(*word), 8);
        }
        if !rest.is_empty() {
            let word = rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
            self.push(word, rest.len());
        }
    }

    fn finish(&self) -> u64 {
        // The last block holds the message's length in its top byte.
        let [a, b, c, d] = absorb(self.state, self.tail | (self.len as u64) << 56);
        let [a, b, c, d] = round(round(round(round([a, b, c ^ 0xff, d]))));
        a ^ b ^ c ^ d
    }
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

    const KEY: (u64, u64) = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);

    #[test]
    fn hashes_match_the_reference_vectors() {
        // vectors_sip64 of the reference implementation: key 00..0f, input 00, 00 01, …
        let input: [u8; 63] = core::array::from_fn(|n| u8::try_from(n).unwrap());
        for (len, expected) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
            (63, 0x958a_324c_eb06_4572),
        ] {
            let mut hasher = SipHasher::new(KEY);
            hasher.write(&input[..len]);
            assert_eq!(hasher.finish(), expected, "{len}");
        }
    }

    #[test]
    fn how_the_input_is_cut_does_not_matter() {
        let input: [u8; 40] = core::array::from_fn(|n| u8::try_from(n * 7 % 256).unwrap());
        let mut whole = SipHasher::new(KEY);
        whole.write(&input);
        for cut in 0..40 {
            for second in cut..40 {
                let mut parts = SipHasher::new(KEY);
                parts.write(&input[..cut]);
                parts.write(&input[cut..second]);
                parts.write(&input[second..]);
                assert_eq!(parts.finish(), whole.finish(), "{cut} {second}");
            }
        }
    }
}
