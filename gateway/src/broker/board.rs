//! The topics of one broker, shared between its subscriber and those who watch them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;

use super::topics::{TooManyTopics, TopicState, Topics};
use crate::clock;

/// Topics of a broker to watch.
#[derive(Clone)]
pub(crate) struct Board(Arc<Shared>);

struct Shared {
    topics: Mutex<Topics>,
    /// Counts up with everything that somebody may wait for.
    changes: watch::Sender<u64>,
    /// Wakes the subscriber.
    work: Notify,
}

/// Somebody watches a topic, for as long as this is there.
pub(crate) struct Watch {
    board: Board,
    topic: Arc<str>,
}

impl Board {
    pub(super) fn new() -> Self {
        let topics = Mutex::new(Topics::new());
        Self(Arc::new(Shared { topics, changes: watch::Sender::new(0), work: Notify::new() }))
    }

    /// Watches a topic.
    pub(crate) fn watch(&self, topic: &str) -> Result<Watch, TooManyTopics> {
        if self.lock().watch(topic, clock::now())? {
            self.0.work.notify_one();
        }
        Ok(Watch { board: self.clone(), topic: topic.into() })
    }

    /// Tells when the state of any topic may be another one.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Calls `see` with the topics whose state has changed after the change with this number;
    /// returns the number of the last one.
    pub(crate) fn since(&self, seen: u64, see: impl FnMut(&str)) -> u64 {
        self.lock().since(seen, see)
    }

    /// Some topics that have a state, at most so many, in order.
    pub(crate) fn known(&self, most: usize) -> Vec<String> {
        let mut known: Vec<_> = self.lock().known().map(str::to_owned).collect();
        known.sort_unstable();
        known.truncate(most);
        known
    }

    /// Changes something of the topics that somebody may wait for.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Topics) -> R) -> R {
        let changed = change(&mut self.lock());
        self.0.changes.send_modify(|count| *count = count.wrapping_add(1));
        changed
    }

    /// Waits until there may be more to subscribe, or to end.
    pub(super) async fn work(&self) {
        self.0.work.notified().await;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Topics> {
        self.0.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// What is known of it.
    pub(crate) fn state(&self) -> TopicState {
        self.board.lock().state(&self.topic, clock::now())
    }

    /// Waits until something is known of it, or nothing will be soon.
    pub(crate) async fn settled(&self) {
        let mut changes = self.board.changes();
        while let TopicState::Waiting(until) = self.state() {
            tokio::select! {
                // The sender lives as long as the board.
                _ = changes.changed() => {}
                () = sleep_until(clock::deadline(until)) => {}
            }
        }
    }
}

impl Clone for Watch {
    fn clone(&self) -> Self {
        self.board.lock().watch_again(&self.topic);
        Self { board: self.board.clone(), topic: Arc::clone(&self.topic) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.board.lock().unwatch(&self.topic, clock::now());
        self.board.0.work.notify_one();
    }
}
