//! The last values as they change: server-sent events (HTML §9.2).
//!
//! ```text
//! event: readings            those that came since the last event, at first all that there are
//! data: [{"n":…,"device":…,"name":…,"value":…,"time":…}, …]
//!
//! event: sources             what each source has seen, when that has changed
//! data: {"NAME":{…}, …}
//! ```
//! A client that is slow misses what was replaced in between and gets the newest: nothing is kept for
//! it but the number of the last reading that it has.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{self, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use super::resources::Answer;
use crate::clock;
use crate::pipeline::value_object;
use crate::source::Statuses;
use crate::source::latest::Latest;

/// Clients that watch at a time; a further one is told to try again.
const MAX_WATCHERS: usize = 32;
/// Readings in one event; the rest follows in the next.
const MAX_EVENT: usize = 1024;
/// The pause between events, in which changes gather.
const PACE: Duration = Duration::from_millis(500);
/// How often it is looked at what the sources have seen.
const SOURCES_PACE: Duration = Duration::from_secs(2);
/// The longest silence: a client whose connection is gone is noticed by what cannot be sent to it.
const SILENCE: Duration = Duration::from_secs(15);

/// Those who watch.
pub(super) struct Watchers {
    room: Arc<Semaphore>,
    statuses: Arc<Statuses>,
}

impl Watchers {
    /// Nobody yet.
    pub(super) fn new(statuses: Arc<Statuses>) -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_WATCHERS)), statuses }
    }

    /// An answer that goes on until `stop` is cancelled.
    pub(super) fn watch(
        &self,
        latest: Arc<Latest>,
        stop: CancellationToken,
    ) -> Result<Answer, Refusal> {
        let permit = Arc::clone(&self.room).try_acquire_owned();
        let permit =
            permit.map_err(|_| Refusal::busy("too many pages are open, try again later"))?;
        let now = clock::deadline(clock::now());
        let watcher = Watcher {
            newest: latest.newest(),
            latest,
            statuses: Arc::clone(&self.statuses),
            told: 0,
            sources: Vec::new(),
            next: now,
            next_sources: now,
            silent_until: now + SILENCE,
            stop,
            _permit: permit,
        };
        let events = stream::unfold(watcher, |mut watcher| async move {
            let event = watcher.next_event().await?;
            Some((Ok::<_, Infallible>(Frame::data(event)), watcher))
        });
        let mut answer = Response::new(StreamBody::new(events).boxed_unsync());
        let content_type = HeaderValue::from_static("text/event-stream");
        answer.headers_mut().insert(header::CONTENT_TYPE, content_type);
        Ok(answer)
    }
}

/// One of them.
struct Watcher {
    latest: Arc<Latest>,
    newest: watch::Receiver<u64>,
    statuses: Arc<Statuses>,
    /// The number of the last reading that it has.
    told: u64,
    /// The last event about the sources.
    sources: Vec<u8>,
    next: Instant,
    next_sources: Instant,
    silent_until: Instant,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Watcher {
    /// Waits for something to tell; none at the end.
    async fn next_event(&mut self) -> Option<Bytes> {
        loop {
            let now = clock::deadline(clock::now());
            let event = match now {
                now if now >= self.next => self.readings(now),
                _ => None,
            };
            let event = event.or_else(|| self.changed_sources(now));
            let event = event.or_else(|| (now >= self.silent_until).then(|| ":\n\n".into()));
            if event.is_some() {
                self.silent_until = now + SILENCE;
                return event;
            }
            let is_ahead = *self.newest.borrow() > self.told;
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = sleep_until(self.next), if is_ahead => {}
                changed = self.newest.changed(), if !is_ahead => changed.ok()?,
                () = sleep_until(self.next_sources.min(self.silent_until)) => {}
            }
        }
    }

    fn readings(&mut self, now: Instant) -> Option<Bytes> {
        let mut event = Vec::new();
        let mut count = 0;
        self.latest.first_since(self.told, MAX_EVENT, |number, reading| {
            event.extend_from_slice(if count == 0 { b"event: readings\ndata: [" } else { b"," });
            value_object(&mut event, number, reading);
            self.told = number;
            count += 1;
        });
        // What does not fit is no change that could gather.
        self.next = if count == MAX_EVENT { now } else { now + PACE };
        event.extend_from_slice(b"]\n\n");
        (count > 0).then(|| event.into())
    }

    fn changed_sources(&mut self, now: Instant) -> Option<Bytes> {
        if now < self.next_sources {
            return None;
        }
        self.next_sources = now + SOURCES_PACE;
        let statuses = self.statuses.get().into_iter().flatten();
        let reports: BTreeMap<_, _> =
            statuses.map(|(name, status)| (name.as_str(), status.report())).collect();
        let mut event = b"event: sources\ndata: ".to_vec();
        serde_json::to_writer(&mut event, &reports).ok()?;
        event.extend_from_slice(b"\n\n");
        if event == self.sources {
            return None;
        }
        self.sources.clone_from(&event);
        Some(event.into())
    }
}
