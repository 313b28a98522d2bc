//! The peers that an endpoint knows, and what it has to keep for each of them.
//!
//! A peer is *held* while something is in progress with it. The others are idle, in the order in
//! which they fell silent; when the table is full, the first of them gives way.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use super::arena::{Arena, Key, Links, List};
use super::dedup::Entry;
use crate::{Instant, Rng};

/// Ids that may be used up in one lifetime: half of the number space, see [`MessageIds`].
const IDS_PER_WINDOW: u16 = 1 << 15;

/// What an endpoint keeps for a peer.
#[derive(Debug)]
pub(super) struct Peer<P> {
    pub(super) address: P,
    /// Ids of messages to this peer.
    pub(super) message_ids: MessageIds,
    /// Messages from this peer, by their id.
    pub(super) received: BTreeMap<u16, Key>,
    /// Those of them that are answered, oldest answer first.
    pub(super) answered: List<Entry>,
    /// Own requests that wait for their turn.
    pub(super) queue: VecDeque<Key>,
    /// Own requests that count for NSTART.
    pub(super) outstanding: usize,
    holds: usize,
    silent_since: Instant,
    idle: Links,
}

/// All peers.
#[derive(Debug)]
pub(super) struct Peers<P> {
    arena: Arena<Peer<P>>,
    by_address: BTreeMap<P, Key>,
    idle: List<Peer<P>>,
}

impl<P: Copy + Ord> Peers<P> {
    pub(super) const fn new() -> Self {
        Self { arena: Arena::new(), by_address: BTreeMap::new(), idle: List::new(|p| &mut p.idle) }
    }

    pub(super) const fn len(&self) -> usize {
        self.arena.len()
    }

    pub(super) fn find(&self, address: P) -> Option<Key> {
        self.by_address.get(&address).copied()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Peer<P>> {
        self.arena.get(key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Peer<P>> {
        self.arena.get_mut(key)
    }

    /// Adds an idle peer that is not known yet.
    pub(super) fn insert(&mut self, now: Instant, address: P, rng: &mut Rng) -> Key {
        let key = self.arena.insert(Peer {
            address,
            message_ids: MessageIds::new(now, rng.next_u16()),
            received: BTreeMap::new(),
            answered: List::new(Entry::peer_links),
            queue: VecDeque::new(),
            outstanding: 0,
            holds: 0,
            silent_since: now,
            idle: Links::default(),
        });
        self.by_address.insert(address, key);
        self.idle.push_back(&mut self.arena, key);
        key
    }

    /// Notes that the peer was heard of or sent to.
    pub(super) fn touch(&mut self, now: Instant, key: Key) {
        let Some(peer) = self.arena.get_mut(key) else { return };
        peer.silent_since = now;
        if peer.holds == 0 {
            self.idle.remove(&mut self.arena, key);
            self.idle.push_back(&mut self.arena, key);
        }
    }

    /// Keeps the peer until as many calls of [`release`](Self::release).
    pub(super) fn hold(&mut self, key: Key) {
        let Some(peer) = self.arena.get_mut(key) else { return };
        peer.holds += 1;
        if peer.holds == 1 {
            self.idle.remove(&mut self.arena, key);
        }
    }

    /// Ends a [`hold`](Self::hold).
    pub(super) fn release(&mut self, now: Instant, key: Key) {
        let Some(peer) = self.arena.get_mut(key) else { return };
        peer.holds -= 1;
        if peer.holds == 0 {
            peer.silent_since = now;
            self.idle.push_back(&mut self.arena, key);
        }
    }

    /// The idle peer that fell silent first, and when.
    pub(super) fn longest_idle(&self) -> Option<(Key, Instant)> {
        let key = self.idle.first()?;
        Some((key, self.arena.get(key)?.silent_since))
    }

    /// Removes an idle peer.
    pub(super) fn remove_idle(&mut self, key: Key) {
        self.idle.remove(&mut self.arena, key);
        if let Some(peer) = self.arena.remove(key) {
            self.by_address.remove(&peer.address);
        }
    }
}

/// The ids of messages to one peer: consecutive from a random one (RFC 7252 §4.4).
///
/// No id may come again within EXCHANGE_LIFETIME. Time is cut into windows of at least that
/// length, of which each gives out at most half of the 65536 ids: any stretch of time shorter than
/// EXCHANGE_LIFETIME touches two windows at most, so it cannot contain 65537 ids.
#[derive(Debug)]
pub(super) struct MessageIds {
    next: u16,
    used: u16,
    window: Instant,
}

impl MessageIds {
    const fn new(now: Instant, first: u16) -> Self {
        Self { next: first, used: 0, window: now }
    }

    /// A fresh id, or when there will be one again.
    pub(super) fn next(&mut self, now: Instant, lifetime: Duration) -> Result<u16, Instant> {
        let end = self.window + lifetime;
        if now >= end {
            self.window = now;
            self.used = 0;
        } else if self.used >= IDS_PER_WINDOW {
            return Err(end);
        }
        let id = self.next;
        self.next = id.wrapping_add(1);
        self.used += 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn no_message_id_comes_again_within_the_exchange_lifetime() {
        // RFC 7252 §4.4
        let lifetime = Duration::from_secs(247);
        for pause_us in [0, 100, 3_700, 4_000, 8_000, 50_000] {
            let mut ids = MessageIds::new(Instant::ZERO, 65_000);
            let mut used_at = vec![None; 65_536];
            let mut now = Instant::ZERO;
            for _ in 0..200_000 {
                match ids.next(now, lifetime) {
                    Ok(id) => {
                        let before = used_at[usize::from(id)].replace(now);
                        assert!(before.is_none_or(|before| now - before >= lifetime));
                    }
                    Err(again) => {
                        assert!(again > now && again - now <= lifetime);
                        now = again;
                    }
                }
                now = now + Duration::from_micros(pause_us);
            }
        }
    }

    #[test]
    fn held_peers_are_not_idle_and_idle_ones_are_ordered_by_silence() {
        let mut peers = Peers::new();
        let mut rng = Rng::new(1);
        let at = Instant::from_micros;
        let [a, b, c] = ['a', 'b', 'c'].map(|name| peers.insert(at(1), name, &mut rng));
        assert_eq!(peers.longest_idle(), Some((a, at(1))));
        peers.touch(at(2), a);
        assert_eq!(peers.longest_idle(), Some((b, at(1))));
        peers.hold(b);
        peers.hold(b);
        assert_eq!(peers.longest_idle(), Some((c, at(1))));
        peers.remove_idle(c);
        assert_eq!((peers.find('c'), peers.longest_idle()), (None, Some((a, at(2)))));
        peers.release(at(3), b);
        peers.remove_idle(a);
        assert_eq!(peers.longest_idle(), None);
        peers.release(at(4), b);
        assert_eq!(peers.longest_idle(), Some((b, at(4))));
    }
}
