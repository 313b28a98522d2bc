//! Fields of a packet (MQTT 5 §1.5).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Violation;

/// The largest number that a variable byte integer can hold.
const MAX_VARINT: usize = 268_435_455;

pub(super) fn take_u8(from: &mut Bytes) -> Result<u8, Violation> {
    from.try_get_u8().map_err(|_| Violation::Truncated)
}

pub(super) fn take_u16(from: &mut Bytes) -> Result<u16, Violation> {
    from.try_get_u16().map_err(|_| Violation::Truncated)
}

pub(super) fn take_u32(from: &mut Bytes) -> Result<u32, Violation> {
    from.try_get_u32().map_err(|_| Violation::Truncated)
}

pub(super) fn take_binary(from: &mut Bytes) -> Result<Bytes, Violation> {
    let length = usize::from(take_u16(from)?);
    if length > from.len() {
        return Err(Violation::Truncated);
    }
    Ok(from.split_to(length))
}

/// §1.5.4: UTF-8 without U+0000 [MQTT-1.5.4-1, -2].
pub(super) fn take_string(from: &mut Bytes) -> Result<String, Violation> {
    let bytes = take_binary(from)?;
    string(&bytes).map(str::to_owned)
}

/// The string that `bytes` are.
pub(super) fn string(bytes: &[u8]) -> Result<&str, Violation> {
    let text = std::str::from_utf8(bytes).map_err(|_| Violation::NotUtf8)?;
    if bytes.contains(&0) { Err(Violation::Nul) } else { Ok(text) }
}

pub(super) fn take_packet_id(from: &mut Bytes) -> Result<u16, Violation> {
    match take_u16(from)? {
        0 => Err(Violation::PacketIdZero),
        id => Ok(id),
    }
}

/// A variable byte integer at the start of `bytes` and its length; `None` when it does not end
/// there (§1.5.5).
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(u32, usize)>, Violation> {
    let mut value = 0;
    for (length, &byte) in (1..).zip(bytes.iter().take(4)) {
        value |= u32::from(byte & 0x7f) << (7 * (length - 1));
        if byte & 0x80 == 0 {
            return Ok(Some((value, length)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Violation::VariableByteInteger) }
}

/// How many bytes `value` takes as a variable byte integer.
pub(super) const fn varint_len(value: usize) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// A variable byte integer in its shortest form [MQTT-1.5.5-1].
pub(super) fn take_varint(from: &mut Bytes) -> Result<u32, Violation> {
    let (value, length) = varint(from)?.ok_or(Violation::Truncated)?;
    if length > 1 && from.get(length - 1) == Some(&0) {
        return Err(Violation::VariableByteInteger);
    }
    from.advance(length);
    Ok(value)
}

/// Writes a variable byte integer; `false` when it is too large for one.
#[must_use]
pub(super) fn put_varint(value: usize, into: &mut BytesMut) -> bool {
    if value > MAX_VARINT {
        return false;
    }
    let mut rest = value;
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        into.put_u8(if rest > 0 { low | 0x80 } else { low & 0x7f });
        if rest == 0 {
            return true;
        }
    }
}

/// Writes a string or binary data; `false` when it is too long for one.
#[must_use]
pub(super) fn put_binary(bytes: &[u8], into: &mut BytesMut) -> bool {
    let Ok(length) = u16::try_from(bytes.len()) else { return false };
    into.put_u16(length);
    into.put_slice(bytes);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_byte_integers_are_written_as_they_are_read() {
        // MQTT 5 §1.5.5, Table 1-1
        let table: &[(usize, &[u8])] = &[
            (0, &[0]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 1]),
            (2_097_151, &[0xff, 0xff, 0x7f]),
            (2_097_152, &[0x80, 0x80, 0x80, 1]),
            (268_435_455, &[0xff, 0xff, 0xff, 0x7f]),
        ];
        for &(value, bytes) in table {
            let mut written = BytesMut::new();
            assert!(put_varint(value, &mut written));
            assert_eq!(written, bytes, "{value}");
            assert_eq!(varint_len(value), bytes.len(), "{value}");
            let value = u32::try_from(value).unwrap();
            assert_eq!(take_varint(&mut Bytes::from_static(bytes)), Ok(value));
            assert_eq!(varint(&bytes[..bytes.len() - 1]), Ok(None));
        }
        assert!(!put_varint(MAX_VARINT + 1, &mut BytesMut::new()));
    }

    #[test]
    fn variable_byte_integers_are_short() {
        // MQTT 5 §1.5.5 [MQTT-1.5.5-1]
        for bytes in [&[0x80, 0][..], &[0xff, 0x80, 0], &[0xff, 0xff, 0xff, 0xff, 1]] {
            let taken = take_varint(&mut Bytes::from_static(bytes));
            assert_eq!(taken, Err(Violation::VariableByteInteger), "{bytes:?}");
        }
    }
}
