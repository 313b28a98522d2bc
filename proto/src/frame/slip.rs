//! The Serial Line Internet Protocol (RFC 1055): END behind a frame, and an escape for END in it.

use alloc::vec::Vec;

use super::FrameError;

/// What ends a frame. A sender may also put it in front, to end what the line made up.
pub(super) const END: u8 = 0xc0;
const ESC: u8 = 0xdb;
const ESC_END: u8 = 0xdc;
const ESC_ESC: u8 = 0xdd;

/// Appends `data` as a frame with an END in front and one behind.
pub fn encode(data: &[u8], frame: &mut Vec<u8>) {
    frame.push(END);
    for &byte in data {
        match byte {
            END => frame.extend([ESC, ESC_END]),
            ESC => frame.extend([ESC, ESC_ESC]),
            _ => frame.push(byte),
        }
    }
    frame.push(END);
}

/// Decodes what stood between two ENDs in place; how many bytes at its front are the data.
///
/// # Errors
/// When an escape is followed by anything but its two codes: such a frame is a protocol violation,
/// and a wrong value is worse than none.
pub fn decode_in_place(frame: &mut [u8]) -> Result<usize, FrameError> {
    let (mut read, mut written) = (0, 0);
    while let Some(&byte) = frame.get(read) {
        let decoded = match (byte, frame.get(read + 1)) {
            (ESC, Some(&ESC_END)) => END,
            (ESC, Some(&ESC_ESC)) => ESC,
            (ESC, _) => return Err(FrameError::Encoding("an escape of SLIP escapes nothing")),
            (byte, _) => byte,
        };
        read += if byte == ESC { 2 } else { 1 };
        if let Some(place) = frame.get_mut(written) {
            *place = decoded;
        }
        written += 1;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1055, "SLIP protocol": END as DB DC, ESC as DB DD.
    #[test]
    fn end_and_escape_are_escaped() {
        let mut frame = Vec::new();
        encode(&[1, 0xc0, 0xdb, 2], &mut frame);
        assert_eq!(frame, [0xc0, 1, 0xdb, 0xdc, 0xdb, 0xdd, 2, 0xc0]);
    }

    #[test]
    fn a_wrong_escape_is_refused() {
        assert!(decode_in_place(&mut [1, 0xdb, 1]).is_err());
        assert!(decode_in_place(&mut [1, 0xdb]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            data in proptest::collection::vec(prop_oneof![Just(END), Just(ESC), any::<u8>()], 0..100),
        ) {
            let mut frame = Vec::new();
            encode(&data, &mut frame);
            let inner = frame.len() - 1;
            let len = decode_in_place(&mut frame[1..inner]).unwrap();
            prop_assert_eq!(&frame[1..=len], &data[..]);
        }
    }
}
