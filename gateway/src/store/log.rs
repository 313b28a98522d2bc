//! What the storage thread needs of the disk.

use proto::Timestamp;

use super::cursor::Cursors;
use super::dead::DeadCounts;
use super::skips::Skips;
use super::space::Room;
use super::{Batch, Chunk, DeadLetter, DeadPage, StoreError};

/// A log of numbered records. Every method blocks on the disk.
///
/// It is a trait so that tests can let the disk fail; the one implementation that is shipped is
/// [`SqliteLog`](super::sqlite::SqliteLog).
pub(super) trait Log {
    /// The number that the next record gets.
    fn next(&self) -> u64;

    /// Number of the first record that there is; [`next`](Self::next) where there is none.
    fn first(&self) -> u64;

    /// Numbers up to the next one that no record has.
    fn skips(&self) -> Skips;

    /// Commits a batch together with the cursors; returns the number of its first record.
    ///
    /// Records below `released` may be deleted to make room. After an error that
    /// [`is_full`](StoreError::is_full) nothing has changed; after any other nobody knows, until
    /// [`reopen`](Self::reopen) has found out.
    fn append(
        &mut self,
        batch: &Batch,
        now: Timestamp,
        cursors: &Cursors,
        released: u64,
    ) -> Result<u64, StoreError>;

    /// Saves the cursors, and no others, without a batch; may delete records below `released`.
    fn save(&mut self, cursors: &Cursors, released: u64, now: Timestamp) -> Result<(), StoreError>;

    /// The chunks from the one that holds `from` on, until `max_bytes` are reached, without a gap
    /// up to the next number: what cannot be read comes as chunks without records.
    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Chunk>, StoreError>;

    /// The bytes of the chunk that holds `n`, as they are, and the number of its first record.
    fn raw(&self, n: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError>;

    /// Number of the first record of the first chunk that was committed at or after `since`, or of
    /// one of the newest `most` records, whichever is later.
    fn first_since(&self, since: Timestamp, most: u64) -> Result<u64, StoreError>;

    /// Whether there are chunks that can be deleted when every record below `released` may go.
    fn can_trim(&self, released: u64) -> bool;

    /// One past the last record of the oldest chunks that have `bytes` together, or of all but the
    /// newest; [`first`](Self::first) where there is only that.
    fn oldest_end(&self, bytes: u64) -> Result<u64, StoreError>;

    /// One past the last record of the chunks from the one that holds `from` on that were all
    /// committed before `since`; `from` where there is none.
    fn end_of_older(&self, from: u64, since: Timestamp) -> Result<u64, StoreError>;

    /// Looks whether the file system has room.
    fn look(&mut self) -> Result<(), StoreError>;

    /// What was seen there last.
    fn room(&self) -> Room;

    /// Writes dead letters.
    fn bury(&mut self, letters: &[DeadLetter]) -> Result<(), StoreError>;

    /// The first `limit` dead letters behind the one with the identifier `after`.
    fn dead(&self, after: u64, limit: usize) -> Result<DeadPage, StoreError>;

    /// Deletes dead letters.
    fn unbury(&mut self, ids: &[u64]) -> Result<(), StoreError>;

    /// How many dead letters there are.
    fn dead_counts(&self) -> DeadCounts;

    /// Bytes in use, without space that waits to be used again.
    fn used_bytes(&self) -> u64;

    /// Closes the log after `cause` and recovers what is on disk. Where that is damaged, what can be
    /// read goes into a new file; the next number may be a much higher one then.
    fn reopen(&mut self, cause: &StoreError) -> Result<(), StoreError>;
}
