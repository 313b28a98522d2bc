//! What comes back from the bus, cut into answers.

use alloc::vec::Vec;

use super::super::rtu::{self, MAX_ADU};
use super::super::{Failure, tcp};

/// Bytes that are kept while an answer is looked for in them: a frame and as much noise before it.
const MAX_BUFFER: usize = 2 * MAX_ADU;

/// What an answer must be to belong to a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) transaction: u16,
    pub(super) unit: u8,
    pub(super) function: u8,
    /// Length of its frame on a line.
    pub(super) rtu_len: usize,
}

/// Bytes between the bus and its master.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    buffer: Vec<u8>,
}

impl Receiver {
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        let excess = self.buffer.len().saturating_sub(MAX_BUFFER);
        self.buffer.drain(..excess);
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// The next answer of the unit that is waited for, whatever it says; or what else was heard.
    pub(super) fn poll_rtu(&mut self, expected: &Expected) -> Option<Result<Vec<u8>, Failure>> {
        if let Some((unit, pdu, len)) = frame(&self.buffer) {
            let heard = match unit == expected.unit {
                true => Ok(pdu.to_vec()),
                false => Err(Failure::Unit(unit)),
            };
            self.buffer.drain(..len);
            return Some(heard);
        }
        // Noise before an answer: while nobody sends, a line without bias makes bytes of its own.
        let (end, pdu) = (1..self.buffer.len()).find_map(|at| {
            let rest = self.buffer.get(at..)?;
            let &[unit, function, ..] = rest else { return None };
            let is_exception = function == expected.function | 0x80;
            if unit != expected.unit || !(is_exception || function == expected.function) {
                return None;
            }
            let (_, pdu, len) = frame(rest)?;
            (is_exception || len == expected.rtu_len).then(|| (at + len, pdu.to_vec()))
        })?;
        self.buffer.drain(..end);
        Some(Ok(pdu))
    }

    /// The same on TCP, where every answer says which request it is for.
    pub(super) fn poll_tcp(
        &mut self,
        expected: Option<&Expected>,
    ) -> Option<Result<Vec<u8>, Failure>> {
        let (heard, len) = match tcp::decode(&self.buffer) {
            Err(tcp::NotModbus) => (Err(Failure::NotModbus), self.buffer.len()),
            Ok(None) => return None,
            Ok(Some((frame, len))) => {
                let is_it = |e: &&Expected| e.transaction == frame.transaction;
                let heard = match expected.filter(is_it) {
                    None => Err(Failure::Late),
                    Some(expected) if expected.unit != frame.unit => Err(Failure::Unit(frame.unit)),
                    Some(_) => Ok(frame.pdu.to_vec()),
                };
                (heard, len)
            }
        };
        self.buffer.drain(..len);
        Some(heard)
    }

    /// What the bytes are that were no answer.
    pub(super) fn failure(&self) -> Option<Failure> {
        match rtu::response_len(&self.buffer) {
            _ if self.buffer.is_empty() => None,
            Some(len) if len > self.buffer.len() => Some(Failure::Truncated),
            None if self.buffer.len() < 3 => Some(Failure::Truncated),
            Some(_) | None => Some(Failure::Checksum),
        }
    }
}

/// A whole frame at the front: its unit, its protocol data unit and its length.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let len = rtu::response_len(bytes)?;
    let (unit, pdu) = rtu::decode(bytes.get(..len)?)?;
    Some((unit, pdu, len))
}
