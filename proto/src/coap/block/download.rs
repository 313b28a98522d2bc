//! The body of a response that comes in blocks (RFC 7959 §2.4), as a client collects it.

use super::super::{Code, OptionNumber, Response};
use super::{Block, BlockFault, BlockSize};

/// A body under way.
#[derive(Debug)]
pub(crate) struct Download {
    /// The response so far, with the options of the first block.
    response: Response,
    size: BlockSize,
    limit: usize,
}

/// What to do after a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum DownloadStep {
    /// Ask for this block.
    Ask(Block),
    /// The body is complete, or the response is an error.
    Done(Response),
    /// The representation changed in between (RFC 7959 §2.4): start over.
    Changed,
}

/// Why a download cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum DownloadFault {
    /// RFC 7959 §2.4
    #[error("the server sent another block than the one that was asked for")]
    OtherBlock,
    /// RFC 7959 §2.2
    #[error("the server sent a Block option that means nothing: {0}")]
    Option(#[from] BlockFault),
    /// RFC 7959 §2.2
    #[error("the server sent a block whose payload does not have its size")]
    WrongLength,
    /// The body is larger than `max_body`.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// `max_body` of the client.
        limit: usize,
    },
}

impl Download {
    /// Takes the first response; there is no download where there is nothing to collect. Further
    /// blocks have at most `size` (RFC 7959 §2.4), and the body at most `limit` bytes.
    pub(crate) fn start(
        mut response: Response,
        size: BlockSize,
        limit: usize,
    ) -> Result<(Option<Self>, DownloadStep), DownloadFault> {
        if !response.code.is_success() {
            return Ok((None, DownloadStep::Done(response)));
        }
        let Some(block) = Block::of(&response.options, OptionNumber::BLOCK2, size)? else {
            return Ok((None, DownloadStep::Done(response)));
        };
        let announced = response.options.first_uint(OptionNumber::SIZE2).unwrap_or(0);
        check(block, 0, response.payload.len(), limit)?;
        if usize::try_from(announced).is_ok_and(|announced| announced > limit) {
            return Err(DownloadFault::TooLarge { limit });
        }
        response.options.remove(is_of_blocks);
        if !block.more {
            return Ok((None, DownloadStep::Done(response)));
        }
        let download = Self { response, size: block.size.min(size), limit };
        let step = download.ask()?;
        Ok((Some(download), step))
    }

    /// Takes the response to a request for a further block.
    pub(crate) fn handle_block(
        &mut self,
        response: Response,
    ) -> Result<DownloadStep, DownloadFault> {
        if !response.code.is_success() {
            return Ok(match response.code {
                // The server does not have the representation any more.
                Code::REQUEST_ENTITY_INCOMPLETE => DownloadStep::Changed,
                _ => DownloadStep::Done(response),
            });
        }
        if response.options.etag() != self.response.options.etag() {
            return Ok(DownloadStep::Changed);
        }
        let block = Block::of(&response.options, OptionNumber::BLOCK2, self.size)?;
        let block = block.ok_or(DownloadFault::OtherBlock)?;
        let have = self.response.payload.len();
        check(block, have, response.payload.len(), self.limit)?;
        self.response.payload.extend_from_slice(&response.payload);
        if !block.more {
            let empty = Response::new(self.response.code);
            return Ok(DownloadStep::Done(core::mem::replace(&mut self.response, empty)));
        }
        // RFC 7959 §2.4: a server may make blocks smaller, at any time.
        self.size = self.size.min(block.size);
        self.ask()
    }

    /// The block that comes next.
    pub(crate) fn wanted(&self) -> Option<Block> {
        Block::at(self.response.payload.len(), false, self.size)
    }

    fn ask(&self) -> Result<DownloadStep, DownloadFault> {
        self.wanted().map(DownloadStep::Ask).ok_or(DownloadFault::TooLarge { limit: self.limit })
    }
}

/// Checks a block against what there is.
fn check(block: Block, have: usize, len: usize, limit: usize) -> Result<(), DownloadFault> {
    if block.offset() != have {
        return Err(DownloadFault::OtherBlock);
    }
    if !block.fits(len) {
        return Err(DownloadFault::WrongLength);
    }
    if have + len > limit { Err(DownloadFault::TooLarge { limit }) } else { Ok(()) }
}

/// Options that are about one block and not about the body.
fn is_of_blocks(number: OptionNumber) -> bool {
    matches!(number, OptionNumber::BLOCK2 | OptionNumber::BLOCK1 | OptionNumber::SIZE2)
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::coap::ETag;

    fn part(number: u32, more: bool, szx: u8, payload: &[u8], etag: &[u8]) -> Response {
        let block = Block { number, more, size: BlockSize(szx) };
        let mut response = Response::new(Code::CONTENT).payload(payload);
        if let Some(etag) = ETag::new(etag) {
            response = response.etag(etag);
        }
        response.options.push_uint(OptionNumber::BLOCK2, block.encode());
        response
    }

    fn ask(number: u32, szx: u8) -> DownloadStep {
        DownloadStep::Ask(Block { number, more: false, size: BlockSize(szx) })
    }

    fn start(first: Response) -> Download {
        Download::start(first, BlockSize::MAX, 1000).unwrap().0.unwrap()
    }

    #[test]
    fn blocks_are_asked_for_until_the_last() {
        // RFC 7959 §3.1, figure 2
        let (download, step) =
            Download::start(part(0, true, 0, &[1; 16], b"e"), BlockSize::MAX, 1000).unwrap();
        let mut download = download.unwrap();
        assert_eq!(step, ask(1, 0));
        assert_eq!(download.handle_block(part(1, true, 0, &[2; 16], b"e")), Ok(ask(2, 0)));
        let done = download.handle_block(part(2, false, 0, &[3; 5], b"e")).unwrap();
        let DownloadStep::Done(response) = done else { panic!("{done:?}") };
        assert_eq!(response.payload, [vec![1; 16], vec![2; 16], vec![3; 5]].concat());
        let left: Vec<_> = response.options.iter().map(|(number, _)| number).collect();
        assert_eq!(left, [OptionNumber::ETAG], "nothing about blocks is left");
    }

    #[test]
    fn a_response_without_further_blocks_is_complete() {
        let plain = Response::new(Code::CONTENT).payload("x");
        let (download, step) = Download::start(plain.clone(), BlockSize::MAX, 1000).unwrap();
        assert!(download.is_none() && step == DownloadStep::Done(plain));
        let (download, step) =
            Download::start(part(0, false, 0, b"x", b""), BlockSize::MAX, 1000).unwrap();
        assert!(download.is_none() && matches!(step, DownloadStep::Done(_)));
    }

    #[test]
    fn a_client_can_ask_for_smaller_blocks_after_the_first() {
        // RFC 7959 §3.1, figure 4: late negotiation, after 0/1/128 comes 2/0/64.
        let first = part(0, true, 3, &[1; 128], b"e");
        let (_, step) = Download::start(first, BlockSize(2), 1000).unwrap();
        assert_eq!(step, ask(2, 2));
    }

    #[test]
    fn a_server_can_make_blocks_smaller() {
        // RFC 7959 §2.4
        let mut download = start(part(0, true, 2, &[1; 64], b"e"));
        assert_eq!(download.handle_block(part(4, true, 0, &[2; 16], b"e")), Ok(ask(5, 0)));
    }

    #[test]
    fn another_representation_is_noticed() {
        // RFC 7959 §2.4
        let mut download = start(part(0, true, 0, &[1; 16], b"e"));
        let changed = Ok(DownloadStep::Changed);
        assert_eq!(download.handle_block(part(1, true, 0, &[2; 16], b"f")), changed);
        assert_eq!(download.handle_block(part(1, true, 0, &[2; 16], b"")), changed);
        let gone = Response::new(Code::REQUEST_ENTITY_INCOMPLETE);
        assert_eq!(download.handle_block(gone), changed);
        let error = Response::new(Code::NOT_FOUND);
        assert_eq!(download.handle_block(error.clone()), Ok(DownloadStep::Done(error)));
    }

    #[test]
    fn blocks_that_do_not_fit_are_faults() {
        let mut download = start(part(0, true, 0, &[1; 16], b"e"));
        let wrong = DownloadFault::OtherBlock;
        assert_eq!(download.handle_block(part(2, true, 0, &[2; 16], b"e")), Err(wrong));
        let etag = ETag::new(b"e").unwrap();
        let none = Response::new(Code::CONTENT).etag(etag);
        assert_eq!(download.handle_block(none), Err(wrong));
        for len in [15, 17] {
            let short = part(1, true, 0, &vec![2; len], b"e");
            assert_eq!(download.handle_block(short), Err(DownloadFault::WrongLength));
        }
        assert!(Download::start(part(1, true, 0, &[1; 16], b"e"), BlockSize::MAX, 1000).is_err());
    }

    #[test]
    fn a_body_over_the_limit_is_given_up() {
        let fault = DownloadFault::TooLarge { limit: 40 };
        let (download, _) =
            Download::start(part(0, true, 0, &[1; 16], b"e"), BlockSize::MAX, 40).unwrap();
        let mut download = download.unwrap();
        assert_eq!(download.handle_block(part(1, true, 0, &[2; 16], b"e")), Ok(ask(2, 0)));
        assert_eq!(download.handle_block(part(2, true, 0, &[2; 16], b"e")), Err(fault));
        let mut announced = part(0, true, 0, &[1; 16], b"e");
        announced.options.push_uint(OptionNumber::SIZE2, 41);
        assert_eq!(Download::start(announced, BlockSize::MAX, 40).unwrap_err(), fault);
    }
}
