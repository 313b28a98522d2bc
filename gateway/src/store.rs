//! The store: every acknowledged reading, on disk until every broker has acknowledged it.
//!
//! # Constraints
//! A commit must survive `kill -9`, a power cut and a torn write; flash must not wear out; a
//! backlog of millions must open at once and stay out of memory.
//!
//! # Format
//! One SQLite file, `spool.db`, in write-ahead mode. What one commit holds is one row, a *chunk*:
//!
//! ```text
//! chunk(base, n, bytes, t_ms, crc, cursors, data)        base: number of its first record
//! cursor(broker, next, dropped, head, state, crc)        next: lowest number not yet acknowledged
//! dead(id, broker, n, t_ms, reason, detail, topic, bytes, record, crc)
//! ```
//!
//! `data` is `n` times a length (`u32`, little endian) and a record ([`record`]). `cursors` repeats
//! every cursor at the time of the commit: it lies in a page that is written anyway, so that cursors
//! are saved with every commit and cost nothing. `head` is the next number at the time when the table
//! was saved, so that the later of the two places is known; it counts as a whole. A [`cursor`] is exact
//! in `cursors` and `state`; `next` and `dropped` are for people. Its key in `broker` is that of a
//! [`lane`].
//!
//! SQLite does not check its pages, so every row has a CRC-32, `crc`: a chunk's is that of `base`,
//! `cursors` and `data`, or in a file of an older gateway of `data` alone. A chunk without records says
//! that the numbers from its own up to the next chunk's are [skipped](skips).
//!
//! Beside the file lie the [`numbers`] that may have been used, the [`reserve`], and when the machine was
//! started, by which records get their [`times`].
//!
//! # Guarantees
//! - Records are numbered from 1 upwards, and no number is ever used twice: the newest chunk is never
//!   deleted, and where it is lost, the store goes on with a number that was never used.
//! - A receipt resolves only after the commit, which ends with one `fdatasync`.
//! - A record is released for a broker when its cursor has passed it, and deleted when it is
//!   released for all, once it is older than [`KEEP`] or space is short.
//! - A record that a broker has not acknowledged is given up for it only where a limit says so:
//!   `max_lag`, `max_age`, or [`WhenFull::DropOldest`]. It is counted, and the count is saved in the
//!   same commit as the cursor that passes it.
//! - `quota` bounds everything together: the file, its log and the reserve. The file grows only
//!   while the [file system](space) has room; without, what is free in it is used. What damage leaves
//!   behind comes on top, and has limits of its own.
//! - After an I/O error the file is closed, opened again and recovered, and what was not
//!   acknowledged is appended again: a failed sync is never retried.
//! - Whatever happens to the bytes, the store opens, gives no record that is not the one that was
//!   written, and accounts for every number: a reader gets a chunk without records for those that
//!   cannot be read.
//!
//! # Damage
//! A row that is not what was written is skipped, and told once ([`quarantine`]). A file that SQLite
//! cannot read is set aside ([`repair`]), and a new one is filled ([`salvage`]) with what any page of
//! it or of its log still holds ([`pages`], [`wal`]). [`recovery`] finds out, at every opening, whether
//! that is necessary. A cursor that cannot be read sends its broker back, never ahead.
//!
//! # Parts
//! [`log`] is what is asked of the disk and [`sqlite`] the file that does it, with its tables in
//! [`schema`]; [`rows`], [`chunk`], [`record`], [`cursor`], [`letter`] and [`dead`] are what is in it.
//! [`worker`] is the one thread that touches it, [`Spool`] what the rest of the gateway holds of it, and
//! [`shared`] what lies between the two. [`Progress`], [`lane`], [`skips`], [`space`] and [`wear`] decide
//! without touching the file. [`Archive`] is a file that is only read, [`Examiner`] says whether a store
//! is sound, a [`Selection`] names some of its records.

mod archive;
mod chunk;
mod connect;
mod cursor;
mod dead;
mod job;
mod lag;
mod lane;
mod letter;
mod lock;
mod log;
mod numbers;
mod pages;
mod policy;
mod progress;
mod quarantine;
mod quota;
mod record;
mod recovery;
mod repair;
mod reserve;
mod rows;
mod salvage;
mod schema;
mod selection;
mod shared;
mod skips;
mod space;
mod spool;
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;
mod times;
mod verdict;
mod wal;
mod wear;
mod worker;

pub(crate) use archive::Archive;
pub(crate) use chunk::{Batch, Chunk, Damage};
pub(crate) use cursor::{Dropped, Mark};
pub(crate) use dead::{DeadCounts, Page as DeadPage};
pub(crate) use job::{Acknowledge, NotStored};
pub(crate) use lane::{Lane, Limits, Standing};
pub(crate) use letter::DeadLetter;
pub(crate) use lock::is_locked;
pub(crate) use policy::{Policy, WhenFull};
pub(crate) use progress::Progress;
pub(crate) use quarantine::copies;
pub(crate) use record::{Content, Message, Origin, Record};
pub(crate) use repair::{SetAside, set_aside};
pub(crate) use selection::Selection;
pub(crate) use shared::StoreStatus;
pub(crate) use spool::{BrokerCursor, ReadAhead, Spool};
pub(crate) use times::ClockStatus;
#[cfg(test)]
pub(crate) use verdict::Stretch;
pub(crate) use verdict::{Examiner, Verdict};

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The store's name in the state directory.
pub(crate) const FILE: &str = "spool.db";
/// Released records stay this long, so that CoAP's de-duplication can be rebuilt from them after
/// a restart (EXCHANGE_LIFETIME, RFC 7252 §4.8.2).
pub(crate) const KEEP: Duration = Duration::from_secs(247);

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the store is full: {used} of {quota} bytes")]
    Full { used: u64, quota: u64 },
    #[error("the disk has no room for the store: {free} bytes are free, see `store.min_free`")]
    NoRoom { free: u64 },
    #[error(
        "the list of dead letters is full ({letters} letters, {bytes} bytes): look at them with \
         `gateway dead-letters`, then resend or drop them"
    )]
    DeadLettersFull { letters: u64, bytes: u64 },
    #[error("cannot use the state directory {path}")]
    Directory { path: PathBuf, source: io::Error },
    #[error(
        "another gateway{holder} uses the state directory {path}; stop it, or give this one its \
         own `gateway.state_dir`"
    )]
    Locked { path: PathBuf, holder: String },
    #[error(
        "{path} is not this gateway's store (version {found}, expected {expected}); it is left as \
         it is: move it away, or point `gateway.state_dir` elsewhere"
    )]
    Version { path: PathBuf, found: i64, expected: i64 },
    #[error("there is no store in {path}: the file is missing or empty")]
    Missing { path: PathBuf },
    #[error("the store {path} is damaged: {what}")]
    Damaged { path: PathBuf, what: &'static str, source: Option<rusqlite::Error> },
    #[error("the store {path} failed")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("the storage thread has ended")]
    Ended,
}

impl StoreError {
    /// Whether there is no room, and nothing has changed.
    pub(crate) const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::NoRoom { .. })
    }

    /// Whether nobody knows what is on disk, until it is opened again.
    const fn is_failure(&self) -> bool {
        matches!(self, Self::Sqlite { .. } | Self::Damaged { .. })
    }

    /// Whether nothing has changed, and it may work later.
    pub(crate) const fn is_passing(&self) -> bool {
        self.is_full() || matches!(self, Self::DeadLettersFull { .. })
    }
}
