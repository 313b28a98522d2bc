//! What comes next for one broker: records from the store, as publishes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use proto::Timestamp;

use crate::pipeline::{Expired, Publish, Recipient, Routes};
use crate::store::{Chunk, Record, Spool, StoreError};

/// One record's share for one broker.
#[derive(Debug)]
pub(super) struct Step {
    /// The record; it stands for all before it that were not given.
    pub(super) n: u64,
    /// What to publish of it; nothing where no route sends it to this broker.
    pub(super) publishes: Vec<Publish>,
    /// What of it is too old to be published, in words.
    pub(super) expired: Vec<String>,
}

/// Reads the store from a position on.
pub(super) struct Feed {
    spool: Spool,
    routes: Arc<Routes>,
    recipient: Recipient,
    /// Gives only what was received in this time.
    received: Option<Range<Timestamp>>,
    next: u64,
    chunks: VecDeque<Arc<Chunk>>,
}

impl Feed {
    pub(super) fn new(spool: Spool, routes: Arc<Routes>, recipient: Recipient) -> Self {
        Self { spool, routes, recipient, received: None, next: 0, chunks: VecDeque::new() }
    }

    /// Goes to record `n`.
    pub(super) fn seek(&mut self, n: u64) {
        if n != self.next {
            self.chunks.clear();
            self.next = n;
        }
    }

    /// Leaves out what comes before record `n`.
    pub(super) fn skip_to(&mut self, n: u64) {
        self.next = self.next.max(n);
    }

    /// Gives only what was received in this time from now on, or everything.
    pub(super) fn only_received(&mut self, received: Option<Range<Timestamp>>) {
        self.received = received;
    }

    /// Gives these records next, which may be in the store no more.
    pub(super) fn load(&mut self, records: Vec<Record>) {
        self.chunks = records.into_iter().map(|record| Arc::new(Chunk::of(record))).collect();
    }

    /// The next record that was not given yet.
    pub(super) fn position(&self) -> u64 {
        self.next
    }

    /// Reads on; waits only where the records are not in memory any more.
    pub(super) async fn refill(&mut self) -> Result<(), StoreError> {
        self.chunks.extend(self.spool.read(self.next).await?);
        Ok(())
    }

    /// The next record's share, `now`; `None` if more has to be [read](Self::refill) before.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Step> {
        let chunk = loop {
            let chunk = self.chunks.front()?;
            if chunk.end > self.next {
                break chunk;
            }
            self.chunks.pop_front();
        };
        // A chunk has all its records, or none.
        let at = usize::try_from(self.next.saturating_sub(chunk.base)).unwrap_or(usize::MAX);
        let step = match chunk.records.get(at) {
            Some(record) => self.step(record, now),
            // What follows in this chunk was damaged on disk.
            None => Step { n: chunk.end - 1, publishes: Vec::new(), expired: Vec::new() },
        };
        self.next = step.n + 1;
        Some(step)
    }

    fn step(&self, record: &Record, now: Timestamp) -> Step {
        let mut step = Step { n: record.n, publishes: Vec::new(), expired: Vec::new() };
        if self.received.as_ref().is_some_and(|received| !received.contains(&record.received)) {
            return step;
        }
        for publish in self.routes.publishes(&self.recipient, record, now) {
            match publish {
                Ok(publish) => step.publishes.push(publish),
                Err(Expired { route }) => {
                    let what = record.reading().map(|r| format!("{} {}, ", r.device, r.name));
                    let what = what.unwrap_or_default();
                    step.expired.push(format!("{route}: {what}n {}", record.n));
                }
            }
        }
        step
    }

    /// The publish of a record with this index.
    pub(super) fn publish_of(&self, record: &Record, index: u8, now: Timestamp) -> Option<Publish> {
        let publishes = self.routes.publishes(&self.recipient, record, now);
        publishes.filter_map(Result::ok).nth(index.into())
    }
}
