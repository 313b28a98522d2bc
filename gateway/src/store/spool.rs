//! What the rest of the gateway holds of the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use proto::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::job::{Acknowledge, Job};
use super::quarantine::Quarantine;
use super::shared::{Broker, Shared, StoreStatus};
use super::sqlite::SqliteLog;
use super::worker::Worker;
use super::{Batch, Chunk, StoreError};

/// Jobs that wait for the storage thread; one batch syncs while the next is filled.
const JOBS: usize = 2;
/// A handle on the store, for any task.
#[derive(Clone)]
pub(crate) struct Spool {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

/// How far one broker is.
pub(crate) struct BrokerCursor {
    index: usize,
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    saved: watch::Receiver<u64>,
}

impl Spool {
    /// Opens the store and starts its thread, which ends when every handle is dropped.
    ///
    /// A broker without a cursor starts where the most backward of all known brokers stands.
    pub(crate) fn open(
        directory: PathBuf,
        quota: u64,
        brokers: &[&str],
    ) -> Result<(Self, JoinHandle<Result<(), StoreError>>), StoreError> {
        let (log, known) = SqliteLog::open(&directory, quota)?;
        let shared = Arc::new(Shared::new(&log, &known, brokers));
        let (jobs, receiver) = mpsc::channel(JOBS);
        let quarantine = Quarantine::new(&directory);
        let worker = Worker { log, shared: Arc::clone(&shared), quarantine };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.run(receiver))
            .map_err(|source| StoreError::Directory { path: directory, source })?;
        Ok((Self { jobs, shared }, thread))
    }

    /// Hands a batch over to be committed; each receipt resolves when it is.
    pub(crate) async fn append(&self, batch: Batch, receipts: Vec<Acknowledge>, now: Timestamp) {
        self.shared.announce_append();
        // A storage thread that ended drops the receipts, which says so to whoever waits.
        let _ = self.jobs.send(Job::Append { batch, receipts, now }).await;
    }

    /// Some chunks from `from` on, which are empty only where nothing is stored there yet.
    pub(crate) async fn read(&self, from: u64) -> Result<Vec<Arc<Chunk>>, StoreError> {
        if let Some(chunks) = self.shared.tail().from(from) {
            return Ok(chunks);
        }
        let (reply, answer) = oneshot::channel();
        self.ask(Job::Read { from, reply }, answer).await?
    }

    /// The number of the first record that was committed since then, or of one of the newest
    /// `most`, whichever is later.
    pub(crate) async fn first_since(&self, since: Timestamp, most: u64) -> Result<u64, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Job::FirstSince { since, most, reply }, answer).await?
    }

    async fn ask<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Result<T, StoreError> {
        self.jobs.send(job).await.map_err(|_| StoreError::Ended)?;
        answer.await.map_err(|_| StoreError::Ended)
    }

    /// Saves the cursors soon, if they have moved.
    pub(crate) fn save_soon(&self) {
        let cursors = self.shared.cursors();
        if !self.shared.is_saved(&cursors) {
            request_save(&self.jobs, &self.shared);
        }
    }

    /// One past the number of the newest committed record, and its changes.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.shared.head.subscribe()
    }

    /// The cursor of a broker that was named at the opening.
    pub(crate) fn cursor(&self, broker: &str) -> Option<BrokerCursor> {
        let index = self.shared.brokers.iter().position(|b| b.name == broker)?;
        let saved = self.shared.brokers.get(index)?.saved.subscribe();
        let shared = Arc::clone(&self.shared);
        Some(BrokerCursor { index, jobs: self.jobs.clone(), shared, saved })
    }

    /// The lowest number that each broker has not acknowledged.
    pub(crate) fn cursors(&self) -> BTreeMap<String, u64> {
        self.shared.brokers.iter().map(|broker| (broker.name.clone(), broker.next())).collect()
    }

    /// Where the store stands.
    pub(crate) fn status(&self) -> StoreStatus {
        self.shared.status()
    }
}

impl BrokerCursor {
    /// The lowest number that the broker has not acknowledged.
    pub(crate) fn next(&self) -> u64 {
        self.broker().map_or(0, Broker::next)
    }

    /// Releases every record below `next`.
    pub(crate) fn release(&self, next: u64) {
        if let Some(broker) = self.broker() {
            broker.next.store(next, Ordering::Release);
        }
    }

    /// What of that is known to be on disk: a crash repeats what lies between.
    pub(crate) fn saved(&self) -> u64 {
        *self.saved.borrow()
    }

    /// Asks for the cursor to be saved.
    pub(crate) fn request_save(&self) {
        request_save(&self.jobs, &self.shared);
    }

    /// Waits until more of the cursor is saved.
    pub(crate) async fn saved_changed(&mut self) {
        // The sender lives in `shared`, which this cursor holds.
        let _ = self.saved.changed().await;
    }

    fn broker(&self) -> Option<&Broker> {
        self.shared.brokers.get(self.index)
    }
}

fn request_save(jobs: &mpsc::Sender<Job>, shared: &Shared) {
    if shared.claim_save() && jobs.try_send(Job::Save).is_err() {
        // The thread is busy with appends, which save the cursors too.
        shared.give_up_save();
    }
}
