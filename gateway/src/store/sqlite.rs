//! The file under the store.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use proto::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};
use tracing::warn;

use super::chunk::{Batch, Chunk, checksum};
use super::log::{Cursors, Log};
use super::{KEEP, StoreError};

/// The layout described in the module above.
const VERSION: i64 = 1;
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
    path: PathBuf,
    quota: u64,
    next: u64,
    oldest: Option<Oldest>,
    /// Held for as long as the file is open.
    _lock: File,
}

/// The first chunk in the file.
#[derive(Clone, Copy, Debug)]
struct Oldest {
    end: u64,
    time_ms: i64,
}

impl SqliteLog {
    /// Opens or creates the store in `directory` and recovers what was committed.
    pub(super) fn open(directory: &Path, quota: u64) -> Result<(Self, Cursors), StoreError> {
        let in_directory = |source| StoreError::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(in_directory)?;
        let lock = lock(directory)?;
        let path = directory.join("spool.db");
        let failed = |source| StoreError::Sqlite { path: path.clone(), source };
        let connection = connect(&path).map_err(failed)?;
        // Before any setting: some of them rewrite the file.
        let content = Content::of(&connection).map_err(failed)?;
        if let Content::Foreign(found) = content {
            return Err(StoreError::Version { path, found, expected: VERSION });
        }
        configure(&connection, quota).map_err(failed)?;
        if content == Content::Nothing {
            create(&connection).map_err(failed)?;
        }
        let mut log = Self { connection, path, quota, next: 1, oldest: None, _lock: lock };
        let cursors = log.recover().map_err(|source| log.failed(source))?;
        Ok((log, cursors))
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
        transaction
            .prepare_cached(
                "INSERT INTO chunk(base, n, bytes, t_ms, crc, cursors, data) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                signed(base),
                signed(batch.len()),
                signed(batch.data().len() as u64),
                now.as_millis(),
                checksum(batch.data()),
                encode_cursors(cursors),
                batch.data(),
            ])?;
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

    fn try_read(&self, from: u64, max_bytes: usize) -> rusqlite::Result<Vec<Chunk>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT base, n, crc, data FROM chunk WHERE base >= \
             coalesce((SELECT max(base) FROM chunk WHERE base <= ?1), 0) ORDER BY base",
        )?;
        let mut rows = statement.query(params![signed(from)])?;
        let mut chunks = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let (base, records) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
            let data = row.get_ref(3)?.as_blob()?;
            let checked = checksum(data) == row.get::<_, u32>(2)?;
            let chunk = match Chunk::decode(base, records, data) {
                Ok(chunk) if checked => chunk,
                _ => Chunk::damaged(base, records),
            };
            if chunk.end <= from {
                continue;
            }
            bytes += data.len();
            chunks.push(chunk);
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(chunks)
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
                "DELETE FROM chunk WHERE base IN (SELECT base FROM chunk WHERE base + n <= ?1 \
                 AND t_ms < ?2 AND base < (SELECT max(base) FROM chunk) ORDER BY base LIMIT ?3)",
            )?
            .execute(params![signed(released), before, TRIM])?;
        self.oldest = oldest(&self.connection)?;
        Ok(deleted)
    }

    /// Next number and cursors, from what the newest chunk and the cursor table say.
    fn recover(&mut self) -> rusqlite::Result<Cursors> {
        let newest: Option<(i64, i64, Vec<u8>)> = self
            .connection
            .query_row("SELECT base, n, cursors FROM chunk ORDER BY base DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let mut cursors = Cursors::new();
        if let Some((base, records, saved)) = newest {
            self.next = unsigned(base) + unsigned(records);
            cursors = decode_cursors(&saved).unwrap_or_default();
        }
        let mut statement = self.connection.prepare("SELECT broker, next FROM cursor")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let cursor = cursors.entry(row.get(0)?).or_default();
            *cursor = unsigned(row.get(1)?).max(*cursor);
        }
        self.oldest = oldest(&self.connection)?;
        Ok(cursors)
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), source }
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
        self.try_read(from, max_bytes).map_err(|source| self.failed(source))
    }

    fn first_since(&self, since: Timestamp, most: u64) -> Result<u64, StoreError> {
        let floor = self.next.saturating_sub(most);
        // Backwards from the newest: only what is asked for is walked through.
        let walk = || -> rusqlite::Result<u64> {
            let mut statement = self
                .connection
                .prepare_cached("SELECT base, t_ms FROM chunk ORDER BY base DESC")?;
            let mut rows = statement.query([])?;
            let mut first = self.next;
            while let Some(row) = rows.next()? {
                if first <= floor || row.get::<_, i64>(1)? < since.as_millis() {
                    break;
                }
                first = unsigned(row.get(0)?);
            }
            Ok(first)
        };
        walk().map_err(|source| self.failed(source))
    }

    fn used_bytes(&self) -> u64 {
        let pragma = |sql| self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0));
        let pages: i64 = pragma("PRAGMA page_count").unwrap_or(0);
        let free: i64 = pragma("PRAGMA freelist_count").unwrap_or(0);
        unsigned(pages - free) * PAGE
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        // The old connection is closed first: it holds SQLite's exclusive lock.
        self.connection = Connection::open_in_memory().map_err(|source| self.failed(source))?;
        let open = || {
            let connection = connect(&self.path)?;
            configure(&connection, self.quota)?;
            Ok(connection)
        };
        self.connection = open().map_err(|source| self.failed(source))?;
        self.recover().map(drop).map_err(|source| self.failed(source))
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
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
    Ok(connection)
}

/// The settings that the guarantees rest on; their order matters.
fn configure(connection: &Connection, quota: u64) -> rusqlite::Result<()> {
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
enum Content {
    Nothing,
    Spool,
    /// Something else, of this version.
    Foreign(i64),
}

impl Content {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let query = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let tables = query("SELECT count(*) FROM sqlite_schema")?;
        Ok(match (query("PRAGMA application_id")?, query("PRAGMA user_version")?) {
            (APPLICATION_ID, VERSION) => Self::Spool,
            (0, 0) if tables == 0 => Self::Nothing,
            (_, version) => Self::Foreign(version),
        })
    }
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
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

fn oldest(connection: &Connection) -> rusqlite::Result<Option<Oldest>> {
    connection
        .prepare_cached("SELECT base + n, t_ms FROM chunk ORDER BY base LIMIT 1")?
        .query_row([], |row| Ok(Oldest { end: unsigned(row.get(0)?), time_ms: row.get(1)? }))
        .optional()
}

/// Makes sure that this process is the only one in `directory`.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join("lock");
    let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.take(20).read_to_string(&mut pid);
            let holder = match pid.trim() {
                "" => String::new(),
                pid => format!(" (process {pid})"),
            };
            return Err(StoreError::Locked { path: directory.to_owned(), holder });
        }
        Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

/// A path as SQLite's URIs want it.
fn percent_encoded(path: &Path) -> String {
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

fn encode_cursors(cursors: &Cursors) -> Vec<u8> {
    minicbor::to_vec(cursors).unwrap_or_default()
}

fn decode_cursors(bytes: &[u8]) -> Result<Cursors, minicbor::decode::Error> {
    minicbor::decode(bytes)
}

/// SQLite's integers are signed; numbers of records and pages stay far below the limit.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
