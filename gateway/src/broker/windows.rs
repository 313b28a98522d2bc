//! The lane in which several records become one message.
//!
//! Its records are read as they are stored, not as they are published, and do not count against the
//! broker's window: only what is published does. Its cursor holds back the records of every group that is
//! not done, so what is in memory can be built again; see [`Windows`].

use std::sync::Arc;
use std::time::Duration;

use proto::Timestamp;

use super::feed::Feed;
use crate::pipeline::{NotSent, Publish, Recipient, Routes, Windows};
use crate::store::{BrokerCursor, Record, StoreError};

/// Records that are read in a turn, before others get theirs.
const TURN: usize = 4096;

/// A feed, and the groups that its records are in.
pub(super) struct WindowLane {
    pub(super) cursor: BrokerCursor,
    feed: Feed,
    routes: Arc<Routes>,
    recipient: Recipient,
    windows: Windows,
    /// The latest time at which a record was received that was read.
    received: Timestamp,
    /// Whether the cursor may have to move.
    changed: bool,
}

/// A window that is over.
pub(super) struct Due {
    pub(super) id: u64,
    pub(super) publishes: Vec<(u8, Publish)>,
    pub(super) not_sent: Vec<(NotSent, String)>,
    /// Whether it may have been published before.
    pub(super) again: bool,
}

impl WindowLane {
    /// Goes on where the cursor is.
    pub(super) fn new(
        cursor: BrokerCursor,
        mut feed: Feed,
        routes: Arc<Routes>,
        recipient: Recipient,
    ) -> Self {
        let next = cursor.next();
        feed.seek(next);
        let windows = Windows::new(next, cursor.mark(), routes.windows_version());
        let received = Timestamp::from_nanos(i64::MIN);
        Self { cursor, feed, routes, recipient, windows, received, changed: false }
    }

    /// Reads on, up to `head` or until others are to get their turn; tells what was left out.
    pub(super) async fn read(
        &mut self,
        head: u64,
        wall: Timestamp,
    ) -> Result<Vec<(NotSent, String)>, StoreError> {
        self.feed.skip_to(self.cursor.floor());
        let mut left = Vec::new();
        for _ in 0..TURN {
            if !self.can_read(head) {
                break;
            }
            if !self.feed.has_next() {
                self.feed.refill().await?;
            }
            let Self { feed, routes, recipient, windows, received, .. } = self;
            let taken = feed.next_record(wall, |record| {
                *received = (*received).max(record.received);
                let not_sent = routes.fill(recipient, record, windows).into_iter();
                left.extend(not_sent.map(|not_sent| example(not_sent, record)));
            });
            if !taken {
                break;
            }
        }
        self.windows.handle_position(self.feed.position());
        self.changed = true;
        Ok(left)
    }

    /// Whether there are records to read, and room for them.
    pub(super) fn can_read(&self, head: u64) -> bool {
        self.feed.position() < head && self.windows.has_room()
    }

    /// The next window that is over.
    pub(super) fn next(&mut self, head: u64, wall: Timestamp) -> Option<Due> {
        let clock = self.clock(head, wall);
        let routes = Arc::clone(&self.routes);
        let closed = self.windows.poll_closed(clock, |route| routes.window(route))?;
        let mut due =
            Due { id: closed.id, publishes: Vec::new(), not_sent: Vec::new(), again: closed.again };
        for (part, record) in (0_u8..).zip(&closed.records) {
            match routes.publish_window(&self.recipient, closed.route, record, wall) {
                Some(Ok(publish)) => due.publishes.push((part, publish)),
                Some(Err(not_sent)) => {
                    due.not_sent.push(example(not_sent, record));
                    self.windows.settle(closed.id);
                }
                None => drop(self.windows.settle(closed.id)),
            }
        }
        self.changed = true;
        Some(due)
    }

    /// Up to when windows are over: the time when everything that was read was received, and where
    /// that is everything that there is room for, the clock's.
    fn clock(&self, head: u64, wall: Timestamp) -> Timestamp {
        match !self.can_read(head) {
            true => self.received.max(before(wall, self.routes.lateness())),
            false => self.received,
        }
    }

    /// How long until the next window is over if nothing more arrives.
    pub(super) fn next_due(&self, wall: Timestamp) -> Option<Duration> {
        let due = self.windows.next_due()?;
        let clock = before(wall, self.routes.lateness());
        // What is over already waits for something else.
        u64::try_from(due.as_nanos().saturating_sub(clock.as_nanos()))
            .ok()
            .filter(|left| *left > 0)
            .map(Duration::from_nanos)
    }

    /// One message of a window needs nothing more; false if it had none to wait for.
    pub(super) fn settle(&mut self, id: u64) -> bool {
        self.changed = true;
        self.windows.settle(id)
    }

    /// What is under way may not have arrived.
    pub(super) fn rewind(&mut self) {
        self.windows.rewind();
    }

    /// Moves the cursor to where everything is done.
    pub(super) fn release(&mut self) {
        if std::mem::take(&mut self.changed) {
            let reached = self.windows.reached();
            self.cursor.release_windows(reached.released, reached.mark, reached.messages);
        }
    }

    /// Messages that a crash would repeat, apart from those in the cursor.
    pub(super) fn exposed(&self) -> u64 {
        self.windows.exposed()
    }

    /// Whether everything is read and what is over is done; open windows wait on disk.
    pub(super) fn is_done(&self, head: u64) -> bool {
        self.feed.position() >= head && self.windows.is_quiet(self.received)
    }

    /// What a window that is under way became, and where it is published.
    pub(super) fn letter(&self, id: u64, part: u8, now: Timestamp) -> Option<(Record, String)> {
        let route = self.windows.route_of(id)?;
        let record = self.windows.record(id, part, self.routes.window(route)?)?;
        let publish = self.routes.publish_window(&self.recipient, route, &record, now);
        let topic = publish.and_then(Result::ok).map(|publish| publish.topic);
        Some((record, topic.unwrap_or_default()))
    }
}

fn before(time: Timestamp, duration: Duration) -> Timestamp {
    let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(time.as_nanos().saturating_sub(nanos))
}

/// What was left out of a record, in words.
pub(super) fn example(not_sent: NotSent, record: &Record) -> (NotSent, String) {
    let what = record.reading().map(|reading| format!("{} {}, ", reading.device, reading.name));
    let what = what.unwrap_or_default();
    let example = format!("{}: {what}n {}", not_sent.route, record.n);
    (not_sent, example)
}
