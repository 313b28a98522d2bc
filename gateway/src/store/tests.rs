//! Tests of the store as its users see it.

mod damage;
mod model;
mod older;
mod policies;
mod power_cut;
mod salvage;
mod torn;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use proto::{Reading, TimeQuality, Timestamp, Value};

use super::cursor::{Cursor, Cursors};
use super::log::Log as _;
use super::sqlite::SqliteLog;
use super::{Batch, Content, DeadLetter, Progress, Record, StoreError};

const QUOTA: u64 = 64 * 1024 * 1024;
/// Longer than [`super::KEEP`].
const LATER: i64 = 1_000_000_000_000;

/// The files of a store that is open.
const FILES: [&str; 3] = ["spool.db", "spool.db-wal", "numbers"];

/// A record of `device` whose value is `value`.
pub(crate) fn record(device: &str, value: u64) -> Record {
    record_of(device, Value::Number(value.into()))
}

/// The reading of a record that has one.
pub(crate) fn reading_of(record: &mut Record) -> &mut Reading {
    match &mut record.content {
        Content::Reading(reading) => reading,
        Content::Message(message) => panic!("{message:?} is no reading"),
    }
}

/// The same with any value.
fn record_of(device: &str, value: Value) -> Record {
    Record {
        n: 0,
        source: "test".into(),
        content: Content::Reading(Reading {
            device: device.to_owned(),
            name: "value".to_owned(),
            unit: None,
            value,
            time: now(),
            time_quality: TimeQuality::Gateway,
            epoch: None,
            sequence: None,
        }),
        received: now(),
        origin: None,
        moment: None,
    }
}

fn now() -> Timestamp {
    Timestamp::from_nanos(1_795_214_340_123_000_000)
}

fn later() -> Timestamp {
    now().checked_add_nanos(LATER).unwrap()
}

/// A folder that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gateway store {} {count} ?%#", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn open(&self) -> (SqliteLog, Cursors) {
        self.open_with(QUOTA)
    }

    fn open_with(&self, quota: u64) -> (SqliteLog, Cursors) {
        SqliteLog::open(&self.0, quota, 0).unwrap()
    }

    /// Another folder with what a kill would leave.
    fn copy(&self) -> Self {
        let copy = Self::new();
        for name in FILES {
            std::fs::copy(self.0.join(name), copy.0.join(name)).unwrap();
        }
        copy
    }

    /// The file itself, while no store has it open.
    pub(super) fn sqlite(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.0.join("spool.db")).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn batch(values: impl IntoIterator<Item = u64>) -> Batch {
    let mut batch = Batch::default();
    values.into_iter().for_each(|value| batch.push(record("d", value)));
    batch
}

pub(super) fn cursors(next: u64) -> Cursors {
    Cursors::from([("a".to_owned(), Cursor::new(Progress::new(next)))])
}

fn letter(n: u64, detail: &str) -> DeadLetter {
    DeadLetter {
        id: 0,
        broker: "a".to_owned(),
        time: now(),
        reason: "refused".to_owned(),
        detail: detail.to_owned(),
        topic: "t".to_owned(),
        record: Record { n, ..record("d", n) },
    }
}

fn append(log: &mut SqliteLog, values: impl IntoIterator<Item = u64>) -> u64 {
    log.append(&batch(values), now(), &cursors(1), 1).unwrap()
}

fn value(record: &Record) -> u64 {
    let value = record.reading().map(|reading| &reading.value);
    let Some(Value::Number(value)) = value else { panic!("{record:?}") };
    u64::try_from(value.as_integer().unwrap()).unwrap()
}

/// A folder with a store of so many commits of one record each, closed or as a kill leaves it.
pub(super) fn filled(commits: u64, is_closed: bool) -> Folder {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    for value in 1..=commits {
        append(&mut log, [value]);
    }
    if is_closed {
        drop(log);
        return folder;
    }
    folder.copy()
}

/// Number and value of every record from `from` on.
fn records(log: &SqliteLog, from: u64) -> Vec<(u64, u64)> {
    let chunks = log.read(from, usize::MAX).unwrap();
    let records = chunks.iter().flat_map(|chunk| &chunk.records);
    records.filter(|r| r.n >= from).map(|r| (r.n, value(r))).collect()
}

#[test]
fn records_are_numbered_from_one_and_read_back_after_reopening() {
    let folder = Folder::new();
    let (mut log, known) = folder.open();
    assert_eq!((log.next(), known.len()), (1, 0));
    assert_eq!(append(&mut log, [10, 11]), 1);
    assert_eq!(append(&mut log, [12]), 3);
    drop(log);
    let (log, _) = folder.open();
    assert_eq!(log.next(), 4);
    assert_eq!(records(&log, 1), [(1, 10), (2, 11), (3, 12)]);
    assert_eq!(records(&log, 2), [(2, 11), (3, 12)]);
    assert_eq!(records(&log, 4), []);
}

#[test]
fn a_read_stops_near_its_limit_and_goes_on_from_there() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    for value in 0..10 {
        append(&mut log, [value]);
    }
    let first = log.read(1, 1).unwrap();
    assert_eq!((first.len(), first[0].end), (1, 2));
}

#[test]
fn a_commit_saves_the_cursors_with_it() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    append(&mut log, [1, 2, 3]);
    log.append(&batch([4]), now(), &cursors(3), 3).unwrap();
    drop(log);
    let (mut log, known) = folder.open();
    assert_eq!(known, cursors(3));
    log.save(&cursors(5), 5, now()).unwrap();
    drop(log);
    assert_eq!(folder.open().1, cursors(5), "the later of the two places counts");
}

#[test]
fn released_chunks_go_when_they_are_old_and_the_newest_never() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    for value in 0..3 {
        append(&mut log, [value]);
    }
    log.save(&cursors(4), 4, now()).unwrap();
    assert_eq!(records(&log, 1).len(), 3, "young ones stay");
    log.save(&cursors(4), 4, later()).unwrap();
    assert_eq!(records(&log, 1), [(3, 2)]);
    drop(log);
    let (mut log, _) = folder.open();
    assert_eq!(append(&mut log, [9]), 4, "no number is used twice");
}

#[test]
fn what_is_not_released_is_never_deleted() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    for value in 0..5 {
        append(&mut log, [value]);
    }
    log.save(&cursors(3), 3, later()).unwrap();
    assert_eq!(records(&log, 1).first(), Some(&(3, 2)));
}

#[test]
fn one_commit_deletes_few_chunks() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    for value in 0..200 {
        append(&mut log, [value]);
    }
    log.save(&cursors(201), 201, later()).unwrap();
    assert_eq!(records(&log, 1).len(), 200 - 64);
}

#[test]
fn a_full_store_refuses_and_takes_again_once_records_are_released() {
    let folder = Folder::new();
    let (mut log, _) = folder.open_with(1024 * 1024);
    let big = || {
        let big = record_of("d", Value::Text("x".repeat(50_000)));
        let mut batch = Batch::default();
        batch.push(big);
        batch
    };
    let mut stored = 0;
    let full = loop {
        match log.append(&big(), now(), &cursors(1), 1) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "the quota has no effect");
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
    let count = || log.read(1, usize::MAX).unwrap().len();
    assert_eq!(count(), stored, "what was accepted is there, what was refused is not");
    let released = log.next();
    log.append(&big(), now(), &cursors(released), released).unwrap();
    assert_eq!(log.next(), released + 1);
}

#[test]
fn a_second_gateway_is_refused_and_told_who_is_there() {
    let folder = Folder::new();
    let _log = folder.open();
    let error = SqliteLog::open(&folder.0, QUOTA, 0).err().unwrap();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
}

#[test]
fn another_programs_database_is_left_as_it_is() {
    let folder = Folder::new();
    folder.sqlite().execute_batch("CREATE TABLE other(x); PRAGMA user_version = 7").unwrap();
    let before = std::fs::read(folder.0.join("spool.db")).unwrap();
    let error = SqliteLog::open(&folder.0, QUOTA, 0).err().unwrap();
    assert!(matches!(error, StoreError::Version { found: 7, .. }), "{error:?}");
    assert!(std::fs::read(folder.0.join("spool.db")).unwrap() == before);
}

#[test]
fn a_damaged_chunk_is_skipped_and_the_rest_is_read() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    for value in 0..3 {
        append(&mut log, [value, value]);
    }
    drop(log);
    // One bit of a device's name: it still is a record, but not what was stored.
    let flip = "UPDATE chunk SET data = unhex(replace(hex(data), '6164', '6165')) WHERE base = 3";
    assert_eq!(folder.sqlite().execute(flip, []).unwrap(), 1);
    let (log, _) = folder.open();
    assert_eq!(records(&log, 1), [(1, 0), (2, 0), (5, 2), (6, 2)]);
    let damaged: Vec<_> =
        log.read(1, usize::MAX).unwrap().into_iter().filter(|c| c.damage.is_some()).collect();
    assert_eq!(damaged.iter().map(|c| (c.base, c.end)).collect::<Vec<_>>(), [(3, 5)]);
}
