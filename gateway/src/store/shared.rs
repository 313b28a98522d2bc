//! What the storage thread and the handles on the store share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::Instant;
use tokio::sync::watch;

use super::cursor::{self, Cursor, Cursors, DropReason, Dropped, Mark};
use super::dead::DeadCounts;
use super::lane::{self, Lane, Limits, Standing, broker_of, standings};
use super::log::Log;
use super::skips::Skips;
use super::space::Room;
use super::times::Times;
use super::wear::{Wear, WearReport, written};
use super::{Chunk, Progress};

/// Bytes of memory that the newest chunks take, so that a broker that keeps up never waits for the
/// disk: some seven thousand records, in commits of their own or not.
const TAIL_BYTES: usize = 3 * 1024 * 1024;

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
    /// Whether a batch waits for room.
    pub(crate) blocked: bool,
    /// Chunks that were found damaged on disk, or missing, and are skipped.
    pub(crate) damaged: u64,
    /// Numbers that they have: as many readings at most are lost.
    pub(crate) damaged_numbers: u64,
    /// Records that each broker still has to acknowledge.
    pub(crate) pending: BTreeMap<String, u64>,
    /// Records that were dropped for each broker, ever.
    pub(crate) dropped: BTreeMap<String, Dropped>,
    /// Brokers that are not configured, and the first record that each of them did not acknowledge.
    pub(crate) orphans: BTreeMap<String, u64>,
    /// Readings that were given up.
    pub(crate) dead: DeadCounts,
    /// Room on the file system.
    pub(crate) disk: Room,
    /// Writes to the device.
    pub(crate) wear: WearReport,
}

/// The state of the store that does not need the disk.
pub(super) struct Shared {
    pub(super) lanes: Vec<LaneState>,
    pub(super) head: watch::Sender<u64>,
    orphans: Mutex<Cursors>,
    tail: Mutex<Tail>,
    skips: Mutex<Skips>,
    /// The cursors on disk, where that is known.
    saved: Mutex<Option<Cursors>>,
    save_requested: AtomicBool,
    appends_waiting: AtomicU64,
    blocked: AtomicBool,
    stopping: AtomicBool,
    /// Whether the storage thread works only while it is waited for.
    stepped: AtomicBool,
    disk: Mutex<Disk>,
    wear: Mutex<Wear>,
    pub(super) times: Times,
    commits: AtomicU64,
    committed_bytes: AtomicU64,
    full: AtomicU64,
    damaged: AtomicU64,
    damaged_numbers: AtomicU64,
}

/// What the storage thread saw last.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) used_bytes: u64,
    pub(super) room: Room,
    pub(super) dead: DeadCounts,
}

/// How far one lane is.
pub(super) struct LaneState {
    pub(super) key: String,
    pub(super) limits: Limits,
    position: Mutex<Position>,
    /// Nothing below is to be published any more: the broker's feed skips to it.
    floor: AtomicU64,
    /// What of [`Position::released`] is on disk.
    pub(super) saved: watch::Sender<u64>,
}

/// How far one lane is now.
#[derive(Clone)]
pub(super) struct Position {
    pub(super) cursor: Cursor,
    /// Records that the broker has released since the start.
    pub(super) released: u64,
}

/// All cursors at one moment, on their way to the disk.
pub(super) struct Snapshot {
    pub(super) cursors: Cursors,
    /// [`Position::released`] of each lane.
    released: Vec<u64>,
}

impl Disk {
    pub(super) fn of(log: &impl Log) -> Self {
        Self { used_bytes: log.used_bytes(), room: log.room(), dead: log.dead_counts() }
    }
}

impl Snapshot {
    /// Number below which no record is held back, in a store that goes on at `head`.
    pub(super) fn released(&self, head: u64) -> u64 {
        cursor::released(&self.cursors, head).unwrap_or(head)
    }
}

impl LaneState {
    fn new(lane: &Lane, cursor: Cursor) -> Self {
        Self {
            key: lane.key.clone(),
            limits: lane.limits,
            floor: cursor.progress.lowest().into(),
            position: Mutex::new(Position { cursor, released: 0 }),
            saved: watch::Sender::new(0),
        }
    }

    /// Where it is now.
    pub(super) fn position(&self) -> MutexGuard<'_, Position> {
        lock(&self.position)
    }

    /// Number below which nothing is to be published any more.
    pub(super) fn floor(&self) -> u64 {
        self.floor.load(Ordering::Acquire)
    }

    /// Changes the progress by what the broker has acknowledged.
    pub(super) fn release(&self, by: impl FnOnce(&mut Progress) -> u64) {
        let mut position = self.position();
        position.released += by(&mut position.cursor.progress);
    }

    /// Changes the progress and the mark together, by so many publishes.
    pub(super) fn release_windows(&self, n: u64, mark: Mark, publishes: u64) {
        let mut position = self.position();
        position.cursor.progress.release_open(n);
        position.cursor.mark = Some(mark);
        position.released += publishes;
    }

    /// Drops what is pending below `floor`; how many records that were.
    pub(super) fn drop_below(&self, floor: u64, reason: DropReason, skips: &Skips) -> u64 {
        let count = self.position().cursor.drop_below(floor, reason, skips);
        self.floor.fetch_max(floor, Ordering::AcqRel);
        count
    }

    fn lowest(&self) -> u64 {
        self.position().cursor.progress.lowest()
    }
}

impl Shared {
    /// For a log whose cursors are `known`.
    pub(super) fn new(log: &impl Log, known: Cursors, lanes: &[Lane]) -> Self {
        let start = lane::start(known.clone(), lanes, log.first()..log.next());
        let states = lanes.iter().zip(start.lanes);
        let lanes = states.map(|(lane, cursor)| LaneState::new(lane, cursor));
        Self {
            lanes: lanes.collect(),
            head: watch::Sender::new(log.next()),
            orphans: Mutex::new(start.orphans),
            tail: Mutex::default(),
            skips: Mutex::new(log.skips()),
            saved: Mutex::new(Some(known)),
            save_requested: false.into(),
            appends_waiting: 0.into(),
            blocked: false.into(),
            stopping: false.into(),
            stepped: false.into(),
            disk: Mutex::new(Disk::of(log)),
            wear: Mutex::default(),
            times: Times::default(),
            commits: 0.into(),
            committed_bytes: 0.into(),
            full: 0.into(),
            damaged: 0.into(),
            damaged_numbers: 0.into(),
        }
    }

    /// The lowest number that any lane of a broker has not acknowledged.
    pub(super) fn oldest_pending(&self, broker: &str) -> Option<u64> {
        let lanes = self.lanes.iter().filter(|lane| broker_of(&lane.key) == broker);
        lanes.map(LaneState::lowest).min()
    }

    pub(super) fn set_stepped(&self) {
        self.stepped.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stepped(&self) -> bool {
        self.stepped.load(Ordering::Relaxed)
    }

    /// Bytes in use on disk.
    pub(super) fn used_bytes(&self) -> u64 {
        lock(&self.disk).used_bytes
    }

    /// Where the store stands.
    pub(super) fn status(&self) -> StoreStatus {
        let next = *self.head.borrow();
        let brokers: Vec<_> =
            self.standings(next).into_iter().filter(|(_, broker)| !broker.is_orphan).collect();
        let pending = brokers.iter().map(|(name, broker)| (name.clone(), broker.pending));
        let dropped = brokers.iter().map(|(name, broker)| (name.clone(), broker.dropped));
        let (pending, dropped) = (pending.collect(), dropped.collect());
        let Disk { used_bytes, room, dead } = lock(&self.disk).clone();
        StoreStatus {
            next,
            used_bytes,
            commits: self.commits.load(Ordering::Relaxed),
            committed_bytes: self.committed_bytes.load(Ordering::Relaxed),
            full: self.full.load(Ordering::Relaxed),
            blocked: self.is_blocked(),
            damaged: self.damaged.load(Ordering::Relaxed),
            damaged_numbers: self.damaged_numbers.load(Ordering::Relaxed),
            pending,
            dropped,
            orphans: self.orphans(),
            dead,
            disk: room,
            wear: lock(&self.wear).report(),
        }
    }

    /// Brokers that are not configured, and the first record that each did not acknowledge.
    pub(super) fn orphans(&self) -> BTreeMap<String, u64> {
        let standings = self.standings(*self.head.borrow());
        let orphans = standings.into_iter().filter(|(_, broker)| broker.is_orphan);
        orphans.map(|(name, broker)| (name, broker.lowest)).collect()
    }

    fn standings(&self, head: u64) -> BTreeMap<String, Standing> {
        standings(&self.cursors(), &lock(&self.skips), head)
    }

    /// Where the lanes are, and those of brokers that are not configured.
    pub(super) fn cursors(&self) -> Cursors {
        let mut cursors = lock(&self.orphans).clone();
        let lanes = self.lanes.iter();
        cursors.extend(lanes.map(|lane| (lane.key.clone(), lane.position().cursor.clone())));
        cursors
    }

    /// Numbers that no record has.
    pub(super) fn skips(&self) -> Skips {
        lock(&self.skips).clone()
    }

    /// Forgets a broker that is not configured; whether it was known.
    pub(super) fn forget(&self, broker: &str) -> bool {
        let mut orphans = lock(&self.orphans);
        let before = orphans.len();
        orphans.retain(|key, _| broker_of(key) != broker);
        orphans.len() < before
    }

    /// Notes that an append is on its way.
    pub(super) fn announce_append(&self) {
        self.appends_waiting.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether the caller is the one who should ask for the cursors to be saved.
    pub(super) fn claim_save(&self) -> bool {
        !self.save_requested.swap(true, Ordering::AcqRel)
    }

    /// Whether the cursors are to be saved, and were not since that was asked for.
    pub(super) fn is_save_requested(&self) -> bool {
        self.save_requested.load(Ordering::Acquire)
    }

    /// Where the lanes are; whoever asks for this saves them.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.save_requested.store(false, Ordering::Release);
        let mut cursors = lock(&self.orphans).clone();
        let mut released = Vec::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            let position = lane.position().clone();
            cursors.insert(lane.key.clone(), position.cursor);
            released.push(position.released);
        }
        Snapshot { cursors, released }
    }

    pub(super) fn handle_append(&self) {
        self.appends_waiting.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether an append waits, which will save the cursors on its way.
    pub(super) fn is_append_waiting(&self) -> bool {
        self.appends_waiting.load(Ordering::Acquire) > 0
    }

    /// Whether an append waits for room.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    pub(super) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Release);
    }

    /// From now on nothing waits for room any more.
    pub(super) fn stop_waiting(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether nothing waits for room any more.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Records below this number are released in every lane.
    pub(super) fn released(&self) -> u64 {
        self.lanes.iter().map(LaneState::lowest).min().unwrap_or_else(|| *self.head.borrow())
    }

    pub(super) fn is_saved(&self, snapshot: &Snapshot) -> bool {
        lock(&self.saved).as_ref() == Some(&snapshot.cursors)
    }

    /// Notes what is on disk.
    pub(super) fn handle_saved(&self, snapshot: Snapshot) {
        self.handle_unsaved(&snapshot);
        *lock(&self.saved) = Some(snapshot.cursors);
    }

    /// Lets the brokers go on as if it were saved.
    pub(super) fn handle_unsaved(&self, snapshot: &Snapshot) {
        for (lane, &released) in self.lanes.iter().zip(&snapshot.released) {
            lane.saved.send_if_modified(|before| std::mem::replace(before, released) != released);
        }
    }

    pub(super) fn handle_commit(&self, chunk: Chunk, bytes: u64) {
        let head = chunk.end;
        self.tail().push(Arc::new(chunk));
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.committed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.head.send_replace(head);
    }

    /// Notes what the storage thread sees.
    pub(super) fn handle_disk(&self, disk: Disk) {
        *lock(&self.disk) = disk;
    }

    pub(super) fn handle_full(&self) {
        self.full.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a damaged chunk with so many numbers.
    pub(super) fn handle_damaged(&self, numbers: u64) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        self.damaged_numbers.fetch_add(numbers, Ordering::Relaxed);
    }

    /// Forgets what is in memory of a log that was opened again: it may have lost something, and go
    /// on with a higher number.
    pub(super) fn handle_reopened(&self, log: &impl Log) {
        *self.tail() = Tail::default();
        *lock(&self.saved) = None;
        *lock(&self.skips) = log.skips();
        self.handle_disk(Disk::of(log));
        self.head.send_if_modified(|head| std::mem::replace(head, log.next()) != *head);
    }

    /// Looks at what was written to the device, if it is time for that.
    pub(super) fn sample_wear(&self, now: Instant) {
        lock(&self.wear).sample(now, written);
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, Tail> {
        lock(&self.tail)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The newest chunks, without a gap.
#[derive(Default)]
pub(super) struct Tail {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, chunk: Arc<Chunk>) {
        self.bytes += chunk.footprint();
        self.chunks.push_back(chunk);
        while self.bytes > TAIL_BYTES
            && self.chunks.len() > 1
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.bytes -= oldest.footprint();
        }
    }

    /// Whether the chunks from `from` on are here.
    pub(super) fn reaches(&self, from: u64) -> bool {
        self.chunks.front().is_some_and(|oldest| oldest.base <= from)
    }

    /// The chunks from `from` on, or `None` where they have to be read from the disk.
    pub(super) fn from(&self, from: u64) -> Option<Vec<Arc<Chunk>>> {
        if !self.reaches(from) {
            return None;
        }
        let at = self.chunks.partition_point(|chunk| chunk.end <= from);
        Some(self.chunks.range(at..).cloned().collect())
    }
}
