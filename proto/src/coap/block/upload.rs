//! The body of a request that goes out in blocks (RFC 7959 §2.5), as a client sends it.

use alloc::vec::Vec;

use super::super::{Code, OptionNumber, Response};
use super::{Block, Portion};

/// How often an upload starts from the first block before it is given up.
const MAX_RESTARTS: u8 = 3;

/// A body under way.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Vec<u8>,
    /// Where the block under way starts, and how long it is.
    from: usize,
    len: usize,
    portion: Portion,
    restarts: u8,
}

/// What a response to a block means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum UploadStep {
    /// Send the next block: [`block`](Upload::block).
    Send,
    /// It is the response to the whole request.
    Done,
}

/// Why an upload cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum UploadFault {
    /// RFC 7959 §2.3
    #[error("the server acknowledged another block than the one that was sent")]
    OtherBlock,
    /// RFC 7959 §2.2
    #[error("the body has more blocks than can be numbered")]
    TooManyBlocks,
}

impl Upload {
    pub(crate) const fn new(body: Vec<u8>, portion: Portion) -> Self {
        Self { body, from: 0, len: 0, portion, restarts: 0 }
    }

    /// The block to send and its payload.
    pub(crate) fn block(&mut self) -> Result<(Block, &[u8]), UploadFault> {
        let rest = self.body.get(self.from..).unwrap_or_default();
        let payload = rest.get(..self.portion.bytes).unwrap_or(rest);
        self.len = payload.len();
        let block = Block::at(self.from, self.len < rest.len(), self.portion.size);
        Ok((block.ok_or(UploadFault::TooManyBlocks)?, payload))
    }

    /// How long the whole body is.
    pub(crate) const fn body_len(&self) -> usize {
        self.body.len()
    }

    /// Whether the block that was sent last is the last one.
    pub(crate) const fn is_at_end(&self) -> bool {
        self.from + self.len >= self.body.len()
    }

    /// Takes the response to the block that was sent last.
    pub(crate) fn handle_response(
        &mut self,
        response: &Response,
    ) -> Result<UploadStep, UploadFault> {
        let size = self.portion.size;
        let answered = Block::of(&response.options, OptionNumber::BLOCK1, size);
        let is_last = self.is_at_end();
        match (response.code, answered) {
            // RFC 7959 §2.9.3: the server wants smaller blocks. At the first one nothing is lost.
            (Code::REQUEST_ENTITY_TOO_LARGE, Ok(Some(hint)))
                if self.from == 0 && hint.size < size =>
            {
                self.portion = self.portion.at_most(hint.size);
                Ok(UploadStep::Send)
            }
            // RFC 7959 §2.9.2: the server lost what it had; nothing was executed.
            (Code::REQUEST_ENTITY_INCOMPLETE, _)
                if self.from > 0 && self.restarts < MAX_RESTARTS =>
            {
                self.restarts += 1;
                self.from = 0;
                Ok(UploadStep::Send)
            }
            (code, Ok(Some(answered))) if code.is_success() => {
                let sent = Block::at(self.from, !is_last, size);
                // RFC 7959 §2.3: the size in the response is for the blocks to come.
                if sent.is_none_or(|sent| sent.number != answered.number) {
                    return Err(UploadFault::OtherBlock);
                }
                if is_last {
                    return Ok(UploadStep::Done);
                }
                self.from += self.len;
                self.portion = self.portion.at_most(answered.size);
                Ok(UploadStep::Send)
            }
            // A success without Block1 for a part of the body: of what, nobody knows.
            (code, _) if code.is_success() && !is_last => Err(UploadFault::OtherBlock),
            _ => Ok(UploadStep::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::BlockSize;
    use super::*;

    const SIZE: BlockSize = BlockSize(2);

    fn answer(code: Code, block: Option<Block>) -> Response {
        let mut response = Response::new(code);
        if let Some(block) = block {
            response.options.push_uint(OptionNumber::BLOCK1, block.encode());
        }
        response
    }

    fn block(number: u32, more: bool, szx: u8) -> Block {
        Block { number, more, size: BlockSize(szx) }
    }

    fn upload(len: usize) -> Upload {
        let body = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
        Upload::new(body, Portion::of(SIZE))
    }

    /// The number, M, size and length of the next block.
    fn next(upload: &mut Upload) -> (u32, bool, usize, usize) {
        let (block, payload) = upload.block().unwrap();
        (block.number, block.more, block.size.bytes(), payload.len())
    }

    #[test]
    fn blocks_follow_each_other_to_the_end() {
        // RFC 7959 §3.2, figure 7 with 64 bytes for 128.
        let mut upload = upload(150);
        for (number, more, len) in [(0, true, 64), (1, true, 64), (2, false, 22)] {
            assert_eq!(next(&mut upload), (number, more, 64, len));
            let code = if more { Code::CONTINUE } else { Code::CHANGED };
            let step = upload.handle_response(&answer(code, Some(block(number, more, 2))));
            assert_eq!(step, Ok(if more { UploadStep::Send } else { UploadStep::Done }));
        }
    }

    #[test]
    fn a_server_that_processes_each_block_is_sent_all_of_them() {
        // RFC 7959 §2.3: M = 0 in the response to a block that is not the last.
        let mut upload = upload(100);
        next(&mut upload);
        let changed = answer(Code::CHANGED, Some(block(0, false, 2)));
        assert_eq!(upload.handle_response(&changed), Ok(UploadStep::Send));
        assert_eq!(next(&mut upload), (1, false, 64, 36));
    }

    #[test]
    fn a_smaller_size_in_a_response_is_for_the_blocks_to_come() {
        // RFC 7959 §3.2, figure 8: after 0/1/128 comes 4/1/32.
        let mut upload = upload(150);
        next(&mut upload);
        let smaller = answer(Code::CONTINUE, Some(block(0, true, 0)));
        assert_eq!(upload.handle_response(&smaller), Ok(UploadStep::Send));
        assert_eq!(next(&mut upload), (4, true, 16, 16));
        let larger = answer(Code::CONTINUE, Some(block(4, true, 6)));
        assert_eq!(upload.handle_response(&larger), Ok(UploadStep::Send));
        assert_eq!(next(&mut upload), (5, true, 16, 16), "never larger again");
    }

    #[test]
    fn a_413_with_a_smaller_size_starts_over_with_it() {
        // RFC 7959 §2.9.3
        let mut upload = upload(150);
        next(&mut upload);
        let hint = answer(Code::REQUEST_ENTITY_TOO_LARGE, Some(block(0, true, 1)));
        assert_eq!(upload.handle_response(&hint), Ok(UploadStep::Send));
        assert_eq!(next(&mut upload), (0, true, 32, 32));
        assert_eq!(upload.handle_response(&hint), Ok(UploadStep::Done), "not smaller");
        let limit = answer(Code::REQUEST_ENTITY_TOO_LARGE, None);
        assert_eq!(upload.handle_response(&limit), Ok(UploadStep::Done));
    }

    #[test]
    fn a_408_starts_over_a_few_times() {
        // RFC 7959 §2.9.2
        let mut upload = upload(150);
        let incomplete = answer(Code::REQUEST_ENTITY_INCOMPLETE, None);
        for _ in 0..MAX_RESTARTS {
            next(&mut upload);
            let more = answer(Code::CONTINUE, Some(block(0, true, 2)));
            assert_eq!(upload.handle_response(&more), Ok(UploadStep::Send));
            assert_eq!(next(&mut upload).0, 1);
            assert_eq!(upload.handle_response(&incomplete), Ok(UploadStep::Send));
            assert_eq!(next(&mut upload).0, 0);
        }
        let more = answer(Code::CONTINUE, Some(block(0, true, 2)));
        assert_eq!(upload.handle_response(&more), Ok(UploadStep::Send));
        next(&mut upload);
        assert_eq!(upload.handle_response(&incomplete), Ok(UploadStep::Done));
    }

    #[test]
    fn an_answer_to_another_block_or_to_none_is_a_fault() {
        let mut upload = upload(150);
        next(&mut upload);
        for wrong in [Some(block(1, true, 2)), None] {
            let fault = upload.handle_response(&answer(Code::CONTINUE, wrong));
            assert_eq!(fault, Err(UploadFault::OtherBlock));
        }
        let error = answer(Code::UNAUTHORIZED, None);
        assert_eq!(upload.handle_response(&error), Ok(UploadStep::Done));
    }

    #[test]
    fn a_body_of_more_blocks_than_have_numbers_is_a_fault() {
        // RFC 7959 §2.2: 20 bits.
        let mut upload = Upload::new(alloc::vec![0; 17 << 20], Portion::of(BlockSize::MIN));
        upload.from = 16 << 20;
        assert_eq!(upload.block().unwrap_err(), UploadFault::TooManyBlocks);
        upload.from -= 16;
        assert_eq!(next(&mut upload).0, MAX);
    }

    const MAX: u32 = 0xf_ffff;
}
