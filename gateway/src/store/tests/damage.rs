//! What is destroyed on the disk costs what it held and nothing else.
//!
//! Whatever happens to the bytes of a store, it opens, gives no record that is wrong, gives every
//! one that can be read, accounts for every number, and takes new records under new numbers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proto::Rng;

use super::super::log::Log as _;
use super::super::pages::{FoundCursor, Image};
use super::super::repair::set_aside;
use super::super::sqlite::SqliteLog;
use super::super::wal;
use super::super::{Chunk, Damage, FILE};
use super::*;

const BLOCK: usize = 4096;

/// The files of a store as a power cut finds them: some commits in the file, some in its log.
struct Original {
    /// Content by name, in the order of [`FILES`].
    files: [Vec<u8>; 3],
    /// First number and end of every chunk.
    chunks: Vec<(u64, u64)>,
    next: u64,
}

/// Every record's value is this far from its number.
const OFFSET: u64 = 1000;

impl Original {
    /// Chunks of all sizes, none of them released; the last `logged` commits are in the log.
    fn new(commits: u64, logged: u64) -> Self {
        let folder = Folder::new();
        let (mut log, _) = folder.open();
        let mut rng = Rng::new(7);
        let mut chunks = Vec::new();
        for commit in 0..commits {
            if commit == commits - logged {
                log.checkpoint();
            }
            // Now and then one that needs pages of its own.
            let records = if rng.below(4) == 0 { 150 } else { 1 + rng.below(12) };
            let base = append(&mut log, (0..records).map(|n| log_value(&chunks) + n));
            chunks.push((base, log.next()));
        }
        log.save(&cursors(1), 1, now()).unwrap();
        let files = FILES.map(|name| fs::read(folder.path().join(name)).unwrap());
        Self { files, chunks, next: log.next() }
    }

    /// A folder with these files, changed.
    fn damaged(&self, change: impl FnOnce(&mut [Vec<u8>; 3])) -> Folder {
        let folder = Folder::new();
        let mut files = self.files.clone();
        change(&mut files);
        for (name, bytes) in FILES.iter().zip(&files) {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }
}

/// The value of the next record.
fn log_value(chunks: &[(u64, u64)]) -> u64 {
    chunks.last().map_or(1, |(_, end)| *end) + OFFSET
}

/// What became of a store.
#[derive(Debug)]
struct Outcome {
    /// Chunks of the original that are not there, by first number.
    lost: Vec<u64>,
    /// Whether the file was set aside.
    is_set_aside: bool,
}

/// Opens what is in the folder and checks all that must always hold.
fn check(folder: &Folder, original: &Original, what: &str) -> Outcome {
    let (mut log, cursors) = folder.open();
    let read = read_all(&mut log);
    let next = log.next();
    // No record is wrong, and every number is accounted for.
    let mut position = 1;
    for chunk in &read {
        assert_eq!(chunk.base.min(position), position, "{what}: a gap or a step back");
        position = chunk.end;
        for record in &chunk.records {
            assert_eq!(value(record), record.n + OFFSET, "{what}: {record:?}");
        }
    }
    assert_eq!(position, next, "{what}");
    let there =
        |base: u64| read.iter().any(|chunk| chunk.base == base && !chunk.records.is_empty());
    let lost: Vec<u64> =
        original.chunks.iter().map(|(base, _)| *base).filter(|&base| !there(base)).collect();
    // A cursor is never further than it was.
    let is_further = |cursor: &Cursor| cursor.progress != Progress::new(1);
    assert!(!cursors.values().any(is_further), "{what}: {cursors:?}");
    // Only the last commit may look as if it had never been; else no number comes again.
    let (last, _) = *original.chunks.last().unwrap();
    assert!(next >= original.next || (next == last && lost == [last]), "{what}: {next} {lost:?}");
    let is_set_aside = !set_aside(folder.path()).unwrap().is_empty();
    // It goes on, and is sound from then on.
    let base = append(&mut log, [next + OFFSET]);
    assert_eq!(base, next, "{what}");
    drop(log);
    let (mut log, _) = folder.open();
    assert_eq!(log.next(), next + 1, "{what}");
    assert_eq!(records(&log, next), [(next, next + OFFSET)], "{what}");
    let again: Vec<Chunk> = read_all(&mut log);
    assert_eq!(again[..read.len()], read, "{what}: it reads the same again");
    Outcome { lost, is_set_aside }
}

/// Every chunk, as a broker reads them; where that shows damage, those of the repaired file.
fn read_all(log: &mut SqliteLog) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut from = 1;
    while from < log.next() {
        match log.read(from, 20_000) {
            Ok(read) => {
                from = read.last().expect("a read goes on").end;
                chunks.extend(read);
            }
            Err(damage @ StoreError::Damaged { .. }) => {
                log.reopen(&damage).unwrap();
                chunks.clear();
                from = 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    chunks
}

/// Zeros, or bytes from a seed.
fn destroy(bytes: &mut [u8], rng: Option<&mut Rng>) {
    match rng {
        Some(rng) => bytes.fill_with(|| u8::try_from(rng.below(256)).unwrap()),
        None => bytes.fill(0),
    }
}

#[test]
fn a_store_as_it_was_loses_nothing() {
    let original = Original::new(40, 15);
    let outcome = check(&original.damaged(|_| {}), &original, "unchanged");
    assert!(outcome.lost.is_empty() && !outcome.is_set_aside, "{outcome:?}");
}

/// A block of the file that is in the log too, costs nothing. Of the others, one with rows costs
/// those rows, one with a part of a row that row, and one that only leads to others nothing.
#[test]
fn a_destroyed_block_of_the_file_costs_the_chunks_in_it() {
    let original = Original::new(60, 12);
    let log = fs_log(&original);
    let mut rng = Rng::new(3);
    let (mut set_aside, mut lost) = (0, 0);
    for (index, block) in original.files[0].chunks(BLOCK).enumerate() {
        let number = u32::try_from(index + 1).unwrap();
        let most = match block[0] {
            _ if log.committed.contains_key(&number) => 0,
            13 => usize::from(u16::from_be_bytes([block[3], block[4]])),
            0 => 1,
            _ => 0,
        };
        for random in [false, true] {
            let what = format!("block {index}, random: {random}, kind {}", block[0]);
            let rng = random.then_some(&mut rng);
            let folder = original.damaged(|files| {
                destroy(&mut files[0][index * BLOCK..(index + 1) * BLOCK], rng);
            });
            let outcome = check(&folder, &original, &what);
            assert!(outcome.lost.len() <= most, "{what}: {outcome:?}, at most {most}");
            set_aside += u32::from(outcome.is_set_aside);
            lost += outcome.lost.len();
        }
    }
    assert!(set_aside > 10 && lost > 10, "set aside {set_aside}, lost {lost}");
}

/// A block of the log holds parts of two frames. What they say is lost where no other page has it.
#[test]
fn a_destroyed_block_of_the_log_costs_the_chunks_in_it() {
    let original = Original::new(60, 30);
    let mut rng = Rng::new(4);
    let (mut set_aside, mut lost) = (0, 0);
    for index in 0..original.files[1].len() / BLOCK {
        for random in [false, true] {
            let what = format!("block {index} of the log, random: {random}");
            let rng = random.then_some(&mut rng);
            let folder = original.damaged(|files| {
                destroy(&mut files[1][index * BLOCK..(index + 1) * BLOCK], rng);
            });
            let outcome = check(&folder, &original, &what);
            assert!(outcome.lost.len() <= 2, "{what}: {outcome:?}");
            set_aside += u32::from(outcome.is_set_aside);
            lost += outcome.lost.len();
        }
    }
    assert!(set_aside > 10 && lost > 10, "set aside {set_aside}, lost {lost}");
}

#[test]
fn a_flipped_bit_costs_one_chunk_at_most() {
    let original = Original::new(40, 15);
    let mut rng = Rng::new(5);
    for _ in 0..300 {
        let file = usize::try_from(rng.below(2)).unwrap();
        let at = usize::try_from(rng.below(original.files[file].len() as u64)).unwrap();
        let bit = 1 << rng.below(8);
        let what = format!("bit {bit:#x} of byte {at} of {}", FILES[file]);
        let folder = original.damaged(|files| files[file][at] ^= bit);
        let outcome = check(&folder, &original, &what);
        assert!(outcome.lost.len() <= 1, "{what}: {outcome:?}");
    }
}

/// Every bit of the header that says what the file is.
#[test]
fn a_flipped_bit_of_the_header_costs_nothing() {
    let original = Original::new(20, 0);
    for at in 0..100 {
        for bit in 0..8 {
            let what = format!("bit {bit} of byte {at} of the header");
            let folder = original.damaged(|files| files[0][at] ^= 1 << bit);
            let outcome = check(&folder, &original, &what);
            assert!(outcome.lost.is_empty(), "{what}: {outcome:?}");
        }
    }
}

#[test]
fn a_file_cut_short_costs_what_was_cut() {
    let original = Original::new(60, 12);
    for file in [0, 1] {
        let len = original.files[file].len();
        for step in 0..=40 {
            let cut = len * step / 40;
            let what = format!("{} cut at {cut} of {len}", FILES[file]);
            let folder = original.damaged(|files| files[file].truncate(cut));
            if file == 1 {
                // Nobody can tell what was cut off a log from what was never written; but the
                // numbers can, unless it is little.
                let (mut log, _) = folder.open();
                let read = read_all(&mut log);
                let wrong = read.iter().flat_map(|chunk| &chunk.records);
                assert!(wrong.into_iter().all(|r| value(r) == r.n + OFFSET), "{what}");
                continue;
            }
            check(&folder, &original, &what);
        }
    }
}

#[test]
fn a_file_that_is_no_database_is_set_aside_and_kept() {
    let original = Original::new(20, 5);
    let text = b"this is not a store\n".repeat(1000);
    let folder = original.damaged(|files| files[0] = text.clone());
    let outcome = check(&folder, &original, "text");
    assert!(outcome.is_set_aside && !outcome.lost.is_empty());
    let [kept] = &set_aside(folder.path()).unwrap()[..] else { panic!("one file") };
    assert_eq!(fs::read(&kept.file).unwrap(), text);
    let name = kept.file.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("spool.db.damaged-") && name.ends_with('Z'), "{name}");
    let log = fs::read(folder.path().join(format!("{name}-wal"))).unwrap();
    assert_eq!(log, original.files[1], "its log is with it");
}

#[test]
fn a_damaged_newest_chunk_costs_its_numbers_and_none_is_used_again() {
    let folder = filled(10, true);
    let flip = "UPDATE chunk SET data = unhex(replace(hex(data), '6164', '6165')) WHERE base = 10";
    assert_eq!(folder.sqlite().execute(flip, []).unwrap(), 1);
    for _ in 0..2 {
        let (mut log, _) = folder.open();
        let chunks = read_all(&mut log);
        let of = |chunk: &Chunk| (chunk.base, chunk.end, chunk.damage);
        let damaged = (10, 11, Some(Damage::Checksum));
        assert_eq!(
            chunks[9..].iter().map(of).collect::<Vec<_>>(),
            [damaged, (11, log.next(), None)]
        );
    }
    let (mut log, _) = folder.open();
    let next = log.next();
    assert!(next > 10);
    assert_eq!(append(&mut log, [7]), next);
    assert_eq!(records(&log, 9), [(9, 9), (next, 7)]);
}

#[test]
fn a_store_that_is_gone_does_not_use_its_numbers_again() {
    let original = Original::new(20, 5);
    let folder = original.damaged(|_| {});
    for name in &FILES[..2] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let outcome = check(&folder, &original, "gone");
    assert_eq!(outcome.lost.len(), 20);
}

#[test]
fn numbers_that_are_damaged_too_are_not_used_again() {
    let original = Original::new(20, 5);
    let folder = original.damaged(|files| {
        files[0][..BLOCK].fill(0);
        files[2].fill(0xff);
    });
    check(&folder, &original, "both");
}

/// A crash within a repair begins it again, or completes it; the old file is never lost.
#[test]
fn a_repair_that_was_interrupted_is_completed() {
    let original = Original::new(30, 10);
    let destroy = |files: &mut [Vec<u8>; 3]| {
        files[0][..BLOCK].fill(0);
        files[1][..32].fill(0);
    };
    // What a whole repair makes of it.
    let whole = original.damaged(destroy);
    drop(whole.open());
    let new = fs::read(whole.path().join(FILE)).unwrap();
    let old = original.damaged(destroy);
    let old = FILES.map(|name| fs::read(old.path().join(name)).unwrap());
    let filled = "spool.db.salvaged-20260101T000000Z";
    let aside = "spool.db.damaged-20260101T000000Z";
    let numbers = fs::read(whole.path().join("numbers")).unwrap();
    type Files<'a> = &'a [(&'a str, &'a [u8])];
    let steps: [(&str, Files<'_>); 5] = [
        (
            "while it is filled",
            &[
                (FILE, &old[0]),
                ("spool.db-wal", &old[1]),
                ("numbers", &old[2]),
                ("spool.db.salvage", &new[..BLOCK * 3]),
                ("spool.db.salvage-wal", b"a part"),
            ],
        ),
        (
            "when it is filled",
            &[(FILE, &old[0]), ("spool.db-wal", &old[1]), ("numbers", &numbers), (filled, &new)],
        ),
        (
            "when the log is set aside",
            &[
                (FILE, &old[0]),
                (&format!("{aside}-wal"), &old[1]),
                ("numbers", &numbers),
                (filled, &new),
            ],
        ),
        (
            "when all is set aside",
            &[
                (aside, &old[0]),
                (&format!("{aside}-wal"), &old[1]),
                ("numbers", &numbers),
                (filled, &new),
            ],
        ),
        (
            "when it is done",
            &[
                (aside, &old[0]),
                (&format!("{aside}-wal"), &old[1]),
                ("numbers", &numbers),
                (FILE, &new),
            ],
        ),
    ];
    for (what, files) in steps {
        let folder = Folder::new();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let outcome = check(&folder, &original, what);
        assert_eq!(outcome.lost, [0_u64; 0], "{what}");
        let [kept] = &set_aside(folder.path()).unwrap()[..] else { panic!("{what}: one file") };
        assert_eq!(fs::read(&kept.file).unwrap(), old[0], "{what}");
        let log = kept.file.display().to_string() + "-wal";
        assert_eq!(fs::read(log).unwrap(), old[1], "{what}");
    }
}

#[test]
fn retransmissions_are_known_from_both_sides_of_a_repair() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    append(&mut log, [1]);
    let damage =
        StoreError::Damaged { path: folder.path().to_owned(), what: "a test", source: None };
    log.reopen(&damage).unwrap();
    let second = append(&mut log, [2]);
    assert!(second > 2, "numbers were skipped");
    assert_eq!(log.first_since(now(), 10).unwrap(), 1);
    assert_eq!(log.first_since(now(), 1).unwrap(), second);
}

#[test]
fn few_files_are_kept_set_aside() {
    let original = Original::new(3, 3);
    let folder = original.damaged(|_| {});
    for repair in 1..=5 {
        let _ = fs::remove_file(folder.path().join(FILES[1]));
        fs::write(folder.path().join(FILE), "no database").unwrap();
        drop(folder.open());
        assert_eq!(set_aside(folder.path()).unwrap().len(), repair.min(3));
    }
}

#[test]
fn a_salvage_brings_the_cursors_and_leaves_what_was_deleted() {
    const RECORDS: usize = 30;
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    for value in 0..100 {
        append(&mut log, [value; RECORDS]);
    }
    let released = 1 + 60 * RECORDS as u64;
    log.append(&batch([100]), later(), &cursors(released - 20), 1).unwrap();
    // Deletes the first ones, whose bytes stay in pages that are free.
    for _ in 0..3 {
        log.save(&cursors(released), released, later()).unwrap();
    }
    let kept = |chunks: &[Chunk]| chunks.iter().find(|c| !c.records.is_empty()).unwrap().base;
    assert_eq!(kept(&read_all(&mut log)), released);
    log.checkpoint();
    drop(log);
    let path = folder.path().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..BLOCK].fill(0);
    fs::write(&path, bytes).unwrap();
    let (mut log, known) = folder.open();
    assert_eq!(known, cursors(released));
    assert_eq!(kept(&read_all(&mut log)), released, "deleted records do not come back");
    assert_eq!(records(&log, 1).len(), 40 * RECORDS + 1);
}

#[test]
fn a_damaged_page_is_found_while_running_and_the_batch_at_hand_is_kept() {
    let folder = Folder::new();
    let (mut log, _) = folder.open();
    for value in 0..200 {
        append(&mut log, [value; 30]);
    }
    log.checkpoint();
    let next = log.next();
    // Behind the back of the open store: the root and everything else but the first page.
    overwrite(&folder.path().join(FILE), BLOCK, 3 * BLOCK);
    log.forget_pages();
    let damage = log.read(1, usize::MAX).unwrap_err();
    assert!(matches!(damage, StoreError::Damaged { .. }), "{damage:?}");
    let damage = log.append(&batch([1]), now(), &cursors(1), 1).unwrap_err();
    assert!(matches!(damage, StoreError::Damaged { .. }), "{damage:?}");
    log.reopen(&damage).unwrap();
    assert!(log.next() >= next);
    let base = append(&mut log, [7]);
    assert_eq!(records(&log, base), [(base, 7)]);
    let saved = records(&log, 1).len();
    assert!(saved > 5000, "{saved} of 6001");
}

fn overwrite(path: &Path, at: usize, len: usize) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; len], at as u64).unwrap();
}

fn fs_log(original: &Original) -> wal::Wal {
    let folder = original.damaged(|_| {});
    let log = wal::scan(&fs::File::open(folder.path().join(FILES[1])).unwrap()).unwrap();
    assert!(!log.is_broken && !log.committed.is_empty());
    log
}

#[test]
fn every_page_of_the_log_is_known_without_sqlite() {
    let original = Original::new(30, 30);
    let log = fs_log(&original);
    let pages: BTreeMap<u32, u64> = log.all;
    assert_eq!(pages, log.committed);
}

#[test]
fn every_chunk_is_found_without_sqlite() {
    let original = Original::new(60, 12);
    let folder = original.damaged(|_| {});
    let [file, log] = [FILE, FILES[1]].map(|name| folder.path().join(name));
    let mut found = BTreeMap::new();
    let image = Image::open(&file, &log).unwrap();
    let _ = image.chunks(|row| -> Result<(), ()> {
        found.insert(row.base, row.chunk().unwrap().end);
        Ok(())
    });
    assert_eq!(Vec::from_iter(found), original.chunks);
    let mut cursors = Cursors::new();
    image.cursors(|found| {
        let FoundCursor::Saved(row) = found else { panic!("{found:?}") };
        cursors.insert(row.key.to_owned(), row.cursor().unwrap());
    });
    assert_eq!(cursors, super::cursors(1));
}
