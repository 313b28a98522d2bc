//! What the storage thread is asked to do, and what it answers.

use std::sync::Arc;

use proto::Timestamp;
use tokio::sync::oneshot;

use super::{Batch, Chunk, DeadLetter, DeadPage, StoreError};

/// Resolves the receipt of a submission, or of a batch.
pub(crate) type Acknowledge = oneshot::Sender<Result<(), NotStored>>;

/// Why a reading was not stored. It was not acknowledged either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotStored {
    #[error("the store is full")]
    Full,
    #[error("the store failed")]
    Failed,
}

/// A batch on its way to the disk.
pub(super) struct Append {
    pub(super) batch: Batch,
    pub(super) receipt: Acknowledge,
    pub(super) now: Timestamp,
}

/// Where the answer to a job goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the storage thread is asked to do.
pub(super) enum Job {
    /// Commit a batch, then acknowledge it.
    Append(Append),
    /// Read from a number on.
    Read { from: u64, reply: Reply<Vec<Arc<Chunk>>> },
    /// Find the first number that was committed since.
    FirstSince { since: Timestamp, most: u64, reply: Reply<u64> },
    /// Nothing but to look whether the cursors are to be saved.
    Wake,
    /// Do what is due by now: save, drop what is too old, look at the disk.
    Tick { now: Timestamp },
    /// Delete the cursors of a broker that is not configured; whether there were any.
    Forget { broker: String, reply: Reply<bool> },
    /// Write dead letters.
    Bury { letters: Vec<DeadLetter>, reply: Reply<()> },
    /// Read dead letters.
    Dead { after: u64, limit: usize, reply: Reply<DeadPage> },
    /// Delete dead letters.
    Unbury { ids: Vec<u64>, reply: Reply<()> },
    /// Answer when everything that was asked for before is done, and what waited for room was tried.
    Settle { reply: Reply<()> },
    /// End as a crash does, without saving anything.
    Halt,
}
