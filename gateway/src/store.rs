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
//! chunk(base, n, bytes, t_ms, crc, cursors, data)   base: number of its first record
//! cursor(broker, next, dropped)                     next: lowest number not yet acknowledged
//! ```
//!
//! `data` is `n` times a length (`u32`, little endian) and a record ([`record`]); `crc` is a
//! CRC-32 over `base`, `cursors` and `data` ([`chunk::checksum`]), because SQLite does not check its
//! pages. `cursors` repeats every cursor at the time of the commit: it lies in a page that is
//! written anyway, so that cursors are saved with every commit and cost nothing. A cursor's value is
//! the larger of the two places. A row without records says that the numbers from there up to the
//! next row are skipped.
//!
//! # Guarantees
//! - Records are numbered from 1, and no number is ever used twice: the newest chunk is never
//!   deleted, and [`numbers`] says how far they went when the file is destroyed. Only after damage
//!   are numbers skipped.
//! - A receipt resolves only after the commit, which ends with one `fdatasync`.
//! - A record is released for a broker when its cursor has passed it, and deleted when it is
//!   released for all, once it is older than [`KEEP`] or space is short.
//! - After an I/O error the file is closed, opened again and recovered, and what was not
//!   acknowledged is appended again: a failed sync is never retried.
//! - Whatever happens to the bytes, the store opens, gives no record that is not the one that was
//!   written, and accounts for every number: a reader gets a chunk without records for those that
//!   cannot be read.
//!
//! # Damage
//! A row that is not what was written is skipped, and told once ([`quarantine`]). A file that SQLite
//! cannot read is set aside ([`repair`]), and a new one is filled ([`salvage`]) with the chunks that
//! any page of it or of its log still holds ([`pages`], [`wal`]). [`recovery`] finds out, at every
//! opening, whether that is necessary.
//!
//! # Parts
//! [`log`] is what is asked of the disk and [`sqlite`] the file that does it, [`rows`], [`chunk`] and
//! [`record`] are what is in it, [`worker`] is the one thread that touches it, [`Spool`] what the rest
//! of the gateway holds of it, and [`shared`] what lies between the two. [`Archive`] is a file that
//! is only read, [`Examiner`] says whether a store is sound, a [`Selection`] names some of its records.

mod archive;
mod chunk;
mod job;
mod lock;
mod log;
mod numbers;
mod pages;
mod quarantine;
mod record;
mod recovery;
mod repair;
mod rows;
mod salvage;
mod selection;
mod shared;
mod spool;
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;
mod verdict;
mod wal;
mod worker;

pub(crate) use archive::Archive;
pub(crate) use chunk::{Batch, Chunk, Damage};
pub(crate) use job::{Acknowledge, NotStored};
pub(crate) use lock::is_locked;
pub(crate) use quarantine::copies;
pub(crate) use record::{Origin, Record};
pub(crate) use repair::{SetAside, set_aside};
pub(crate) use selection::Selection;
pub(crate) use shared::StoreStatus;
pub(crate) use spool::{BrokerCursor, Spool};
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
