//! What the rest of the gateway holds of the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use proto::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use super::cursor::Cursors;
use super::job::{Acknowledge, Append, Job, Reply};
use super::lane::Lane;
use super::log::Log;
use super::quarantine::Quarantine;
use super::shared::{LaneState, Shared, StoreStatus};
use super::sqlite::SqliteLog;
use super::times::{ClockStatus, Times};
use super::worker::Worker;
use super::{Batch, Chunk, DeadLetter, DeadPage, Mark, Policy, Progress, Record, StoreError};
use crate::clock;

/// Jobs that wait for the storage thread; one batch syncs while the next is filled.
const JOBS: usize = 2;

/// A handle on the store, for any task.
#[derive(Clone)]
pub(crate) struct Spool {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

/// Chunks that are being read.
pub(crate) struct ReadAhead {
    from: u64,
    answer: oneshot::Receiver<Result<Vec<Arc<Chunk>>, StoreError>>,
}

/// How far one lane of a broker is.
#[derive(Clone)]
pub(crate) struct BrokerCursor {
    index: usize,
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    saved: watch::Receiver<u64>,
}

impl Spool {
    /// Opens the store and starts its thread, which ends when every handle is dropped.
    ///
    /// Where each lane starts is told in [`lane`](super::lane).
    pub(crate) fn open(
        directory: PathBuf,
        policy: Policy,
        lanes: &[Lane],
    ) -> Result<(Self, JoinHandle<Result<(), StoreError>>), StoreError> {
        let (mut log, known) = SqliteLog::open(&directory, policy.quota, policy.min_free)?;
        log.set_keep(policy.keep);
        let mut shared = Shared::new(&log, known, lanes);
        shared.times = Times::open(&directory, newest(&log).as_ref());
        let shared = Arc::new(shared);
        for (broker, next) in shared.orphans() {
            warn!(
                broker,
                next,
                "this broker is not configured any more; how far it was is kept, but its readings \
                 are not: configure it again, or delete what is kept with \
                 `gateway store forget {broker}`"
            );
        }
        let (jobs, receiver) = mpsc::channel(JOBS);
        let quarantine = Quarantine::new(&directory);
        let worker = Worker::new(log, Arc::clone(&shared), policy, quarantine);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.run(receiver))
            .map_err(|source| StoreError::Directory { path: directory, source })?;
        Ok((Self { jobs, shared }, thread))
    }

    /// Hands a batch over to be committed; the receipt resolves when it is.
    pub(crate) async fn append(&self, batch: Batch, receipt: Acknowledge, now: Timestamp) {
        self.shared.announce_append();
        // A storage thread that ended drops the receipt, which says so to whoever waits.
        let _ = self.jobs.send(Job::Append(Append { batch, receipt, now })).await;
    }

    /// Some chunks from `from` on, which are empty only where nothing is stored there yet.
    pub(crate) async fn read(&self, from: u64) -> Result<Vec<Arc<Chunk>>, StoreError> {
        if let Some(chunks) = self.shared.tail().from(from) {
            return Ok(chunks);
        }
        self.ask(|reply| Job::Read { from, reply }).await
    }

    /// Begins to read from `from` on, where the disk is needed for that and its thread has room for
    /// the job.
    pub(crate) fn read_ahead(&self, from: u64) -> Option<ReadAhead> {
        let is_there = from >= *self.shared.head.borrow() || self.shared.tail().reaches(from);
        if is_there || self.shared.is_stepped() {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(Job::Read { from, reply }).ok()?;
        Some(ReadAhead { from, answer })
    }

    /// The number of the first record that was committed since then, or of one of the newest
    /// `most`, whichever is later.
    pub(crate) async fn first_since(&self, since: Timestamp, most: u64) -> Result<u64, StoreError> {
        self.ask(|reply| Job::FirstSince { since, most, reply }).await
    }

    /// Deletes what is kept of a broker that is not configured; whether there was anything.
    pub(crate) async fn forget(&self, broker: &str) -> Result<bool, StoreError> {
        let broker = broker.to_owned();
        self.ask(|reply| Job::Forget { broker, reply }).await
    }

    /// From now on the storage thread does nothing that nobody waits for: what it does does not depend on
    /// how fast it is.
    pub(crate) fn set_stepped(&self) {
        self.shared.set_stepped();
    }

    /// Whether the cursors are to be saved.
    pub(crate) fn is_save_requested(&self) -> bool {
        self.shared.is_save_requested()
    }

    /// Waits until the storage thread has done everything that it was asked for.
    pub(crate) async fn settle(&self) -> Result<(), StoreError> {
        self.ask(|reply| Job::Settle { reply }).await
    }

    /// Ends the storage thread as a crash would: what is not on disk is lost.
    pub(crate) async fn halt(&self) {
        // One that has ended has nothing to lose any more.
        let _ = self.jobs.send(Job::Halt).await;
    }

    /// Bytes in use on disk.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.shared.used_bytes()
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| StoreError::Ended)?;
        answer.await.map_err(|_| StoreError::Ended)?
    }

    /// Has done what is due by now; to be called about once a second.
    pub(crate) fn tick(&self) {
        self.shared.sample_wear(clock::now());
        // A thread that is too busy for it has another chance in a second.
        let _ = self.jobs.try_send(Job::Tick { now: clock::wall() });
    }

    /// From now on, what meets a full store is refused at once, also what waits already.
    pub(crate) fn stop_waiting(&self) {
        self.shared.stop_waiting();
        request_save(&self.jobs, &self.shared);
    }

    /// One past the number of the newest committed record, and its changes.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.shared.head.subscribe()
    }

    /// The cursor of a lane that was named at the opening.
    pub(crate) fn cursor(&self, key: &str) -> Option<BrokerCursor> {
        let index = self.shared.lanes.iter().position(|lane| lane.key == key)?;
        let saved = self.shared.lanes.get(index)?.saved.subscribe();
        let shared = Arc::clone(&self.shared);
        Some(BrokerCursor { index, jobs: self.jobs.clone(), shared, saved })
    }

    /// How far each lane of each broker is, also of those that are not configured.
    pub(crate) fn cursors(&self) -> Cursors {
        self.shared.cursors()
    }

    /// The lowest number that any lane of a broker has not acknowledged.
    pub(crate) fn oldest_pending(&self, broker: &str) -> Option<u64> {
        self.shared.oldest_pending(broker)
    }

    /// When its records happened.
    pub(crate) fn times(&self) -> &Times {
        &self.shared.times
    }

    /// Tells whether the machine's clock is synchronised; to be called before the first batch, and then
    /// about once a second.
    pub(crate) fn observe_clock(&self, is_synchronised: bool) {
        let next = *self.shared.head.borrow();
        self.shared.times.observe(clock::all(), is_synchronised, next);
    }

    /// Where the machine's clock stands.
    pub(crate) fn clock(&self) -> ClockStatus {
        self.shared.times.status(self.shared.released(), *self.shared.head.borrow())
    }

    /// Where the store stands.
    pub(crate) fn status(&self) -> StoreStatus {
        self.shared.status()
    }
}

/// Dead letters.
impl Spool {
    /// Writes dead letters: they are durable when this resolves. One that was written before, by
    /// broker, number and topic, is replaced.
    pub(crate) async fn bury(&self, letters: Vec<DeadLetter>) -> Result<(), StoreError> {
        self.ask(|reply| Job::Bury { letters, reply }).await
    }

    /// The first `limit` dead letters behind the one with the identifier `after`.
    pub(crate) async fn dead(&self, after: u64, limit: usize) -> Result<DeadPage, StoreError> {
        self.ask(|reply| Job::Dead { after, limit, reply }).await
    }

    /// Deletes dead letters.
    pub(crate) async fn unbury(&self, ids: Vec<u64>) -> Result<(), StoreError> {
        self.ask(|reply| Job::Unbury { ids, reply }).await
    }
}

impl ReadAhead {
    /// Where it begins.
    pub(crate) const fn from(&self) -> u64 {
        self.from
    }

    /// What was read.
    pub(crate) async fn chunks(self) -> Result<Vec<Arc<Chunk>>, StoreError> {
        self.answer.await.map_err(|_| StoreError::Ended)?
    }
}

impl BrokerCursor {
    /// The lowest number that is pending.
    pub(crate) fn next(&self) -> u64 {
        self.lane().map_or(0, |lane| lane.position().cursor.progress.lowest())
    }

    /// How many records are pending.
    pub(crate) fn pending(&self) -> u64 {
        let head = *self.shared.head.borrow();
        let skips = self.shared.skips();
        self.lane().map_or(0, |lane| skips.pending(&lane.position().cursor.progress, head))
    }

    /// Nothing below this is to be published any more: it was dropped. It only grows, and nobody
    /// is woken by that: look at it before each publish.
    pub(crate) fn floor(&self) -> u64 {
        self.lane().map_or(0, LaneState::floor)
    }

    fn change(&self, release: impl FnOnce(&mut Progress) -> u64) {
        if let Some(lane) = self.lane() {
            lane.release(release);
        }
        if self.shared.is_blocked() {
            self.request_save();
        }
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

    fn lane(&self) -> Option<&LaneState> {
        self.shared.lanes.get(self.index)
    }
}

/// For a broker with several lanes.
impl BrokerCursor {
    /// What is pending.
    pub(crate) fn progress(&self) -> Progress {
        self.lane().map_or(Progress::new(0), |lane| lane.position().cursor.progress.clone())
    }

    /// Releases the records of the open end below `n`.
    pub(crate) fn release_open(&self, n: u64) {
        self.change(|progress| progress.release_open(n));
    }

    /// What is done of a lane of windows beyond its progress.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.lane().and_then(|lane| lane.position().cursor.mark)
    }

    /// Releases the records of a lane of windows below `n`, and what is done beyond that, as so many
    /// publishes, which the counts of this lane are in.
    pub(crate) fn release_windows(&self, n: u64, mark: Mark, publishes: u64) {
        if let Some(lane) = self.lane() {
            lane.release_windows(n, mark, publishes);
        }
        self.change(|_| 0);
    }

    /// Releases the records below `n` in the gap that reaches up to `n` or holds it.
    pub(crate) fn release_gap(&self, n: u64) {
        self.change(|progress| progress.release_gap(n));
    }

    /// Leaves what is pending below `n` behind as a gap; `false` where there are too many gaps.
    pub(crate) fn skip_to(&self, n: u64) -> bool {
        self.lane().is_some_and(|lane| lane.position().cursor.progress.skip_to(n))
    }

    /// Records that were released since the start.
    pub(crate) fn released_count(&self) -> u64 {
        self.lane().map_or(0, |lane| lane.position().released)
    }

    /// What of [`released_count`](Self::released_count) is known to be on disk: a crash repeats the
    /// rest, wherever it lies.
    pub(crate) fn saved_count(&self) -> u64 {
        *self.saved.borrow()
    }
}

fn request_save(jobs: &mpsc::Sender<Job>, shared: &Shared) {
    if shared.claim_save() && !shared.is_stepped() {
        // A thread with jobs in front of it needs no other to look.
        let _ = jobs.try_send(Job::Wake);
    }
}

/// The newest record, where it can be read.
fn newest(log: &impl Log) -> Option<Record> {
    let n = log.next().checked_sub(1)?;
    log.read(n, 1).ok()?.pop()?.records.pop()
}
