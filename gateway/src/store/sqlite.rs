//! The file under the store.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use proto::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};
use tracing::warn;

use super::chunk::{Batch, Chunk, checksum};
use super::cursor::{self, Cursors};
use super::dead::{self, DeadCounts, DeadLetter, Letters};
use super::log::Log;
use super::quota::{PAGE, Quota};
use super::schema::{self, APPLICATION_ID, FIRST, VERSION};
use super::space::{Room, Space};
use super::{KEEP, StoreError};

/// Most chunks that one commit deletes, so that no commit takes long.
const TRIM: u32 = 64;

/// The open store file.
pub(super) struct SqliteLog {
    connection: Connection,
    path: PathBuf,
    quota: Quota,
    next: u64,
    oldest: Option<Oldest>,
    letters: Letters,
    space: Space,
    /// Whether the file may take more of the file system, as SQLite was told.
    grows: bool,
    /// Held for as long as the file is open.
    _lock: File,
}

/// The first chunk in the file.
#[derive(Clone, Copy, Debug)]
struct Oldest {
    base: u64,
    end: u64,
    time_ms: i64,
}

impl SqliteLog {
    /// Opens or creates the store in `directory` and recovers what was committed.
    ///
    /// It takes at most `quota` bytes, and only while `min_free` bytes of the file system stay free.
    pub(super) fn open(
        directory: &Path,
        quota: u64,
        min_free: u64,
    ) -> Result<(Self, Cursors), StoreError> {
        let in_directory = |source| StoreError::Directory { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(in_directory)?;
        let lock = lock(directory)?;
        let path = directory.join("spool.db");
        let failed = |source| StoreError::Sqlite { path: path.clone(), source };
        let mut connection = connect(&path).map_err(failed)?;
        // Before any setting: some of them rewrite the file.
        let content = Content::of(&connection).map_err(failed)?;
        if let Content::Foreign(found) = content {
            return Err(StoreError::Version { path, found, expected: VERSION });
        }
        let quota = Quota::new(quota);
        configure(&connection, quota).map_err(failed)?;
        match content {
            Content::Nothing => schema::create(&connection).map_err(failed)?,
            Content::Older => schema::migrate(&mut connection).map_err(failed)?,
            Content::Spool | Content::Foreign(_) => {}
        }
        let mut log = Self {
            connection,
            path,
            quota,
            next: 1,
            oldest: None,
            letters: Letters::new(quota.bytes),
            space: Space::open(directory, min_free, quota.reserve),
            grows: true,
            _lock: lock,
        };
        let cursors = log.recover().map_err(|source| log.failed(source))?;
        log.apply_space().map_err(|source| log.failed(source))?;
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
                cursor::encode(cursors),
                batch.data(),
            ])?;
        transaction.commit()?;
        self.next = base + batch.len();
        if self.oldest.is_none() {
            self.oldest = Some(Oldest { base, end: self.next, time_ms: now.as_millis() });
        }
        if let Err(error) = self.trim(released, now, self.is_crowded()) {
            // The batch is safe; what ails the file shows in the next commit.
            warn!(%error, "cannot delete released readings");
        }
        Ok(base)
    }

    /// Whether space is short enough to delete what could stay a while.
    fn is_crowded(&self) -> bool {
        self.used_bytes() > self.quota.bytes / 2
    }

    fn try_save(&mut self, cursors: &Cursors) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        schema::save_cursors(&transaction, cursors, self.next)?;
        transaction.commit()
    }

    /// Does what makes room or keeps what must not wait: on a full disk in the room of the reserve.
    fn with_reserve<T>(
        &mut self,
        mut act: impl FnMut(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        match act(self) {
            Err(error) if is_full(&error) && self.space.use_reserve() => {}
            done => return done,
        }
        set_page_limit(&self.connection, self.quota.pages_with_reserve())?;
        let done = act(self);
        self.grows = false;
        set_page_limit(&self.connection, 1)?;
        done
    }

    /// Lets the file grow or not, as there is room on the file system.
    fn apply_space(&mut self) -> rusqlite::Result<()> {
        let grows = self.space.may_grow();
        if grows != self.grows {
            set_page_limit(&self.connection, if grows { self.quota.pages() } else { 1 })?;
            self.grows = grows;
        }
        Ok(())
    }

    fn full(&self) -> StoreError {
        match self.space.is_short() {
            false => StoreError::Full { used: self.used_bytes(), quota: self.quota.bytes },
            true => StoreError::NoRoom { free: self.space.room().free_bytes.unwrap_or(0) },
        }
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

    /// Deletes what every broker has, however young; only after it is saved that they have it, and
    /// what was dropped for them.
    fn make_room(
        &mut self,
        cursors: &Cursors,
        released: u64,
        now: Timestamp,
    ) -> rusqlite::Result<usize> {
        if !self.can_trim(released) {
            return Ok(0);
        }
        self.try_save(cursors)?;
        self.trim(released, now, true)
    }

    /// Next number and cursors, from what the newest chunk and the cursor table say.
    fn recover(&mut self) -> rusqlite::Result<Cursors> {
        let newest = "SELECT base + n FROM chunk ORDER BY base DESC LIMIT 1";
        let next = self.connection.query_row(newest, [], |row| row.get(0)).optional()?;
        self.next = next.map_or(1, unsigned);
        self.oldest = oldest(&self.connection)?;
        self.letters.load(&self.connection)?;
        schema::load_cursors(&self.connection)
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        StoreError::Sqlite { path: self.path.clone(), source }
    }
}

impl Log for SqliteLog {
    fn next(&self) -> u64 {
        self.next
    }

    fn first(&self) -> u64 {
        self.oldest.map_or(self.next, |oldest| oldest.base)
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
                Ok(base) => {
                    self.space.handle_commit(batch.data().len() as u64);
                    if let Err(error) = self.apply_space() {
                        warn!(%error, "cannot tell SQLite how much room there is");
                    }
                    return Ok(base);
                }
                Err(error) => error,
            };
            if !is_full(&error) {
                return Err(self.failed(error));
            }
            match self.with_reserve(|log| log.make_room(cursors, released, now)) {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(self.failed(error)),
            }
            // There may be room by now.
            let grew = self.grows;
            self.look()?;
            if grew || !self.grows {
                return Err(self.full());
            }
        }
    }

    fn save(&mut self, cursors: &Cursors, released: u64, now: Timestamp) -> Result<(), StoreError> {
        self.with_reserve(|log| log.try_save(cursors))
            .and_then(|()| {
                let crowded = self.is_crowded();
                self.with_reserve(|log| log.trim(released, now, crowded))
            })
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    fn can_trim(&self, released: u64) -> bool {
        self.oldest.is_some_and(|oldest| oldest.end <= released && oldest.end < self.next)
    }

    fn oldest_end(&self, bytes: u64) -> Result<u64, StoreError> {
        let walk = || -> rusqlite::Result<u64> {
            let mut statement = self.connection.prepare_cached(
                "SELECT base + n, bytes FROM chunk WHERE base < (SELECT max(base) FROM chunk) \
                 ORDER BY base",
            )?;
            let mut rows = statement.query([])?;
            let (mut end, mut sum) = (self.first(), 0);
            while sum < bytes
                && let Some(row) = rows.next()?
            {
                end = unsigned(row.get(0)?);
                sum += unsigned(row.get(1)?);
            }
            Ok(end)
        };
        walk().map_err(|source| self.failed(source))
    }

    fn end_of_older(&self, from: u64, since: Timestamp) -> Result<u64, StoreError> {
        let walk = || -> rusqlite::Result<u64> {
            let mut statement = self.connection.prepare_cached(
                "SELECT base + n, t_ms FROM chunk WHERE base >= \
                 coalesce((SELECT max(base) FROM chunk WHERE base <= ?1), 0) ORDER BY base",
            )?;
            let mut rows = statement.query([signed(from)])?;
            let mut end = from;
            while let Some(row) = rows.next()?
                && row.get::<_, i64>(1)? < since.as_millis()
            {
                end = unsigned(row.get(0)?).max(from);
            }
            Ok(end)
        };
        walk().map_err(|source| self.failed(source))
    }

    fn look(&mut self) -> Result<(), StoreError> {
        self.space.look();
        self.apply_space().map_err(|source| self.failed(source))
    }

    fn room(&self) -> Room {
        self.space.room()
    }

    fn bury(&mut self, letters: &[DeadLetter]) -> Result<(), StoreError> {
        match self.with_reserve(|log| log.letters.bury(&mut log.connection, letters)) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let (letters, bytes) = self.letters.size();
                Err(StoreError::DeadLettersFull { letters, bytes })
            }
            Err(error) if is_full(&error) => Err(self.full()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn dead(&self, after: u64, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        dead::read(&self.connection, after, limit).map_err(|source| self.failed(source))
    }

    fn unbury(&mut self, ids: &[u64]) -> Result<(), StoreError> {
        self.with_reserve(|log| log.letters.unbury(&mut log.connection, ids))
            .map_err(|source| self.failed(source))
    }

    fn dead_counts(&self) -> DeadCounts {
        self.letters.counts().clone()
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
        self.grows = true;
        self.recover().and_then(|_| self.apply_space()).map_err(|source| self.failed(source))
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
fn configure(connection: &Connection, quota: Quota) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", signed(PAGE))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", signed(quota.checkpoint()))?;
    connection.pragma_update(None, "journal_size_limit", signed(quota.log))?;
    connection.pragma_update(None, "cache_size", -4096)?;
    set_page_limit(connection, quota.pages())
}

/// Below the pages that the file has, it is these: then it does not grow, but what is free in it
/// can be used.
fn set_page_limit(connection: &Connection, pages: u64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "max_page_count", signed(pages))
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Content {
    Nothing,
    Spool,
    /// A spool of the first version.
    Older,
    /// Something else, of this version.
    Foreign(i64),
}

impl Content {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let query = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let tables = query("SELECT count(*) FROM sqlite_schema")?;
        Ok(match (query("PRAGMA application_id")?, query("PRAGMA user_version")?) {
            (APPLICATION_ID, VERSION) => Self::Spool,
            (APPLICATION_ID, FIRST) => Self::Older,
            (0, 0) if tables == 0 => Self::Nothing,
            (_, version) => Self::Foreign(version),
        })
    }
}

fn oldest(connection: &Connection) -> rusqlite::Result<Option<Oldest>> {
    connection
        .prepare_cached("SELECT base, base + n, t_ms FROM chunk ORDER BY base LIMIT 1")?
        .query_row([], |row| {
            let (base, end) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
            Ok(Oldest { base, end, time_ms: row.get(2)? })
        })
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

/// SQLite's integers are signed; numbers of records and pages stay far below the limit.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The same back.
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
