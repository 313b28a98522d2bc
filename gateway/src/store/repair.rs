//! A store file that is damaged is set aside, and a new one takes its place with all that can be
//! read of it.
//!
//! ```text
//! spool.db.salvage         being filled; one that is found at the start is deleted
//! spool.db.salvaged-TIME   filled and synced: from here on the repair is completed, also after a
//!                          crash
//! spool.db.damaged-TIME    the old file, with its `-wal`
//! ```
//! The old file is only read and renamed, so that a crash at any point loses nothing.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use proto::Timestamp;
use rusqlite::Connection;
use tracing::{error, warn};

use super::connect::{configure, connect, keep_log};
use super::numbers::Numbers;
use super::pages::Image;
use super::quota::Quota;
use super::salvage::{Salvaged, salvage};
use super::schema::create;
use super::{FILE, StoreError};
use crate::causes::chain;
use crate::clock;

const FILLING: &str = "spool.db.salvage";
const FILLED: &str = "spool.db.salvaged-";
/// What the name of a file that was set aside begins with.
const SET_ASIDE: &str = "spool.db.damaged-";
/// What SQLite keeps beside a file.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Most files that are kept set aside; after that the oldest is deleted.
const KEPT: usize = 3;

/// Completes a repair that a crash has interrupted.
pub(super) fn resume(directory: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
    remove(&directory.join(FILLING)).map_err(failed)?;
    for name in names(directory).map_err(failed)? {
        if let Some(time) = name.strip_prefix(FILLED)
            && !COMPANIONS.iter().any(|companion| time.ends_with(companion))
        {
            warn!(%time, "a repair of the store was interrupted and is completed");
            put_in_place(directory, time).map_err(failed)?;
        }
    }
    Ok(())
}

/// Replaces the file in `directory` by what can be read of it. `next` is the number that would
/// have come next, where it is known.
pub(super) fn repair(
    directory: &Path,
    numbers: &mut Numbers,
    next: Option<u64>,
    cause: &StoreError,
) -> Result<(), StoreError> {
    let in_directory = |source| StoreError::Directory { path: directory.to_owned(), source };
    let path = directory.join(FILE);
    let cause = chain(cause);
    error!(%cause, "the store is damaged; what can be read is saved, which may take a while");
    let filling = directory.join(FILLING);
    remove(&filling).map_err(in_directory)?;
    let image = Image::open(&path, &beside(&path, "-wal")).map_err(in_directory)?;
    let salvaged = fill(&image, &filling, next.or_else(|| numbers.limit()))
        .map_err(|source| StoreError::Sqlite { path: filling.clone(), source })?;
    let mut place = || {
        File::open(&filling)?.sync_all()?;
        // Before the new file is found: from it alone nobody could tell what was used.
        let goes_on = numbers.give_up(salvaged.head.max(next.unwrap_or(1)))?;
        let time = unused(directory, &stamp(clock::wall()));
        fs::rename(&filling, directory.join(format!("{FILLED}{time}")))?;
        sync(directory)?;
        put_in_place(directory, &time)?;
        Ok((directory.join(format!("{SET_ASIDE}{time}")), goes_on))
    };
    let (set_aside, goes_on): (PathBuf, u64) = place().map_err(in_directory)?;
    tell(&salvaged, &set_aside, next, goes_on);
    forget_oldest(directory);
    Ok(())
}

/// Copies what `image` holds into a new store at `path`.
pub(super) fn fill(image: &Image, path: &Path, limit: Option<u64>) -> rusqlite::Result<Salvaged> {
    let connection: Connection = connect(path)?;
    // Whatever the quota is now, the old file was allowed to be as large as it is.
    configure(&connection, Quota::new(u64::MAX))?;
    create(&connection)?;
    // It is synced once, when it is complete.
    connection.pragma_update(None, "synchronous", "OFF")?;
    let salvaged = salvage(image, &connection, limit)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    // Deletes the log, which is empty.
    keep_log(&connection, false)?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(salvaged)
}

/// A file of the store that was set aside.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct SetAside {
    pub(crate) file: PathBuf,
    pub(crate) bytes: u64,
}

/// The files that were set aside, the oldest first.
pub(crate) fn set_aside(directory: &Path) -> io::Result<Vec<SetAside>> {
    let names = names(directory)?.into_iter().filter(|name| {
        let is_companion = COMPANIONS.iter().any(|companion| name.ends_with(companion));
        name.starts_with(SET_ASIDE) && !is_companion
    });
    names
        .map(|name| {
            let file = directory.join(name);
            Ok(SetAside { bytes: fs::metadata(&file)?.len(), file })
        })
        .collect()
}

/// The path of what SQLite keeps beside a file.
pub(super) fn beside(path: &Path, companion: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(companion);
    name.into()
}

/// Sets the old file aside and gives the new one its name; does what is left of it where a part is
/// done.
fn put_in_place(directory: &Path, time: &str) -> io::Result<()> {
    let old = directory.join(FILE);
    let set_aside = directory.join(format!("{SET_ASIDE}{time}"));
    for companion in COMPANIONS.into_iter().chain([""]) {
        match fs::rename(beside(&old, companion), beside(&set_aside, companion)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // Never the new file beside the old log.
    sync(directory)?;
    fs::rename(directory.join(format!("{FILLED}{time}")), old)?;
    sync(directory)
}

fn tell(salvaged: &Salvaged, set_aside: &Path, next: Option<u64>, goes_on: u64) {
    let file = set_aside.display();
    let Salvaged { records, letters, end, .. } = *salvaged;
    let lost = salvaged.lost + next.map_or(0, |next| next.saturating_sub(end));
    let newer = if next.is_none() { ", and perhaps newer ones," } else { "" };
    error!(
        %file, records, letters, lost, goes_on,
        "the store was damaged and is set aside as {file}: {records} readings and {letters} dead letters were saved into a \
         new one; {lost}{newer} that brokers still waited for are lost; new readings are numbered \
         from {goes_on} on. Look into it with `gateway store export {file}`, check the disk, and \
         delete the file when you do not need it any more"
    );
    if !salvaged.is_complete {
        error!(%file, "the disk had no room to save everything: the rest is only in that file");
    }
}

fn forget_oldest(directory: &Path) {
    let files = set_aside(directory).unwrap_or_default();
    for SetAside { file, .. } in files.iter().take(files.len().saturating_sub(KEPT)) {
        warn!(file = %file.display(), "deletes the oldest store that was set aside, {KEPT} are kept");
        if let Err(error) = remove(file) {
            warn!(file = %file.display(), %error, "cannot delete it");
        }
    }
}

/// Removes a file and what SQLite keeps beside it.
fn remove(path: &Path) -> io::Result<()> {
    for companion in COMPANIONS.into_iter().chain([""]) {
        match fs::remove_file(beside(path, companion)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Names of the files in a folder, in order.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// The time, with a number where that name is taken.
fn unused(directory: &Path, time: &str) -> String {
    let taken = |time: &str| directory.join(format!("{SET_ASIDE}{time}")).exists();
    let numbered = (2..).map(|number: u32| format!("{time}-{number}"));
    std::iter::once(time.to_owned()).chain(numbered).find(|time| !taken(time)).unwrap_or_default()
}

/// The time in the name of a file, such as `20261120T223900Z`.
fn stamp(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(time.as_nanos().into()).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
