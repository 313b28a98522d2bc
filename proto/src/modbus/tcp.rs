//! Frames over TCP (TCP §3.1.3): the MBAP header.

use alloc::vec::Vec;

use super::MAX_PDU;

/// Bytes of the header.
pub const HEADER: usize = 7;

/// A frame in a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// What the response repeats from its request.
    pub transaction: u16,
    /// The unit.
    pub unit: u8,
    /// The protocol data unit.
    pub pdu: &'a [u8],
}

/// The stream is not Modbus TCP, or was cut somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a header of Modbus TCP")]
pub struct NotModbus;

/// A frame.
#[must_use]
pub fn encode(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let len = u16::try_from(pdu.len() + 1).unwrap_or(u16::MAX);
    let mut frame = Vec::with_capacity(HEADER + pdu.len());
    frame.extend([transaction, 0, len].into_iter().flat_map(u16::to_be_bytes));
    frame.push(unit);
    frame.extend_from_slice(pdu);
    frame
}

/// The frame at the front and how long it is; `None` while it is not whole.
pub fn decode(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, NotModbus> {
    let Some((&[a, b, protocol @ .., c, d, unit], rest)) = bytes.split_first_chunk::<HEADER>()
    else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([c, d]));
    if protocol != [0, 0] || !(2..=MAX_PDU + 1).contains(&len) {
        return Err(NotModbus);
    }
    let transaction = u16::from_be_bytes([a, b]);
    let frame = rest.get(..len - 1).map(|pdu| Frame { transaction, unit, pdu });
    Ok(frame.map(|frame| (frame, HEADER + len - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_only_when_it_is_whole() {
        let pdu = [3, 0, 4, 0, 1];
        let bytes = encode(0x1501, 0xff, &pdu);
        assert_eq!(bytes, [0x15, 0x01, 0, 0, 0, 6, 0xff, 3, 0, 4, 0, 1]);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Ok(None));
        }
        let frame = Frame { transaction: 0x1501, unit: 0xff, pdu: &pdu };
        assert_eq!(decode(&[&bytes[..], &[9]].concat()), Ok(Some((frame, bytes.len()))));
    }

    #[test]
    fn what_is_no_header_is_told() {
        assert_eq!(decode(&[0, 1, 0, 1, 0, 6, 1]), Err(NotModbus));
        assert_eq!(decode(&[0, 1, 0, 0, 0, 1, 1]), Err(NotModbus));
        assert_eq!(decode(&[0, 1, 0, 0, 1, 0, 1]), Err(NotModbus));
    }
}
