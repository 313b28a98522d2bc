//! The storage thread on a disk that does what the test says.

use std::cell::Cell;
use std::collections::VecDeque;
use std::path::Path;

use tokio::sync::oneshot;

use super::*;
use crate::store::cursor::{Cursor, Cursors};
use crate::store::dead::DeadCounts;
use crate::store::job::Reply;
use crate::store::skips::Skips;
use crate::store::space::Room;
use crate::store::tests::record;
use crate::store::{Batch, DeadLetter, DeadPage, Lane, Limits, Progress, Record};
use crate::time_base::{Clocks, Moment};

/// What a disk does with an append.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Works,
    FailsBefore,
    FailsAfter,
    /// The file is found damaged before anything is written.
    Damaged,
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
    /// What is done next, other than an append, finds damage.
    is_damaged: Cell<bool>,
    /// Numbers that a repair leaves out.
    jump: u64,
    skips: Skips,
    saved: Cursors,
    /// That of every record.
    moment: Option<Moment>,
}

impl FailingLog {
    fn look_at(&self) -> Result<(), StoreError> {
        if self.is_damaged.take() { Err(damage()) } else { Ok(()) }
    }
}

fn damage() -> StoreError {
    StoreError::Damaged { path: "test".into(), what: "it is a test", source: None }
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
            Fate::Damaged => Err(damage()),
            Fate::Full => Err(StoreError::Full { used: 1, quota: 1 }),
        }
    }
    fn save(&mut self, cursors: &Cursors, _: u64, _: Timestamp) -> Result<(), StoreError> {
        self.look_at()?;
        self.saves += 1;
        if self.save_fails {
            return Err(StoreError::NoRoom { free: 0 });
        }
        self.saved = cursors.clone();
        Ok(())
    }
    fn read(&self, from: u64, _: usize) -> Result<Vec<Chunk>, StoreError> {
        self.look_at()?;
        let mut batch = Batch::default();
        let moment = self.moment;
        (from..=self.on_disk).for_each(|n| batch.push(Record { moment, ..record("d", n) }));
        Ok(Vec::from([batch.into_chunk(from)]))
    }
    fn raw(&self, _: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        Ok(None)
    }
    fn first_since(&self, _: Timestamp, _: u64) -> Result<u64, StoreError> {
        self.look_at()?;
        Ok(1)
    }
    fn skips(&self) -> Skips {
        self.skips.clone()
    }
    fn can_trim(&self, released: u64) -> bool {
        released > 10
    }
    fn oldest_end(&self, _: u64) -> Result<u64, StoreError> {
        self.look_at()?;
        Ok(11)
    }
    fn end_of_older(&self, from: u64, since: Timestamp) -> Result<u64, StoreError> {
        self.look_at()?;
        // A second passes with each record.
        let older = u64::try_from(since.as_millis() / 1000).unwrap_or(0);
        Ok(older.clamp(from, self.next().max(from)))
    }
    fn look(&mut self) -> Result<(), StoreError> {
        self.look_at()
    }
    fn room(&self) -> Room {
        Room::default()
    }
    fn bury(&mut self, _: &[DeadLetter]) -> Result<(), StoreError> {
        self.look_at()?;
        match self.fates.pop_front() {
            Some(_) => Err(failure()),
            None => Ok(()),
        }
    }
    fn dead(&self, _: u64, _: usize) -> Result<DeadPage, StoreError> {
        self.look_at()?;
        Ok(DeadPage::default())
    }
    fn unbury(&mut self, _: &[u64]) -> Result<(), StoreError> {
        self.look_at()
    }
    fn dead_counts(&self) -> DeadCounts {
        DeadCounts::default()
    }
    fn used_bytes(&self) -> u64 {
        0
    }
    fn reopen(&mut self, cause: &StoreError) -> Result<(), StoreError> {
        self.reopened += 1;
        if self.gone {
            return Err(failure());
        }
        if matches!(cause, StoreError::Damaged { .. }) && self.jump > 0 {
            let next = self.on_disk + 1;
            self.skips = Skips::new(Some(next..next + self.jump));
            self.on_disk += self.jump;
        }
        self.known = self.on_disk;
        Ok(())
    }
}

/// A worker whose one broker `b` has acknowledged nothing.
fn worker(log: FailingLog, when_full: WhenFull, limits: Limits) -> Worker<FailingLog> {
    let known = Cursors::from([("b".to_owned(), Cursor::new(Progress::new(1)))]);
    let shared = Arc::new(Shared::new(&log, known, &[Lane::only("b", limits)]));
    // No chunk is damaged, so that nothing is written there.
    let quarantine = Quarantine::new(Path::new(""));
    Worker::new(
        log,
        shared,
        Policy { quota: 1 << 20, min_free: 0, when_full, keep: Duration::ZERO },
        quarantine,
    )
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
    (Append { batch, receipt, now: at(0) }, outcome)
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
    assert_eq!(*worker.shared.lanes[0].saved.borrow(), 4);
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
    assert!(worker.shared.claim_save());
    worker.handle(Job::Wake).unwrap();
    assert_eq!(worker.log.saves, 2, "a broker that asks for it does not wait");
}

#[test]
fn cursors_are_saved_once_before_what_else_is_to_be_done() {
    let log = FailingLog { on_disk: 30, known: 30, ..FailingLog::default() };
    let mut worker = worker(log, WhenFull::DropNewest, Limits::default());
    let read = || Job::Read { from: 1, reply: oneshot::channel().0 };
    worker.shared.lanes[0].release(|progress| progress.release_open(5));
    assert!(worker.shared.claim_save() && !worker.shared.claim_save());
    worker.shared.announce_append();
    worker.handle(read()).unwrap();
    assert_eq!(worker.log.saves, 0, "the append saves them");
    worker.shared.handle_append();
    worker.handle(read()).unwrap();
    assert_eq!(worker.log.saves, 1);
    worker.shared.lanes[0].release(|progress| progress.release_open(6));
    worker.handle(Job::Wake).unwrap();
    assert_eq!(worker.log.saves, 1, "that was done before");
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
fn a_clock_that_is_set_late_makes_nothing_old() {
    let limits = Limits { max_lag: None, max_age: Some(Duration::from_secs(20)) };
    let moment = Some(clock::moment());
    let log = FailingLog { on_disk: 30, known: 30, moment, ..FailingLog::default() };
    let mut worker = worker(log, WhenFull::DropNewest, limits);
    worker.shared.times.observe(Clocks { wall: at(0), ..clock::all() }, false, 1);
    worker.tick(at(500)).unwrap();
    worker.shared.times.observe(Clocks { wall: at(500), ..clock::all() }, true, 31);
    worker.tick(at(1000)).unwrap();
    assert_eq!((next(&worker), worker.shared.status().dropped["b"].age), (1, 0));
}

#[test]
fn dead_letters_are_written_again_after_the_file_was_opened_again() {
    let mut worker = worker(failing([Fate::Works]), WhenFull::DropNewest, Limits::default());
    let (reply, mut done) = oneshot::channel();
    worker.handle(Job::Bury { letters: Vec::new(), reply }).unwrap();
    assert!(done.try_recv().unwrap().is_ok());
    assert_eq!(worker.log.reopened, 1);
}

/// A worker on a log of thirty records whose next step finds damage, which leaves out a hundred
/// numbers when it is repaired.
fn damaged(when_full: WhenFull, fates: impl IntoIterator<Item = Fate>) -> Worker<FailingLog> {
    let log = FailingLog { on_disk: 30, known: 30, jump: 100, ..failing(fates) };
    log.is_damaged.set(true);
    worker(log, when_full, Limits { max_lag: Some(40), max_age: Some(Duration::from_secs(1000)) })
}

#[test]
fn damage_is_repaired_whatever_finds_it_and_drops_nothing() {
    fn answered<T>(job: impl FnOnce(Reply<T>) -> Job) -> impl FnOnce(&mut Worker<FailingLog>) {
        |worker| {
            let (reply, mut answer) = oneshot::channel();
            worker.handle(job(reply)).unwrap();
            assert!(answer.try_recv().unwrap().is_ok());
        }
    }
    type Act = Box<dyn FnOnce(&mut Worker<FailingLog>)>;
    let acts: [(&str, Act); 7] = [
        ("reading", Box::new(answered(|reply| Job::Read { from: 1, reply }))),
        (
            "looking back",
            Box::new(answered(|reply| Job::FirstSince { since: at(0), most: 9, reply })),
        ),
        (
            "saving",
            Box::new(|worker| {
                worker.shared.lanes[0].release(|progress| progress.release_open(5));
                worker.save();
            }),
        ),
        ("ticking", Box::new(|worker| worker.tick(at(0)).unwrap())),
        ("burying", Box::new(answered(|reply| Job::Bury { letters: Vec::new(), reply }))),
        ("listing the dead", Box::new(answered(|reply| Job::Dead { after: 0, limit: 9, reply }))),
        ("digging up", Box::new(answered(|reply| Job::Unbury { ids: Vec::new(), reply }))),
    ];
    for (what, act) in acts {
        let mut worker = damaged(WhenFull::DropNewest, []);
        act(&mut worker);
        assert_eq!((worker.log.reopened, worker.log.is_damaged.get()), (1, false), "{what}");
        let (append, mut outcome) = batch();
        worker.append(append).unwrap();
        assert_eq!(outcome.try_recv(), Ok(Ok(())), "{what}");
        let status = worker.shared.status();
        assert_eq!((status.next, status.dropped["b"].total()), (133, 0), "{what}");
        assert_eq!(*worker.shared.head.borrow(), 133, "{what}");
        worker.save();
        assert!(worker.shared.is_saved(&worker.shared.snapshot()), "{what}");
    }
}

#[test]
fn damage_while_appending_is_repaired_and_the_batch_gets_a_number_that_was_never_used() {
    let mut worker = damaged(WhenFull::DropNewest, [Fate::Damaged]);
    worker.log.is_damaged.set(false);
    let (append, mut outcome) = batch();
    worker.append(append).unwrap();
    assert_eq!(outcome.try_recv(), Ok(Ok(())));
    assert_eq!((worker.log.reopened, worker.log.on_disk), (1, 132));
    assert_eq!(worker.shared.tail().from(131).unwrap()[0].base, 131);
}

#[test]
fn damage_while_a_batch_is_blocked_is_repaired_and_the_batch_is_kept() {
    for fate in [Fate::Damaged, Fate::FailsBefore, Fate::FailsAfter] {
        let mut worker = damaged(WhenFull::Block, [Fate::Full, fate]);
        let (append, mut outcome) = batch();
        worker.append(append).unwrap();
        assert!(outcome.try_recv().is_err() && worker.shared.is_blocked(), "{fate:?}");
        worker.tick(at(0)).unwrap();
        assert_eq!(outcome.try_recv(), Ok(Ok(())), "{fate:?}");
        assert_eq!(worker.log.reopened, 2, "{fate:?}: the tick, then the batch");
        assert!(!worker.shared.is_blocked());
    }
}

#[test]
fn damage_while_the_oldest_are_dropped_is_repaired_and_they_are_dropped() {
    let mut worker = damaged(WhenFull::DropOldest, [Fate::Full]);
    let (append, mut outcome) = batch();
    worker.append(append).unwrap();
    assert_eq!(outcome.try_recv(), Ok(Ok(())));
    assert_eq!((worker.log.reopened, next(&worker)), (1, 11));
    assert_eq!(worker.shared.status().dropped["b"].full, 10);
}

#[test]
fn what_is_on_disk_after_a_repair_is_not_known_and_saved_again() {
    let mut worker = damaged(WhenFull::DropNewest, []);
    worker.log.is_damaged.set(false);
    worker.save();
    let saves = worker.log.saves;
    worker.save();
    assert_eq!(worker.log.saves, saves, "it is saved");
    worker.reopen(damage()).unwrap();
    worker.save();
    assert_eq!(worker.log.saves, saves + 1);
    assert_eq!(worker.log.saved["b"].progress, Progress::new(1));
}
