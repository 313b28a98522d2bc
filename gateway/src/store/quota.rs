//! How the quota is shared out.

use super::reserve;

/// Bytes of a page of the file.
pub(super) const PAGE: u64 = 4096;
/// Most bytes that the write-ahead log keeps between two checkpoints.
const MAX_LOG: u64 = 16 * 1024 * 1024;
/// Pages in the log that start a checkpoint, where there is room for them.
const CHECKPOINT: u64 = 1000;
/// The fewest pages of a file that is of any use.
const LEAST: u64 = 16;

/// The bytes of the whole store, and what each part of it gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    pub(super) bytes: u64,
    /// Of the write-ahead log.
    pub(super) log: u64,
    /// Of the reserve file.
    pub(super) reserve: u64,
}

impl Quota {
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, log: MAX_LOG.min(bytes / 4), reserve: reserve::size(bytes) }
    }

    /// Most pages of the file.
    pub(super) fn pages(self) -> u64 {
        (self.bytes.saturating_sub(self.log + self.reserve) / PAGE).max(LEAST)
    }

    /// The same once the reserve is given up.
    pub(super) fn pages_with_reserve(self) -> u64 {
        self.pages() + self.reserve / PAGE
    }

    /// Pages in the log that start a checkpoint.
    ///
    /// Half of the reserve holds what the log may still grow by until then, the other half what the
    /// checkpoint adds to the file: on a full disk that is enough to go on deleting.
    pub(super) fn checkpoint(self) -> u64 {
        CHECKPOINT.min(self.log.min(self.reserve) / PAGE / 2).max(LEAST / 2)
    }
}
