//! Blocks of VE.Direct's text mode ("VE.Direct Protocol", Victron Energy, version 3.33).
//!
//! ```text
//! \r\nPID\t0x203 \r\nV\t26201 … \r\nChecksum\t<byte>
//! ```
//!
//! The sum of all bytes of a block is 0 modulo 256. A device answers in HEX mode at any time, also
//! within a block: from `:` to the line feed. That is taken out and belongs to no sum.

use super::{Cut, FrameError};
use crate::checksum::Checksum;

/// What stands before the last byte.
const LAST: &[u8] = b"\r\nChecksum\t";
const HEX_START: u8 = b':';
const HEX_END: u8 = b'\n';

/// What begins at the front. A block that is whole is moved together.
pub(super) fn cut(bytes: &mut [u8], max: usize) -> Cut {
    // No more is looked at, so that it does not matter how much is there.
    let window = bytes.get(..max).unwrap_or(bytes);
    let is_full = bytes.len() > max;
    let too_long = Cut::Bad(FrameError::Oversize { max }, max.max(1));
    // A HEX message between two blocks.
    if window.first() == Some(&HEX_START) {
        return match window.iter().position(|byte| *byte == HEX_END) {
            Some(end) => Cut::Frame(0..0, end + 1),
            None if is_full => too_long,
            None => Cut::More,
        };
    }
    if let Some(skip) = to_block(bytes) {
        return skip;
    }
    let Some((text, whole)) = block(window) else {
        return if is_full { too_long } else { Cut::More };
    };
    take_out_hex(bytes.get_mut(..whole).unwrap_or_default());
    match Checksum::Sum8.of(bytes.get(..text).unwrap_or_default()) {
        0 => Cut::Frame(0..text, whole),
        sum => Cut::Bad(FrameError::Check { found: sum, expected: 0 }, whole),
    }
}

/// What stands before the first field or HEX message, or all that begins none.
fn to_block(bytes: &[u8]) -> Option<Cut> {
    // A HEX message may stand between a carriage return and its line feed too.
    let begins = |rest: &[u8]| matches!(rest, [b'\r'] | [b'\r', b'\n' | HEX_START, ..]);
    if begins(bytes) {
        return (bytes.len() == 1).then_some(Cut::More);
    }
    let at = (0..bytes.len()).find(|at| {
        let rest = bytes.get(*at..).unwrap_or_default();
        begins(rest) || rest.first() == Some(&HEX_START)
    });
    Some(Cut::Skip(at.unwrap_or(bytes.len())))
}

/// How many bytes of text the first block has, and how many with HEX messages in it.
fn block(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut in_hex, mut text, mut matched, mut ends) = (false, 0, 0, false);
    for (at, byte) in bytes.iter().enumerate() {
        // The byte of the checksum may be any, a colon too.
        if ends {
            return Some((text + 1, at + 1));
        }
        match (in_hex, *byte) {
            (true, HEX_END) => in_hex = false,
            (true, _) => {}
            (false, HEX_START) => in_hex = true,
            (false, byte) => {
                text += 1;
                // `\r` begins it anew, and stands nowhere else in it.
                let is_next = LAST.get(matched) == Some(&byte);
                matched = if is_next { matched + 1 } else { usize::from(byte == b'\r') };
                ends = matched == LAST.len();
            }
        }
    }
    None
}

/// Moves the text of a block to its front.
fn take_out_hex(block: &mut [u8]) {
    let (mut in_hex, mut written) = (false, 0);
    let last = block.len().saturating_sub(1);
    for at in 0..block.len() {
        let byte = block.get(at).copied().unwrap_or_default();
        let is_text = at == last || !(in_hex || byte == HEX_START);
        in_hex = !is_text && byte != HEX_END;
        if is_text {
            if let Some(place) = block.get_mut(written) {
                *place = byte;
            }
            written += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::frame::{Framer, Framing, Pause};

    const FIELDS: &[u8] = b"\r\nV\t26201\r\nI\t0";

    fn whole(fields: &[u8]) -> Vec<u8> {
        let mut block = [fields, LAST].concat();
        block.push(Checksum::Sum8Negated.of(&block).to_le_bytes()[0]);
        block
    }

    fn blocks(stream: &[u8]) -> Vec<Result<Vec<u8>, FrameError>> {
        let mut framer = Framer::new(Framing::VeDirect, 1024);
        framer.handle_bytes(stream);
        let mut blocks = Vec::new();
        while let Some(block) = framer.poll_frame() {
            blocks.push(block.map(<[u8]>::to_vec));
        }
        blocks
    }

    #[test]
    fn hex_messages_are_taken_out_wherever_they_stand() {
        let block = whole(FIELDS);
        let hex = b":7F0ED009600DB\n";
        for at in 0..block.len() {
            let (front, back) = block.split_at(at);
            let stream = [front, hex, back, &block].concat();
            // Before the last byte it is the checksum that is a colon.
            if at + 1 < block.len() {
                assert_eq!(blocks(&stream), [Ok(block.clone()), Ok(block.clone())], "at {at}");
            }
        }
    }

    /// The sum can be any byte, and all of them are tried.
    #[test]
    fn the_checksum_may_be_any_byte() {
        let mut seen = [false; 256];
        for number in 0..=u8::MAX {
            // Five letters whose sum goes through all of them.
            let letters = (0..5u8).map(|at| b'A' + number.saturating_sub(at * 52).min(52));
            let fields: Vec<u8> = b"\r\nV\t".iter().copied().chain(letters).collect();
            let block = whole(&fields);
            seen[usize::from(*block.last().unwrap())] = true;
            assert_eq!(blocks(&[&block[..], &block].concat()), [Ok(block.clone()), Ok(block)]);
        }
        assert_eq!(seen, [true; 256]);
    }

    #[test]
    fn what_was_heard_from_the_middle_costs_one_block() {
        let block = whole(FIELDS);
        let found = blocks(&[&block[5..], &block].concat());
        assert!(matches!(found[0], Err(FrameError::Check { .. } | FrameError::Resync { .. })));
        assert_eq!(found.last(), Some(&Ok(block)));
    }

    #[test]
    fn garbage_without_an_end_is_thrown_away() {
        let mut framer = Framer::new(Framing::VeDirect, 100);
        for _ in 0..1000 {
            framer.handle_bytes(b"\r\nV\t26201");
            while framer.poll_frame().is_some() {}
        }
        framer.handle_pause(Pause::Silence);
        while framer.poll_frame().is_some() {}
        framer.handle_bytes(&whole(FIELDS));
        assert_eq!(framer.poll_frame(), Some(Ok(&whole(FIELDS)[..])));
    }
}
