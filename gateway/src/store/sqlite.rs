//! The file under the store.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use proto::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use tracing::warn;

use super::chunk::{Batch, Chunk, checksum};
use super::lock::lock;
use super::log::{Cursors, Log, encode_cursors};
use super::numbers::Numbers;
use super::recovery::{Oldest, Recovered, failed, oldest};
use super::repair::resume;
use super::rows::{self, Row, signed, unsigned};
use super::{FILE, KEEP, StoreError};

/// The layout described in the module above.
pub(super) const VERSION: i64 = 1;
/// Marks the file as a spool: "gwsp".
const APPLICATION_ID: i64 = 0x6777_7370;
const PAGE: u64 = 4096;
/// Most bytes that the write-ahead log keeps between two checkpoints.
const MAX_WAL: u64 = 16 * 1024 * 1024;
/// Pages in the log that start a checkpoint.
const CHECKPOINT_PAGES: u64 = 1000;
/// Most chunks that one commit deletes, so that no commit takes long.
const TRIM: u32 = 64;

/// The open store file.
pub(super) struct SqliteLog {
    connection: Connection,
    directory: PathBuf,
    path: PathBuf,
    quota: u64,
    next: u64,
    oldest: Option<Oldest>,
    numbers: Numbers,
    /// Held for as long as the file is open.
    _lock: File,
}

impl SqliteLog {
    /// Opens or creates the store in `directory` and recovers what was committed. A file that is
    /// damaged is replaced by what can be read of it.
    pub(super) fn open(directory: &Path, quota: u64) -> Result<(Self, Cursors), StoreError> {
        let in_directory = |source| StoreError::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(in_directory)?;
        let lock = lock(directory)?;
        resume(directory)?;
        let mut numbers = Numbers::open(directory).map_err(in_directory)?;
        let path = directory.join(FILE);
        let recovered = Recovered::open_or_repair(directory, quota, &mut numbers, None, None)?;
        let Recovered { connection, next, oldest, cursors } = recovered;
        let directory = directory.to_owned();
        Ok((
            Self { connection, directory, path, quota, next, oldest, numbers, _lock: lock },
            cursors,
        ))
    }

    fn try_append(
        &mut self,
        batch: &Batch,
        now: Timestamp,
        cursors: &Cursors,
        released: u64,
    ) -> rusqlite::Result<u64> {
        let base = self.next;
        let transaction = self.connection.transaction()?;
        let cursors = encode_cursors(cursors);
        let crc = checksum(base, &cursors, batch.data());
        let time_ms = now.as_millis();
        let row = Row { base, time_ms, crc, cursors: &cursors, data: batch.data() };
        row.insert(&transaction, batch.len())?;
        transaction.commit()?;
        self.next = base + batch.len();
        if self.oldest.is_none() {
            self.oldest = Some(Oldest { end: self.next, time_ms: now.as_millis() });
        }
        if let Err(error) = self.trim(released, now, self.is_crowded()) {
            // The batch is safe; what ails the file shows in the next commit.
            warn!(%error, "cannot delete released readings");
        }
        Ok(base)
    }

    /// Whether space is short enough to delete what could stay a while.
    fn is_crowded(&self) -> bool {
        self.used_bytes() > self.quota / 2
    }

    fn try_save(&mut self, cursors: &Cursors) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(
                "INSERT INTO cursor(broker, next, dropped) VALUES (?1, ?2, 0) \
                 ON CONFLICT(broker) DO UPDATE SET next = excluded.next",
            )?;
            for (broker, next) in cursors {
                statement.execute(params![broker, signed(*next)])?;
            }
        }
        transaction.commit()
    }

    /// Deletes some chunks that every broker has, the oldest first: those past [`KEEP`], or any
    /// where space is short. The newest chunk stays, because it carries the next number.
    fn trim(&mut self, released: u64, now: Timestamp, crowded: bool) -> rusqlite::Result<usize> {
        let keep_ms = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
        let before = if crowded { i64::MAX } else { now.as_millis() - keep_ms };
        let due = |oldest: &Oldest| oldest.end <= released && oldest.time_ms < before;
        if !self.oldest.as_ref().is_some_and(due) {
            return Ok(0);
        }
        let deleted = self
            .connection
            .prepare_cached(
                "DELETE FROM chunk WHERE base IN (SELECT base FROM chunk WHERE base < \
                 (SELECT max(base) FROM chunk WHERE base <= ?1) AND t_ms < ?2 \
                 ORDER BY base LIMIT ?3)",
            )?
            .execute(params![signed(released), before, TRIM])?;
        self.oldest = oldest(&self.connection)?;
        Ok(deleted)
    }

    /// Moves the write-ahead log into the file, and begins it anew with the next commit.
    #[cfg(test)]
    pub(super) fn checkpoint(&self) {
        self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    }

    #[cfg(test)]
    pub(super) fn set_synchronous(&self, synchronous: &str) {
        self.connection.pragma_update(None, "synchronous", synchronous).unwrap();
    }

    /// Lets the next read come from the disk.
    #[cfg(test)]
    pub(super) fn forget_pages(&self) {
        self.connection.execute_batch("PRAGMA shrink_memory").unwrap();
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        failed(&self.path, source)
    }
}

impl Log for SqliteLog {
    fn next(&self) -> u64 {
        self.next
    }

    fn append(
        &mut self,
        batch: &Batch,
        now: Timestamp,
        cursors: &Cursors,
        released: u64,
    ) -> Result<u64, StoreError> {
        if let Err(source) = self.numbers.reserve(self.next, self.next + batch.len()) {
            if source.kind() == ErrorKind::StorageFull {
                return Err(StoreError::Full { used: self.used_bytes(), quota: self.quota });
            }
            return Err(StoreError::Directory { path: self.directory.clone(), source });
        }
        loop {
            let error = match self.try_append(batch, now, cursors, released) {
                Ok(base) => return Ok(base),
                Err(error) => error,
            };
            if error.sqlite_error_code() != Some(ErrorCode::DiskFull) {
                return Err(self.failed(error));
            }
            if self.trim(released, now, true).map_err(|source| self.failed(source))? == 0 {
                return Err(StoreError::Full { used: self.used_bytes(), quota: self.quota });
            }
        }
    }

    fn save(&mut self, cursors: &Cursors, released: u64, now: Timestamp) -> Result<(), StoreError> {
        self.try_save(cursors)
            .and_then(|()| self.trim(released, now, self.is_crowded()))
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Chunk>, StoreError> {
        rows::read(&self.connection, from, self.next, max_bytes)
            .map_err(|source| self.failed(source))
    }

    fn raw(&self, n: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        rows::raw(&self.connection, n).map_err(|source| self.failed(source))
    }

    fn first_since(&self, since: Timestamp, most: u64) -> Result<u64, StoreError> {
        // Backwards from the newest: only what is asked for is walked through.
        let walk = || -> rusqlite::Result<u64> {
            let mut statement = self
                .connection
                .prepare_cached("SELECT base, t_ms, n FROM chunk ORDER BY base DESC")?;
            let mut rows = statement.query([])?;
            let (mut first, mut records) = (self.next, 0);
            while let Some(row) = rows.next()? {
                let of_row = unsigned(row.get(2)?);
                if of_row == 0 {
                    continue;
                }
                if records >= most || row.get::<_, i64>(1)? < since.as_millis() {
                    break;
                }
                first = unsigned(row.get(0)?);
                records += of_row;
            }
            Ok(first)
        };
        walk().map_err(|source| self.failed(source))
    }

    fn used_bytes(&self) -> u64 {
        used_bytes(&self.connection)
    }

    fn reopen(&mut self, cause: &StoreError) -> Result<(), StoreError> {
        // The old connection is closed first, without a change to the file: it holds SQLite's
        // exclusive lock.
        let nothing = Connection::open_in_memory().map_err(|source| self.failed(source))?;
        let old = std::mem::replace(&mut self.connection, nothing);
        let _ = keep_log(&old, true);
        drop(old);
        let damage = matches!(cause, StoreError::Damaged { .. }).then_some(cause);
        let (directory, numbers) = (&self.directory, &mut self.numbers);
        let recovered =
            Recovered::open_or_repair(directory, self.quota, numbers, Some(self.next), damage)?;
        self.connection = recovered.connection;
        self.next = recovered.next;
        self.oldest = recovered.oldest;
        Ok(())
    }
}

pub(super) fn used_bytes(connection: &Connection) -> u64 {
    let pragma = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get(0));
    let pages: i64 = pragma("PRAGMA page_count").unwrap_or(0);
    let free: i64 = pragma("PRAGMA freelist_count").unwrap_or(0);
    unsigned(pages - free) * PAGE
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // psow=0: a torn write may damage its neighbours, so SQLite logs whole sectors.
    let uri = format!("file:{}?psow=0", percent_encoded(path));
    let connection = Connection::open_with_flags(
        uri,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // First of all: without it even a full disk keeps the file from being opened.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    // Until it is known to be sound: nothing that could be salvaged may go.
    keep_log(&connection, true)?;
    Ok(connection)
}

/// Whether closing the connection leaves the write-ahead log as it is.
pub(super) fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

/// The settings that the guarantees rest on; their order matters.
pub(super) fn configure(connection: &Connection, quota: u64) -> rusqlite::Result<()> {
    let wal = MAX_WAL.min(quota / 4);
    let checkpoint = CHECKPOINT_PAGES.min(wal / PAGE / 2).max(16);
    let pages = (quota.saturating_sub(wal) / PAGE).max(16);
    connection.pragma_update(None, "page_size", signed(PAGE))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", signed(checkpoint))?;
    connection.pragma_update(None, "journal_size_limit", signed(wal))?;
    connection.pragma_update(None, "cache_size", -4096)?;
    connection.pragma_update(None, "max_page_count", signed(pages))
}

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    Nothing,
    Spool,
    /// A spool, and not as it was made.
    Damaged(&'static str),
    /// Something else, of this version.
    Foreign(i64),
}

impl Content {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let query = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let tables = query("SELECT count(*) FROM sqlite_schema")?;
        let has = |table: &str, columns: &str| -> rusqlite::Result<bool> {
            let sql = "SELECT group_concat(name, ',') FROM pragma_table_info(?1)";
            let found: Option<String> = connection.query_row(sql, [table], |row| row.get(0))?;
            Ok(found.as_deref() == Some(columns))
        };
        let is_ours = has("chunk", "base,n,bytes,t_ms,crc,cursors,data")?
            && has("cursor", "broker,next,dropped")?;
        Ok(match (query("PRAGMA application_id")?, query("PRAGMA user_version")?) {
            (APPLICATION_ID, VERSION) if is_ours => Self::Spool,
            (APPLICATION_ID, VERSION) => Self::Damaged("its tables are wrong"),
            (0, 0) if tables == 0 => Self::Nothing,
            // Nobody else has exactly these tables.
            _ if is_ours => Self::Damaged("its header is wrong"),
            (_, version) => Self::Foreign(version),
        })
    }
}

pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN;
         CREATE TABLE chunk(base INTEGER PRIMARY KEY, n INTEGER NOT NULL, bytes INTEGER NOT NULL,
                            t_ms INTEGER NOT NULL, crc INTEGER NOT NULL, cursors BLOB NOT NULL,
                            data BLOB NOT NULL) STRICT;
         CREATE TABLE cursor(broker TEXT PRIMARY KEY, next INTEGER NOT NULL,
                             dropped INTEGER NOT NULL) STRICT, WITHOUT ROWID;
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {VERSION};
         COMMIT;"
    ))
}

/// A path as SQLite's URIs want it.
pub(super) fn percent_encoded(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.') {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
