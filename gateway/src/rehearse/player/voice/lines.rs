//! A line for each report, and a line in reply.

use std::collections::VecDeque;

use device_sim::payload::Payload;
use device_sim::transport::{MAX_OPEN, TAKEN};
use proto::Reading;

use super::Turn;

/// Lines over a connection.
pub(in crate::rehearse::player) struct Lines {
    payload: Payload,
    /// Lines without a reply.
    open: VecDeque<Vec<Reading>>,
    /// The begin of a reply.
    reply: Vec<u8>,
}

impl Lines {
    pub(super) fn new(payload: &Payload) -> Self {
        Self { payload: payload.clone(), open: VecDeque::new(), reply: Vec::new() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.open.len() < MAX_OPEN
    }

    pub(super) fn handle_report(&mut self, turn: &mut Turn<'_>, readings: Vec<Reading>) {
        turn.said.push_back(self.payload.encode_line(&readings));
        self.open.push_back(readings);
    }

    pub(super) fn handle_bytes(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) {
        self.reply.extend_from_slice(bytes);
        while let Some(end) = self.reply.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = self.reply.drain(..=end).collect();
            let Some(readings) = self.open.pop_front() else { continue };
            match line.strip_suffix(b"\n") == Some(TAKEN.as_bytes()) {
                true => turn.ledger.handle_acknowledged(turn.now, &readings),
                false => turn.ledger.handle_refused(turn.now, &readings),
            }
        }
    }

    /// What has no reply is forgotten.
    pub(super) fn handle_lost(&mut self, turn: &mut Turn<'_>) {
        for readings in self.open.drain(..) {
            turn.ledger.handle_unanswered(turn.now, &readings);
        }
        self.reply.clear();
    }
}
