//! Durable appends alone: what a commit costs, without a network and without readings.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use device_sim::clock::Clock;
use proto::Instant;
use rusqlite::{Connection, OpenFlags, params};

use super::Outcome;
use super::figure::{Run, number};
use super::gateway::Folder;
use super::process::own_thread_cpu;

/// Bytes of a record with its length.
const RECORD: usize = 150;
/// As a gateway with one broker writes them beside each chunk.
const CURSORS: [u8; 24] = [b'c'; 24];

/// Commits records in batches for a while: SQLite as the gateway opens it.
pub(crate) fn sqlite(dir: &Path, batch: u32, duration: Duration) -> Outcome<Run> {
    let folder = Folder::create(dir)?;
    let mut connection = connect(&folder.0.join("spool.db"))?;
    let data = vec![b'r'; RECORD * usize::try_from(batch)?];
    let mut base = 1_i64;
    run(batch, duration, || {
        let transaction = connection.transaction()?;
        transaction
            .prepare_cached(
                "INSERT INTO chunk(base, n, bytes, t_ms, crc, cursors, data) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                base,
                batch,
                i64::try_from(data.len())?,
                base,
                crc32fast::hash(&data),
                CURSORS,
                data
            ])?;
        transaction.commit()?;
        base += i64::from(batch);
        Ok(())
    })
}

/// The same to a file that grows: one write and one sync for each batch.
pub(crate) fn raw_log(dir: &Path, batch: u32, duration: Duration) -> Outcome<Run> {
    let folder = Folder::create(dir)?;
    let mut file = File::create(folder.0.join("log"))?;
    let data = vec![b'r'; RECORD * usize::try_from(batch)?];
    run(batch, duration, || {
        let crc = crc32fast::hash(&data);
        file.write_all(&[&crc.to_le_bytes(), data.as_slice()].concat())?;
        Ok(file.sync_data()?)
    })
}

fn run(batch: u32, duration: Duration, mut commit: impl FnMut() -> Outcome<()>) -> Outcome<Run> {
    let clock = Clock::start();
    let before = own_thread_cpu()?;
    let mut commits = 0;
    while clock.now() - Instant::ZERO < duration {
        commit()?;
        commits += 1;
    }
    let elapsed = clock.now() - Instant::ZERO;
    let records = commits * u64::from(batch);
    let cpu = own_thread_cpu()? - before;
    let run = Run::default().with_rate(records, elapsed).with_cpu(records, cpu);
    Ok(run.with(super::figure::Metric::Batch, number(batch.into())))
}

/// The order matters, and is that of the gateway's store.
fn connect(path: &Path) -> Outcome<Connection> {
    let connection = Connection::open_with_flags(
        format!("file:{}?psow=0", path.display()),
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "page_size", 4096)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 1000)?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    connection.pragma_update(None, "cache_size", -4096)?;
    connection.pragma_update(None, "max_page_count", (1 << 30) / 4096)?;
    connection.execute_batch(
        "CREATE TABLE chunk(base INTEGER PRIMARY KEY, n INTEGER NOT NULL, bytes INTEGER NOT NULL,
                            t_ms INTEGER NOT NULL, crc INTEGER NOT NULL, cursors BLOB NOT NULL,
                            data BLOB NOT NULL) STRICT;",
    )?;
    Ok(connection)
}
