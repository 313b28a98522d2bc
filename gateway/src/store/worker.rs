//! The storage thread: the only one that touches the disk.
//!
//! Whatever it does there, a failure or damage that shows is dealt with in one way: the log is
//! [opened again](Worker::reopen), which repairs it where it has to be, and what failed is done once
//! more.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proto::Timestamp;
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use super::cursor::DropReason;
use super::job::{Acknowledge, Append, Job, NotStored};
use super::lag::{Lag, has_passed};
use super::log::Log;
use super::quarantine::{Copy, Quarantine};
use super::shared::{Disk, Shared, Snapshot};
use super::{Chunk, Damage, Policy, StoreError, WhenFull};
use crate::causes::chain;
use crate::clock;

/// Most bytes of chunks that one read brings into memory.
pub(super) const READ_BYTES: usize = 64 * 1024;
/// How often a failed file is opened again before the gateway gives up.
const REOPEN_ATTEMPTS: u32 = 5;
/// The pause before the second attempt; it doubles.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// How long the cursors wait for a commit that saves them, or for a broker that needs it, before
/// they are saved on their own: each of these saves is a sync, and wears out flash.
const SAVE_PAUSE: Duration = Duration::from_secs(5);
/// The share of the quota that is dropped at a time when the oldest go, so that not every commit has
/// to drop.
const DROP_SHARE: u64 = 64;

/// The share of the quota over which a batch may not find room however much is released, because
/// the newest chunk stays.
const BATCH_SHARE: u64 = 3;

/// The state of the storage thread.
pub(super) struct Worker<L> {
    log: L,
    shared: Arc<Shared>,
    policy: Policy,
    quarantine: Quarantine,
    lag: Lag,
    /// When the cursors were saved last, or should have been.
    saved: Option<Timestamp>,
    blocked: Option<Blocked>,
}

/// A batch that waits for room; there is at most one.
struct Blocked {
    append: Append,
    /// The first number on disk at that time.
    first: u64,
}

impl<L: Log> Worker<L> {
    pub(super) fn new(log: L, shared: Arc<Shared>, policy: Policy, quarantine: Quarantine) -> Self {
        let lag = Lag::default();
        Self { log, shared, policy, quarantine, lag, saved: None, blocked: None }
    }

    /// Works until every sender is gone, then saves the cursors.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) -> Result<(), StoreError> {
        // Where the lanes start, and whose cursors are kept, may be news to the disk.
        self.save();
        self.note_disk();
        while let Some(job) = jobs.blocking_recv() {
            if matches!(job, Job::Halt) {
                return Ok(());
            }
            self.handle(job)?;
            if !self.shared.is_stepped() && self.may_have_room() {
                self.retry()?;
            }
        }
        if let Some(blocked) = self.blocked.take() {
            self.refuse(blocked.append);
        }
        self.save();
        self.shared.times.save(self.shared.released());
        Ok(())
    }

    fn handle(&mut self, job: Job) -> Result<(), StoreError> {
        // A broker waits for it, and no append is on its way that would save them too.
        if self.shared.is_save_requested() && !self.shared.is_append_waiting() {
            self.save();
        }
        match job {
            Job::Append(append) => {
                self.shared.handle_append();
                self.append(append)?;
            }
            Job::Read { from, reply } => {
                let _ = reply.send(self.read(from));
            }
            Job::FirstSince { since, most, reply } => {
                let _ = reply.send(self.insist(|log| log.first_since(since, most)));
            }
            Job::Settle { reply } => {
                if self.may_have_room() {
                    self.retry()?;
                }
                let _ = reply.send(Ok(()));
            }
            Job::Wake | Job::Halt => {}
            Job::Tick { now } => self.tick(now)?,
            Job::Forget { broker, reply } => {
                let _ = reply.send(self.forget(&broker));
            }
            Job::Bury { letters, reply } => {
                let done = self.insist(|log| log.bury(&letters));
                self.note_disk();
                let _ = reply.send(done);
            }
            Job::Dead { after, limit, reply } => {
                let _ = reply.send(self.insist(|log| log.dead(after, limit)));
            }
            Job::Unbury { ids, reply } => {
                let done = self.insist(|log| log.unbury(&ids));
                self.note_disk();
                let _ = reply.send(done);
            }
        }
        Ok(())
    }

    fn append(&mut self, append: Append) -> Result<(), StoreError> {
        let mut outcome = self.commit(&append);
        let may_fit = append.batch.data().len() as u64 <= self.policy.quota / BATCH_SHARE;
        if self.policy.when_full == WhenFull::DropOldest && may_fit {
            while is_full(&outcome) && self.drop_oldest(&append) {
                outcome = self.commit(&append);
            }
        }
        match outcome {
            Ok((base, saved)) => {
                self.handle_committed(append, base, saved);
                Ok(())
            }
            Err(full) if full.is_full() => {
                debug!(error = %full, records = append.batch.len(), "no room");
                let blocks = self.policy.when_full == WhenFull::Block && may_fit;
                if blocks && !self.shared.is_stopping() && self.blocked.is_none() {
                    self.shared.set_blocked(true);
                    self.blocked = Some(Blocked { append, first: self.log.first() });
                } else {
                    self.refuse(append);
                }
                Ok(())
            }
            Err(failure) => {
                error!(error = %chain(&failure), "the store cannot be used any more");
                settle(append.receipt, Err(NotStored::Failed));
                Err(failure)
            }
        }
    }

    /// Commits a batch with the cursors; returns the number of its first record, and what was saved.
    fn commit(&mut self, append: &Append) -> Result<(u64, Snapshot), StoreError> {
        let Append { batch, now, .. } = append;
        let saved = self.shared.snapshot();
        let append = |log: &mut L| {
            let released = saved.released(log.next());
            log.append(batch, *now, &saved.cursors, released)
        };
        let base = match append(&mut self.log) {
            Err(failure) if failure.is_failure() => {
                let base = self.log.next();
                self.reopen(failure)?;
                // The commit may have reached the disk although it was reported as failed.
                match is_stored(&self.log, base, batch.len()) {
                    true => base,
                    false => append(&mut self.log)?,
                }
            }
            outcome => outcome?,
        };
        Ok((base, saved))
    }

    fn handle_committed(&mut self, append: Append, base: u64, saved: Snapshot) {
        let Append { batch, receipt, now } = append;
        let bytes = batch.data().len() as u64;
        self.shared.handle_commit(batch.into_chunk(base), bytes);
        self.shared.handle_saved(saved);
        self.saved = Some(now);
        settle(receipt, Ok(()));
        self.enforce(now);
        self.note_disk();
    }

    fn refuse(&mut self, append: Append) {
        self.shared.handle_full();
        settle(append.receipt, Err(NotStored::Full));
    }

    /// Whether a batch waits that would not wait now, perhaps.
    fn may_have_room(&self) -> bool {
        let Some(Blocked { first, .. }) = self.blocked else { return false };
        self.shared.is_stopping()
            || self.log.first() > first
            || self.log.can_trim(self.shared.released())
    }

    /// Tries what waits for room again.
    fn retry(&mut self) -> Result<(), StoreError> {
        let Some(blocked) = self.blocked.take() else { return Ok(()) };
        self.shared.set_blocked(false);
        self.append(blocked.append)
    }

    /// Makes room for a batch at the cost of the brokers that lag; whether there was something to
    /// drop.
    fn drop_oldest(&mut self, append: &Append) -> bool {
        // Dropping gains nothing on a disk that cannot even be written.
        if self.save_now(append.now).is_err() {
            return false;
        }
        let bytes = (self.policy.quota / DROP_SHARE).max(append.batch.data().len() as u64);
        let Ok(floor) = self.insist(|log| log.oldest_end(bytes)) else { return false };
        if floor <= self.shared.released() {
            return false;
        }
        let skips = self.shared.skips();
        for lane in &self.shared.lanes {
            self.lag.drop_below(lane, floor, DropReason::Full, &skips, append.now);
        }
        self.try_save().is_ok()
    }

    fn tick(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if let Err(error) = self.insist(L::look) {
            warn!(error = %chain(&error), "cannot tell how much room the disk has");
        }
        self.enforce(now);
        self.shared.times.save(self.shared.released());
        if has_passed(self.saved, SAVE_PAUSE, now) && !self.shared.is_append_waiting() {
            self.saved = Some(now);
            self.save();
        }
        self.note_disk();
        self.retry()
    }

    fn enforce(&mut self, now: Timestamp) {
        let mut lag = std::mem::take(&mut self.lag);
        let shared = Arc::clone(&self.shared);
        if let Err(error) = self.insist(|log| lag.enforce(&shared, log, now)) {
            warn!(error = %chain(&error), "cannot tell how old the readings are");
        }
        self.lag = lag;
    }

    fn forget(&mut self, broker: &str) -> Result<bool, StoreError> {
        let known = self.shared.forget(broker);
        if known {
            self.try_save()?;
        }
        Ok(known)
    }

    fn note_disk(&self) {
        self.shared.handle_disk(Disk::of(&self.log));
    }

    fn read(&mut self, from: u64) -> Result<Vec<Arc<Chunk>>, StoreError> {
        let chunks = self.insist(|log| log.read(from, READ_BYTES))?;
        let released = self.shared.released();
        for chunk in self.quarantine.news(&chunks, released) {
            let numbers = chunk.end - chunk.base.max(released);
            self.shared.handle_damaged(numbers);
            self.tell_damage(chunk, numbers);
        }
        Ok(chunks.into_iter().map(Arc::new).collect())
    }

    /// Says what a damaged chunk means, and keeps its bytes.
    fn tell_damage(&self, chunk: &Chunk, numbers: u64) {
        let Chunk { base, end, damage, .. } = chunk;
        let damage = damage.unwrap_or(Damage::Missing);
        let copy = match (damage, self.log.raw(*base)) {
            (Damage::Checksum | Damage::Records, Ok(Some((row, data)))) => {
                match self.quarantine.keep(row, &data) {
                    Ok(Copy::Made(path) | Copy::There(path)) => path.display().to_string(),
                    Ok(Copy::NoRoom) => "none, the folder of copies is full".to_owned(),
                    Err(error) => format!("none: {error}"),
                }
            }
            _ => "none".to_owned(),
        };
        error!(
            first = base, last = end - 1, %damage, %copy,
            "a part of the store is damaged: up to {numbers} readings that were acknowledged are \
             lost to the brokers that do not have them yet; the rest goes on"
        );
    }

    fn save(&mut self) {
        if let Err(failure) = self.try_save() {
            // A full disk, perhaps. The brokers go on all the same, because only what they take
            // away makes room; until a save works, a crash repeats more than a window.
            warn!(error = %chain(&failure), "cannot save how far the brokers are");
            self.shared.handle_unsaved(&self.shared.snapshot());
        }
    }

    /// Saves the cursors, unless they are saved.
    fn try_save(&mut self) -> Result<(), StoreError> {
        match self.shared.is_saved(&self.shared.snapshot()) {
            true => Ok(()),
            false => self.save_now(clock::wall()),
        }
    }

    fn save_now(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let snapshot = self.shared.snapshot();
        self.insist(|log| {
            let released = snapshot.released(log.next());
            log.save(&snapshot.cursors, released, now)
        })?;
        self.shared.handle_saved(snapshot);
        Ok(())
    }

    /// Does what may be done twice, once more if the log had to be opened again.
    fn insist<T>(
        &mut self,
        mut act: impl FnMut(&mut L) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match act(&mut self.log) {
            Err(failure) if failure.is_failure() => {
                self.reopen(failure)?;
                act(&mut self.log)
            }
            done => done,
        }
    }

    /// Opens the log again, with growing pauses.
    fn reopen(&mut self, failure: StoreError) -> Result<(), StoreError> {
        let mut failure = failure;
        let mut pause = REOPEN_PAUSE;
        for _ in 0..REOPEN_ATTEMPTS {
            error!(error = %chain(&failure), "the store failed; it is opened again");
            thread::sleep(pause);
            pause *= 2;
            match self.log.reopen(&failure) {
                Ok(()) => {
                    self.shared.handle_reopened(&self.log);
                    return Ok(());
                }
                Err(again) => failure = again,
            }
        }
        Err(failure)
    }
}

/// Whether so many records are in a chunk of their own, from a number on.
fn is_stored(log: &impl Log, base: u64, records: u64) -> bool {
    let chunks = log.read(base, 1).unwrap_or_default();
    chunks.first().is_some_and(|c| c.base == base && c.records.len() as u64 == records)
}

fn is_full<T>(outcome: &Result<T, StoreError>) -> bool {
    outcome.as_ref().is_err_and(StoreError::is_full)
}

fn settle(receipt: Acknowledge, outcome: Result<(), NotStored>) {
    // Whoever waited may be gone; the batch is stored all the same.
    let _ = receipt.send(outcome);
}

#[cfg(test)]
mod tests;
