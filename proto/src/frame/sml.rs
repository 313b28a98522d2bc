//! The transport of SML, version 1 (BSI TR-03109-1, SML 1.04 §8.1): files between escape sequences.
//!
//! ```text
//! 1b1b1b1b 01010101   file, with zeros up to a multiple of four   1b1b1b1b 1a NN CC CC
//! ```
//!
//! `NN` is how many zeros there are, `CC CC` a CRC-16/X-25 over all before it, low byte first. Four
//! bytes `1b` in a file are sent twice.

use alloc::vec::Vec;
use core::ops::Range;

use super::delimited::to_start;
use super::{Cut, FrameError};
use crate::checksum::Checksum;

const START: [u8; 8] = [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];
const ESCAPE: [u8; 4] = [0x1b; 4];
/// Bytes of an escape sequence and what it says.
const SEQUENCE: usize = 8;
const MAX_PADDING: usize = 3;

/// What begins at the front. No end begins in the first `searched` bytes.
pub(super) fn cut(bytes: &mut [u8], searched: &mut usize, max: usize) -> Cut {
    if let Some(skip) = to_start(bytes, &START) {
        return skip;
    }
    let mut at = (*searched).max(START.len());
    // What begins later is looked at anew.
    *searched = 0;
    loop {
        // Escapes, start and end are not part of what may have `max` bytes.
        if at > max.saturating_add(2 * SEQUENCE) {
            return Cut::Rescan(FrameError::Oversize { max });
        }
        let Some(sequence) = bytes.get(at..at + SEQUENCE) else {
            *searched = at;
            return Cut::More;
        };
        if !sequence.starts_with(&ESCAPE) {
            at += 1;
            continue;
        }
        match sequence {
            [_, _, _, _, 0x1b, 0x1b, 0x1b, 0x1b] => at += SEQUENCE,
            [_, _, _, _, 0x1a, ..] => {
                let whole = at + SEQUENCE;
                let transport = bytes.get_mut(..whole).unwrap_or_default();
                return match take_off(transport) {
                    Ok(file) if file.len() <= max => Cut::Frame(file, whole),
                    Ok(_) => Cut::Rescan(FrameError::Oversize { max }),
                    Err(error) => Cut::Rescan(error),
                };
            }
            _ => return Cut::Rescan(FrameError::Encoding("an escape sequence that means nothing")),
        }
    }
}

/// The file in a transport that is there as a whole; `None` if it does not begin as one.
#[must_use]
pub fn unwrap(transport: &[u8]) -> Option<Result<Vec<u8>, FrameError>> {
    if !transport.starts_with(&START) {
        return None;
    }
    let mut bytes = transport.to_vec();
    Some(match cut(&mut bytes, &mut 0, transport.len()) {
        Cut::Frame(file, _) => Ok(bytes.get(file).unwrap_or_default().to_vec()),
        Cut::Rescan(error) => Err(error),
        Cut::More | Cut::Skip(_) | Cut::Bad(..) | Cut::Lost(_) => Err(FrameError::Unterminated),
    })
}

/// Checks what stands from start to end, and takes escapes and padding off in place.
fn take_off(transport: &mut [u8]) -> Result<Range<usize>, FrameError> {
    let Some((covered, &[low, high])) = transport.split_last_chunk::<2>() else {
        return Err(FrameError::Unterminated);
    };
    let (found, expected) = (u32::from_le_bytes([low, high, 0, 0]), Checksum::Crc16X25.of(covered));
    if found != expected {
        return Err(FrameError::Check { found, expected });
    }
    let padding = covered.last().map_or(usize::MAX, |padding| usize::from(*padding));
    let end = transport.len() - SEQUENCE;
    let file = end.checked_sub(padding).filter(|_| padding <= MAX_PADDING);
    let Some(end) = file.filter(|end| *end >= START.len()) else {
        return Err(FrameError::Encoding("more padding than there may be"));
    };
    let (mut read, mut written) = (START.len(), START.len());
    while read < end {
        let is_escaped = transport.get(read..read + ESCAPE.len()) == Some(&ESCAPE);
        let len = if is_escaped { ESCAPE.len() } else { 1 };
        transport.copy_within(read..read + len, written);
        written += len;
        read += if is_escaped { SEQUENCE } else { 1 };
    }
    Ok(START.len()..written)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Framer, Framing};

    /// As a meter sends it.
    fn wrap(file: &[u8]) -> Vec<u8> {
        let mut transport = START.to_vec();
        let mut at = 0;
        while let Some(byte) = file.get(at) {
            if file[at..].starts_with(&ESCAPE) {
                transport.extend([ESCAPE, ESCAPE].concat());
                at += ESCAPE.len();
            } else {
                transport.push(*byte);
                at += 1;
            }
        }
        let padding = (4 - file.len() % 4) % 4;
        transport.extend([0; MAX_PADDING].iter().take(padding));
        transport.extend(ESCAPE);
        transport.extend([0x1a, u8::try_from(padding).unwrap()]);
        let [low, high, ..] = Checksum::Crc16X25.of(&transport).to_le_bytes();
        transport.extend([low, high]);
        transport
    }

    fn files(stream: &[u8]) -> Vec<Result<Vec<u8>, FrameError>> {
        let mut framer = Framer::new(Framing::Sml, 1000);
        framer.handle_bytes(stream);
        let mut files = Vec::new();
        while let Some(file) = framer.poll_frame() {
            files.push(file.map(<[u8]>::to_vec));
        }
        files
    }

    /// The example of the specification of what is escaped, whose file holds the escape itself.
    #[test]
    fn an_escape_in_a_file_is_sent_twice() {
        let file = [0x12, 0x34, 0x1b, 0x1b, 0x1b, 0x1b, 0x56, 0x78];
        let transport = wrap(&file);
        assert_eq!(transport.len(), 8 + 12 + 8);
        assert_eq!(files(&transport), [Ok(file.to_vec())]);
        assert_eq!(unwrap(&transport), Some(Ok(file.to_vec())));
        assert_eq!(unwrap(&file), None);
    }

    #[test]
    fn what_follows_a_broken_file_is_found() {
        let mut broken = wrap(b"file 1");
        broken[10] ^= 1;
        let found = files(&[broken, wrap(b"file 2")].concat());
        assert!(matches!(found[0], Err(FrameError::Check { .. })), "{found:?}");
        assert_eq!(found.last(), Some(&Ok(b"file 2".to_vec())));
        let interrupted = [&wrap(b"file 1")[..12], &wrap(b"file 2")].concat();
        assert_eq!(files(&interrupted).last(), Some(&Ok(b"file 2".to_vec())));
    }

    #[test]
    fn more_padding_than_the_file_has_is_refused() {
        let mut transport = wrap(b"");
        let len = transport.len();
        transport[len - 3] = 2;
        let [low, high, ..] = Checksum::Crc16X25.of(&transport[..len - 2]).to_le_bytes();
        transport[len - 2..].copy_from_slice(&[low, high]);
        assert!(matches!(files(&transport)[0], Err(FrameError::Encoding(_))));
    }

    proptest! {
        #[test]
        fn what_is_wrapped_is_found(
            file in proptest::collection::vec(prop_oneof![3 => Just(0x1b_u8), 1 => any::<u8>()], 1..60),
        ) {
            // Every file ends with a zero, so that no escape begins in it and ends behind it.
            let file = [&file[..], &[0]].concat();
            prop_assert_eq!(files(&wrap(&file)), [Ok(file)]);
        }
    }
}
