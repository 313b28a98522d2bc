//! What the rest of the gateway holds of the store.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use proto::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::log::{Cursors, Log};
use super::sqlite::SqliteLog;
use super::worker::{Acknowledge, Job, Worker};
use super::{Batch, Chunk, StoreError};

/// Jobs that wait for the storage thread; one batch syncs while the next is filled.
const JOBS: usize = 2;
/// Bytes of the newest chunks that stay in memory, so that a broker that keeps up never waits for
/// the disk.
const TAIL_BYTES: usize = 1024 * 1024;

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

/// Where the store stands.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct StoreStatus {
    /// Number that the next record gets.
    pub(crate) next: u64,
    /// Bytes in use on disk.
    pub(crate) used_bytes: u64,
    /// Commits since the start.
    pub(crate) commits: u64,
    /// Bytes of records committed since the start.
    pub(crate) committed_bytes: u64,
    /// Batches refused since the start because the store was full.
    pub(crate) full: u64,
    /// Chunks that were damaged on disk and skipped.
    pub(crate) damaged: u64,
    /// Records that each broker still has to acknowledge.
    pub(crate) pending: BTreeMap<String, u64>,
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
        let worker = Worker { log, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.run(receiver))
            .map_err(|source| StoreError::Directory { path: directory, source })?;
        Ok((Self { jobs, shared }, thread))
    }

    /// Hands a batch over to be committed; each receipt resolves when it is.
    pub(crate) async fn append(&self, batch: Batch, receipts: Vec<Acknowledge>, now: Timestamp) {
        self.shared.appends_waiting.fetch_add(1, Ordering::AcqRel);
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

    /// Where the store stands.
    pub(crate) fn status(&self) -> StoreStatus {
        let shared = &self.shared;
        let next = *shared.head.borrow();
        let pending = shared.brokers.iter().map(|b| (b.name.clone(), next - b.next())).collect();
        StoreStatus {
            next,
            used_bytes: shared.used_bytes.load(Ordering::Relaxed),
            commits: shared.commits.load(Ordering::Relaxed),
            committed_bytes: shared.committed_bytes.load(Ordering::Relaxed),
            full: shared.full.load(Ordering::Relaxed),
            damaged: shared.damaged.load(Ordering::Relaxed),
            pending,
        }
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
    if !shared.save_requested.swap(true, Ordering::AcqRel) && jobs.try_send(Job::Save).is_err() {
        // The thread is busy with appends, which save the cursors too.
        shared.save_requested.store(false, Ordering::Release);
    }
}

/// What the storage thread and the handles share.
pub(super) struct Shared {
    brokers: Vec<Broker>,
    head: watch::Sender<u64>,
    tail: Mutex<Tail>,
    save_requested: AtomicBool,
    appends_waiting: AtomicU64,
    used_bytes: AtomicU64,
    commits: AtomicU64,
    committed_bytes: AtomicU64,
    full: AtomicU64,
    damaged: AtomicU64,
}

struct Broker {
    name: String,
    next: AtomicU64,
    saved: watch::Sender<u64>,
}

impl Broker {
    fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }
}

impl Shared {
    pub(super) fn new(log: &impl Log, known: &Cursors, brokers: &[&str]) -> Self {
        let head = log.next();
        let start = known.values().copied().min().unwrap_or(head);
        let brokers = brokers
            .iter()
            .map(|&name| {
                let next = known.get(name).copied().unwrap_or(start).clamp(1, head);
                let saved = known.get(name).copied().unwrap_or(0);
                Broker {
                    name: name.to_owned(),
                    next: next.into(),
                    saved: watch::Sender::new(saved),
                }
            })
            .collect();
        Self {
            brokers,
            head: watch::Sender::new(head),
            tail: Mutex::default(),
            save_requested: false.into(),
            appends_waiting: 0.into(),
            used_bytes: log.used_bytes().into(),
            commits: 0.into(),
            committed_bytes: 0.into(),
            full: 0.into(),
            damaged: 0.into(),
        }
    }

    pub(super) fn cursors(&self) -> Cursors {
        self.save_requested.store(false, Ordering::Release);
        self.brokers.iter().map(|broker| (broker.name.clone(), broker.next())).collect()
    }

    pub(super) fn handle_append(&self) {
        self.appends_waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether an append waits, which will save the cursors on its way.
    pub(super) fn is_append_waiting(&self) -> bool {
        self.appends_waiting.load(Ordering::Acquire) > 0
    }

    /// Records below this number are released for every broker.
    pub(super) fn released(&self) -> u64 {
        self.brokers.iter().map(Broker::next).min().unwrap_or_else(|| *self.head.borrow())
    }

    pub(super) fn is_saved(&self, cursors: &Cursors) -> bool {
        self.brokers.iter().all(|b| cursors.get(&b.name) == Some(&*b.saved.borrow()))
    }

    pub(super) fn handle_saved(&self, cursors: &Cursors) {
        for broker in &self.brokers {
            if let Some(&next) = cursors.get(&broker.name) {
                broker.saved.send_if_modified(|saved| std::mem::replace(saved, next) != next);
            }
        }
    }

    pub(super) fn handle_commit(&self, chunk: Chunk, bytes: u64, used: u64) {
        let head = chunk.end;
        self.tail().push(Arc::new(chunk));
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.committed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.used_bytes.store(used, Ordering::Relaxed);
        self.head.send_replace(head);
    }

    pub(super) fn handle_full(&self) {
        self.full.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn handle_damaged(&self, chunks: u64) {
        self.damaged.fetch_add(chunks, Ordering::Relaxed);
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest chunks, without a gap.
#[derive(Default)]
struct Tail {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, chunk: Arc<Chunk>) {
        self.bytes += chunk.bytes;
        self.chunks.push_back(chunk);
        while self.bytes > TAIL_BYTES
            && self.chunks.len() > 1
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.bytes -= oldest.bytes;
        }
    }

    /// The chunks from `from` on, or `None` where they have to be read from the disk.
    fn from(&self, from: u64) -> Option<Vec<Arc<Chunk>>> {
        if self.chunks.front()?.base > from {
            return None;
        }
        let at = self.chunks.partition_point(|chunk| chunk.end <= from);
        Some(self.chunks.range(at..).cloned().collect())
    }
}
