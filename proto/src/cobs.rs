//! Consistent Overhead Byte Stuffing (Cheshire and Baker, 1997): frames in a stream of bytes, each
//! ended by a zero that occurs nowhere else.
//!
//! The overhead is one byte for every 254 begun, and the delimiter. Whatever happens to the stream,
//! the frame behind the next zero is read whole.

use alloc::vec::Vec;

/// The byte that ends a frame.
pub const DELIMITER: u8 = 0;
/// Bytes that a block can hold: its code is at most 255.
const MAX_BLOCK: usize = 254;

/// Why bytes up to a delimiter are no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CobsError {
    /// The frame is longer than the decoder takes.
    #[error("longer than {0} bytes")]
    Oversize(usize),
    /// A block is shorter than its code says: bytes are missing or were changed.
    #[error("a delimiter within a block")]
    Cut,
}

/// Appends a frame with its delimiter.
pub fn encode(frame: &[u8], out: &mut Vec<u8>) {
    let mut blocks = frame.split(|&byte| byte == DELIMITER).peekable();
    while let Some(block) = blocks.next() {
        let mut rest = block;
        // A full block stands for its bytes alone, without a zero behind them.
        while rest.len() >= MAX_BLOCK {
            let (full, more) = rest.split_at(MAX_BLOCK);
            out.push(u8::MAX);
            out.extend_from_slice(full);
            rest = more;
            if rest.is_empty() && blocks.peek().is_none() {
                out.push(DELIMITER);
                return;
            }
        }
        out.push(u8::try_from(rest.len()).unwrap_or(u8::MAX).saturating_add(1));
        out.extend_from_slice(rest);
    }
    out.push(DELIMITER);
}

/// Cuts a stream of bytes into frames; however it is split into calls, the frames are the same.
#[derive(Clone, Debug)]
pub struct Decoder {
    frame: Vec<u8>,
    max: usize,
    /// Bytes that the block under way still has.
    left: u8,
    /// Whether a zero stands behind the block under way, unless the frame ends there.
    has_zero: bool,
    /// Whether anything has come since the last delimiter.
    begun: bool,
    /// Within a frame that is too long, up to its end.
    discarding: bool,
}

impl Decoder {
    /// For frames of at most `max` bytes.
    pub const fn new(max: usize) -> Self {
        let frame = Vec::new();
        Self { frame, max, left: 0, has_zero: false, begun: false, discarding: false }
    }

    /// Takes bytes from the front of `bytes` up to the end of a frame, which it gives, or all of
    /// them. Frames of no bytes are left out.
    pub fn poll_frame(&mut self, bytes: &mut &[u8]) -> Option<Result<Vec<u8>, CobsError>> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if byte == DELIMITER {
                if let Some(frame) = self.end() {
                    return Some(frame);
                }
            } else {
                self.push(byte);
            }
        }
        None
    }

    /// Forgets the frame that has begun: what follows does not belong to it. Whether there was one.
    pub fn handle_gap(&mut self) -> bool {
        let begun = self.begun;
        *self = Self::new(self.max);
        begun
    }

    fn push(&mut self, byte: u8) {
        self.begun = true;
        if self.left > 0 {
            self.left -= 1;
            self.keep(byte);
            return;
        }
        if self.has_zero {
            self.keep(DELIMITER);
        }
        self.left = byte - 1;
        self.has_zero = byte < u8::MAX;
    }

    fn keep(&mut self, byte: u8) {
        if self.frame.len() < self.max {
            self.frame.push(byte);
        } else {
            self.discarding = true;
        }
    }

    fn end(&mut self) -> Option<Result<Vec<u8>, CobsError>> {
        let ended = core::mem::replace(self, Self::new(self.max));
        if ended.discarding {
            Some(Err(CobsError::Oversize(ended.max)))
        } else if ended.left > 0 {
            Some(Err(CobsError::Cut))
        } else {
            (!ended.frame.is_empty()).then_some(Ok(ended.frame))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn encoded(frame: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(frame, &mut out);
        out
    }

    fn decoded(max: usize, mut stream: &[u8]) -> Vec<Result<Vec<u8>, CobsError>> {
        let mut decoder = Decoder::new(max);
        core::iter::from_fn(|| decoder.poll_frame(&mut stream)).collect()
    }

    /// The examples of the paper, and of its encyclopedia article.
    #[test]
    fn known_frames_are_encoded_byte_for_byte() {
        assert_eq!(encoded(&[0]), [1, 1, 0]);
        assert_eq!(encoded(&[0, 0]), [1, 1, 1, 0]);
        assert_eq!(encoded(&[0x11, 0x22, 0, 0x33]), [3, 0x11, 0x22, 2, 0x33, 0]);
        assert_eq!(encoded(&[0x11, 0, 0, 0]), [2, 0x11, 1, 1, 1, 0]);
        let full: Vec<u8> = (1..=254).collect();
        assert_eq!(encoded(&full), [&[255], &full[..], &[0]].concat());
        assert_eq!(
            encoded(&[&full[..], &[255]].concat()),
            [&[255], &full[..], &[2, 255, 0]].concat()
        );
        assert_eq!(encoded(&[&full[..], &[0]].concat()), [&[255], &full[..], &[1, 1, 0]].concat());
    }

    #[test]
    fn a_frame_behind_damage_is_read() {
        let good = encoded(b"good");
        let cut = [&[9, 1, 2, 0], &good[..]].concat();
        assert_eq!(decoded(9, &cut), [Err(CobsError::Cut), Ok(b"good".to_vec())]);
        let long = [&encoded(&[7; 300])[..], &good].concat();
        assert_eq!(decoded(9, &long), [Err(CobsError::Oversize(9)), Ok(b"good".to_vec())]);
        assert_eq!(decoded(9, &[&[0, 0, 0], &good[..]].concat()), [Ok(b"good".to_vec())]);
    }

    #[test]
    fn memory_is_bounded_without_a_delimiter() {
        let mut decoder = Decoder::new(100);
        for _ in 0..1000 {
            assert_eq!(decoder.poll_frame(&mut &[0xff; 1000][..]), None);
        }
        assert_eq!(decoder.frame.len(), 100);
        assert!(decoder.handle_gap());
        assert!(!decoder.handle_gap());
    }

    proptest! {
        #[test]
        fn every_frame_reads_back_however_it_is_split(
            frame in proptest::collection::vec(prop_oneof![Just(0), any::<u8>()], 1..700),
            at in 0..700_usize,
        ) {
            let stream = encoded(&frame);
            prop_assert!(stream.len() <= frame.len() + frame.len() / MAX_BLOCK + 2);
            prop_assert_eq!(decoded(700, &stream), vec![Ok(frame.clone())]);
            let (mut first, mut second) = stream.split_at(at.min(stream.len()));
            let mut decoder = Decoder::new(700);
            let found = decoder.poll_frame(&mut first).or_else(|| decoder.poll_frame(&mut second));
            prop_assert_eq!(found, Some(Ok(frame)));
        }
    }
}
