//! A store file that is only read: a copy, one that was set aside, or one that no gateway uses now.
//!
//! Not a byte of it is changed, and nothing is made beside it. SQLite would take locks, make a log
//! and move what is in it; so it is told that the file never changes where it has no log, and to
//! take no locks and to keep its index in memory where it has one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;

use super::connect::{connect_to_read, used_bytes};
use super::cursor::Cursors;
use super::dead::{self, DeadCounts};
use super::lane::{Standing, standings};
use super::pages::Image;
use super::recovery::{failed_to_open, has_dropped, is_empty};
use super::repair::{beside, fill};
use super::schema::{Content, Saved, VERSION};
use super::worker::READ_BYTES;
use super::{Chunk, DeadPage, StoreError, rows};

/// Most findings of SQLite's own check.
const MAX_FINDINGS: u32 = 20;

/// An open file.
#[derive(Debug)]
pub(crate) struct Archive {
    connection: Connection,
    path: PathBuf,
    content: Content,
    next: u64,
    cursors: Cursors,
    /// Goes with it.
    copy: Option<Scratch>,
}

impl Archive {
    /// Opens a file that is not damaged, as far as opening it tells.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let at_path = |source| StoreError::Directory { path: path.to_owned(), source };
        let in_sqlite = |source| failed_to_open(path, source);
        let damaged = |what| StoreError::Damaged { path: path.to_owned(), what, source: None };
        let log = beside(path, "-wal");
        if is_empty(path) {
            return Err(match is_empty(&log) {
                true => StoreError::Missing { path: path.to_owned() },
                false => damaged("it is missing or empty, and its write-ahead log is not"),
            });
        }
        let connection = connect_to_read(path, !is_empty(&log)).map_err(in_sqlite)?;
        let content = Content::of(&connection).map_err(in_sqlite)?;
        match content {
            Content::Spool | Content::Older => {}
            Content::Damaged(what) => return Err(damaged(what)),
            Content::Nothing => return Err(StoreError::Missing { path: path.to_owned() }),
            Content::Foreign(found) => {
                let path = path.to_owned();
                return Err(StoreError::Version { path, found, expected: VERSION });
            }
        }
        let newest = rows::newest(&connection).map_err(in_sqlite)?;
        let Saved { head, cursors } =
            Saved::load(&connection, content, &newest).map_err(in_sqlite)?;
        let next = newest.likely_next().max(head);
        if has_dropped(path, next, next).map_err(at_path)? {
            return Err(damaged("its write-ahead log is broken in the middle"));
        }
        Ok(Self { connection, path: path.to_owned(), content, next, cursors, copy: None })
    }

    /// Copies what can be read of a damaged file into a temporary folder, and opens that.
    pub(crate) fn open_damaged(path: &Path) -> Result<Self, StoreError> {
        let at_path = |source| StoreError::Directory { path: path.to_owned(), source };
        let image = Image::open(path, &beside(path, "-wal")).map_err(at_path)?;
        let folder = Scratch::new()?;
        let copy = folder.0.join(super::FILE);
        fill(&image, &copy, None)
            .map_err(|source| StoreError::Sqlite { path: copy.clone(), source })?;
        Ok(Self { copy: Some(folder), ..Self::open(&copy)? })
    }

    /// The number after the newest one.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// How far each lane of each broker is.
    pub(crate) const fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// How far each broker is.
    pub(crate) fn standings(&self) -> Result<BTreeMap<String, Standing>, StoreError> {
        let skips = self.of_this_version(|connection| rows::skips(connection, self.next))?;
        Ok(standings(&self.cursors, &skips, self.next))
    }

    /// How many dead letters there are for each broker.
    pub(crate) fn dead_counts(&self) -> Result<DeadCounts, StoreError> {
        self.of_this_version(dead::counts)
    }

    /// The first `limit` dead letters behind the one with the identifier `after`.
    pub(crate) fn dead(&self, after: u64, limit: usize) -> Result<DeadPage, StoreError> {
        self.of_this_version(|connection| dead::read(connection, after, limit))
    }

    /// Reads what a file of the first version has nothing of.
    fn of_this_version<T: Default>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if self.content == Content::Older {
            return Ok(T::default());
        }
        read(&self.connection).map_err(|source| failed_to_open(&self.path, source))
    }

    /// Bytes in use, without space that waits to be used again.
    pub(crate) fn used_bytes(&self) -> u64 {
        used_bytes(&self.connection)
    }

    /// Whether it is what could be read of a damaged file.
    pub(crate) const fn is_salvaged(&self) -> bool {
        self.copy.is_some()
    }

    /// Some chunks from the one that holds `from` on, without a gap.
    pub(crate) fn read(&self, from: u64) -> Result<Vec<Chunk>, StoreError> {
        rows::read(&self.connection, from, self.next, READ_BYTES)
            .map_err(|source| failed_to_open(&self.path, source))
    }

    /// What SQLite finds wrong with the file.
    pub(crate) fn check(&self) -> Result<Vec<String>, StoreError> {
        let check = || -> rusqlite::Result<Vec<String>> {
            let sql = format!("PRAGMA integrity_check({MAX_FINDINGS})");
            let mut statement = self.connection.prepare(&sql)?;
            let findings = statement.query_map([], |row| row.get::<_, String>(0))?;
            findings.filter(|finding| finding.as_deref() != Ok("ok")).collect()
        };
        check().map_err(|source| failed_to_open(&self.path, source))
    }
}

/// A folder that goes with its value.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, StoreError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gateway-salvage-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)
            .map_err(|source| StoreError::Directory { path: path.clone(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::FILE;
    use super::super::tests::{Folder, cursors, filled};
    use super::*;

    /// Names and content of all files in a folder.
    fn content(folder: &Folder) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn numbers(archive: &Archive) -> Vec<u64> {
        let (mut numbers, mut from) = (Vec::new(), 1);
        while from < archive.next() {
            for chunk in archive.read(from).unwrap() {
                from = chunk.end;
                numbers.extend(chunk.records.iter().map(|record| record.n));
            }
        }
        numbers
    }

    #[test]
    fn a_file_is_read_without_a_change_to_it_or_its_folder() {
        for (what, is_closed) in [("closed cleanly", true), ("killed", false)] {
            let folder = filled(30, is_closed);
            let before = content(&folder);
            assert_eq!(before.contains_key(&folder.path().join("spool.db-wal")), !is_closed);
            let archive = Archive::open(&folder.path().join(FILE)).unwrap();
            assert_eq!(archive.check().unwrap(), [""; 0], "{what}");
            assert_eq!(numbers(&archive), Vec::from_iter(1..=30), "{what}");
            assert_eq!(archive.cursors(), &cursors(1));
            drop(archive);
            assert!(content(&folder) == before, "{what}");
        }
    }

    #[test]
    fn what_can_be_read_of_a_damaged_file_is_read_from_a_copy() {
        let folder = filled(30, false);
        let path = folder.path().join(FILE);
        fs::write(&path, [0; 8192]).unwrap();
        let mut log = fs::read(beside(&path, "-wal")).unwrap();
        log[..32].fill(0);
        fs::write(beside(&path, "-wal"), log).unwrap();
        let before = content(&folder);
        let error = Archive::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        let archive = Archive::open_damaged(&path).unwrap();
        assert_eq!(numbers(&archive), Vec::from_iter(1..=30));
        let copy = archive.path.clone();
        assert!(copy.exists());
        drop(archive);
        assert!(!copy.exists() && content(&folder) == before);
    }

    #[test]
    fn what_is_no_store_is_told() {
        let folder = Folder::new();
        let path = folder.path().join(FILE);
        let missing = Archive::open(&path).unwrap_err();
        assert!(matches!(missing, StoreError::Missing { .. }), "{missing:?}");
        folder.sqlite().execute_batch("CREATE TABLE other(x); PRAGMA user_version = 7").unwrap();
        let foreign = Archive::open(&path).unwrap_err();
        assert!(matches!(foreign, StoreError::Version { found: 7, .. }), "{foreign:?}");
    }
}
