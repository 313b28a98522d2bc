//! Block-wise transfers (RFC 7959): bodies that are larger than a message.
//!
//! A [`Block`] is the value of the options Block1 and Block2. [`Assemblies`] and [`Kept`] are a
//! server's side of requests and of responses with large bodies, [`Upload`] and [`Download`] a
//! client's. None of them knows messages; [`Node`](super::Node) and [`StreamNode`](super::StreamNode)
//! put them together. A message holds a [`Portion`] of a body: one block, or several with BERT.

mod assembly;
mod budget;
mod download;
mod kept;
mod limits;
mod upload;

use alloc::format;

pub(super) use self::assembly::{Assemblies, Received};
pub use self::budget::Budget;
pub(super) use self::budget::Share;
pub use self::download::DownloadFault;
pub(super) use self::download::{Download, DownloadStep};
pub(super) use self::kept::Kept;
pub(crate) use self::limits::Room;
pub use self::limits::TransferConfig;
pub use self::upload::UploadFault;
pub(super) use self::upload::{Upload, UploadStep};
use super::{Code, ETag, OptionNumber, Options, Response};

/// Blocks are numbered with 20 bits (RFC 7959 §2.2).
const MAX_NUMBER: u32 = 0xf_ffff;
/// More than fits the three bytes of the option.
const VALUE_LIMIT: u32 = 1 << 24;

/// The size of the blocks of a transfer: a power of two from 16 to 1024 bytes, or BERT.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockSize(u8);

impl BlockSize {
    /// 16 bytes
    pub const MIN: Self = Self(0);
    /// 1024 bytes
    pub const MAX: Self = Self(6);
    /// Any number of blocks of 1024 bytes in one message, over connections whose ends both want it
    /// (RFC 8323 §6).
    pub const BERT: Self = Self(7);

    /// The size with this exponent, SZX, of up to 6; `None` for others.
    pub const fn from_exponent(szx: u8) -> Option<Self> {
        if szx <= 6 { Some(Self(szx)) } else { None }
    }

    /// The largest size of at most so many bytes; `None` for less than 16.
    pub fn fitting(bytes: usize) -> Option<Self> {
        (0..=6).rev().map(Self).find(|size| size.bytes() <= bytes)
    }

    /// The size in bytes, by which blocks are numbered.
    pub const fn bytes(self) -> usize {
        if self.0 < Self::MAX.0 { 16 << self.0 } else { 1024 }
    }
}

/// A part of a body: the value of Block1 or Block2 (RFC 7959 §2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Which block of this size, at most 1048575.
    pub number: u32,
    /// Whether more blocks follow.
    pub more: bool,
    /// How large all blocks but the last are.
    pub size: BlockSize,
}

/// Why the value of a Block option cannot be used (RFC 7959 §2.2): 4.00 in a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum BlockFault {
    /// SZX 7 where there is no BERT.
    #[error("the block size exponent 7 is reserved")]
    ReservedSize,
    /// More than three bytes.
    #[error("a block number has 20 bits")]
    Number,
}

impl Block {
    /// The first block, with none after it.
    pub const fn first(size: BlockSize) -> Self {
        Self { number: 0, more: false, size }
    }

    /// The block that starts at `offset`, a multiple of the size; `None` beyond the last number.
    pub fn at(offset: usize, more: bool, size: BlockSize) -> Option<Self> {
        let number = u32::try_from(offset / size.bytes()).ok()?;
        (number <= MAX_NUMBER).then_some(Self { number, more, size })
    }

    /// Where the block starts in the body.
    pub const fn offset(self) -> usize {
        // At most 2^30.
        self.number as usize * self.size.bytes()
    }

    /// The value of an option: NUM, M and SZX.
    pub const fn encode(self) -> u32 {
        self.number << 4 | (self.more as u32) << 3 | self.size.0 as u32
    }

    /// Whether so many bytes are this block: only the last one may be shorter (RFC 7959 §2.3), and
    /// with BERT there are any number of whole ones (RFC 8323 §6).
    const fn fits(self, len: usize) -> bool {
        let full = self.size.bytes();
        match self.size {
            BlockSize::BERT => !self.more || (len > 0 && len.is_multiple_of(full)),
            _ => len == full || (len < full && !self.more),
        }
    }

    /// Reads the value of an option, where sizes go up to `largest`: [`BlockSize::MAX`] or
    /// [`BlockSize::BERT`].
    pub fn decode(value: u32, largest: BlockSize) -> Result<Self, BlockFault> {
        if value >= VALUE_LIMIT {
            return Err(BlockFault::Number);
        }
        let size = BlockSize(u8::try_from(value & 7).unwrap_or(7));
        if size > largest.max(BlockSize::MAX) {
            return Err(BlockFault::ReservedSize);
        }
        Ok(Self { number: value >> 4, more: value & 8 != 0, size })
    }

    /// Reads Block1 or Block2, if it is there; see [`decode`](Self::decode).
    pub fn of(
        options: &Options,
        number: OptionNumber,
        largest: BlockSize,
    ) -> Result<Option<Self>, BlockFault> {
        if options.first(number).is_none() {
            return Ok(None);
        }
        let value = options.first_uint(number).ok_or(BlockFault::Number)?;
        Self::decode(value, largest).map(Some)
    }
}

/// How much of a body goes into a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Portion {
    pub(crate) size: BlockSize,
    /// As many as the size says, or with BERT a multiple of it.
    pub(crate) bytes: usize,
}

impl Portion {
    /// All of it, whatever its length.
    pub(crate) const WHOLE: Self = Self { size: BlockSize::MAX, bytes: usize::MAX };

    /// One block.
    pub(crate) const fn of(size: BlockSize) -> Self {
        Self { size, bytes: size.bytes() }
    }

    /// This portion, or one block of a smaller size.
    pub(crate) fn at_most(self, size: BlockSize) -> Self {
        if size < self.size { Self::of(size) } else { self }
    }
}

/// The part of a response that starts where `wanted` does, in a portion of at most this one
/// (RFC 7959 §2.4), or the 4.00 where the body ends before it.
///
/// All blocks have the options of the response, with an entity-tag in any case, so that a client
/// notices when they are of different representations. The first one has Observe, and Size2.
pub(super) fn slice(response: &Response, wanted: Block, portion: Portion) -> Response {
    let (from, len) = (wanted.offset(), response.payload.len());
    let rest = response.payload.get(from..).filter(|rest| !rest.is_empty() || from == 0);
    let portion = portion.at_most(wanted.size);
    let block = Block::at(from, false, portion.size);
    let (Some(rest), Some(block)) = (rest, block) else {
        let text = format!("the body ends after {len} bytes");
        return Response::new(Code::BAD_REQUEST).diagnostic(&text);
    };
    let part = rest.get(..portion.bytes).unwrap_or(rest);
    let block = Block { more: part.len() < rest.len(), ..block };
    let mut options = response.options.clone();
    if options.etag().is_none() && part.len() < len && response.code.is_success() {
        let etag = ETag::of(options.content_format(), &response.payload);
        options.push(OptionNumber::ETAG, &etag);
    }
    options.replace_uint(OptionNumber::BLOCK2, block.encode());
    if from > 0 {
        options.remove(|number| number == OptionNumber::OBSERVE);
    } else if block.more {
        options.replace_uint(OptionNumber::SIZE2, u32::try_from(len).unwrap_or(u32::MAX));
    }
    Response { code: response.code, options, payload: part.to_vec() }
}

#[cfg(test)]
mod tests;
