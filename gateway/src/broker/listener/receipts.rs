//! Messages that were handed over and wait for PUBACK.

use std::collections::VecDeque;

/// Most messages that wait to be acknowledged; with MQTT 5 it is our Receive Maximum.
pub(in crate::broker) const MAX_UNACKNOWLEDGED: u16 = 64;

/// Stands for a message until it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Receipt {
    /// Counts up over all connections.
    serial: u64,
}

/// Open messages of one connection, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    open: VecDeque<Open>,
    /// The serial number of the first of them.
    first: u64,
}

#[derive(Debug)]
struct Open {
    id: u16,
    closed: bool,
}

impl Receipts {
    /// A new connection: the open ones are void.
    pub(super) fn start_over(&mut self) {
        self.first += self.open.len() as u64;
        self.open.clear();
    }

    pub(super) fn has_room(&self) -> bool {
        self.open.len() < usize::from(MAX_UNACKNOWLEDGED)
    }

    /// Opens one; `None` if its identifier stands for another message already.
    pub(super) fn open(&mut self, id: u16) -> Option<Receipt> {
        if self.open.iter().any(|open| open.id == id) {
            return None;
        }
        let serial = self.first + self.open.len() as u64;
        self.open.push_back(Open { id, closed: false });
        Some(Receipt { serial })
    }

    /// Closes one; of an earlier connection, or a second time, it means nothing.
    pub(super) fn close(&mut self, receipt: Receipt) {
        let at = receipt.serial.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(open) = at.and_then(|at| self.open.get_mut(at)) {
            open.closed = true;
        }
    }

    /// The identifier of the first one, if it is closed.
    pub(super) fn poll_closed(&mut self) -> Option<u16> {
        let id = self.open.front().filter(|open| open.closed)?.id;
        self.open.pop_front();
        self.first += 1;
        Some(id)
    }
}
