//! What the storage thread and the handles on the store share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Chunk;
use super::log::{Cursors, Log};

/// Bytes of the newest chunks that stay in memory, so that a broker that keeps up never waits for
/// the disk.
const TAIL_BYTES: usize = 1024 * 1024;

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
    /// Chunks that were found damaged on disk, or missing, and are skipped.
    pub(crate) damaged: u64,
    /// Numbers that they have: as many readings at most are lost.
    pub(crate) damaged_numbers: u64,
    /// Records that each broker still has to acknowledge.
    pub(crate) pending: BTreeMap<String, u64>,
}

/// The state of the store that does not need the disk.
pub(super) struct Shared {
    pub(super) brokers: Vec<Broker>,
    pub(super) head: watch::Sender<u64>,
    tail: Mutex<Tail>,
    save_requested: AtomicBool,
    appends_waiting: AtomicU64,
    used_bytes: AtomicU64,
    commits: AtomicU64,
    committed_bytes: AtomicU64,
    full: AtomicU64,
    damaged: AtomicU64,
    damaged_numbers: AtomicU64,
}

/// How far one broker is.
pub(super) struct Broker {
    pub(super) name: String,
    pub(super) next: AtomicU64,
    pub(super) saved: watch::Sender<u64>,
}

impl Broker {
    pub(super) fn next(&self) -> u64 {
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
            damaged_numbers: 0.into(),
        }
    }

    /// Where the store stands.
    pub(super) fn status(&self) -> StoreStatus {
        let next = *self.head.borrow();
        let pending = self.brokers.iter().map(|b| (b.name.clone(), next - b.next())).collect();
        StoreStatus {
            next,
            used_bytes: self.used_bytes.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            committed_bytes: self.committed_bytes.load(Ordering::Relaxed),
            full: self.full.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            damaged_numbers: self.damaged_numbers.load(Ordering::Relaxed),
            pending,
        }
    }

    /// Notes that an append is on its way.
    pub(super) fn announce_append(&self) {
        self.appends_waiting.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the caller is the one who should ask for the cursors to be saved.
    pub(super) fn claim_save(&self) -> bool {
        !self.save_requested.swap(true, Ordering::AcqRel)
    }

    /// Takes the claim back: it could not be asked for.
    pub(super) fn give_up_save(&self) {
        self.save_requested.store(false, Ordering::Release);
    }

    /// Where the brokers are; whoever asks for this saves them.
    pub(super) fn cursors(&self) -> Cursors {
        self.give_up_save();
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

    /// Counts a damaged chunk with so many numbers.
    pub(super) fn handle_damaged(&self, numbers: u64) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        self.damaged_numbers.fetch_add(numbers, Ordering::Relaxed);
    }

    /// Forgets what is in memory, after which the log may go on with a higher number.
    pub(super) fn handle_reopened(&self, log: &impl Log) {
        *self.tail() = Tail::default();
        self.used_bytes.store(log.used_bytes(), Ordering::Relaxed);
        self.head.send_if_modified(|head| std::mem::replace(head, log.next()) != *head);
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest chunks, without a gap.
#[derive(Default)]
pub(super) struct Tail {
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
    pub(super) fn from(&self, from: u64) -> Option<Vec<Arc<Chunk>>> {
        if self.chunks.front()?.base > from {
            return None;
        }
        let at = self.chunks.partition_point(|chunk| chunk.end <= from);
        Some(self.chunks.range(at..).cloned().collect())
    }
}
