//! The tables of the store file, and how an older file becomes a newer one.

use rusqlite::{Connection, params};

use super::cursor::{self, Cursor, CursorRow, Cursors};
use super::rows::{Newest, signed, unsigned};
use super::{Progress, letter};

/// Version of the layout that is described in the module above.
pub(super) const VERSION: i64 = 2;
/// The version that [`migrate`] reads: no dead letters, and a cursor is one number.
const FIRST: i64 = 1;
/// Marks the file as a spool: "gwsp".
const APPLICATION_ID: i64 = 0x6777_7370;

const CHUNK: &str = "base,n,bytes,t_ms,crc,cursors,data";
const CURSOR: &str = "broker,next,dropped,head,state,crc";
const FIRST_CURSOR: &str = "broker,next,dropped";
const DEAD: &str = "id,broker,n,t_ms,reason,detail,topic,bytes,record,crc";

/// Finds numbers that are skipped without a look at every chunk; nothing is written to it else.
const SKIPS: &str = "CREATE INDEX skip ON chunk(base) WHERE n = 0;";

/// What a file holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    Nothing,
    Spool,
    /// A spool of the first version.
    Older,
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
        let is_ours = has("chunk", CHUNK)? && has("cursor", CURSOR)? && has("dead", DEAD)?;
        let is_older = has("chunk", CHUNK)? && has("cursor", FIRST_CURSOR)?;
        Ok(match (query("PRAGMA application_id")?, query("PRAGMA user_version")?) {
            (APPLICATION_ID, VERSION) if is_ours => Self::Spool,
            (APPLICATION_ID, FIRST) if is_older => Self::Older,
            (APPLICATION_ID, FIRST..=VERSION) => Self::Damaged("its tables are wrong"),
            (0, 0) if tables == 0 => Self::Nothing,
            // Nobody else has exactly these tables.
            _ if is_ours || is_older => Self::Damaged("its header is wrong"),
            (_, version) => Self::Foreign(version),
        })
    }
}

/// Makes the tables in an empty file.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN;
         CREATE TABLE chunk(base INTEGER PRIMARY KEY, n INTEGER NOT NULL, bytes INTEGER NOT NULL,
                            t_ms INTEGER NOT NULL, crc INTEGER NOT NULL, cursors BLOB NOT NULL,
                            data BLOB NOT NULL) STRICT;
         CREATE TABLE cursor(broker TEXT PRIMARY KEY, next INTEGER NOT NULL,
                             dropped INTEGER NOT NULL, head INTEGER NOT NULL DEFAULT 0,
                             state BLOB NOT NULL DEFAULT x'', crc INTEGER NOT NULL DEFAULT 0)
                             STRICT, WITHOUT ROWID;
         {SKIPS}
         {}
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {VERSION};
         COMMIT;",
        letter::CREATE
    ))
}

/// Makes a file of version 1, whose cursors these are and that goes on at `head`, one of this
/// version: all at once or not at all.
pub(super) fn migrate(
    connection: &mut Connection,
    cursors: &Cursors,
    head: u64,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(&format!(
        "ALTER TABLE cursor ADD COLUMN head INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE cursor ADD COLUMN state BLOB NOT NULL DEFAULT x'';
         ALTER TABLE cursor ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
         {SKIPS}
         {}
         PRAGMA user_version = {VERSION};",
        letter::CREATE
    ))?;
    save_cursors(&transaction, cursors, head)?;
    transaction.commit()
}

/// Makes these the only cursors, as of the time when `head` was the next number.
pub(super) fn save_cursors(
    connection: &Connection,
    cursors: &Cursors,
    head: u64,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO cursor(broker, next, dropped, head, state, crc) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(broker) DO UPDATE SET next = excluded.next, \
         dropped = excluded.dropped, head = excluded.head, state = excluded.state, \
         crc = excluded.crc",
    )?;
    for (key, cursor) in cursors {
        let state = cursor::encode_one(cursor);
        let row = CursorRow::new(key, head, &state);
        let lowest = signed(cursor.progress.lowest());
        let dropped = signed(cursor.dropped.total());
        upsert.execute(params![key, lowest, dropped, signed(head), state, row.crc])?;
    }
    let mut all = connection.prepare_cached("SELECT broker FROM cursor")?;
    let keys: Vec<String> = all.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for key in keys.iter().filter(|key| !cursors.contains_key(*key)) {
        connection.prepare_cached("DELETE FROM cursor WHERE broker = ?1")?.execute([key])?;
    }
    Ok(())
}

/// The table of cursors.
#[derive(Debug)]
pub(super) struct Saved {
    /// The next number at the time when it was saved.
    pub(super) head: u64,
    pub(super) cursors: Cursors,
}

impl Saved {
    /// The cursors as they were saved last, be it there or beside the newest chunk.
    pub(super) fn load(
        connection: &Connection,
        content: Content,
        newest: &Newest,
    ) -> rusqlite::Result<Self> {
        if content == Content::Older {
            let cursors = first_cursors(connection, newest.cursors.clone())?;
            return Ok(Self { head: 1, cursors });
        }
        let (head, table) = table(connection)?;
        let is_older = newest.end.is_some_and(|end| end > head) && !newest.cursors.is_empty();
        Ok(Self { head, cursors: if is_older { newest.cursors.clone() } else { table } })
    }
}

/// When the table of cursors was saved, and what is in it.
fn table(connection: &Connection) -> rusqlite::Result<(u64, Cursors)> {
    let mut statement = connection.prepare("SELECT broker, head, state, crc FROM cursor")?;
    let mut rows = statement.query([])?;
    let (mut saved_at, mut cursors) = (1, Cursors::new());
    while let Some(row) = rows.next()? {
        let key = String::from_utf8_lossy(row.get_ref(0)?.as_bytes().unwrap_or_default());
        match cursor_row(row).and_then(|row| Some((row.head, row.cursor()?))) {
            Some((head, cursor)) => {
                saved_at = head.max(saved_at);
                cursors.insert(key.into_owned(), cursor);
            }
            // That repeats some records and loses none.
            None => drop(cursors.insert(key.into_owned(), Cursor::unknown())),
        }
    }
    Ok((saved_at, cursors))
}

/// None where a column is not of its type, which only damage can bring about.
fn cursor_row<'a>(row: &'a rusqlite::Row<'_>) -> Option<CursorRow<'a>> {
    Some(CursorRow {
        key: row.get_ref(0).ok()?.as_str().ok()?,
        head: unsigned(row.get_ref(1).ok()?.as_i64().ok()?),
        state: row.get_ref(2).ok()?.as_blob().ok()?,
        crc: row.get_ref(3).ok()?.as_i64().ok()?.try_into().ok()?,
    })
}

/// Those of the first version, from what lies beside the newest chunk.
fn first_cursors(connection: &Connection, mut cursors: Cursors) -> rusqlite::Result<Cursors> {
    let mut statement = connection.prepare("SELECT broker, next FROM cursor")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (broker, next) = (row.get_ref(0)?, row.get_ref(1)?);
        // What is not of its type is damage, and costs duplicates only.
        if let (Ok(broker), Ok(next)) = (broker.as_str(), next.as_i64()) {
            raise(&mut cursors, broker, unsigned(next));
        }
    }
    Ok(cursors)
}

/// Takes over what the table of the first version says of a broker: the larger of the two numbers
/// counts. One that was configured at the newest commit lies beside it too.
pub(super) fn raise(cursors: &mut Cursors, broker: &str, next: u64) {
    let orphan = || Cursor { is_orphan: true, ..Cursor::new(Progress::new(next)) };
    let cursor = cursors.entry(broker.to_owned()).or_insert_with(orphan);
    cursor.progress.release_open(next);
}
