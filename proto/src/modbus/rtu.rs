//! Frames on a serial line (SL §2.5.1), also where a converter carries them over TCP.
//!
//! The standard tells frames apart by silence of 3.5 characters, which neither a USB adapter nor a
//! kernel's buffer keeps. A master knows what it waits for, so the length comes from the function
//! code and the checksum decides.

use alloc::vec::Vec;
use core::time::Duration;

use crate::checksum::Checksum;

use super::request::EXCEPTION;

/// The longest frame (SL §2.5.1).
pub const MAX_ADU: usize = 256;
/// Bytes of the checksum, low byte first.
const CRC: usize = 2;
/// From this speed on, the silence between frames is fixed (SL §2.5.1.1).
const FIXED_FROM: u32 = 19_200;
const FIXED_SILENCE: Duration = Duration::from_micros(1750);

/// A frame of a unit.
#[must_use]
pub fn encode(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + 3);
    frame.push(unit);
    frame.extend_from_slice(pdu);
    let [low, high, ..] = Checksum::Crc16Modbus.of(&frame).to_le_bytes();
    frame.extend([low, high]);
    frame
}

/// The unit and the protocol data unit of a frame whose checksum is right.
#[must_use]
pub fn decode(frame: &[u8]) -> Option<(u8, &[u8])> {
    let (covered, &[low, high]) = frame.split_last_chunk::<CRC>()?;
    let is_right = Checksum::Crc16Modbus.of(covered) == u32::from_le_bytes([low, high, 0, 0]);
    let (&unit, pdu) = covered.split_first()?;
    (is_right && !pdu.is_empty()).then_some((unit, pdu))
}

/// How long the response at the front is, by its function code; `None` while that is not known.
#[must_use]
pub fn response_len(bytes: &[u8]) -> Option<usize> {
    match *bytes.get(1)? {
        1..=4 => Some(5 + usize::from(*bytes.get(2)?)),
        5 | 6 | 15 | 16 => Some(8),
        function if function & EXCEPTION != 0 => Some(5),
        _ => None,
    }
}

/// How long a character takes, of so many bits with those that start and stop it.
#[must_use]
pub fn character(baud: u32, bits: u32) -> Duration {
    Duration::from_secs(1) * bits / baud.max(1)
}

/// The silence between two frames: 3.5 characters, or 1.75 ms above 19200 baud (SL §2.5.1.1).
#[must_use]
pub fn silence(baud: u32, bits: u32) -> Duration {
    if baud > FIXED_FROM { FIXED_SILENCE } else { character(baud, bits) * 7 / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_checksum_of_a_request_that_everybody_knows() {
        let frame = [0x01, 0x03, 0x00, 0x00, 0x00, 0x0a, 0xc5, 0xcd];
        assert_eq!(encode(1, &frame[1..6]), frame);
        assert_eq!(decode(&frame), Some((1, &frame[1..6])));
        for at in 0..frame.len() {
            let mut wrong = frame;
            wrong[at] ^= 0x10;
            assert_eq!(decode(&wrong), None);
        }
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn the_silence_is_three_and_a_half_characters_up_to_19200_baud() {
        // SL §2.5.1.1: 11 bits a character.
        assert_eq!(silence(9600, 11).as_micros(), 4010);
        assert_eq!(silence(19_200, 11).as_micros(), 2005);
        assert_eq!(silence(115_200, 10).as_micros(), 1750);
    }

    #[test]
    fn the_length_of_a_response_follows_from_its_beginning() {
        assert_eq!(response_len(&[1, 3]), None);
        assert_eq!(response_len(&[1, 3, 6]), Some(11));
        assert_eq!(response_len(&[1, 0x83]), Some(5));
        assert_eq!(response_len(&[1, 16]), Some(8));
        assert_eq!(response_len(&[1, 0x2b, 0]), None);
    }
}
