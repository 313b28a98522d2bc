//! How SQLite opens the store file, and the settings that the guarantees rest on.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::quota::{PAGE, Quota};
use super::rows::{signed, unsigned};

/// Opens or creates a file.
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

/// Opens a file, with its log or without one, so that nothing of it is changed and nothing is made
/// beside it.
pub(super) fn connect_to_read(path: &Path, has_log: bool) -> rusqlite::Result<Connection> {
    let how = if has_log { "vfs=unix-none" } else { "immutable=1" };
    let uri = format!("file:{}?mode=ro&{how}", percent_encoded(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    keep_log(&connection, true)?;
    Ok(connection)
}

/// Whether closing the connection leaves the write-ahead log as it is.
pub(super) fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

/// Makes the settings; their order matters.
pub(super) fn configure(connection: &Connection, quota: Quota) -> rusqlite::Result<()> {
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
pub(super) fn set_page_limit(connection: &Connection, pages: u64) -> rusqlite::Result<()> {
    connection.pragma_update(None, "max_page_count", signed(pages))
}

/// Bytes in use, without space that waits to be used again.
pub(super) fn used_bytes(connection: &Connection) -> u64 {
    let pragma = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get(0));
    let pages: i64 = pragma("PRAGMA page_count").unwrap_or(0);
    let free: i64 = pragma("PRAGMA freelist_count").unwrap_or(0);
    unsigned(pages - free) * PAGE
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
