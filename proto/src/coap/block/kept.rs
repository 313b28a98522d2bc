//! Responses with large bodies, kept until their client has fetched all blocks (RFC 7959 §2.4).
//!
//! What a POST answered exists nowhere else; for a GET it saves asking for the same again, and
//! keeps the blocks of one representation together. Where a limit is met, the response that was
//! asked for longest ago gives way: the rest of it is 4.08, or for a GET asked for anew.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;

use super::super::Response;
use super::{Share, TransferConfig};
use crate::Instant;

/// Responses by client and by what is the same in all requests for their blocks.
#[derive(Debug)]
pub(crate) struct Kept<P> {
    config: TransferConfig,
    responses: BTreeMap<(P, u64), Entry>,
    by_age: BTreeSet<(u64, (P, u64))>,
    bytes: Share,
    /// Counts the uses, which is their order.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    response: Arc<Response>,
    used: u64,
    used_at: Instant,
}

impl<P: Copy + Ord> Kept<P> {
    pub(crate) const fn new(config: TransferConfig, bytes: Share) -> Self {
        Self { config, responses: BTreeMap::new(), by_age: BTreeSet::new(), bytes, uses: 0 }
    }

    /// Keeps a response in place of the last one of the same identity.
    pub(crate) fn insert(&mut self, now: Instant, identity: (P, u64), response: Arc<Response>) {
        self.remove(identity);
        let len = response.payload.len();
        if len > self.config.max_bytes || self.config.max_transfers == 0 {
            return;
        }
        while self.responses.len() >= self.config.max_transfers
            || !self.bytes.take(len, self.config.max_bytes)
        {
            let Some(&(_, oldest)) = self.by_age.first() else { return };
            self.remove(oldest);
        }
        self.uses += 1;
        self.by_age.insert((self.uses, identity));
        self.responses.insert(identity, Entry { response, used: self.uses, used_at: now });
    }

    /// The response of which a further block is asked for.
    pub(crate) fn find(&mut self, now: Instant, identity: (P, u64)) -> Option<Arc<Response>> {
        let entry = self.responses.get_mut(&identity)?;
        self.by_age.remove(&(entry.used, identity));
        self.uses += 1;
        (entry.used, entry.used_at) = (self.uses, now);
        self.by_age.insert((self.uses, identity));
        Some(Arc::clone(&entry.response))
    }

    /// Forgets what nobody asked for in a lifetime.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while self.next_at().is_some_and(|at| at <= now)
            && let Some(&(_, oldest)) = self.by_age.first()
        {
            self.remove(oldest);
        }
    }

    /// When the lifetime of a response is over.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let (_, oldest) = self.by_age.first()?;
        Some(self.responses.get(oldest)?.used_at + self.config.lifetime)
    }

    /// Forgets a response.
    pub(crate) fn remove(&mut self, identity: (P, u64)) {
        if let Some(entry) = self.responses.remove(&identity) {
            self.by_age.remove(&(entry.used, identity));
            self.bytes.give_back(entry.response.payload.len());
        }
    }

    #[cfg(test)]
    pub(crate) fn usage(&self) -> (usize, usize) {
        (self.responses.len(), self.bytes.bytes())
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::coap::Code;

    fn response(len: usize) -> Arc<Response> {
        Arc::new(Response::new(Code::CONTENT).payload(alloc::vec![0; len]))
    }

    fn kept(max_transfers: usize, max_bytes: usize) -> Kept<u16> {
        let config = TransferConfig { max_transfers, max_bytes, ..Default::default() };
        Kept::new(config, Share::default())
    }

    #[test]
    fn the_response_that_was_used_longest_ago_gives_way() {
        let now = Instant::ZERO;
        let mut kept = kept(2, 1000);
        kept.insert(now, (1, 1), response(100));
        kept.insert(now, (1, 2), response(100));
        assert!(kept.find(now, (1, 1)).is_some());
        kept.insert(now, (1, 3), response(100));
        assert_eq!((kept.find(now, (1, 2)), kept.usage()), (None, (2, 200)));
        kept.insert(now, (1, 4), response(950));
        assert_eq!((kept.find(now, (1, 1)), kept.usage()), (None, (1, 950)));
        kept.insert(now, (1, 5), response(1001));
        assert_eq!(kept.usage(), (1, 950), "too large to be kept");
    }

    #[test]
    fn a_response_of_the_same_identity_replaces() {
        let now = Instant::ZERO;
        let mut kept = kept(2, 1000);
        kept.insert(now, (1, 1), response(100));
        kept.insert(now, (1, 1), response(50));
        assert_eq!((kept.usage(), kept.by_age.len()), ((1, 50), 1));
        assert_eq!(kept.find(now, (2, 1)), None, "of another client");
    }

    #[test]
    fn a_lifetime_after_its_last_use_a_response_is_forgotten() {
        let lifetime = TransferConfig::default().lifetime;
        let mut kept = kept(2, 1000);
        kept.insert(Instant::ZERO, (1, 1), response(100));
        let used = Instant::ZERO + Duration::from_secs(100);
        assert!(kept.find(used, (1, 1)).is_some());
        kept.handle_timeout(Instant::ZERO + lifetime);
        assert_eq!((kept.usage(), kept.next_at()), ((1, 100), Some(used + lifetime)));
        kept.handle_timeout(used + lifetime);
        assert_eq!((kept.usage(), kept.next_at()), ((0, 0), None));
    }
}
