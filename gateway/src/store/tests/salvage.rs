//! What is saved of a damaged file besides its chunks.

use std::fs;

use super::super::cursor::Dropped;
use super::super::{Archive, FILE};
use super::*;

const PAGE: usize = 4096;

/// Lanes of one broker with gaps and counts, and a broker that is not configured any more.
fn lanes() -> Cursors {
    let mut live = Progress::new(20);
    assert!(live.skip_to(90));
    live.release_open(95);
    let dropped = Dropped { lag: 1, age: 2, full: 3 };
    let of = |progress, routes| Cursor { routes, dropped, ..Cursor::new(progress) };
    Cursors::from([
        ("a".to_owned(), of(Progress::new(40), 7)),
        ("a/live".to_owned(), of(live, 8)),
        ("old".to_owned(), Cursor { is_orphan: true, ..of(Progress::new(2), 0) }),
    ])
}

/// A file that was closed: a hundred chunks, ten dead letters, and these cursors, saved after the
/// last commit had others.
fn closed() -> Folder {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    for value in 1..=100 {
        append(&mut log, [value]);
    }
    let letters: Vec<_> = (1..=10).map(|n| letter(n, &"x".repeat(1000))).collect();
    log.bury(&letters).unwrap();
    log.save(&lanes(), 20, now()).unwrap();
    drop(log);
    folder
}

fn pages(folder: &Folder) -> Vec<Vec<u8>> {
    let bytes = fs::read(folder.path().join(FILE)).unwrap();
    bytes.chunks(PAGE).map(<[u8]>::to_vec).collect()
}

fn damage(folder: &Folder, page: usize) {
    let mut pages = pages(folder);
    pages[page].fill(0);
    fs::write(folder.path().join(FILE), pages.concat()).unwrap();
}

fn dead(log: &SqliteLog) -> Vec<u64> {
    log.dead(0, 100).unwrap().letters.iter().map(|letter| letter.record.n).collect()
}

#[test]
fn cursors_with_their_gaps_and_counts_are_saved_and_so_are_dead_letters() {
    let folder = closed();
    damage(&folder, 0);
    let (mut log, known) = folder.open();
    assert_eq!(known, lanes());
    assert_eq!(records(&log, 20).len(), 81);
    assert_eq!(dead(&log), Vec::from_iter(1..=10));
    assert_eq!(log.dead_counts()["a"], 10);
    let kept = log.dead(0, 1).unwrap().letters;
    assert_eq!(kept, [DeadLetter { id: 1, ..letter(1, &"x".repeat(1000)) }]);
    // The new file takes more of them, and they replace what is the same.
    log.bury(&[letter(3, "again"), letter(11, "")]).unwrap();
    assert_eq!(log.dead_counts()["a"], 11);
    drop(log);
    assert_eq!(folder.open().1, lanes());
}

#[test]
fn a_destroyed_page_costs_the_dead_letters_in_it_and_no_cursor_goes_too_far() {
    let count = pages(&closed()).len();
    let mut fewest = 10;
    for page in 1..count {
        let folder = closed();
        damage(&folder, page);
        let (mut log, known) = folder.open();
        for (key, cursor) in &known {
            let lowest = cursor.progress.lowest();
            assert!(lowest <= lanes().get(key).map_or(1, |c| c.progress.lowest()), "{page} {key}");
        }
        let found = read_dead(&mut log);
        assert!(found.is_sorted_by(|a, b| a < b) && found.len() >= 6, "page {page}: {found:?}");
        fewest = fewest.min(found.len());
    }
    assert!(fewest < 10, "no page had letters");
}

/// The dead letters; where reading them shows damage, those of the repaired file.
fn read_dead(log: &mut SqliteLog) -> Vec<u64> {
    if let Err(damage) = log.dead(0, 100) {
        log.reopen(&damage).unwrap();
    }
    dead(log)
}

#[test]
fn a_dead_letter_that_is_not_what_was_written_is_not_saved() {
    let folder = closed();
    folder.sqlite().execute("UPDATE dead SET topic = 'other' WHERE n = 4", []).unwrap();
    let path = folder.path().join(FILE);
    let page = Archive::open(&path).unwrap().dead(0, 100).unwrap();
    assert_eq!((page.letters.len(), page.damaged), (9, 1));
    damage(&folder, 0);
    let (log, _) = folder.open();
    assert_eq!(dead(&log), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
    assert_eq!(log.dead(0, 100).unwrap().damaged, 0);
}

#[test]
fn cursors_beside_the_newest_chunk_count_where_they_are_newer_than_the_table() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    append(&mut log, [1, 2, 3]);
    log.save(&cursors(3), 1, now()).unwrap();
    // As when the lanes of a broker change: it goes back.
    log.append(&batch([4]), now(), &cursors(2), 1).unwrap();
    drop(log);
    damage(&folder, 0);
    assert_eq!(folder.open().1, cursors(2));
}

#[test]
fn what_brokers_have_acknowledged_is_not_used_again_though_nothing_else_is_left() {
    for is_damaged in [false, true] {
        let folder = Folder::new();
        let (mut log, _) = folder.open();
        append(&mut log, [1, 2, 3]);
        log.save(&cursors(4), 4, now()).unwrap();
        drop(log);
        folder.sqlite().execute("DELETE FROM chunk", []).unwrap();
        fs::remove_file(folder.path().join("numbers")).unwrap();
        if is_damaged {
            damage(&folder, 0);
        }
        let (mut log, known) = folder.open();
        assert_eq!(known, cursors(4));
        let n = append(&mut log, [7]);
        assert!(n >= 4, "{n}");
        assert_eq!(records(&log, 1), [(n, 7)]);
    }
}

#[test]
fn the_reserve_stays_and_the_new_file_keeps_within_its_limits() {
    let folder = Folder::new();
    let (log, _) = folder.open_with(1024 * 1024);
    drop(log);
    fs::write(folder.path().join(FILE), "no database").unwrap();
    let (mut log, _) = folder.open_with(1024 * 1024);
    assert!(log.room().reserve && folder.path().join("reserve").exists());
    let big = record_of("d", Value::Text("x".repeat(50_000)));
    let mut full = Ok(0);
    for _ in 0..100 {
        let mut batch = Batch::default();
        batch.push(big.clone());
        full = log.append(&batch, now(), &cursors(1), 1);
    }
    assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    let size = |name: &str| fs::metadata(folder.path().join(name)).map_or(0, |file| file.len());
    let sizes = ["spool.db", "spool.db-wal", "reserve"].map(size);
    assert!(sizes.iter().sum::<u64>() <= 1024 * 1024, "{sizes:?}");
}
