//! The storage thread: the only one that touches the disk.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proto::Timestamp;
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use super::job::{Acknowledge, Job, NotStored};
use super::log::Log;
use super::quarantine::{Copy, Quarantine};
use super::shared::Shared;
use super::{Batch, Chunk, Damage, StoreError};
use crate::causes::chain;
use crate::clock;

/// Most bytes of chunks that one read brings into memory.
pub(super) const READ_BYTES: usize = 256 * 1024;
/// How often a failed file is opened again before the gateway gives up.
const REOPEN_ATTEMPTS: u32 = 5;
/// The pause before the second attempt; it doubles.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// The state of the storage thread.
pub(super) struct Worker<L> {
    pub(super) log: L,
    pub(super) shared: Arc<Shared>,
    pub(super) quarantine: Quarantine,
}

impl<L: Log> Worker<L> {
    /// Works until every sender is gone, then saves the cursors.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) -> Result<(), StoreError> {
        while let Some(job) = jobs.blocking_recv() {
            match job {
                Job::Append { batch, receipts, now } => {
                    self.shared.handle_append();
                    self.append(batch, receipts, now)?;
                }
                Job::Read { from, reply } => {
                    let _ = reply.send(self.read(from));
                }
                Job::FirstSince { since, most, reply } => {
                    let _ = reply.send(self.repaired(|log| log.first_since(since, most)));
                }
                Job::Save if self.shared.is_append_waiting() => {}
                Job::Save => self.save(),
            }
        }
        self.save();
        Ok(())
    }

    fn append(
        &mut self,
        batch: Batch,
        receipts: Vec<Acknowledge>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let cursors = self.shared.cursors();
        let released = self.shared.released();
        let mut outcome = self.log.append(&batch, now, &cursors, released);
        if let Err(failure @ (StoreError::Sqlite { .. } | StoreError::Damaged { .. })) = outcome {
            let base = self.log.next();
            outcome = match self.reopen(failure) {
                // The commit may have reached the disk although it was reported as failed.
                Ok(()) if self.is_stored(base, batch.len()) => Ok(base),
                Ok(()) => self.log.append(&batch, now, &cursors, released),
                Err(failure) => Err(failure),
            };
        }
        match outcome {
            Ok(base) => {
                let bytes = batch.data().len() as u64;
                self.shared.handle_commit(batch.into_chunk(base), bytes, self.log.used_bytes());
                self.shared.handle_saved(&cursors);
                settle(receipts, Ok(()));
                Ok(())
            }
            Err(full @ StoreError::Full { .. }) => {
                debug!(error = %full, records = batch.len(), "refused");
                self.shared.handle_full();
                settle(receipts, Err(NotStored::Full));
                Ok(())
            }
            Err(failure) => {
                error!(error = %failure, "the store cannot be used any more");
                settle(receipts, Err(NotStored::Failed));
                Err(failure)
            }
        }
    }

    fn read(&mut self, from: u64) -> Result<Vec<Arc<Chunk>>, StoreError> {
        let chunks = self.repaired(|log| log.read(from, READ_BYTES))?;
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

    /// Reads; where that shows that the file is damaged, once more after it was repaired.
    fn repaired<T>(&mut self, read: impl Fn(&L) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match read(&self.log) {
            Err(damage @ StoreError::Damaged { .. }) => {
                self.reopen(damage)?;
                read(&self.log)
            }
            read => read,
        }
    }

    /// Whether so many records are in a chunk of their own, from a number on.
    fn is_stored(&self, base: u64, records: u64) -> bool {
        let chunks = self.log.read(base, 1).unwrap_or_default();
        chunks.first().is_some_and(|c| c.base == base && c.records.len() as u64 == records)
    }

    fn save(&mut self) {
        let cursors = self.shared.cursors();
        if self.shared.is_saved(&cursors) {
            return;
        }
        let mut saved = self.log.save(&cursors, self.shared.released(), clock::wall());
        if let Err(damage @ StoreError::Damaged { .. }) = saved {
            saved = self
                .reopen(damage)
                .and_then(|()| self.log.save(&cursors, self.shared.released(), clock::wall()));
        }
        if let Err(failure) = saved {
            // A full disk, perhaps. The brokers go on all the same, because only what they take
            // away makes room; until a save works, a crash repeats more than a window.
            warn!(error = %failure, "cannot save how far the brokers are");
        }
        self.shared.handle_saved(&cursors);
    }

    /// Opens the file again, with growing pauses.
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

fn settle(receipts: Vec<Acknowledge>, outcome: Result<(), NotStored>) {
    for receipt in receipts {
        // The source may have given up on the sender; the reading is stored all the same.
        let _ = receipt.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::sync::oneshot;

    use super::super::log::Cursors;
    use super::super::tests::record;
    use super::*;

    /// What a disk does with an append.
    #[derive(Clone, Copy, Debug)]
    enum Fate {
        Works,
        FailsBefore,
        FailsAfter,
        Full,
    }

    /// A log in memory on a disk that fails on demand.
    #[derive(Default)]
    struct FailingLog {
        fates: VecDeque<Fate>,
        save_fails: bool,
        on_disk: u64,
        known: u64,
        gone: bool,
        reopened: u32,
    }

    fn failure() -> StoreError {
        StoreError::Sqlite { path: "test".into(), source: rusqlite::Error::InvalidQuery }
    }

    impl Log for FailingLog {
        fn next(&self) -> u64 {
            self.known + 1
        }
        fn append(
            &mut self,
            batch: &Batch,
            _: Timestamp,
            _: &Cursors,
            _: u64,
        ) -> Result<u64, StoreError> {
            let base = self.next();
            let fate = self.fates.pop_front().unwrap_or(Fate::Works);
            if matches!(fate, Fate::Works | Fate::FailsAfter) {
                self.on_disk += batch.len();
            }
            match fate {
                Fate::Works => {
                    self.known = self.on_disk;
                    Ok(base)
                }
                Fate::FailsBefore | Fate::FailsAfter => Err(failure()),
                Fate::Full => Err(StoreError::Full { used: 1, quota: 1 }),
            }
        }
        fn save(&mut self, _: &Cursors, _: u64, _: Timestamp) -> Result<(), StoreError> {
            if self.save_fails { Err(failure()) } else { Ok(()) }
        }
        fn read(&self, from: u64, _: usize) -> Result<Vec<Chunk>, StoreError> {
            let records = self.on_disk.saturating_sub(from - 1);
            let mut batch = Batch::default();
            (0..records).for_each(|n| batch.push(record("d", n)));
            Ok(Vec::from([batch.into_chunk(from)]))
        }
        fn raw(&self, _: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
            Ok(None)
        }
        fn first_since(&self, _: Timestamp, _: u64) -> Result<u64, StoreError> {
            Ok(1)
        }
        fn used_bytes(&self) -> u64 {
            0
        }
        fn reopen(&mut self, _: &StoreError) -> Result<(), StoreError> {
            self.reopened += 1;
            if self.gone {
                return Err(failure());
            }
            self.known = self.on_disk;
            Ok(())
        }
    }

    /// The outcome that the device sees, the worker's, and the log afterwards.
    fn append(
        log: FailingLog,
    ) -> (Result<(), NotStored>, Result<(), StoreError>, Worker<FailingLog>) {
        let shared = Arc::new(Shared::new(&log, &Cursors::new(), &[]));
        let mut worker = worker(log, shared);
        let mut batch = Batch::default();
        batch.push(record("d", 1));
        batch.push(record("d", 2));
        let (receipt, mut outcome) = oneshot::channel();
        let ended = worker.append(batch, vec![receipt], Timestamp::from_nanos(0));
        (outcome.try_recv().expect("a receipt is settled"), ended, worker)
    }

    fn worker(log: FailingLog, shared: Arc<Shared>) -> Worker<FailingLog> {
        // Nothing is damaged, so that nothing is written there.
        Worker { log, shared, quarantine: Quarantine::new(std::path::Path::new("")) }
    }

    fn failing(fates: impl IntoIterator<Item = Fate>) -> FailingLog {
        FailingLog { fates: fates.into_iter().collect(), ..FailingLog::default() }
    }

    #[test]
    fn a_batch_that_did_not_reach_the_disk_is_appended_again() {
        let (outcome, ended, worker) = append(failing([Fate::FailsBefore]));
        assert!(outcome.is_ok() && ended.is_ok());
        assert_eq!((worker.log.on_disk, worker.log.reopened), (2, 1));
    }

    #[test]
    fn a_batch_that_reached_the_disk_after_all_is_not_appended_twice() {
        let (outcome, ended, worker) = append(failing([Fate::FailsAfter]));
        assert!(outcome.is_ok() && ended.is_ok());
        assert_eq!((worker.log.on_disk, worker.log.reopened), (2, 1));
    }

    #[test]
    fn a_full_disk_refuses_and_goes_on() {
        let (outcome, ended, worker) = append(failing([Fate::Full]));
        assert_eq!(outcome, Err(NotStored::Full));
        assert!(ended.is_ok() && worker.log.reopened == 0);
    }

    #[test]
    fn a_disk_that_is_gone_acknowledges_nothing_and_ends_the_gateway() {
        let log = FailingLog { gone: true, ..failing([Fate::FailsAfter]) };
        let (outcome, ended, worker) = append(log);
        assert_eq!(outcome, Err(NotStored::Failed));
        assert!(ended.is_err());
        assert_eq!(worker.log.reopened, REOPEN_ATTEMPTS);
    }

    #[test]
    fn a_save_that_fails_does_not_stop_the_brokers() {
        let log = FailingLog { save_fails: true, on_disk: 9, known: 9, ..FailingLog::default() };
        let shared = Arc::new(Shared::new(&log, &Cursors::from([("b".to_owned(), 1)]), &["b"]));
        shared.brokers[0].next.store(5, std::sync::atomic::Ordering::Release);
        let mut worker = worker(log, shared);
        worker.save();
        assert_eq!(*worker.shared.brokers[0].saved.borrow(), 5);
    }
}
