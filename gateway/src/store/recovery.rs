//! Opens a store file, tells whether it is damaged, and finds where it goes on.

use std::fs::File;
use std::path::Path;

use rusqlite::ffi::{SQLITE_ERROR, SQLITE_IOERR_SHORT_READ, SQLITE_READONLY};
use rusqlite::{Connection, ErrorCode};
use tracing::{error, info};

use super::connect::{configure, connect, keep_log, set_page_limit};
use super::cursor::Cursors;
use super::dead::Letters;
use super::numbers::Numbers;
use super::pages::Image;
use super::quota::Quota;
use super::repair::{beside, repair};
use super::rows::{self, Oldest};
use super::schema::{Content, Saved, VERSION, create, migrate};
use super::skips::Skips;
use super::{FILE, StoreError};

/// A file that was opened, and what it says.
pub(super) struct Recovered {
    pub(super) connection: Connection,
    /// The number that the next record gets.
    pub(super) next: u64,
    pub(super) oldest: Option<Oldest>,
    pub(super) cursors: Cursors,
    pub(super) letters: Letters,
    pub(super) skips: Skips,
}

impl Recovered {
    /// Opens or creates the store in `directory`. One that is damaged, or of which `damage` is
    /// known, is replaced first by what can be read of it; `next` is the number that would have
    /// come next, where that is known.
    pub(super) fn open_or_repair(
        directory: &Path,
        quota: Quota,
        numbers: &mut Numbers,
        next: Option<u64>,
        damage: Option<&StoreError>,
    ) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let found;
        let damage = match damage {
            Some(damage) => damage,
            None => match Self::open(&path, quota, numbers) {
                Err(damage @ StoreError::Damaged { .. }) => {
                    found = damage;
                    &found
                }
                opened => return opened,
            },
        };
        repair(directory, numbers, next, damage)?;
        Self::open(&path, quota, numbers)
    }

    /// Opens or creates the file at `path`. One that is damaged is left as it is.
    fn open(path: &Path, quota: Quota, numbers: &mut Numbers) -> Result<Self, StoreError> {
        let at_path = |source| StoreError::Directory { path: path.to_owned(), source };
        let in_sqlite = |source| failed_to_open(path, source);
        let damaged = |what| StoreError::Damaged { path: path.to_owned(), what, source: None };
        // SQLite would delete the log of a file that it has to make.
        if is_empty(path) && !is_empty(&beside(path, "-wal")) {
            return Err(damaged("it is missing or empty, and its write-ahead log is not"));
        }
        let mut connection = connect(path).map_err(in_sqlite)?;
        // Before any setting: some of them rewrite the file.
        let content = Content::of(&connection).map_err(in_sqlite)?;
        match content {
            Content::Foreign(found) => {
                return Err(StoreError::Version {
                    path: path.to_owned(),
                    found,
                    expected: VERSION,
                });
            }
            Content::Damaged(what) => return Err(damaged(what)),
            Content::Spool | Content::Older => configure(&connection, quota).map_err(in_sqlite)?,
            Content::Nothing => {
                configure(&connection, quota).map_err(in_sqlite)?;
                create(&connection).map_err(in_sqlite)?;
                if numbers.is_used() {
                    let next = numbers.give_up(1).map_err(at_path)?;
                    rows::insert_skip(&connection, 1, &Cursors::new()).map_err(in_sqlite)?;
                    error!(
                        path = %path.display(), next,
                        "the store is gone: its file is missing or empty, and is made anew; \
                         readings in it that brokers waited for are lost. To bring it back, stop \
                         the gateway and put the file in its place"
                    );
                }
            }
        }
        let newest = rows::newest(&connection).map_err(in_sqlite)?;
        let Saved { head, cursors } =
            Saved::load(&connection, content, &newest).map_err(in_sqlite)?;
        let end = newest.end.unwrap_or(1);
        let next = match newest.damaged {
            Some(_) => numbers.give_up(end.max(head)).map_err(at_path)?,
            // What brokers have acknowledged was used.
            None => numbers.next(newest.end).max(head),
        };
        if has_dropped(path, end, next).map_err(at_path)? {
            return Err(damaged("its write-ahead log is broken in the middle"));
        }
        // From here on the file is changed.
        if content == Content::Older {
            info!(path = %path.display(), "the store is of an older version and is converted");
            // Whatever it may grow to: a store that was full is converted too.
            let convert = |connection: &mut Connection| {
                set_page_limit(connection, Quota::new(u64::MAX).pages())?;
                migrate(connection, &cursors, next)?;
                set_page_limit(connection, quota.pages())
            };
            convert(&mut connection).map_err(in_sqlite)?;
        }
        if let Some(skip) = newest.skip_to(next) {
            error!(
                path = %path.display(), skip, next,
                "the newest readings may be lost: the store ends before {skip}, and numbers below \
                 {next} may have been used; it goes on there"
            );
            match rows::insert_skip(&connection, skip, &cursors) {
                // It is told again the next time.
                Err(full) if full.sqlite_error_code() == Some(ErrorCode::DiskFull) => {}
                inserted => inserted.map_err(in_sqlite)?,
            }
        }
        let oldest = rows::oldest(&connection).map_err(in_sqlite)?;
        let skips = rows::skips(&connection, next).map_err(in_sqlite)?;
        let letters = Letters::load(&connection, quota.bytes).map_err(in_sqlite)?;
        keep_log(&connection, false).map_err(in_sqlite)?;
        Ok(Self { connection, next, oldest, cursors, letters, skips })
    }
}

/// Whether a file has no content, or is not there.
pub(super) fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0)
}

/// Whether SQLite has dropped commits from the write-ahead log that were synced.
///
/// A commit that a power cut has torn was the last one, so it begins where the store ends, or where
/// numbers go on; one that begins higher was made after that was on disk.
pub(super) fn has_dropped(path: &Path, end: u64, next: u64) -> std::io::Result<bool> {
    let mut has_dropped = false;
    let image = Image::open(path, &beside(path, "-wal"))?;
    // It never says no.
    let _ = image.dropped_chunks(|row| -> Result<(), ()> {
        has_dropped |= row.base > end && row.base != next;
        Ok(())
    });
    Ok(has_dropped)
}

/// An error of SQLite at the file, which may say that it is damaged.
pub(super) fn failed(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match is_damage(&source) {
        true => StoreError::Damaged { path, what: "SQLite cannot read it", source: Some(source) },
        false => StoreError::Sqlite { path, source },
    }
}

/// The same while a file is opened, when damage has more faces: a header that asks for what does
/// not exist, or that does not let anybody write.
pub(super) fn failed_to_open(path: &Path, source: rusqlite::Error) -> StoreError {
    let code = source.sqlite_error().map(|error| error.extended_code);
    let is_writable = || File::options().write(true).open(path).is_ok();
    match code {
        Some(SQLITE_ERROR) => {}
        Some(SQLITE_READONLY) if is_writable() => {}
        _ => return failed(path, source),
    }
    let what = "its header is wrong";
    StoreError::Damaged { path: path.to_owned(), what, source: Some(source) }
}

/// Whether an error says that the file is not what was written.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error() {
        Some(error) => {
            let damage = [
                ErrorCode::DatabaseCorrupt,
                ErrorCode::NotADatabase,
                ErrorCode::TypeMismatch,
                ErrorCode::TooBig,
            ];
            // The last one: a file that is shorter than it says.
            damage.contains(&error.code) || error.extended_code == SQLITE_IOERR_SHORT_READ
        }
        // A column is not of its type.
        None => matches!(
            error,
            rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
        ),
    }
}
