//! Octet-stuffed HDLC with FCS-16, as PPP has it (RFC 1662 §4 and appendix C).
//!
//! Address and control fields, where a device has them, are part of the frame: many have none.

use alloc::vec::Vec;

use super::FrameError;
use crate::checksum::Checksum;

/// What stands between frames (RFC 1662 §3.1); one is enough between two.
pub(super) const FLAG: u8 = 0x7e;
const ESCAPE: u8 = 0x7d;
const FLIP: u8 = 0x20;
/// Bytes of the frame check sequence.
pub(super) const FCS: usize = 2;

/// Appends `data` as a frame with its check sequence, between two flags.
pub fn encode(data: &[u8], frame: &mut Vec<u8>) {
    frame.push(FLAG);
    let [low, high, ..] = Checksum::Crc16X25.of(data).to_le_bytes();
    for byte in data.iter().copied().chain([low, high]) {
        match byte {
            FLAG | ESCAPE => frame.extend([ESCAPE, byte ^ FLIP]),
            _ => frame.push(byte),
        }
    }
    frame.push(FLAG);
}

/// Decodes and checks what stood between two flags in place; how many bytes at its front are the
/// data.
///
/// # Errors
/// When the frame was aborted (§4.3), is too short, or fails its check.
pub fn decode_in_place(frame: &mut [u8]) -> Result<usize, FrameError> {
    let (mut read, mut written) = (0, 0);
    while let Some(&byte) = frame.get(read) {
        let decoded = match (byte, frame.get(read + 1)) {
            (ESCAPE, Some(next)) => next ^ FLIP,
            (ESCAPE, None) => return Err(FrameError::Encoding("the sender aborted the frame")),
            (byte, _) => byte,
        };
        read += if byte == ESCAPE { 2 } else { 1 };
        if let Some(place) = frame.get_mut(written) {
            *place = decoded;
        }
        written += 1;
    }
    let decoded = frame.get(..written).unwrap_or_default();
    let Some((data, &[low, high])) = decoded.split_last_chunk::<FCS>() else {
        return Err(FrameError::Encoding("too short for a check sequence"));
    };
    let (found, expected) = (u32::from_le_bytes([low, high, 0, 0]), Checksum::Crc16X25.of(data));
    if found != expected {
        return Err(FrameError::Check { found, expected });
    }
    Ok(data.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// CRC-16/X-25 of `123456789` is 906E, sent low byte first.
    #[test]
    fn the_check_sequence_goes_low_byte_first() {
        let mut frame = Vec::new();
        encode(b"123456789", &mut frame);
        assert_eq!(frame, *b"~123456789\x6e\x90~");
    }

    /// RFC 1662 §4.2: 7E is sent as 7D 5E, 7D as 7D 5D.
    #[test]
    fn flag_and_escape_are_escaped() {
        let mut frame = Vec::new();
        encode(&[0x7e, 0x7d], &mut frame);
        assert_eq!(frame[..5], [0x7e, 0x7d, 0x5e, 0x7d, 0x5d]);
    }

    #[test]
    fn aborted_short_and_damaged_frames_are_refused() {
        assert!(matches!(decode_in_place(&mut [1, 2, 0x7d]), Err(FrameError::Encoding(_))));
        assert!(matches!(decode_in_place(&mut [1]), Err(FrameError::Encoding(_))));
        let mut damaged = *b"123456780\x6e\x90";
        assert!(matches!(decode_in_place(&mut damaged), Err(FrameError::Check { .. })));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            data in proptest::collection::vec(prop_oneof![Just(FLAG), Just(ESCAPE), any::<u8>()], 0..100),
        ) {
            let mut frame = Vec::new();
            encode(&data, &mut frame);
            let inner = frame.len() - 1;
            let len = decode_in_place(&mut frame[1..inner]).unwrap();
            prop_assert_eq!(&frame[1..=len], &data[..]);
        }
    }
}
