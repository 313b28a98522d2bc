//! What can be read of a damaged store, copied into a new one.
//!
//! The old file is read page by page ([`Image`]): first to learn how far the brokers are, because
//! free pages still hold what was released and deleted; then to copy, what is small first. Dead
//! letters that were deleted may come back from free pages.

use std::collections::BTreeMap;

use rusqlite::{Connection, ErrorCode};

use super::KEEP;
use super::cursor::{self, Cursors};
use super::pages::{FoundCursor, Image};
use super::rows::{insert_skip, unsigned};
use super::schema::{raise, save_cursors};

/// Rows of one commit.
const ROWS: u32 = 256;

/// What a salvage has brought.
#[derive(Debug)]
pub(super) struct Salvaged {
    /// Records in the new file.
    pub(super) records: u64,
    /// Dead letters in it.
    pub(super) letters: u64,
    /// Numbers that brokers still wait for and that are in no chunk, below `end`.
    pub(super) lost: u64,
    /// One past the highest number that was found.
    pub(super) end: u64,
    /// No number below may be used again.
    pub(super) head: u64,
    /// Whether the disk had room for everything.
    pub(super) is_complete: bool,
}

/// Copies cursors, dead letters and chunks from `image` into the empty store behind `connection`. No number from
/// `limit` on was ever used, if there is one.
pub(super) fn salvage(
    image: &Image,
    connection: &Connection,
    limit: Option<u64>,
) -> rusqlite::Result<Salvaged> {
    let survey = Survey::of(image, limit);
    let copied = copy(image, connection, &survey);
    let is_complete = match copied {
        Ok(()) => true,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => false,
        Err(error) => return Err(error),
    };
    let (records, lost) = count(connection, survey.released)?;
    let letters = connection.query_row("SELECT count(*) FROM dead", [], |row| row.get(0))?;
    if is_complete {
        insert_skip(connection, survey.end, &survey.cursors)?;
    }
    Ok(Salvaged {
        records,
        letters: unsigned(letters),
        lost,
        end: survey.end,
        head: survey.head,
        is_complete,
    })
}

/// What the old file says as a whole.
struct Survey {
    /// One past the newest record.
    end: u64,
    /// The next number, as far as the cursors know it.
    head: u64,
    cursors: Cursors,
    /// What no broker waits for any more.
    released: u64,
    /// Released chunks from before are not copied.
    keep_from_ms: i64,
}

impl Survey {
    fn of(image: &Image, limit: Option<u64>) -> Self {
        // One past the newest record; a row at the same place that skips numbers came later.
        let (mut newest, mut beside, mut newest_ms) = ((1, 0), Cursors::new(), 0);
        // It never says no.
        let _ = image.chunks(|row| -> Result<(), ()> {
            let Ok(chunk) = row.chunk() else { return Ok(()) };
            if (chunk.end, chunk.base) > newest {
                newest = (chunk.end, chunk.base);
                beside = cursor::decode(row.cursors).unwrap_or_default();
            }
            newest_ms = row.time_ms.max(newest_ms);
            Ok(())
        });
        let (end, _) = newest;
        let (head, cursors) = found_cursors(image, end, beside, limit);
        let released = cursor::released(&cursors, head).unwrap_or(0);
        let keep_ms = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
        Self { end, head, cursors, released, keep_from_ms: newest_ms.saturating_sub(keep_ms) }
    }
}

/// The next number as far as they know, and the cursors, from those `beside` the newest chunk, which ends at `end`, and what is left of their
/// table: of each the one that was saved later. One that was deleted may come back, which repeats
/// records and loses none.
fn found_cursors(image: &Image, end: u64, beside: Cursors, limit: Option<u64>) -> (u64, Cursors) {
    let (mut head, mut cursors) = (end, beside);
    let mut saved_at: BTreeMap<String, u64> = BTreeMap::new();
    let mut first = Vec::new();
    image.cursors(|found| match found {
        FoundCursor::Saved(row) => {
            let newest = saved_at.get(row.key).copied().unwrap_or(end);
            if let Some(cursor) = row.cursor()
                && (row.head >= newest || !cursors.contains_key(row.key))
            {
                head = row.head.max(head);
                saved_at.insert(row.key.to_owned(), row.head);
                cursors.insert(row.key.to_owned(), cursor);
            }
        }
        FoundCursor::First(broker, next) => first.push((broker.to_owned(), next)),
    });
    // A file that was migrated has none of the first version.
    if saved_at.is_empty() {
        let is_possible = |next: u64| limit.is_none_or(|limit| next <= limit);
        first.retain(|(_, next)| is_possible(*next));
        first.iter().for_each(|(broker, next)| raise(&mut cursors, broker, *next));
    }
    (head, cursors)
}

fn copy(image: &Image, connection: &Connection, survey: &Survey) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN")?;
    let copied = save_cursors(connection, &survey.cursors, survey.head)
        .and_then(|()| connection.execute_batch("COMMIT; BEGIN"))
        .and_then(|()| copy_letters(image, connection))
        .and_then(|()| copy_chunks(image, connection, survey))
        .and_then(|()| connection.execute_batch("COMMIT"));
    if copied.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    copied
}

fn copy_letters(image: &Image, connection: &Connection) -> rusqlite::Result<()> {
    let mut commit = Every::new(connection);
    image.letters(|row| {
        row.insert_if_new(connection)?;
        commit.handle_row()
    })?;
    connection.execute_batch("COMMIT; BEGIN")
}

fn copy_chunks(image: &Image, connection: &Connection, survey: &Survey) -> rusqlite::Result<()> {
    let mut commit = Every::new(connection);
    image.chunks(|row| {
        let Ok(chunk) = row.chunk() else { return Ok(()) };
        if chunk.end <= survey.released && row.time_ms < survey.keep_from_ms {
            return Ok(());
        }
        row.insert_if_new(connection, chunk.end - chunk.base)?;
        commit.handle_row()
    })
}

/// Ends a transaction and begins another every [`ROWS`] rows.
struct Every<'a> {
    connection: &'a Connection,
    rows: u32,
}

impl<'a> Every<'a> {
    const fn new(connection: &'a Connection) -> Self {
        Self { connection, rows: 0 }
    }

    fn handle_row(&mut self) -> rusqlite::Result<()> {
        self.rows += 1;
        match self.rows.is_multiple_of(ROWS) {
            true => self.connection.execute_batch("COMMIT; BEGIN"),
            false => Ok(()),
        }
    }
}

/// Records of the new file, and numbers from `released` on that are missing between them.
fn count(connection: &Connection, released: u64) -> rusqlite::Result<(u64, u64)> {
    let mut statement = connection.prepare("SELECT base, n FROM chunk ORDER BY base")?;
    let mut rows = statement.query([])?;
    let (mut records, mut lost) = (0, 0);
    // Where the next row should begin. Without cursors nobody knows what came before the first one;
    // after a row without records the next one may begin anywhere.
    let mut position = (released > 0).then_some(released);
    while let Some(row) = rows.next()? {
        let (base, n) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
        lost += base.saturating_sub(position.unwrap_or(base));
        records += n;
        position = (n > 0).then(|| position.unwrap_or(0).max(base + n));
    }
    Ok((records, lost))
}
