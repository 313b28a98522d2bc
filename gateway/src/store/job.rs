//! What the storage thread is asked to do, and what it answers.

use std::sync::Arc;

use proto::Timestamp;
use tokio::sync::oneshot;

use super::{Batch, Chunk, StoreError};

/// Resolves the receipt of one submission.
pub(crate) type Acknowledge = oneshot::Sender<Result<(), NotStored>>;

/// Why a reading was not stored. It was not acknowledged either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotStored {
    #[error("the store is full")]
    Full,
    #[error("the store failed")]
    Failed,
}

/// What the storage thread is asked to do.
pub(super) enum Job {
    /// Commit a batch, then acknowledge it.
    Append { batch: Batch, receipts: Vec<Acknowledge>, now: Timestamp },
    /// Read from a number on.
    Read { from: u64, reply: oneshot::Sender<Result<Vec<Arc<Chunk>>, StoreError>> },
    /// Find the first number that was committed since.
    FirstSince { since: Timestamp, most: u64, reply: oneshot::Sender<Result<u64, StoreError>> },
    /// Save the cursors.
    Save,
}
