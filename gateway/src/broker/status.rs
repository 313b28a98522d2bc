//! Where a broker's connection stands, for everyone to see.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use serde::Serialize;

use super::board::Board;
use super::topics::TopicCounts;
use crate::config::{BrokerUrl, BrokerUrls};
use crate::tally::{Count, Tally};

/// Where it stands, kept by the broker's task.
#[derive(Debug)]
pub(crate) struct BrokerStatus {
    urls: BrokerUrls,
    /// Which of the addresses is in use.
    url: AtomicUsize,
    connected: AtomicBool,
    connections: AtomicU64,
    published: AtomicU64,
    acknowledged: AtomicU64,
    pub(super) refused: Tally,
    pub(super) left_out: Tally,
    pub(super) disconnects: Tally,
}

/// A copy of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BrokerReport {
    /// The address that is in use, or that is tried.
    pub(crate) url: String,
    /// Whether the broker has accepted the connection.
    pub(crate) connected: bool,
    /// Connections since the start.
    pub(crate) connections: u64,
    /// Publishes since the start, repeated ones included.
    pub(crate) published: u64,
    /// Acknowledgements since the start.
    pub(crate) acknowledged: u64,
    /// How long the oldest reading that waits has been in the store, where one does.
    pub(crate) oldest_seconds: Option<u64>,
    /// Readings that were not published, or that the broker did not take.
    pub(crate) refused: BTreeMap<&'static str, Count>,
    /// Readings that a route does not publish because it is configured so, by its key.
    pub(crate) left_out: BTreeMap<&'static str, Count>,
    /// Why connections ended or could not be made.
    pub(crate) disconnects: BTreeMap<&'static str, Count>,
    /// The connection that subscribes, where there is one.
    pub(crate) subscriber: Option<SubscriberReport>,
    /// The connection that takes commands, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commands: Option<SubscriberReport>,
}

/// Where the connection that subscribes stands, kept by its task.
pub(crate) struct SubscriberStatus {
    board: Board,
    connected: AtomicBool,
    connections: AtomicU64,
    messages: AtomicU64,
    pub(super) refused: Tally,
    pub(super) disconnects: Tally,
}

/// A copy of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SubscriberReport {
    /// Whether the broker has accepted the connection.
    pub(crate) connected: bool,
    /// Connections since the start.
    pub(crate) connections: u64,
    /// Topics that are subscribed, or are to be.
    pub(crate) topics: usize,
    /// Those who watch them: clients that observe the same at the same address are one.
    pub(crate) watchers: usize,
    /// Bytes of their latest messages.
    pub(crate) bytes: usize,
    /// Messages since the start.
    pub(crate) messages: u64,
    /// Subscriptions that the broker refused, and messages that were not taken.
    pub(crate) refused: BTreeMap<&'static str, Count>,
    /// Why connections ended or could not be made.
    pub(crate) disconnects: BTreeMap<&'static str, Count>,
}

impl SubscriberStatus {
    pub(super) fn new(board: Board) -> Self {
        Self {
            board,
            connected: AtomicBool::default(),
            connections: AtomicU64::default(),
            messages: AtomicU64::default(),
            refused: Tally::default(),
            disconnects: Tally::default(),
        }
    }

    /// The broker has accepted the connection.
    pub(super) fn handle_connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection has ended, or was not made.
    pub(super) fn handle_end(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }

    /// A message has come.
    pub(super) fn handle_message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn report(&self) -> SubscriberReport {
        let TopicCounts { topics, watchers, bytes } = self.board.lock().counts();
        SubscriberReport {
            connected: self.connected.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            topics,
            watchers,
            bytes,
            messages: self.messages.load(Ordering::Relaxed),
            refused: self.refused.snapshot(),
            disconnects: self.disconnects.snapshot(),
        }
    }
}

impl BrokerStatus {
    pub(super) fn new(urls: BrokerUrls) -> Self {
        Self {
            urls,
            url: AtomicUsize::default(),
            connected: AtomicBool::default(),
            connections: AtomicU64::default(),
            published: AtomicU64::default(),
            acknowledged: AtomicU64::default(),
            refused: Tally::default(),
            left_out: Tally::default(),
            disconnects: Tally::default(),
        }
    }

    /// The address with this index is tried.
    pub(super) fn handle_attempt(&self, url: usize) {
        self.url.store(url, Ordering::Relaxed);
    }

    /// The address that is in use.
    pub(super) fn url(&self) -> &BrokerUrl {
        self.urls.at(self.url.load(Ordering::Relaxed))
    }

    /// The broker has accepted the connection.
    pub(super) fn handle_connected(&self) {
        self.connected.store(true, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection has ended, or was not made.
    pub(super) fn handle_end(&self) {
        self.connected.store(false, Ordering::Relaxed);
    }

    /// So many publishes were made, and acknowledged.
    pub(super) fn add(&self, published: u64, acknowledged: u64) {
        self.published.fetch_add(published, Ordering::Relaxed);
        self.acknowledged.fetch_add(acknowledged, Ordering::Relaxed);
    }

    /// A copy.
    pub(crate) fn report(&self) -> BrokerReport {
        BrokerReport {
            url: self.url().to_string(),
            connected: self.connected.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            published: self.published.load(Ordering::Relaxed),
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
            oldest_seconds: None,
            subscriber: None,
            commands: None,
            refused: self.refused.snapshot(),
            left_out: self.left_out.snapshot(),
            disconnects: self.disconnects.snapshot(),
        }
    }
}
