//! What can be read of a damaged store, copied into a new one.
//!
//! The old file is read page by page ([`Image`]), twice: first to learn how far the brokers are,
//! because free pages still hold what was released and deleted; then to copy.

use rusqlite::{Connection, ErrorCode};

use super::KEEP;
use super::log::{Cursors, decode_cursors};
use super::pages::Image;
use super::rows::{insert_skip, signed, unsigned};

/// Rows of one commit.
const ROWS: u32 = 256;

/// What a salvage has brought.
#[derive(Debug)]
pub(super) struct Salvaged {
    /// Records in the new file.
    pub(super) records: u64,
    /// Numbers that brokers still wait for and that are in no chunk, below `end`.
    pub(super) lost: u64,
    /// One past the highest number that was found.
    pub(super) end: u64,
    /// Whether the disk had room for everything.
    pub(super) is_complete: bool,
}

/// Copies chunks and cursors from `image` into the empty store behind `connection`. No number from
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
    if is_complete {
        insert_skip(connection, survey.end, &survey.cursors)?;
    }
    Ok(Salvaged { records, lost, end: survey.end, is_complete })
}

/// What the old file says as a whole.
struct Survey {
    end: u64,
    cursors: Cursors,
    /// What every broker of the newest commit has.
    released: u64,
    /// Released chunks from before are not copied.
    keep_from_ms: i64,
}

impl Survey {
    fn of(image: &Image, limit: Option<u64>) -> Self {
        let mut survey = Self { end: 1, cursors: Cursors::new(), released: 0, keep_from_ms: 0 };
        let (mut newest, mut newest_ms) = (Cursors::new(), 0);
        let mut raise = |broker: &str, next: u64| {
            if limit.is_none_or(|limit| next <= limit) {
                let cursor = survey.cursors.entry(broker.to_owned()).or_default();
                *cursor = next.max(*cursor);
            }
        };
        image.cursors(&mut raise);
        // It never says no.
        let _ = image.chunks(|row| -> Result<(), ()> {
            let Ok(chunk) = row.chunk() else { return Ok(()) };
            let cursors = decode_cursors(row.cursors).unwrap_or_default();
            cursors.iter().for_each(|(broker, next)| raise(broker, *next));
            if chunk.end > survey.end {
                (survey.end, newest) = (chunk.end, cursors);
            }
            newest_ms = row.time_ms.max(newest_ms);
            Ok(())
        });
        let released = newest.keys().filter_map(|broker| survey.cursors.get(broker)).min();
        survey.released = released.copied().unwrap_or(0);
        let keep_ms = i64::try_from(KEEP.as_millis()).unwrap_or(i64::MAX);
        survey.keep_from_ms = newest_ms.saturating_sub(keep_ms);
        survey
    }
}

fn copy(image: &Image, connection: &Connection, survey: &Survey) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN")?;
    let copied = copy_cursors(connection, &survey.cursors)
        .and_then(|()| copy_chunks(image, connection, survey))
        .and_then(|()| connection.execute_batch("COMMIT"));
    if copied.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    copied
}

fn copy_cursors(connection: &Connection, cursors: &Cursors) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare("INSERT INTO cursor(broker, next, dropped) VALUES (?1, ?2, 0)")?;
    for (broker, next) in cursors {
        statement.execute((broker, signed(*next)))?;
    }
    Ok(())
}

fn copy_chunks(image: &Image, connection: &Connection, survey: &Survey) -> rusqlite::Result<()> {
    let mut rows = 0;
    image.chunks(|row| {
        let Ok(chunk) = row.chunk() else { return Ok(()) };
        if chunk.end <= survey.released && row.time_ms < survey.keep_from_ms {
            return Ok(());
        }
        row.insert_if_new(connection, chunk.end - chunk.base)?;
        rows += 1;
        if rows % ROWS == 0 {
            connection.execute_batch("COMMIT; BEGIN")?;
        }
        Ok(())
    })
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
