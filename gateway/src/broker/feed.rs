//! What comes next for one broker: records from the store, as publishes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use proto::Timestamp;

use super::windows::example;
use crate::pipeline::{Memory, NotSent, Publish, Recipient, Routes};
use crate::store::{Chunk, ReadAhead, Record, Spool, StoreError};

/// One record's share for one broker.
#[derive(Debug)]
pub(super) struct Step {
    /// The record; it stands for all before it that were not given.
    pub(super) n: u64,
    /// What to publish of it, each with its number among the routes that take it; nothing where no
    /// route sends it to this broker.
    pub(super) publishes: Vec<(u8, Publish)>,
    /// What of it is not published, and an example in words.
    pub(super) not_sent: Vec<(NotSent, String)>,
}

impl Step {
    /// What the routes make of a record.
    fn of(record: &Record, publishes: impl Iterator<Item = Result<Publish, NotSent>>) -> Self {
        let mut step = Self { n: record.n, publishes: Vec::new(), not_sent: Vec::new() };
        for (part, publish) in publishes.enumerate() {
            match publish {
                Ok(publish) => {
                    step.publishes.push((u8::try_from(part).unwrap_or(u8::MAX), publish));
                }
                Err(not_sent) => step.not_sent.push(example(not_sent, record)),
            }
        }
        step
    }
}

/// The chunk that record `n` is in, and its place there; those before are let go.
fn next_of(chunks: &mut VecDeque<Arc<Chunk>>, n: u64) -> Option<(&Chunk, usize)> {
    while chunks.front()?.end <= n {
        chunks.pop_front();
    }
    let chunk = chunks.front()?;
    // A chunk has all its records, or none.
    let at = usize::try_from(n.saturating_sub(chunk.base)).unwrap_or(usize::MAX);
    Some((chunk, at))
}

/// Whether a record was received in a time, where that matters.
fn is_wanted(received: &Option<Range<Timestamp>>, record: &Record) -> bool {
    received.as_ref().is_none_or(|received| received.contains(&record.received))
}

/// Reads the store from a position on.
pub(super) struct Feed {
    spool: Spool,
    routes: Arc<Routes>,
    recipient: Recipient,
    /// Gives only what was received in this time.
    received: Option<Range<Timestamp>>,
    /// What was sent last, for routes that leave out what is not new; `None` leaves out nothing.
    memory: Option<Memory>,
    next: u64,
    chunks: VecDeque<Arc<Chunk>>,
    /// What comes after them, while the disk is busy with it.
    ahead: Option<ReadAhead>,
}

impl Feed {
    pub(super) fn new(spool: Spool, routes: Arc<Routes>, recipient: Recipient) -> Self {
        Self {
            spool,
            routes,
            recipient,
            received: None,
            memory: Some(Memory::default()),
            next: 0,
            chunks: VecDeque::new(),
            ahead: None,
        }
    }

    /// Goes to record `n`. What was sent before may not have arrived: nothing is left out because of it.
    pub(super) fn seek(&mut self, n: u64) {
        self.memory.get_or_insert_default().clear();
        if n != self.next {
            self.chunks.clear();
            self.ahead = None;
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

    /// Gives these records next, which may be in the store no more, however alike they are.
    pub(super) fn load(&mut self, records: Vec<Record>) {
        self.memory = None;
        self.chunks = records.into_iter().map(|record| Arc::new(Chunk::of(record))).collect();
    }

    /// The next record that was not given yet.
    pub(super) fn position(&self) -> u64 {
        self.next
    }

    /// Reads on; waits only where the records are not in memory. What comes after them is read while
    /// they are used.
    pub(super) async fn refill(&mut self) -> Result<(), StoreError> {
        let chunks = match self.ahead.take().filter(|ahead| ahead.from() == self.next) {
            Some(ahead) => ahead.chunks().await?,
            None => self.spool.read(self.next).await?,
        };
        self.chunks.extend(chunks);
        let end = self.chunks.back().map(|chunk| chunk.end);
        self.ahead = end.and_then(|end| self.spool.read_ahead(end));
        Ok(())
    }

    /// The next record's share, `now`; `None` if more has to be [read](Self::refill) before.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Step> {
        let (chunk, at) = next_of(&mut self.chunks, self.next)?;
        let step = match chunk.records.get(at) {
            Some(record) if is_wanted(&self.received, record) => {
                let (record, now) = self.spool.times().settle(record, now);
                let memory = self.memory.as_mut();
                Step::of(&record, self.routes.publishes(&self.recipient, &record, now, memory))
            }
            Some(record) => Step::of(record, std::iter::empty()),
            // What follows in this chunk was damaged on disk.
            None => Step { n: chunk.end - 1, publishes: Vec::new(), not_sent: Vec::new() },
        };
        self.next = step.n + 1;
        Some(step)
    }

    /// Whether the next record was read.
    pub(super) fn has_next(&self) -> bool {
        self.chunks.back().is_some_and(|chunk| chunk.end > self.next)
    }

    /// Hands over the next record, with its time as far as that is known by `now`, or nothing where
    /// it was damaged; `false` if more has to be [read](Self::refill) before.
    pub(super) fn next_record(&mut self, now: Timestamp, take: impl FnOnce(&Record)) -> bool {
        let Some((chunk, at)) = next_of(&mut self.chunks, self.next) else { return false };
        match chunk.records.get(at) {
            Some(record) => {
                take(&self.spool.times().settle(record, now).0);
                self.next = record.n + 1;
            }
            None => self.next = chunk.end,
        }
        true
    }

    /// The publish of a record with this number among its routes.
    pub(super) fn publish_of(&self, record: &Record, part: u8, now: Timestamp) -> Option<Publish> {
        let (record, now) = self.spool.times().settle(record, now);
        let mut publishes = self.routes.publishes(&self.recipient, &record, now, None);
        publishes.nth(part.into())?.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::config::Config;
    use crate::pipeline::Share;
    use crate::store::tests::{Folder, record};
    use crate::store::{Batch, Lane, Limits, Policy, WhenFull};

    /// More than twice what the store holds in memory, in commits of ten records.
    const RECORDS: u64 = 6000;

    async fn filled() -> (Folder, Spool, Feed) {
        let config: Config =
            toml::from_str("brokers.b.url = \"mqtt://b\"\nroutes.r.topic = \"{name}\"\n").unwrap();
        let folder = Folder::new();
        let when_full = WhenFull::DropNewest;
        let policy = Policy { quota: 1 << 30, min_free: 0, when_full, keep: Duration::ZERO };
        let lanes = [Lane::only("b", Limits::default())];
        let (spool, _) = Spool::open(folder.0.clone(), policy, &lanes).unwrap();
        let device = "d".repeat(1000);
        for _ in 0..RECORDS / 10 {
            let mut batch = Batch::default();
            (0..10).for_each(|value| batch.push(record(&device, value)));
            let (receipt, stored) = oneshot::channel();
            spool.append(batch, receipt, Timestamp::from_nanos(0)).await;
            stored.await.unwrap().unwrap();
        }
        let recipient = Recipient {
            broker: "b".to_owned(),
            properties: false,
            user_properties: false,
            share: Share::All,
        };
        let feed = Feed::new(spool.clone(), Arc::new(Routes::new(&config)), recipient);
        (folder, spool, feed)
    }

    async fn next(feed: &mut Feed) -> u64 {
        let now = Timestamp::from_nanos(0);
        match feed.next(now) {
            Some(step) => step.n,
            None => {
                feed.refill().await.unwrap();
                feed.next(now).unwrap().n
            }
        }
    }

    #[tokio::test]
    async fn what_comes_next_is_read_while_records_are_used() {
        let (_folder, _spool, mut feed) = filled().await;
        feed.seek(1);
        for n in 1..=RECORDS {
            assert_eq!(next(&mut feed).await, n);
            let end = feed.chunks.back().unwrap().end;
            match &feed.ahead {
                Some(ahead) => assert_eq!(ahead.from(), end),
                None => assert!(end > RECORDS / 2, "only what is in memory needs no disk"),
            }
        }
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_left_out_where_the_feed_goes_elsewhere() {
        let (_folder, _spool, mut feed) = filled().await;
        for from in [1, 700, 2, RECORDS] {
            feed.seek(from);
            assert_eq!(next(&mut feed).await, from);
        }
        feed.seek(1);
        assert_eq!(next(&mut feed).await, 1);
        feed.skip_to(1500);
        assert_eq!(next(&mut feed).await, 1500);
    }
}
