//! Reports of a node on their way.

use alloc::vec::Vec;
use core::time::Duration;

use super::ReportId;
use crate::Instant;

/// A report that has no number yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: ReportId,
    pub(super) payload: Vec<u8>,
}

/// A report that has one, and keeps it until it is acknowledged.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) id: ReportId,
    pub(super) sequence: u16,
    pub(super) payload: Vec<u8>,
    /// When it is sent.
    pub(super) at: Instant,
    /// How often it was.
    times: u32,
}

impl Sending {
    pub(super) fn new(waiting: Waiting, sequence: u16) -> Self {
        let Waiting { id, payload } = waiting;
        Self { id, sequence, payload, at: Instant::ZERO, times: 0 }
    }

    pub(super) fn into_waiting(self) -> Waiting {
        Waiting { id: self.id, payload: self.payload }
    }

    /// Whether an ACK says that it is durable.
    pub(super) fn is_settled(&self, cumulative: u16, bitmap: u32) -> bool {
        match self.sequence.checked_sub(cumulative) {
            None | Some(0) => true,
            Some(ahead) => bitmap.checked_shr(u32::from(ahead) - 1).unwrap_or(0) & 1 == 1,
        }
    }

    /// It is sent, and again after `pause`, doubled each time; whether it was sent before.
    pub(super) fn mark_sent(&mut self, now: Instant, pause: Duration, longest: Duration) -> bool {
        let factor = 1_u32.checked_shl(self.times.min(16)).unwrap_or(1);
        self.at = now + pause.saturating_mul(factor).min(longest);
        self.times += 1;
        self.times > 1
    }
}
