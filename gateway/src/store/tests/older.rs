//! A file that the first version of the gateway has written.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::super::chunk::Damage;
use super::super::times::Times;
use super::super::{Archive, FILE};
use super::*;
use crate::clock;
use crate::time_base::Clocks;

const PAGE: usize = 4096;

/// Makes a file with the SQL of that version: chunks of three records, whose checksum is that of
/// their data alone, and cursors that are one number each.
fn first_version(folder: &Folder, chunks: u64) {
    let file = folder.sqlite();
    // The application identifier is "gwsp".
    file.execute_batch(
        "PRAGMA journal_mode = WAL;
         BEGIN;
         CREATE TABLE chunk(base INTEGER PRIMARY KEY, n INTEGER NOT NULL, bytes INTEGER NOT NULL,
                            t_ms INTEGER NOT NULL, crc INTEGER NOT NULL, cursors BLOB NOT NULL,
                            data BLOB NOT NULL) STRICT;
         CREATE TABLE cursor(broker TEXT PRIMARY KEY, next INTEGER NOT NULL,
                             dropped INTEGER NOT NULL) STRICT, WITHOUT ROWID;
         INSERT INTO cursor VALUES ('a', 2, 0), ('b', 3, 0), ('old', 2, 0);
         PRAGMA application_id = 1735881584;
         PRAGMA user_version = 1;
         COMMIT;",
    )
    .unwrap();
    let beside = minicbor::to_vec(BTreeMap::from([("a", 3_u64), ("b", 1)])).unwrap();
    for base in (1..).step_by(3).take(usize::try_from(chunks).unwrap()) {
        let batch = batch(base + 9..base + 12);
        let bytes = i64::try_from(batch.data().len()).unwrap();
        let (crc, data) = (crc32fast::hash(batch.data()), batch.data());
        file.execute(
            "INSERT INTO chunk VALUES (?1, 3, ?2, ?3, ?4, ?5, ?6)",
            rusqlite::params![
                i64::try_from(base).unwrap(),
                bytes,
                now().as_millis(),
                crc,
                beside,
                data
            ],
        )
        .unwrap();
    }
}

fn version(folder: &Folder) -> i64 {
    folder.sqlite().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
}

/// The lowest pending number of each cursor, and whether it is an orphan.
fn standing(cursors: &Cursors) -> Vec<(&str, u64, bool)> {
    cursors.iter().map(|(key, c)| (key.as_str(), c.progress.lowest(), c.is_orphan)).collect()
}

/// Of a cursor, the larger of its two places counts.
const STANDING: [(&str, u64, bool); 3] = [("a", 3, false), ("b", 3, false), ("old", 2, true)];

#[test]
fn it_is_taken_over_with_its_records_and_cursors() {
    let folder = Folder::new();
    first_version(&folder, 2);
    for _ in 0..2 {
        let (log, known) = folder.open();
        assert_eq!(records(&log, 1), Vec::from_iter((1..7).map(|n| (n, n + 9))));
        assert!(log.read(1, usize::MAX).unwrap().iter().all(|chunk| chunk.damage.is_none()));
        assert_eq!(standing(&known), STANDING);
        drop(log);
        assert_eq!(version(&folder), 2);
    }
    let (mut log, _) = folder.open();
    assert_eq!(append(&mut log, [16]), 7);
    log.bury(&[letter(1, "x")]).unwrap();
    assert_eq!(records(&log, 6), [(6, 15), (7, 16)]);
}

/// Its records have no boot, and are in order before whatever a clock claims that nobody has set.
#[test]
fn what_is_stored_by_a_wrong_clock_is_dated_after_its_records() {
    let folder = Folder::new();
    first_version(&folder, 2);
    let (log, _) = folder.open();
    let newest = log.read(6, 1).unwrap().pop().unwrap().records.pop().unwrap();
    assert_eq!((newest.n, newest.moment), (6, None));
    let times = Times::open(folder.path(), Some(&newest));
    assert!(times.is_synchronised(), "until the clock is looked at");
    let clocks = Clocks { wall: Timestamp::from_nanos(0), ..clock::all() };
    times.observe(clocks, false, 7);
    let record = Record { n: 7, moment: times.stamp(clocks.moment), ..record("d", 7) };
    let record = Record { received: clocks.wall, ..record };
    let (settled, _) = times.settle(&record, clocks.wall);
    assert!(settled.received > newest.received);
    let ran = clocks.moment.uptime - proto::Instant::ZERO;
    assert!(times.age(&newest, clocks.wall) >= ran, "as long as the machine has been running");
    assert!(times.age(&newest, Timestamp::from_nanos(i64::MAX)) < ran + Duration::from_secs(3600));
}

#[test]
fn its_damage_is_told_like_any_other() {
    let folder = Folder::new();
    first_version(&folder, 3);
    let flip = "UPDATE chunk SET data = unhex(replace(hex(data), '6164', '6165')) WHERE base = 4";
    assert_eq!(folder.sqlite().execute(flip, []).unwrap(), 1);
    let (log, _) = folder.open();
    let chunks = log.read(1, usize::MAX).unwrap();
    let damage: Vec<_> = chunks.iter().map(|chunk| chunk.damage).collect();
    assert_eq!(damage, [None, Some(Damage::Checksum), None]);
}

#[test]
fn it_is_converted_although_it_is_full() {
    const QUOTA: u64 = 256 * 1024;
    let folder = Folder::new();
    first_version(&folder, 2000);
    assert!(fs::metadata(folder.path().join(FILE)).unwrap().len() > QUOTA);
    let (mut log, _) = folder.open_with(QUOTA);
    assert_eq!(log.next(), 6001);
    let full = log.append(&batch(0..500), now(), &cursors(1), 1).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
    log.append(&batch(0..500), now(), &cursors(6001), 6001).unwrap();
}

#[test]
fn what_can_be_read_of_a_damaged_one_is_saved_with_its_cursors() {
    let folder = Folder::new();
    first_version(&folder, 40);
    let path = folder.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..PAGE].fill(0);
    fs::write(&path, bytes).unwrap();
    let (log, known) = folder.open();
    assert_eq!(records(&log, 1), Vec::from_iter((1..121).map(|n| (n, n + 9))));
    assert_eq!(standing(&known), STANDING);
    assert!(log.next() > 121);
    drop(log);
    assert_eq!(version(&folder), 2);
}

#[test]
fn it_is_looked_into_as_it_is() {
    let folder = Folder::new();
    first_version(&folder, 2);
    let path = folder.path().join(FILE);
    let before = fs::read(&path).unwrap();
    let archive = Archive::open(&path).unwrap();
    assert_eq!((archive.next(), standing(archive.cursors())), (7, STANDING.to_vec()));
    let standings = archive.standings().unwrap();
    assert_eq!((standings["a"].pending, standings["old"].is_orphan), (4, true));
    assert!(archive.dead_counts().unwrap().is_empty());
    assert!(archive.dead(0, 10).unwrap().letters.is_empty());
    assert!(fs::read(&path).unwrap() == before);
}
