//! One way of readings to a broker: in order, from a position in the store on.

use std::ops::Range;

use proto::Timestamp;

use super::feed::{Feed, Step};
use super::track::Track;
use crate::store::{Record, StoreError};

/// The lanes of a broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LaneId {
    /// New readings of routes with `live_first`.
    Live,
    /// Readings of all other routes, new and old.
    Ordered,
    /// Older readings of routes with `live_first`.
    Backlog,
    /// What an operator wants to be sent again.
    Again,
    /// Windows of routes that aggregate.
    Windows,
}

impl LaneId {
    /// The most urgent first. Windows that are over go before all of them, but are no [`Lane`].
    pub(super) const BY_URGENCY: [Self; 5] =
        [Self::Windows, Self::Live, Self::Ordered, Self::Backlog, Self::Again];

    /// As it stands in a ticket.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Live => 0,
            Self::Ordered => 1,
            Self::Backlog => 2,
            Self::Again => 3,
            Self::Windows => 4,
        }
    }

    /// What a ticket says.
    pub(super) fn of(number: u8) -> Option<Self> {
        Self::BY_URGENCY.into_iter().find(|id| id.number() == number)
    }
}

/// A feed, and how far what it gave is acknowledged.
pub(super) struct Lane {
    feed: Feed,
    track: Track,
    /// Where it ends; `None` goes on with the store.
    end: Option<u64>,
    /// One past the newest record that was ever published here: below it, `DUP` is set.
    published: u64,
}

impl Lane {
    /// A lane with nothing in it.
    pub(super) fn new(feed: Feed) -> Self {
        Self { feed, track: Track::new(0), end: Some(0), published: 0 }
    }

    /// Begins at record `from`, whatever was under way.
    pub(super) fn start(&mut self, from: u64, end: Option<u64>) {
        self.feed.seek(from);
        self.track = Track::new(from);
        self.end = end;
    }

    /// The same with what was received in some time, only.
    pub(super) fn start_range(&mut self, numbers: Range<u64>, received: Range<Timestamp>) {
        self.start(numbers.start, Some(numbers.end));
        self.feed.only_received(Some(received));
    }

    /// The same with these records, which are in the order of their numbers.
    pub(super) fn start_records<'a>(&mut self, records: impl Iterator<Item = &'a Record>) {
        let records: Vec<Record> = records.cloned().collect();
        let first = records.first().map_or(0, |record| record.n);
        self.start(first, Some(records.last().map_or(0, |record| record.n + 1)));
        self.feed.only_received(None);
        self.feed.load(records);
    }

    /// Ends it behind what is under way.
    pub(super) fn stop(&mut self) {
        self.end = Some(self.feed.position().min(self.end.unwrap_or(u64::MAX)));
    }

    /// Goes on at record `floor` if it is not that far yet.
    pub(super) fn skip_below(&mut self, floor: u64) {
        if let Some(last) = floor.checked_sub(1).filter(|_| self.feed.position() < floor) {
            self.feed.skip_to(floor);
            self.track.begin(last, 0);
        }
    }

    /// Whether there is something to send, in a store that reaches up to `head`.
    pub(super) fn has_more(&self, head: u64) -> bool {
        self.feed.position() < self.end.map_or(head, |end| end.min(head))
    }

    /// Whether it has an end, and everything up to it is settled.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_some_and(|end| self.track.released() >= end)
    }

    /// The next record's share; `None` where it could not be read.
    pub(super) async fn next(&mut self, now: Timestamp) -> Result<Option<Step>, StoreError> {
        let mut step = self.feed.next(now);
        if step.is_none() {
            self.feed.refill().await?;
            step = self.feed.next(now);
        }
        // What is damaged on disk may reach over the end.
        let last = self.end.map_or(u64::MAX, |end| end.saturating_sub(1));
        Ok(step.map(|step| Step { n: step.n.min(last), ..step }))
    }

    /// Record `n` was given and has so many outcomes to wait for; whether it may have been
    /// published before.
    pub(super) fn begin(&mut self, n: u64, outcomes: usize) -> bool {
        self.track.begin(n, u32::try_from(outcomes).unwrap_or(u32::MAX));
        let again = n < self.published;
        self.published = self.published.max(n + 1);
        again
    }

    /// One outcome of record `n` has come; false if it had none to wait for.
    pub(super) fn settle(&mut self, n: u64) -> bool {
        self.track.settle(n)
    }

    /// Everything below this is settled.
    pub(super) fn released(&self) -> u64 {
        self.track.released()
    }

    /// Records that were given and are not settled.
    pub(super) fn under_way(&self) -> u64 {
        self.feed.position().saturating_sub(self.track.released())
    }

    /// Where record `n` would have been published, as the publish with this index.
    pub(super) fn topic_of(&self, record: &Record, part: u8, now: Timestamp) -> Option<String> {
        self.feed.publish_of(record, part, now).map(|publish| publish.topic)
    }
}
