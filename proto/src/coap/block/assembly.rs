//! Bodies of requests that arrive in blocks (RFC 7959 §2.5), as a server collects them.
//!
//! A request is executed when its body is complete, so a transfer is atomic (§2.3). Blocks come in
//! order:
//!
//! | Block | Answer |
//! |---|---|
//! | the first | begins, anew where there was a beginning |
//! | the next | 2.31, or the last one completes the body |
//! | one that is there already, with the same content: a copy that was late | 2.31, as before |
//! | one that is there already, with other content: of another body | 4.08; the transfer is over |
//! | a later one, or any where nothing began | 4.08 (§2.9.2); what is there stays until the client begins anew |
//!
//! What identifies a transfer is the caller's: the client and all options that are the same in all
//! blocks, with Request-Tag (RFC 9175 §3.3).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::arena::{Arena, Key, Links, List};
use super::super::{Code, OptionNumber, Response};
use super::{Block, Share, TransferConfig};
use crate::Instant;

/// Without a block for this long (MAX_TRANSMIT_SPAN, RFC 7252 §4.8.2) a client is not
/// retransmitting any more, so its transfer may give way to another one.
const STALLED: Duration = Duration::from_secs(45);
/// What a client is asked to wait for when there is no room for its transfer.
const BUSY_MAX_AGE_S: u32 = 10;

/// What became of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    /// More blocks are missing: the 2.31 to answer.
    Partly(Response),
    /// The body is complete.
    Wholly(Vec<u8>),
    /// The error to answer: 4.00, 4.08, 4.13 or 5.03.
    Refused(Response),
}

/// Bodies that are not complete, by client and by what is the same in all blocks of a request.
#[derive(Debug)]
pub(crate) struct Assemblies<P> {
    config: TransferConfig,
    assemblies: Arena<Assembly<P>>,
    by_identity: BTreeMap<(P, u64), Key>,
    /// Oldest last block first.
    by_age: List<Assembly<P>>,
    bytes: Share,
}

#[derive(Debug)]
struct Assembly<P> {
    identity: (P, u64),
    body: Vec<u8>,
    heard_at: Instant,
    by_age: Links,
}

impl<P: Copy + Ord> Assemblies<P> {
    pub(crate) fn new(config: TransferConfig, bytes: Share) -> Self {
        Self {
            config,
            assemblies: Arena::new(),
            by_identity: BTreeMap::new(),
            by_age: List::new(|assembly| &mut assembly.by_age),
            bytes,
        }
    }

    /// Takes a block. `size` is the client's Size1.
    pub(crate) fn handle_block(
        &mut self,
        now: Instant,
        identity: (P, u64),
        block: Block,
        size: Option<u32>,
        payload: &[u8],
    ) -> Received {
        let len = payload.len();
        if !block.fits(len) {
            let text = "the payload does not have the size of the block";
            return Received::Refused(Response::new(Code::BAD_REQUEST).diagnostic(text));
        }
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        if size.max(block.offset() + len) > self.config.max_body {
            self.remove(identity);
            return Received::Refused(self.config.too_large());
        }
        if block.number == 0 {
            self.remove(identity);
            if !block.more {
                return Received::Wholly(payload.to_vec());
            }
            if !self.make_room(now, identity.0, len) {
                return Received::Refused(busy());
            }
            self.insert(now, identity, payload);
            return self.partly(block);
        }
        let key = self.by_identity.get(&identity).copied();
        let Some(assembly) = key.and_then(|key| self.assemblies.get_mut(key)) else {
            return Received::Refused(incomplete());
        };
        let (have, from) = (assembly.body.len(), block.offset());
        if from > have {
            return Received::Refused(incomplete());
        }
        if from < have {
            let is_copy = block.more && assembly.body.get(from..from + len) == Some(payload);
            if is_copy {
                return self.partly(block);
            }
            self.remove(identity);
            return Received::Refused(incomplete());
        }
        if !self.bytes.take(len, self.config.max_bytes) {
            self.remove(identity);
            return Received::Refused(busy());
        }
        assembly.body.extend_from_slice(payload);
        assembly.heard_at = now;
        if !block.more {
            return self.remove(identity).map_or(Received::Refused(incomplete()), Received::Wholly);
        }
        if let Some(key) = key {
            self.by_age.remove(&mut self.assemblies, key);
            self.by_age.push_back(&mut self.assemblies, key);
        }
        self.partly(block)
    }

    /// Forgets transfers whose lifetime is over: how many.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> u64 {
        let mut expired = 0;
        while self.next_at().is_some_and(|at| at <= now)
            && let Some(identity) = self.oldest()
        {
            self.remove(identity);
            expired += 1;
        }
        expired
    }

    /// When the lifetime of a transfer is over.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let assembly = self.assemblies.get(self.by_age.first()?)?;
        Some(assembly.heard_at + self.config.lifetime)
    }

    /// 2.31 (RFC 7959 §2.9.1), with the size that further blocks should have (§2.3).
    fn partly(&self, block: Block) -> Received {
        let answered = Block { size: self.config.largest(block.size), ..block };
        let mut response = Response::new(Code::CONTINUE);
        response.options.push_uint(OptionNumber::BLOCK1, answered.encode());
        Received::Partly(response)
    }

    /// Takes room for one more transfer of `peer`, if it can.
    fn make_room(&mut self, now: Instant, peer: P, len: usize) -> bool {
        let own = || self.by_identity.range((peer, 0)..=(peer, u64::MAX));
        if own().count() >= self.config.max_transfers_per_peer {
            let heard_at = |key: &Key| self.assemblies.get(*key).map(|a| a.heard_at);
            let oldest = own().min_by_key(|(_, key)| heard_at(key)).map(|(&identity, _)| identity);
            if let Some(identity) = oldest {
                self.remove(identity);
            }
        }
        while self.assemblies.len() >= self.config.max_transfers
            || !self.bytes.take(len, self.config.max_bytes)
        {
            let oldest = self.by_age.first().and_then(|key| self.assemblies.get(key));
            match oldest.filter(|oldest| oldest.heard_at + STALLED <= now) {
                Some(oldest) => self.remove(oldest.identity),
                None => return false,
            };
        }
        true
    }

    fn insert(&mut self, now: Instant, identity: (P, u64), payload: &[u8]) {
        let by_age = Links::default();
        let body = payload.to_vec();
        let key = self.assemblies.insert(Assembly { identity, body, heard_at: now, by_age });
        self.by_identity.insert(identity, key);
        self.by_age.push_back(&mut self.assemblies, key);
    }

    fn oldest(&self) -> Option<(P, u64)> {
        Some(self.assemblies.get(self.by_age.first()?)?.identity)
    }

    fn remove(&mut self, identity: (P, u64)) -> Option<Vec<u8>> {
        let key = self.by_identity.remove(&identity)?;
        self.by_age.remove(&mut self.assemblies, key);
        let assembly = self.assemblies.remove(key)?;
        self.bytes.give_back(assembly.body.len());
        Some(assembly.body)
    }

    #[cfg(test)]
    pub(crate) fn usage(&self) -> (usize, usize) {
        (self.assemblies.len(), self.bytes.bytes())
    }
}

/// 4.08 (RFC 7959 §2.9.2): the client starts from the first block.
fn incomplete() -> Response {
    Response::new(Code::REQUEST_ENTITY_INCOMPLETE)
}

fn busy() -> Response {
    Response::new(Code::SERVICE_UNAVAILABLE).max_age(BUSY_MAX_AGE_S)
}

#[cfg(test)]
mod tests;
