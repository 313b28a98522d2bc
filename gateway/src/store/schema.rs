//! The tables of the store file, and how an older file becomes a newer one.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::cursor::{self, Cursor, Cursors};
use super::sqlite::{signed, unsigned};
use super::{Progress, dead};

/// Version of the layout that is described in the module above.
pub(super) const VERSION: i64 = 2;
/// The version that [`migrate`] reads: no dead letters, and a cursor is one number.
pub(super) const FIRST: i64 = 1;
/// Marks the file as a spool: "gwsp".
pub(super) const APPLICATION_ID: i64 = 0x6777_7370;

/// Makes the tables in an empty file.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN;
         CREATE TABLE chunk(base INTEGER PRIMARY KEY, n INTEGER NOT NULL, bytes INTEGER NOT NULL,
                            t_ms INTEGER NOT NULL, crc INTEGER NOT NULL, cursors BLOB NOT NULL,
                            data BLOB NOT NULL) STRICT;
         CREATE TABLE cursor(broker TEXT PRIMARY KEY, next INTEGER NOT NULL,
                             dropped INTEGER NOT NULL, head INTEGER NOT NULL DEFAULT 0,
                             state BLOB) STRICT, WITHOUT ROWID;
         {}
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {VERSION};
         COMMIT;",
        dead::CREATE
    ))
}

/// Makes a file of version 1 one of this version, all at once or not at all.
///
/// There, the larger of the two numbers that a cursor has counts.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let (head, mut cursors) = newest(&transaction)?.unwrap_or((1, Cursors::new()));
    {
        let mut statement = transaction.prepare("SELECT broker, next FROM cursor")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let next = unsigned(row.get(1)?);
            let cursor = cursors.entry(row.get(0)?).or_insert(Cursor::new(Progress::new(next)));
            cursor.progress.release_open(next);
        }
    }
    transaction.execute_batch(&format!(
        "ALTER TABLE cursor ADD COLUMN head INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE cursor ADD COLUMN state BLOB;
         {}
         PRAGMA user_version = {VERSION};",
        dead::CREATE
    ))?;
    save_cursors(&transaction, &cursors, head)?;
    transaction.commit()
}

/// Makes these the only cursors, as of the time when `head` was the next number.
pub(super) fn save_cursors(
    connection: &Connection,
    cursors: &Cursors,
    head: u64,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO cursor(broker, next, dropped, head, state) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT(broker) DO UPDATE SET next = excluded.next, dropped = excluded.dropped, \
         head = excluded.head, state = excluded.state",
    )?;
    for (key, cursor) in cursors {
        // A vector takes everything.
        let state = minicbor::to_vec(cursor).unwrap_or_default();
        let lowest = signed(cursor.progress.lowest());
        upsert.execute(params![
            key,
            lowest,
            signed(cursor.dropped.total()),
            signed(head),
            state
        ])?;
    }
    let mut all = connection.prepare_cached("SELECT broker FROM cursor")?;
    let keys: Vec<String> = all.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for key in keys.iter().filter(|key| !cursors.contains_key(*key)) {
        connection.prepare_cached("DELETE FROM cursor WHERE broker = ?1")?.execute([key])?;
    }
    Ok(())
}

/// The cursors as they were saved last, be it in the table or with the newest chunk.
pub(super) fn load_cursors(connection: &Connection) -> rusqlite::Result<Cursors> {
    let (saved_at, table) = table(connection)?;
    match newest(connection)? {
        Some((head, cursors)) if head > saved_at && !cursors.is_empty() => Ok(cursors),
        _ => Ok(table),
    }
}

/// The table of cursors, and when it was saved.
fn table(connection: &Connection) -> rusqlite::Result<(u64, Cursors)> {
    let mut statement = connection.prepare("SELECT broker, next, head, state FROM cursor")?;
    let mut rows = statement.query([])?;
    let (mut saved_at, mut cursors) = (0, Cursors::new());
    while let Some(row) = rows.next()? {
        saved_at = unsigned(row.get(2)?).max(saved_at);
        let state: Option<Vec<u8>> = row.get(3)?;
        let exact = state.and_then(|state| minicbor::decode(&state).ok());
        // The plain number repeats some and loses none.
        let next = Progress::new(unsigned(row.get(1)?));
        cursors.insert(row.get(0)?, exact.unwrap_or_else(|| Cursor::new(next)));
    }
    Ok((saved_at, cursors))
}

/// The end of the newest chunk, and the cursors beside it; none where they cannot be read.
fn newest(connection: &Connection) -> rusqlite::Result<Option<(u64, Cursors)>> {
    let newest: Option<(i64, Vec<u8>)> = connection
        .query_row("SELECT base + n, cursors FROM chunk ORDER BY base DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(newest.map(|(head, saved)| (unsigned(head), cursor::decode(&saved).unwrap_or_default())))
}
