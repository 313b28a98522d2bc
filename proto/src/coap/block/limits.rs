//! Limits of block-wise transfers, of a server and of a client.

use core::time::Duration;

use super::super::{Code, Options, Response};
use super::{BlockSize, Portion};

/// Bytes of a message for what a block adds to the options that are given: header, payload marker,
/// Block1, Block2, ETag, Size1 or Size2, Observe, Request-Tag.
const OVERHEAD: usize = 4 + 1 + 6 + 6 + 9 + 6 + 5 + 9;

/// Limits of block-wise transfers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransferConfig {
    /// The largest block to send and to ask for. Bodies up to this size travel in one message.
    pub block_size: BlockSize,
    /// The largest body to receive, in bytes: 4.13 to a client, an end with
    /// [`DownloadFault::TooLarge`](super::DownloadFault) for a download.
    pub max_body: usize,
    /// Bodies of requests that a server collects at the same time, and also how many responses it
    /// keeps. A stalled transfer gives way to a new one, else that gets 5.03; a kept response
    /// always gives way.
    pub max_transfers: usize,
    /// Bodies that a server collects from one peer; the one that stalled longest gives way.
    pub max_transfers_per_peer: usize,
    /// Bytes of all bodies that a server collects, and also of all that it keeps; as with
    /// `max_transfers`. While a body grows it takes up to twice its size.
    pub max_bytes: usize,
    /// How long a transfer waits for the next block; EXCHANGE_LIFETIME (RFC 7959 §2.5).
    pub lifetime: Duration,
}

impl Default for TransferConfig {
    fn default() -> Self {
        Self {
            block_size: BlockSize::MAX,
            max_body: 1 << 20,
            max_transfers: 256,
            max_transfers_per_peer: 8,
            max_bytes: 8 << 20,
            lifetime: Duration::from_secs(247),
        }
    }
}

impl TransferConfig {
    /// 4.13 with the largest body (RFC 7959 §2.9.3, §4).
    pub(crate) fn too_large(&self) -> Response {
        let limit = u32::try_from(self.max_body).unwrap_or(u32::MAX);
        Response::new(Code::REQUEST_ENTITY_TOO_LARGE).size1(limit)
    }

    /// The 4.13 for a body in one message that is too large.
    pub(crate) fn check_body(&self, len: usize) -> Result<(), Response> {
        if len > self.max_body { Err(self.too_large()) } else { Ok(()) }
    }

    /// What fits into a message together with `options`.
    pub(crate) fn portion(&self, options: &Options, room: Room) -> Portion {
        let left = room.bytes.saturating_sub(OVERHEAD + options.encoded().len());
        let size = BlockSize::fitting(left).unwrap_or(BlockSize::MIN).min(self.block_size);
        match self.largest(room.largest) {
            BlockSize::BERT if size == BlockSize::MAX => {
                Portion { size: BlockSize::BERT, bytes: left - left % size.bytes() }
            }
            _ => Portion::of(size),
        }
    }

    /// The largest size to use where the other side would take `theirs`.
    pub(crate) fn largest(&self, theirs: BlockSize) -> BlockSize {
        // BERT is for those who would take the largest blocks.
        if self.block_size == BlockSize::MAX { theirs } else { theirs.min(self.block_size) }
    }
}

/// What can be sent, and so asked for, in one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    /// Bytes of the message, whatever its token, but for the header.
    pub(crate) bytes: usize,
    /// The largest size of blocks that is defined: BERT, or the largest without it.
    pub(crate) largest: BlockSize,
    /// Whether the peer understands blocks in any case.
    pub(crate) block_wise: bool,
}

impl Room {
    /// That of datagrams.
    pub(crate) const fn of_datagrams(bytes: usize) -> Self {
        Self { bytes, largest: BlockSize::MAX, block_wise: true }
    }
}
