//! Consistent overhead byte stuffing: a frame without zeros, and a zero behind it.
//!
//! Cheshire and Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking 7
//! (2), 1999, §2. A code byte says how many bytes it and its block have; a block ends with a zero
//! that is left out, but for one of 254 bytes and the last one.

use alloc::vec::Vec;

use super::FrameError;

/// What ends a frame.
pub(super) const DELIMITER: u8 = 0;
/// The code of a block that no zero follows.
const FULL: u8 = 0xff;

/// The longest encoded form of `len` bytes, without the zero behind it.
#[must_use]
pub const fn max_encoded(len: usize) -> usize {
    len.saturating_add(len / 254 + 1)
}

/// Appends `data` as a frame with the zero behind it.
pub fn encode(data: &[u8], frame: &mut Vec<u8>) {
    let mut blocks = data.split(|&byte| byte == DELIMITER).peekable();
    while let Some(block) = blocks.next() {
        let mut parts = block.chunks(usize::from(FULL) - 1).peekable();
        if block.is_empty() {
            frame.push(1);
        }
        while let Some(part) = parts.next() {
            // At most 254 bytes, so that it fits.
            frame.push(u8::try_from(part.len() + 1).unwrap_or(FULL));
            frame.extend_from_slice(part);
            let is_full = part.len() == usize::from(FULL) - 1;
            if is_full && parts.peek().is_none() && blocks.peek().is_some() {
                // The zero behind a full block is a block of its own.
                frame.push(1);
            }
        }
    }
    frame.push(DELIMITER);
}

/// Decodes a frame without its zero in place; how many bytes at its front are the data.
///
/// # Errors
/// When a block is longer than the frame.
pub fn decode_in_place(frame: &mut [u8]) -> Result<usize, FrameError> {
    let (mut read, mut written) = (0, 0);
    while let Some(&code) = frame.get(read) {
        let end = read + usize::from(code);
        if code == 0 || end > frame.len() {
            return Err(FrameError::Encoding("a block of COBS runs beyond the end"));
        }
        frame.copy_within(read + 1..end, written);
        written += end - read - 1;
        read = end;
        if code != FULL && read < frame.len() {
            if let Some(byte) = frame.get_mut(written) {
                *byte = 0;
            }
            written += 1;
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn encoded(data: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        encode(data, &mut frame);
        frame
    }

    /// From the paper's tables and the examples on its lengths.
    #[test]
    fn frames_are_those_of_the_paper() {
        assert_eq!(encoded(&[]), [1, 0]);
        assert_eq!(encoded(&[0]), [1, 1, 0]);
        assert_eq!(encoded(&[0, 0]), [1, 1, 1, 0]);
        assert_eq!(encoded(&[0x11, 0x22, 0, 0x33]), [3, 0x11, 0x22, 2, 0x33, 0]);
        assert_eq!(encoded(&[0x11, 0, 0, 0]), [2, 0x11, 1, 1, 1, 0]);
        let full: Vec<u8> = (1..=254).collect();
        assert_eq!(encoded(&full), [&[0xff], &full[..], &[0]].concat());
        let more: Vec<u8> = (1..=255).collect();
        assert_eq!(encoded(&more), [&[0xff], &full[..], &[2, 0xff, 0]].concat());
        let zero_after = [&full[..], &[0]].concat();
        assert_eq!(encoded(&zero_after), [&[0xff], &full[..], &[1, 1, 0]].concat());
    }

    #[test]
    fn a_block_beyond_the_end_is_refused() {
        assert!(decode_in_place(&mut [5, 1, 2]).is_err());
        assert!(decode_in_place(&mut [2]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            data in proptest::collection::vec(prop_oneof![Just(0u8), 1u8..], 0..700),
        ) {
            let mut frame = encoded(&data);
            prop_assert_eq!(frame.pop(), Some(0));
            prop_assert!(!frame.contains(&0));
            prop_assert!(frame.len() <= max_encoded(data.len()));
            let len = decode_in_place(&mut frame).unwrap();
            prop_assert_eq!(&frame[..len], &data[..]);
        }

        #[test]
        fn anything_decodes_or_is_refused(mut frame in proptest::collection::vec(any::<u8>(), 0..700)) {
            if let Ok(len) = decode_in_place(&mut frame) {
                prop_assert!(len <= frame.len());
            }
        }
    }

    #[test]
    fn the_longest_block_is_no_exception() {
        let mut frame = encoded(&vec![7; 254 * 2]);
        frame.pop();
        assert_eq!(decode_in_place(&mut frame), Ok(508));
    }
}
