//! Received messages that are remembered, so that none is processed twice (RFC 7252 §4.5).
//!
//! A message is identified by its peer, its id and its token: a retransmission is the same to the
//! last bit, so an id that comes with another token is from a peer that restarted and counts anew.
//! So does a Confirmable message with the id of a Non-confirmable one.
//!
//! An entry is *waiting* (a Confirmable request that is neither acknowledged nor answered), *open*
//! (not answered, but nothing is due) or *answered*; each state is a list in the order of time.
//! Answered entries keep what to send to a duplicate. Where a limit is met, the oldest answered
//! entry gives way, of the same peer for the limit per peer, of all for the others. Unanswered
//! ones never do, so a limit can refuse a message, but not let one be executed twice while it is
//! being executed.

use super::arena::{Arena, Key, Links, List};
use super::compact::Compact;
use super::peers::Peers;
use super::{Delivery, EndpointConfig, Stats, Token};
use crate::Instant;

/// Expired entries removed in one go: more than can be added, so that they do not pile up, and
/// few, so that no call takes long.
const PURGED_PER_CALL: usize = 8;

/// A received message.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) peer: Key,
    pub(super) message_id: u16,
    token: Compact,
    pub(super) state: State,
    expires: Instant,
    by_state: Links,
    by_peer: Links,
}

/// How far a received message is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// A Confirmable request without a reaction; the Acknowledgement is due.
    Waiting {
        /// When to send it, at the latest.
        acknowledge_at: Instant,
    },
    /// A Confirmable request that was acknowledged and will get a separate response.
    Acknowledged,
    /// A Non-confirmable request.
    NonConfirmable(Delivery),
    /// Done. A duplicate of a Confirmable message gets these bytes, one of a Non-confirmable
    /// message has none.
    Answered(Compact),
}

impl State {
    fn is_confirmable(&self) -> bool {
        match self {
            Self::Waiting { .. } | Self::Acknowledged => true,
            Self::NonConfirmable(_) => false,
            Self::Answered(answer) => !answer.is_empty(),
        }
    }
}

impl Entry {
    pub(super) fn token(&self) -> Token {
        Token::new(&self.token).unwrap_or_default()
    }

    pub(super) fn peer_links(&mut self) -> &mut Links {
        &mut self.by_peer
    }

    fn state_links(&mut self) -> &mut Links {
        &mut self.by_state
    }
}

/// The received messages of all peers.
#[derive(Debug)]
pub(super) struct Dedup {
    entries: Arena<Entry>,
    waiting: List<Entry>,
    open: List<Entry>,
    answered: List<Entry>,
    answer_bytes: usize,
    max_entries: usize,
    max_per_peer: usize,
    max_answer_bytes: usize,
}

impl Dedup {
    pub(super) fn new(config: &EndpointConfig) -> Self {
        Self {
            entries: Arena::new(),
            waiting: List::new(Entry::state_links),
            open: List::new(Entry::state_links),
            answered: List::new(Entry::state_links),
            answer_bytes: 0,
            max_entries: config.max_received,
            max_per_peer: config.max_received_per_peer,
            max_answer_bytes: config.max_answer_bytes,
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The earlier copy of a message. An entry that this message supersedes is forgotten.
    pub(super) fn find<P: Copy + Ord>(
        &mut self,
        now: Instant,
        peers: &mut Peers<P>,
        stats: &mut Stats,
        (peer, message_id, token): (Key, u16, Token),
        confirmable: bool,
    ) -> Option<&Entry> {
        let key = *peers.get(peer)?.received.get(&message_id)?;
        let entry = self.entries.get(key)?;
        let expired = entry.expires <= now;
        let is_other = *entry.token != *token || (confirmable && !entry.state.is_confirmable());
        if expired || is_other {
            stats.reused_message_ids += u64::from(!expired);
            self.drop_unanswered(now, peers, stats, key);
            self.forget(peers, key);
            return None;
        }
        self.entries.get(key)
    }

    /// Remembers a message that is not known yet; `None` where only unanswered ones could give
    /// way.
    pub(super) fn insert<P: Copy + Ord>(
        &mut self,
        now: Instant,
        peers: &mut Peers<P>,
        stats: &mut Stats,
        (peer, message_id, token): (Key, u16, Token),
        state: State,
        expires: Instant,
    ) -> Option<Key> {
        self.purge(now, peers, stats);
        let own = peers.get(peer)?;
        if own.received.len() >= self.max_per_peer {
            self.evict(peers, stats, own.answered.first()?);
        }
        if self.entries.len() >= self.max_entries {
            self.evict(peers, stats, self.answered.first()?);
        }
        let links = Links::default();
        let token = Compact::from(&*token);
        let entry =
            Entry { peer, message_id, token, state, expires, by_state: links, by_peer: links };
        let key = self.entries.insert(entry);
        peers.get_mut(peer)?.received.insert(message_id, key);
        self.enlist(peers, key);
        if !self.is_answered(key) {
            peers.hold(peer);
        }
        self.limit_answer_bytes(peers, stats, key);
        Some(key)
    }

    /// Moves an unanswered message on to another state.
    pub(super) fn advance<P: Copy + Ord>(
        &mut self,
        now: Instant,
        peers: &mut Peers<P>,
        stats: &mut Stats,
        key: Key,
        state: State,
    ) {
        self.delist(peers, key);
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.state = state;
        let peer = entry.peer;
        self.enlist(peers, key);
        if self.is_answered(key) {
            peers.release(now, peer);
            self.limit_answer_bytes(peers, stats, key);
        }
    }

    /// The next Acknowledgement that is due: the message it is for, and when.
    pub(super) fn next_acknowledgement(&self) -> Option<(Key, Instant)> {
        let key = self.waiting.first()?;
        match self.entries.get(key)?.state {
            State::Waiting { acknowledge_at } => Some((key, acknowledge_at)),
            State::Acknowledged | State::NonConfirmable(_) | State::Answered(_) => None,
        }
    }

    /// Forgets some of the messages whose lifetime is over.
    pub(super) fn purge<P: Copy + Ord>(
        &mut self,
        now: Instant,
        peers: &mut Peers<P>,
        stats: &mut Stats,
    ) {
        for _ in 0..PURGED_PER_CALL {
            let expired = [self.answered.first(), self.open.first()]
                .into_iter()
                .flatten()
                .find(|&key| self.entries.get(key).is_some_and(|entry| entry.expires <= now));
            let Some(key) = expired else { return };
            self.drop_unanswered(now, peers, stats, key);
            self.forget(peers, key);
        }
    }

    /// Forgets all messages of an idle peer: they are answered.
    pub(super) fn forget_peer<P: Copy + Ord>(&mut self, peers: &mut Peers<P>, peer: Key) -> u64 {
        let mut forgotten = 0;
        while let Some(key) = peers.get(peer).and_then(|peer| peer.answered.first()) {
            self.forget(peers, key);
            forgotten += 1;
        }
        forgotten
    }

    fn evict<P: Copy + Ord>(&mut self, peers: &mut Peers<P>, stats: &mut Stats, key: Key) {
        stats.evicted += 1;
        self.forget(peers, key);
    }

    /// Answers give way until they fit, except the newest.
    fn limit_answer_bytes<P: Copy + Ord>(
        &mut self,
        peers: &mut Peers<P>,
        stats: &mut Stats,
        newest: Key,
    ) {
        while self.answer_bytes > self.max_answer_bytes
            && let Some(oldest) = self.answered.first().filter(|&oldest| oldest != newest)
        {
            self.evict(peers, stats, oldest);
        }
    }

    /// Lets go of the peer of a message that will not be answered any more.
    fn drop_unanswered<P: Copy + Ord>(
        &mut self,
        now: Instant,
        peers: &mut Peers<P>,
        stats: &mut Stats,
        key: Key,
    ) {
        if let Some(entry) = self.entries.get(key)
            && !self.is_answered(key)
        {
            stats.unanswered += 1;
            peers.release(now, entry.peer);
        }
    }

    fn forget<P: Copy + Ord>(&mut self, peers: &mut Peers<P>, key: Key) {
        self.delist(peers, key);
        if let Some(entry) = self.entries.remove(key)
            && let Some(peer) = peers.get_mut(entry.peer)
        {
            peer.received.remove(&entry.message_id);
        }
    }

    fn is_answered(&self, key: Key) -> bool {
        self.entries.get(key).is_some_and(|entry| matches!(entry.state, State::Answered(_)))
    }

    /// Adds a message to the lists of its state.
    fn enlist<P: Copy + Ord>(&mut self, peers: &mut Peers<P>, key: Key) {
        let Some(entry) = self.entries.get(key) else { return };
        match &entry.state {
            State::Waiting { .. } => self.waiting.push_back(&mut self.entries, key),
            State::Acknowledged | State::NonConfirmable(_) => {
                self.open.push_back(&mut self.entries, key);
            }
            State::Answered(answer) => {
                self.answer_bytes += answer.len();
                if let Some(peer) = peers.get_mut(entry.peer) {
                    peer.answered.push_back(&mut self.entries, key);
                }
                self.answered.push_back(&mut self.entries, key);
            }
        }
    }

    /// Takes a message out of the lists of its state.
    fn delist<P: Copy + Ord>(&mut self, peers: &mut Peers<P>, key: Key) {
        let Some(entry) = self.entries.get(key) else { return };
        match &entry.state {
            State::Waiting { .. } => self.waiting.remove(&mut self.entries, key),
            State::Acknowledged | State::NonConfirmable(_) => {
                self.open.remove(&mut self.entries, key);
            }
            State::Answered(answer) => {
                self.answer_bytes -= answer.len();
                if let Some(peer) = peers.get_mut(entry.peer) {
                    peer.answered.remove(&mut self.entries, key);
                }
                self.answered.remove(&mut self.entries, key);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn usage(&self) -> (usize, usize) {
        (self.entries.len(), self.answer_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_remembered_message_takes_little() {
        assert!(size_of::<State>() <= 24, "{}", size_of::<State>());
        assert!(size_of::<Entry>() <= 88, "{}", size_of::<Entry>());
    }
}
