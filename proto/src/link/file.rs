//! Files on their way to a node, in blocks of which it asks for the next.
//!
//! The gateway announces a file; the node answers with the offset up to which it has it, and so it does with
//! each block. Whoever starts again is where the other one is: an announcement that comes again is answered
//! with what is there. A node compares the checksum of the whole, and only then has it done it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use sha2::{Digest as _, Sha256};

use super::call::{Argument, Call, Reply, ReplyStatus, Wanted};
use crate::Value;

/// Bytes of a checksum.
pub const SHA256_BYTES: usize = 32;
/// The largest block, which fits into a frame with all that goes with it.
pub const MAX_BLOCK: u32 = 512;
/// Answers that want nothing further on than the one before, as after a restart; with more a node is given up.
const MAX_STALLED: u32 = 100;

/// A file, as it is announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// What it is called.
    pub name: String,
    /// Its bytes.
    pub size: u32,
    /// Their SHA-256 (FIPS 180-4).
    pub sha256: [u8; SHA256_BYTES],
}

/// A SHA-256 in the making.
#[derive(Clone, Default)]
pub struct Sha256Sum(Sha256);

impl Sha256Sum {
    /// Takes the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum of all.
    pub fn finish(self) -> [u8; SHA256_BYTES] {
        self.0.finalize().into()
    }
}

impl fmt::Debug for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256Sum(…)")
    }
}

/// The gateway's end of a file on its way to one node.
#[derive(Debug)]
pub struct FileSender {
    code: u16,
    id: String,
    offer: Offer,
    /// What the node asked for last.
    last: Option<u32>,
    stalled: u32,
}

/// What a sender does next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileStep {
    /// Send these bytes of the file.
    Block {
        /// From here on; also how much the node has.
        offset: u32,
        /// So many.
        len: u32,
    },
    /// The node has the whole file, and its checksum is right.
    Done,
    /// The node has the whole file, and it is another.
    Checksum,
    /// The node does not want it: what it says.
    Refused(Reply),
    /// The node's answers lead nowhere.
    Stuck,
}

impl FileSender {
    /// For an operation of a node, and a command with this name.
    pub const fn new(code: u16, id: String, offer: Offer) -> Self {
        Self { code, id, offer, last: None, stalled: 0 }
    }

    /// What is sent first, and again when the node has started again.
    pub fn announcement(&self) -> Call {
        let argument = Argument::Offer(self.offer.clone());
        Call { code: self.code, argument, id: self.id.clone() }
    }

    /// A block of it.
    pub const fn block(&self, offset: u32, bytes: Vec<u8>) -> Call {
        Call { code: self.code, argument: Argument::Block { offset, bytes }, id: String::new() }
    }

    /// Takes the answer to either.
    pub fn handle_reply(&mut self, reply: Reply) -> FileStep {
        match (reply.status, reply.wanted) {
            (ReplyStatus::Done, _) => {
                // A node that says what it has must have this; one that does not is believed.
                let sum = Reply::default().with(&Value::Bytes(self.offer.sha256.to_vec()));
                match reply.result.is_none() || reply.result == sum.result {
                    true => FileStep::Done,
                    false => FileStep::Checksum,
                }
            }
            (ReplyStatus::Checksum, _) => FileStep::Checksum,
            (ReplyStatus::More, Some(wanted)) => self.step(wanted),
            (ReplyStatus::More, None) => FileStep::Stuck,
            _ => FileStep::Refused(reply),
        }
    }

    fn step(&mut self, Wanted { offset, most }: Wanted) -> FileStep {
        self.stalled += u32::from(self.last.is_some_and(|last| offset <= last));
        self.last = Some(offset);
        let len = most.unwrap_or(MAX_BLOCK).clamp(1, MAX_BLOCK);
        let len = len.min(self.offer.size.saturating_sub(offset));
        if len == 0 || self.stalled > MAX_STALLED {
            return FileStep::Stuck;
        }
        FileStep::Block { offset, len }
    }
}

/// A node's end: a file in its memory.
#[derive(Debug)]
pub struct FileReceiver {
    max: u32,
    block: u32,
    offer: Option<Offer>,
    bytes: Vec<u8>,
}

impl FileReceiver {
    /// For files of at most `max` bytes, in blocks of at most `block`.
    pub const fn new(max: u32, block: u32) -> Self {
        Self { max, block, offer: None, bytes: Vec::new() }
    }

    /// The file, once all of it is here.
    pub fn file(&self) -> Option<(&Offer, &[u8])> {
        let offer = self.offer.as_ref()?;
        (self.bytes.len() == size(offer)).then_some((offer, &self.bytes))
    }

    /// Takes a command that is about files, and answers it.
    pub fn handle_call(&mut self, argument: Argument) -> Reply {
        match argument {
            Argument::Offer(offer) if offer.size > self.max => {
                let detail = Some("there is no room for it".into());
                return Reply { detail, ..Reply::of(ReplyStatus::BadValue) };
            }
            Argument::Offer(offer) => {
                // The same file goes on where it was.
                if self.offer.as_ref().is_none_or(|known| known.sha256 != offer.sha256) {
                    self.bytes.clear();
                }
                self.offer = Some(offer);
            }
            Argument::Block { offset, bytes } => {
                let Some(offer) = &self.offer else { return Reply::of(ReplyStatus::BadValue) };
                let fits = self.bytes.len() + bytes.len() <= size(offer);
                // Any other is one that came before, or from before a restart.
                if usize::try_from(offset) == Ok(self.bytes.len()) && fits {
                    self.bytes.extend(bytes);
                }
            }
            Argument::None | Argument::Value(_) => return Reply::of(ReplyStatus::BadValue),
        }
        self.state()
    }

    fn state(&mut self) -> Reply {
        let Some(offer) = &self.offer else { return Reply::of(ReplyStatus::BadValue) };
        if self.bytes.len() < size(offer) {
            let offset = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
            let wanted = Some(Wanted { offset, most: Some(self.block) });
            return Reply { wanted, ..Reply::of(ReplyStatus::More) };
        }
        let mut sum = Sha256Sum::default();
        sum.add(&self.bytes);
        let sum = sum.finish();
        if sum != offer.sha256 {
            self.offer = None;
            self.bytes.clear();
            return Reply::of(ReplyStatus::Checksum);
        }
        Reply::default().with(&Value::Bytes(sum.to_vec()))
    }
}

fn size(offer: &Offer) -> usize {
    usize::try_from(offer.size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn offer(bytes: &[u8]) -> Offer {
        let mut sum = Sha256Sum::default();
        sum.add(bytes);
        Offer { name: "a".into(), size: u32::try_from(bytes.len()).unwrap(), sha256: sum.finish() }
    }

    fn sender(bytes: &[u8]) -> FileSender {
        FileSender::new(7, "1".into(), offer(bytes))
    }

    /// The last step, and how many blocks it took; either end starts again before the blocks with these
    /// numbers, the receiver without its memory.
    fn send(bytes: &[u8], block: u32, restarts: &[(usize, bool)]) -> (FileStep, usize) {
        let receiver = || FileReceiver::new(100_000, block);
        let (mut sender, mut node) = (sender(bytes), receiver());
        let mut call = sender.announcement();
        let mut blocks = 0;
        loop {
            // Through the payloads, as on the wire.
            let call_read = Call::decode(&call.encode().unwrap()).unwrap();
            let reply = node.handle_call(call_read.argument);
            let reply = Reply::decode(&reply.encode()).unwrap();
            match sender.handle_reply(reply) {
                FileStep::Block { offset, len } => {
                    let (from, len) = (offset as usize, len as usize);
                    call = sender.block(offset, bytes[from..from + len].to_vec());
                    blocks += 1;
                    if let Some((_, is_node)) = restarts.iter().find(|(at, _)| *at == blocks) {
                        match is_node {
                            true => node = receiver(),
                            false => sender = self::sender(bytes),
                        }
                        call = sender.announcement();
                    }
                }
                FileStep::Done => {
                    assert_eq!(node.file().unwrap().1, bytes);
                    return (FileStep::Done, blocks);
                }
                over @ (FileStep::Checksum | FileStep::Refused(_) | FileStep::Stuck) => {
                    return (over, blocks);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_file_arrives_whole_over_any_restarts(
            size in 0_usize..5000, block in 1_u32..700, restarts in prop::collection::vec((1_usize..40, any::<bool>()), 0..4)
        ) {
            let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
            prop_assert_eq!(send(&bytes, block, &restarts).0, FileStep::Done);
        }
    }

    #[test]
    fn a_gateway_that_starts_again_sends_nothing_twice() {
        let bytes = vec![9; 1000];
        assert_eq!(send(&bytes, 100, &[]), (FileStep::Done, 10));
        assert_eq!(send(&bytes, 100, &[(7, false)]), (FileStep::Done, 11), "the 7th was not sent");
    }

    #[test]
    fn a_file_that_is_another_is_thrown_away() {
        let bytes = vec![9; 300];
        let mut node = FileReceiver::new(1000, 300);
        node.handle_call(Argument::Offer(offer(&bytes)));
        let reply = node.handle_call(Argument::Block { offset: 0, bytes: vec![8; 300] });
        assert_eq!(reply, Reply::of(ReplyStatus::Checksum));
        assert_eq!(node.file(), None);
        assert_eq!(sender(&bytes).handle_reply(reply), FileStep::Checksum);
        let other = Reply::default().with(&Value::Bytes(vec![0; SHA256_BYTES]));
        assert_eq!(sender(&bytes).handle_reply(other), FileStep::Checksum);
    }

    #[test]
    fn a_node_without_room_refuses_and_one_that_leads_nowhere_is_given_up() {
        let bytes = vec![9; 300];
        let reply = FileReceiver::new(299, 64).handle_call(Argument::Offer(offer(&bytes)));
        assert_eq!(reply.status, ReplyStatus::BadValue);
        assert_eq!(sender(&bytes).handle_reply(reply.clone()), FileStep::Refused(reply));
        let more = |offset| Reply {
            wanted: Some(Wanted { offset, most: None }),
            ..Reply::of(ReplyStatus::More)
        };
        let mut sender = sender(&bytes);
        assert_eq!(sender.handle_reply(more(300)), FileStep::Stuck, "there is no more");
        let stuck = (0..1000).position(|_| sender.handle_reply(more(64)) == FileStep::Stuck);
        assert!(stuck.is_some_and(|rounds| rounds >= 64));
    }
}
