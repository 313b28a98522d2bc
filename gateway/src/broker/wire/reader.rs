//! Takes fields off a slice (MQTT 5 §1.5); `None` where it ends too early.

use super::WireError;

/// The rest of a packet.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(in crate::broker) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(in crate::broker) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::broker) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::broker) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(in crate::broker) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(in crate::broker) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(in crate::broker) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer of at most four bytes (MQTT 5 §1.5.5); `None` where it ends too early.
    pub(in crate::broker) fn try_variable(&mut self) -> Result<Option<u32>, WireError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let Some(byte) = self.u8() else { return Ok(None) };
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        Err(WireError::Length)
    }

    /// Binary data with its length in front (MQTT 5 §1.5.6).
    pub(in crate::broker) fn binary(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// UTF-8 with its length in front, without U+0000 (MQTT 5 §1.5.4).
    pub(in crate::broker) fn try_text(&mut self) -> Result<Option<&'a str>, WireError> {
        let Some(bytes) = self.binary() else { return Ok(None) };
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Ok(Some(text)),
            Ok(_) | Err(_) => Err(WireError::Text),
        }
    }
}
