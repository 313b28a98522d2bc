//! What the storage thread needs of the disk.

use std::collections::BTreeMap;

use proto::Timestamp;

use super::{Batch, Chunk, StoreError};

/// Lowest number not yet acknowledged, by broker.
pub(super) type Cursors = BTreeMap<String, u64>;

/// A log of numbered records. Every method blocks on the disk.
///
/// It is a trait so that tests can let the disk fail; the one implementation that is shipped is
/// [`SqliteLog`](super::sqlite::SqliteLog).
pub(super) trait Log {
    /// The number that the next record gets.
    fn next(&self) -> u64;

    /// Commits a batch together with the cursors; returns the number of its first record.
    ///
    /// Records below `released` may be deleted to make room. After [`StoreError::Full`] nothing has
    /// changed; after any other error nobody knows, until [`reopen`](Self::reopen) has found out.
    fn append(
        &mut self,
        batch: &Batch,
        now: Timestamp,
        cursors: &Cursors,
        released: u64,
    ) -> Result<u64, StoreError>;

    /// Saves the cursors without a batch; may delete records below `released`.
    fn save(&mut self, cursors: &Cursors, released: u64, now: Timestamp) -> Result<(), StoreError>;

    /// The chunks from the one that holds `from` on, until `max_bytes` are reached, without a gap
    /// up to the next number: what cannot be read comes as chunks without records.
    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Chunk>, StoreError>;

    /// The bytes of the chunk that holds `n`, as they are, and the number of its first record.
    fn raw(&self, n: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError>;

    /// Number of the first record of the first chunk that was committed at or after `since`, or of
    /// one of the newest `most` records, whichever is later.
    fn first_since(&self, since: Timestamp, most: u64) -> Result<u64, StoreError>;

    /// Bytes in use, without space that waits to be used again.
    fn used_bytes(&self) -> u64;

    /// Closes the log after `cause` and recovers what is on disk. Where that is damaged, what can be
    /// read goes into a new file; the next number may be a much higher one then.
    fn reopen(&mut self, cause: &StoreError) -> Result<(), StoreError>;
}

pub(super) fn encode_cursors(cursors: &Cursors) -> Vec<u8> {
    minicbor::to_vec(cursors).unwrap_or_default()
}

pub(super) fn decode_cursors(bytes: &[u8]) -> Result<Cursors, minicbor::decode::Error> {
    minicbor::decode(bytes)
}
