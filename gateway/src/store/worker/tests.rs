//! The storage thread on a disk that does what the test says.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::*;
use crate::store::cursor::{Cursor, Cursors};
use crate::store::dead::{DeadCounts, DeadLetter};
use crate::store::space::Room;
use crate::store::tests::record;
use crate::store::{Batch, Lane, Limits, Progress};

/// What a disk does with an append.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Works,
    FailsBefore,
    FailsAfter,
    Full,
}

/// A log in memory on a disk that fails on demand. Each chunk has ten records.
#[derive(Default)]
struct FailingLog {
    fates: VecDeque<Fate>,
    save_fails: bool,
    saves: u32,
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
    fn first(&self) -> u64 {
        1
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
        self.saves += 1;
        if self.save_fails { Err(failure()) } else { Ok(()) }
    }
    fn read(&self, _: u64, _: usize) -> Result<Vec<Chunk>, StoreError> {
        Ok(Vec::new())
    }
    fn first_since(&self, _: Timestamp, _: u64) -> Result<u64, StoreError> {
        Ok(1)
    }
    fn can_trim(&self, released: u64) -> bool {
        released > 10
    }
    fn oldest_end(&self, _: u64) -> Result<u64, StoreError> {
        Ok(11)
    }
    fn end_of_older(&self, from: u64, since: Timestamp) -> Result<u64, StoreError> {
        // A second passes with each record.
        let older = u64::try_from(since.as_millis() / 1000).unwrap_or(0);
        Ok(older.clamp(from, self.next().max(from)))
    }
    fn look(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    fn room(&self) -> Room {
        Room::default()
    }
    fn bury(&mut self, _: &[DeadLetter]) -> Result<(), StoreError> {
        match self.fates.pop_front() {
            Some(_) => Err(failure()),
            None => Ok(()),
        }
    }
    fn dead(&self, _: u64, _: usize) -> Result<Vec<DeadLetter>, StoreError> {
        Ok(Vec::new())
    }
    fn unbury(&mut self, _: &[u64]) -> Result<(), StoreError> {
        Ok(())
    }
    fn dead_counts(&self) -> DeadCounts {
        DeadCounts::default()
    }
    fn used_bytes(&self) -> u64 {
        0
    }
    fn reopen(&mut self) -> Result<(), StoreError> {
        self.reopened += 1;
        if self.gone {
            return Err(failure());
        }
        self.known = self.on_disk;
        Ok(())
    }
}

/// A worker whose one broker `b` has acknowledged nothing.
fn worker(log: FailingLog, when_full: WhenFull, limits: Limits) -> Worker<FailingLog> {
    let known = Cursors::from([("b".to_owned(), Cursor::new(Progress::new(1)))]);
    let on_disk = 1..log.next();
    let lanes = [Lane::only("b", limits)];
    let shared = Arc::new(Shared::new(known, &lanes, on_disk, Disk::default()));
    Worker::new(log, shared, Policy { quota: 1 << 20, min_free: 0, when_full })
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_nanos(second * 1_000_000_000)
}

type Receipt = oneshot::Receiver<Result<(), NotStored>>;

/// Two records.
fn batch() -> (Append, Receipt) {
    let mut batch = Batch::default();
    batch.push(record("d", 1));
    batch.push(record("d", 2));
    let (receipt, outcome) = oneshot::channel();
    (Append { batch, receipts: vec![receipt], now: at(0) }, outcome)
}

/// The outcome that the device sees, the worker's, and the log afterwards.
fn append(log: FailingLog) -> (Result<(), NotStored>, Result<(), StoreError>, Worker<FailingLog>) {
    let mut worker = worker(log, WhenFull::DropNewest, Limits::default());
    let (append, mut outcome) = batch();
    let ended = worker.append(append);
    (outcome.try_recv().expect("a receipt is settled"), ended, worker)
}

fn next(worker: &Worker<FailingLog>) -> u64 {
    worker.shared.lanes[0].position().cursor.progress.lowest()
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
fn a_save_that_fails_does_not_stop_the_brokers_and_is_tried_again() {
    let log = FailingLog { save_fails: true, on_disk: 9, known: 9, ..FailingLog::default() };
    let mut worker = worker(log, WhenFull::DropNewest, Limits::default());
    worker.shared.lanes[0].release(|progress| progress.release_open(5));
    worker.save();
    let saved = *worker.shared.lanes[0].saved.borrow();
    assert_eq!((saved.lowest, saved.released), (5, 4));
    worker.save();
    worker.log.save_fails = false;
    worker.save();
    assert_eq!(worker.log.saves, 3);
    worker.save();
    assert_eq!(worker.log.saves, 3, "it is saved");
}

#[test]
fn cursors_wait_a_while_for_a_commit_that_saves_them() {
    let log = FailingLog { on_disk: 30, known: 30, ..FailingLog::default() };
    let mut worker = worker(log, WhenFull::DropNewest, Limits::default());
    worker.append(batch().0).unwrap();
    worker.shared.lanes[0].release(|progress| progress.release_open(5));
    worker.tick(at(4)).unwrap();
    assert_eq!(worker.log.saves, 0);
    worker.tick(at(5)).unwrap();
    assert_eq!(worker.log.saves, 1);
    worker.shared.lanes[0].release(|progress| progress.release_open(6));
    worker.handle(Job::Save).unwrap();
    assert_eq!(worker.log.saves, 2, "a broker that asks for it does not wait");
}

#[test]
fn a_blocked_batch_waits_until_a_chunk_is_released() {
    let log = FailingLog { on_disk: 30, known: 30, ..failing([Fate::Full, Fate::Full]) };
    let mut worker = worker(log, WhenFull::Block, Limits::default());
    let (append, mut outcome) = batch();
    worker.append(append).unwrap();
    assert!(outcome.try_recv().is_err() && worker.shared.is_blocked());
    worker.shared.lanes[0].release(|progress| progress.release_open(10));
    assert!(!worker.may_have_room(), "a part of a chunk makes no room");
    worker.shared.lanes[0].release(|progress| progress.release_open(11));
    assert!(worker.may_have_room());
    worker.retry().unwrap();
    assert!(outcome.try_recv().is_err(), "still full");
    worker.tick(at(0)).unwrap();
    assert_eq!(outcome.try_recv(), Ok(Ok(())), "tried again with time");
    assert!(!worker.shared.is_blocked() && worker.log.on_disk == 32);
}

#[test]
fn a_blocked_batch_is_refused_when_the_gateway_stops() {
    let mut worker = worker(failing([Fate::Full; 3]), WhenFull::Block, Limits::default());
    let (first, mut outcome) = batch();
    worker.append(first).unwrap();
    let (second, mut other) = batch();
    worker.append(second).unwrap();
    assert_eq!(other.try_recv(), Ok(Err(NotStored::Full)), "only one waits");
    worker.shared.stop_waiting();
    assert!(worker.may_have_room());
    worker.retry().unwrap();
    assert_eq!(outcome.try_recv(), Ok(Err(NotStored::Full)));
    assert!(worker.blocked.is_none() && !worker.shared.is_blocked());
}

#[test]
fn a_batch_that_is_blocked_when_all_handles_are_gone_is_refused() {
    let worker = worker(failing([Fate::Full]), WhenFull::Block, Limits::default());
    let (append, outcome) = batch();
    let (jobs, receiver) = mpsc::channel(1);
    worker.shared.announce_append();
    jobs.blocking_send(Job::Append(append)).ok().unwrap();
    drop(jobs);
    worker.run(receiver).unwrap();
    assert_eq!(outcome.blocking_recv(), Ok(Err(NotStored::Full)));
}

#[test]
fn the_oldest_are_dropped_and_counted_when_the_store_is_full() {
    let log = FailingLog { on_disk: 30, known: 30, ..failing([Fate::Full]) };
    let mut worker = worker(log, WhenFull::DropOldest, Limits::default());
    let (append, mut outcome) = batch();
    worker.append(append).unwrap();
    assert_eq!(outcome.try_recv(), Ok(Ok(())));
    assert_eq!(next(&worker), 11);
    assert_eq!(worker.shared.status().dropped["b"].full, 10);
    assert_eq!(worker.shared.lanes[0].floor(), 11);
}

#[test]
fn a_disk_that_cannot_be_written_at_all_drops_nothing() {
    let log = FailingLog { on_disk: 30, known: 30, save_fails: true, ..failing([Fate::Full]) };
    let mut worker = worker(log, WhenFull::DropOldest, Limits::default());
    let (append, mut outcome) = batch();
    worker.append(append).unwrap();
    assert_eq!(outcome.try_recv(), Ok(Err(NotStored::Full)));
    assert_eq!(next(&worker), 1);
}

#[test]
fn a_batch_that_would_never_fit_is_refused_and_costs_nothing() {
    for when_full in [WhenFull::Block, WhenFull::DropOldest] {
        let log = FailingLog { on_disk: 30, known: 30, ..failing([Fate::Full]) };
        let mut worker = worker(log, when_full, Limits::default());
        worker.policy.quota = 100;
        let (append, mut outcome) = batch();
        worker.append(append).unwrap();
        assert_eq!(outcome.try_recv(), Ok(Err(NotStored::Full)));
        assert_eq!(next(&worker), 1);
    }
}

#[test]
fn where_dropping_makes_no_room_the_batch_is_refused() {
    let log = FailingLog { on_disk: 30, known: 30, ..failing([Fate::Full; 9]) };
    let mut worker = worker(log, WhenFull::DropOldest, Limits::default());
    let (append, mut outcome) = batch();
    worker.append(append).unwrap();
    assert_eq!(outcome.try_recv(), Ok(Err(NotStored::Full)));
    assert_eq!(worker.log.fates.len(), 7, "it does not go on for ever");
}

#[test]
fn a_broker_behind_its_lag_misses_the_oldest() {
    let limits = Limits { max_lag: Some(5), max_age: None };
    let log = FailingLog { on_disk: 30, known: 30, ..FailingLog::default() };
    let mut worker = worker(log, WhenFull::DropNewest, limits);
    worker.append(batch().0).unwrap();
    assert_eq!(next(&worker), 28);
    let status = worker.shared.status();
    assert_eq!((status.dropped["b"].lag, status.pending["b"]), (27, 5));
}

#[test]
fn a_reading_that_is_too_old_is_dropped_though_nothing_arrives() {
    let limits = Limits { max_lag: None, max_age: Some(Duration::from_secs(20)) };
    let log = FailingLog { on_disk: 30, known: 30, ..FailingLog::default() };
    let mut worker = worker(log, WhenFull::DropNewest, limits);
    worker.tick(at(24)).unwrap();
    assert_eq!(next(&worker), 4);
    worker.tick(at(35)).unwrap();
    assert_eq!((next(&worker), worker.shared.status().dropped["b"].age), (15, 14));
    worker.tick(at(500)).unwrap();
    assert_eq!(next(&worker), 31, "never beyond what there is");
}

#[test]
fn dead_letters_are_written_again_after_the_file_was_opened_again() {
    let mut worker = worker(failing([Fate::Works]), WhenFull::DropNewest, Limits::default());
    let (reply, mut done) = oneshot::channel();
    worker.handle(Job::Bury { letters: Vec::new(), reply }).unwrap();
    assert!(done.try_recv().unwrap().is_ok());
    assert_eq!(worker.log.reopened, 1);
}
