//! The file under the store.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::Timestamp;
use rusqlite::{Connection, ErrorCode, params};
use tracing::warn;

use super::chunk::{Batch, Chunk, checksum};
use super::connect::{self, keep_log, set_page_limit};
use super::cursor::{self, Cursors};
use super::dead::{self, DeadCounts, Letters};
use super::lock::lock;
use super::log::Log;
use super::numbers::Numbers;
use super::quota::Quota;
use super::recovery::{Recovered, failed};
use super::repair::resume;
use super::rows::{self, Oldest, Row, oldest, signed, unsigned};
use super::schema;
use super::skips::Skips;
use super::space::{Room, Space};
use super::{DeadLetter, DeadPage, FILE, KEEP, StoreError};

/// Most chunks that one commit deletes, so that no commit takes long.
const TRIM: u32 = 64;

/// The open store file.
pub(super) struct SqliteLog {
    connection: Connection,
    directory: PathBuf,
    path: PathBuf,
    quota: Quota,
    next: u64,
    oldest: Option<Oldest>,
    letters: Letters,
    skips: Skips,
    numbers: Numbers,
    space: Space,
    /// Whether the file may take more of the file system, as SQLite was told.
    grows: bool,
    /// How long released records stay while there is room.
    keep: Duration,
    /// Held for as long as the file is open.
    _lock: File,
}

impl SqliteLog {
    /// Opens or creates the store in `directory` and recovers what was committed. A file that is
    /// damaged is replaced by what can be read of it.
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
        resume(directory)?;
        let mut numbers = Numbers::open(directory).map_err(in_directory)?;
        let quota = Quota::new(quota);
        let recovered = Recovered::open_or_repair(directory, quota, &mut numbers, None, None)?;
        let Recovered { connection, next, oldest, cursors, letters, skips } = recovered;
        let mut log = Self {
            connection,
            directory: directory.to_owned(),
            path: directory.join(FILE),
            quota,
            next,
            oldest,
            letters,
            skips,
            numbers,
            space: Space::open(directory, min_free, quota.reserve),
            grows: true,
            keep: KEEP,
            _lock: lock,
        };
        log.apply_space().map_err(|source| log.failed(source))?;
        Ok((log, cursors))
    }

    /// Lets released records stay for so long while there is room, if that is longer than [`KEEP`].
    pub(super) fn set_keep(&mut self, keep: Duration) {
        self.keep = keep.max(KEEP);
    }

    fn try_append(
        &mut self,
        batch: &Batch,
        now: Timestamp,
        cursors: &Cursors,
        released: u64,
    ) -> rusqlite::Result<u64> {
        let base = self.next;
        let cursors = cursor::encode(cursors);
        let crc = checksum(base, &cursors, batch.data());
        let time_ms = now.as_millis();
        let row = Row { base, time_ms, crc, cursors: &cursors, data: batch.data() };
        // One statement is a transaction of its own: nothing has to say where that begins and ends.
        row.insert(&self.connection, batch.len())?;
        self.next = base + batch.len();
        match &mut self.oldest {
            Some(oldest) => oldest.end = oldest.end.or(Some(base)),
            None => self.oldest = Some(Oldest { base, end: None, time_ms }),
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

    /// Deletes some chunks that every broker has, the oldest first: those past their time, or any
    /// where space is short. The newest chunk stays, because it carries the next number.
    fn trim(&mut self, released: u64, now: Timestamp, crowded: bool) -> rusqlite::Result<usize> {
        let keep_ms = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        let before = if crowded { i64::MAX } else { now.as_millis() - keep_ms };
        let due = |oldest: &Oldest| oldest.is_released(released) && oldest.time_ms < before;
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

    /// Gives number, time and bytes of the chunks from the one that holds `from` on, while `handle`
    /// says yes.
    fn walk(
        &self,
        from: u64,
        mut handle: impl FnMut(u64, i64, u64) -> bool,
    ) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT base, t_ms, bytes FROM chunk WHERE base >= \
             coalesce((SELECT max(base) FROM chunk WHERE base <= ?1), 0) ORDER BY base",
        )?;
        let mut rows = statement.query([signed(from)])?;
        while let Some(row) = rows.next()?
            && handle(unsigned(row.get(0)?), row.get(1)?, unsigned(row.get(2)?))
        {}
        Ok(())
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

    fn first(&self) -> u64 {
        // One that is damaged may say anything.
        self.oldest.map_or(self.next, |oldest| oldest.base.clamp(1, self.next))
    }

    fn skips(&self) -> Skips {
        self.skips.clone()
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
                self.look()?;
                return Err(self.full());
            }
            return Err(StoreError::Directory { path: self.directory.clone(), source });
        }
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
        self.oldest.is_some_and(|oldest| oldest.is_released(released))
    }

    fn oldest_end(&self, bytes: u64) -> Result<u64, StoreError> {
        // Where a chunk ends, the next one begins: a damaged row cannot say otherwise.
        let (mut end, mut sum) = (self.first(), 0);
        self.walk(0, |base, _, of_chunk| {
            end = base.min(self.next).max(end);
            let is_enough = sum >= bytes;
            sum = of_chunk.saturating_add(sum);
            !is_enough
        })
        .map_err(|source| self.failed(source))?;
        Ok(end)
    }

    fn end_of_older(&self, from: u64, since: Timestamp) -> Result<u64, StoreError> {
        let (mut end, mut is_older) = (from, false);
        self.walk(from, |base, time_ms, _| {
            if is_older {
                end = base.min(self.next).max(end);
            }
            is_older = time_ms < since.as_millis();
            is_older
        })
        .map_err(|source| self.failed(source))?;
        Ok(if is_older { self.next.max(end) } else { end })
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

    fn dead(&self, after: u64, limit: usize) -> Result<DeadPage, StoreError> {
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
        connect::used_bytes(&self.connection)
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
        let Recovered { connection, next, oldest, cursors: _, letters, skips } = recovered;
        (self.connection, self.next, self.oldest) = (connection, next, oldest);
        (self.letters, self.skips) = (letters, skips);
        self.grows = true;
        self.apply_space().map_err(|source| self.failed(source))
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
