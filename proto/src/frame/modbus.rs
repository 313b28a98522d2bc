//! What passes on a Modbus line, to listen in on it.
//!
//! The standard separates frames by silence of 3.5 characters ("MODBUS over Serial Line" V1.02
//! §2.5.1.1), which neither a USB adapter nor the kernel's buffer keeps. So lengths come from the
//! function code ("MODBUS Application Protocol" V1.1b3 §6) and the checksum decides. Request and
//! response of a code differ in length: the shorter one is tried first.

use super::{Cut, FrameError};
use crate::checksum::Checksum;

/// The longest frame (§2.5.1).
pub const MAX_ADU: usize = 256;
/// The highest address that a device can have (§2.2); 0 is for all of them.
const MAX_ADDRESS: u8 = 247;
/// In the function code of an exception response.
const EXCEPTION: u8 = 0x80;
/// Bytes of the checksum, low byte first.
const CRC: usize = 2;

/// What begins at the front; `is_skipping` where it is known that nothing began before that either.
pub(super) fn cut(bytes: &[u8], is_paused: bool, is_skipping: bool) -> Cut {
    let &[address, function, ..] = bytes else { return Cut::More };
    let mut lengths = lengths(function, bytes);
    if address > MAX_ADDRESS || lengths == [Length::None; 2] {
        return Cut::Skip(1);
    }
    // The shortest that passes: what is not here yet is longer than all that is.
    lengths.sort_unstable();
    let mut is_open = false;
    let mut failed = None;
    for length in lengths {
        let len = match length {
            Length::None => continue,
            Length::Of(len) if len > MAX_ADU => continue,
            Length::Of(len) if len <= bytes.len() => len,
            Length::Of(_) | Length::Unknown => {
                is_open = true;
                continue;
            }
        };
        match verify(bytes.get(..len).unwrap_or_default()) {
            Ok(()) => return Cut::Frame(0..len, len),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        _ if is_open && !is_paused => Cut::More,
        Some(error) if !is_skipping => Cut::Rescan(error),
        _ if is_open && !is_skipping => Cut::Rescan(FrameError::Unterminated),
        _ => Cut::Skip(1),
    }
}

/// How long a frame may be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Length {
    /// There is no such frame.
    None,
    /// So many bytes.
    Of(usize),
    /// The byte that says it is not here.
    Unknown,
}

/// How long a response and a request of a function are.
fn lengths(function: u8, bytes: &[u8]) -> [Length; 2] {
    let counted = |len: usize, at: usize| match bytes.get(at) {
        Some(count) => Length::Of(len + usize::from(*count)),
        None => Length::Unknown,
    };
    match function {
        // Reads of bits and registers.
        1..=4 => [counted(5, 2), Length::Of(8)],
        // Writes of one; diagnostics.
        5 | 6 | 8 => [Length::Of(8), Length::None],
        // Exception status.
        7 => [Length::Of(5), Length::Of(4)],
        // Writes of several.
        15 | 16 => [Length::Of(8), counted(9, 6)],
        // What a device is.
        17 => [counted(5, 2), Length::Of(4)],
        // A masked write.
        22 => [Length::Of(10), Length::None],
        // A write and a read.
        23 => [counted(5, 2), counted(13, 10)],
        _ if function > EXCEPTION && lengths(function - EXCEPTION, bytes) != [Length::None; 2] => {
            [Length::Of(5), Length::None]
        }
        _ => [Length::None; 2],
    }
}

fn verify(frame: &[u8]) -> Result<(), FrameError> {
    let Some((covered, &[low, high])) = frame.split_last_chunk::<CRC>() else {
        return Err(FrameError::Unterminated);
    };
    let found = u32::from_le_bytes([low, high, 0, 0]);
    let expected = Checksum::Crc16Modbus.of(covered);
    if found != expected {
        return Err(FrameError::Check { found, expected });
    }
    Ok(())
}
