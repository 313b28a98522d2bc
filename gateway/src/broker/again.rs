//! What an operator wants to be sent again: readings of a time range, or dead letters.
//!
//! Such readings have no cursor: a request ends with the process that it was made to, and with
//! whoever waits for its answer. Over disconnects it goes on.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use proto::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

use super::feed::Feed;
use super::lane::Lane;
use crate::store::Record;

/// A request to send something again.
#[derive(Debug)]
pub(crate) struct Resend {
    pub(crate) what: What,
    /// Told when everything is acknowledged or refused.
    pub(crate) done: oneshot::Sender<Resent>,
}

/// What to send again.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// The records with these numbers that were received in this time.
    Range { numbers: Range<u64>, received: Range<Timestamp> },
    /// These records, in the order of their numbers.
    Records(Vec<Record>),
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub(crate) struct Resent {
    /// Readings that the broker acknowledged.
    pub(crate) acknowledged: u64,
    /// Numbers of readings that it did not take: they are dead letters.
    pub(crate) refused: BTreeSet<u64>,
    /// Numbers of records that no route sends to this broker; of a range, those are left out.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) unrouted: BTreeSet<u64>,
}

/// The requests of one broker, one after the other.
pub(super) struct Again {
    lane: Lane,
    current: Option<Resend>,
    waiting: VecDeque<Resend>,
    outcome: Resent,
    /// Records under way that have something to wait for.
    open: VecDeque<u64>,
}

impl Again {
    /// No requests; readings come through `feed`.
    pub(super) fn new(feed: Feed) -> Self {
        Self {
            lane: Lane::new(feed),
            current: None,
            waiting: VecDeque::new(),
            outcome: Resent::default(),
            open: VecDeque::new(),
        }
    }

    /// Takes a request.
    pub(super) fn push(&mut self, resend: Resend) {
        self.waiting.push_back(resend);
        self.start_next();
    }

    fn start_next(&mut self) {
        while self.current.is_none()
            && let Some(resend) = self.waiting.pop_front()
        {
            self.outcome = Resent::default();
            self.start(&resend.what, 0);
            self.current = Some(resend);
            self.finish();
        }
    }

    /// Begins with the first record of `what` that is `from` or later.
    fn start(&mut self, what: &What, from: u64) {
        self.open.clear();
        match what {
            What::Range { numbers, received } => {
                let numbers = numbers.start.max(from)..numbers.end;
                self.lane.start_range(numbers, received.clone());
            }
            What::Records(records) => {
                self.lane.start_records(records.iter().filter(|record| record.n >= from));
            }
        }
    }

    /// Goes on from what is not settled.
    pub(super) fn rewind(&mut self) {
        if let Some(current) = self.current.take() {
            self.start(&current.what, self.lane.released());
            self.current = Some(current);
            self.finish();
        }
    }

    /// Ends a request that nobody waits for any more behind what is under way.
    pub(super) fn stop_if_unwanted(&mut self) {
        if self.current.as_ref().is_some_and(|current| current.done.is_closed()) {
            self.lane.stop();
            self.finish();
        }
    }

    /// Whether there is no request.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    /// The lane that the readings travel in.
    pub(super) fn lane(&mut self) -> &mut Lane {
        &mut self.lane
    }

    /// Record `n` was given and has so many outcomes to wait for.
    pub(super) fn handle_begin(&mut self, n: u64, outcomes: usize) {
        let is_named = self.current.as_ref().is_some_and(|c| matches!(c.what, What::Records(_)));
        if outcomes > 0 {
            self.open.push_back(n);
        } else if is_named {
            self.outcome.unrouted.insert(n);
        }
        self.finish();
    }

    /// An outcome of a record has come.
    pub(super) fn handle_settled(&mut self) {
        self.finish();
    }

    /// The broker does not take record `n`.
    pub(super) fn refuse(&mut self, n: u64) {
        self.outcome.refused.insert(n);
    }

    /// Counts what is settled, and goes on to the next request where that was everything.
    fn finish(&mut self) {
        let released = self.lane.released();
        while let Some(n) = self.open.front().copied().filter(|n| *n < released) {
            self.open.pop_front();
            if !self.outcome.refused.contains(&n) {
                self.outcome.acknowledged += 1;
            }
        }
        if self.lane.is_over()
            && let Some(current) = self.current.take()
        {
            // Whoever asked may be gone.
            let _ = current.done.send(std::mem::take(&mut self.outcome));
            self.start_next();
        }
    }
}
