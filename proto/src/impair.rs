//! A lossy network as a state machine: what is sent may be lost, doubled, damaged and reordered.
//!
//! Deterministic: the same seed and the same calls give the same deliveries. Tests and the
//! simulator share it, so that a failure in the field can be replayed at a desk.
//!
//! Each datagram is judged when it is sent. It is lost, or it gets a delay drawn from the
//! profile's range, and so may overtake others; a copy, if there is one, is damaged and delayed on
//! its own. Two datagrams that arrive at the same time do so in the order they were sent.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::{Instant, Rng};

/// Datagrams under way; more are dropped and counted, as a router's queue would.
pub const MAX_IN_FLIGHT: usize = 65_536;

/// How bad a network is. Probabilities are 0 to 1 and independent of each other.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Profile {
    /// That a datagram does not arrive.
    pub loss: f64,
    /// That it arrives twice.
    pub duplicate: f64,
    /// That one of its bits is flipped.
    pub corrupt: f64,
    /// That its end is missing, down to nothing.
    pub truncate: f64,
    /// The shortest time under way.
    pub delay_min: Duration,
    /// The longest time under way; what is sent within `delay_max - delay_min` may be reordered.
    pub delay_max: Duration,
}

impl Profile {
    /// Everything arrives at once, once and whole.
    pub const PERFECT: Self = Self {
        loss: 0.0,
        duplicate: 0.0,
        corrupt: 0.0,
        truncate: 0.0,
        delay_min: Duration::ZERO,
        delay_max: Duration::ZERO,
    };
}

/// What arrives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram<P> {
    /// Who sent it.
    pub from: P,
    /// Who receives it.
    pub to: P,
    /// What is left of it.
    pub bytes: Vec<u8>,
}

/// What happened to the datagrams so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NetworkStats {
    /// Handed in.
    pub sent: u64,
    /// Lost at random.
    pub lost: u64,
    /// Dropped because [`MAX_IN_FLIGHT`] were under way.
    pub overflowed: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Delivered or under way with a flipped bit.
    pub corrupted: u64,
    /// Delivered or under way without their end.
    pub truncated: u64,
    /// Handed out.
    pub delivered: u64,
}

/// A network between peers `P`.
///
/// After every [`handle_send`](Self::handle_send) and at [`next_at`](Self::next_at), call
/// [`poll_delivery`](Self::poll_delivery) until it gives nothing.
#[derive(Debug)]
pub struct Network<P> {
    profile: Profile,
    rng: Rng,
    under_way: BTreeMap<(Instant, u64), Datagram<P>>,
    stats: NetworkStats,
    next_number: u64,
}

impl<P: Copy> Network<P> {
    /// A network that draws its accidents from `seed`.
    pub const fn new(profile: Profile, seed: u64) -> Self {
        Self {
            profile,
            rng: Rng::new(seed),
            under_way: BTreeMap::new(),
            stats: NetworkStats {
                sent: 0,
                lost: 0,
                overflowed: 0,
                duplicated: 0,
                corrupted: 0,
                truncated: 0,
                delivered: 0,
            },
            next_number: 0,
        }
    }

    /// Makes the network better or worse for what is sent from now on.
    pub const fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// Takes a datagram that `from` sends to `to`.
    pub fn handle_send(&mut self, now: Instant, from: P, to: P, bytes: &[u8]) {
        self.stats.sent += 1;
        if self.rng.chance(self.profile.loss) {
            self.stats.lost += 1;
            return;
        }
        if self.rng.chance(self.profile.duplicate) {
            self.stats.duplicated += 1;
            self.dispatch(now, from, to, bytes);
        }
        self.dispatch(now, from, to, bytes);
    }

    /// A datagram that has arrived by `now`.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<Datagram<P>> {
        let first = self.under_way.first_entry()?;
        let &(at, _) = first.key();
        if at > now {
            return None;
        }
        self.stats.delivered += 1;
        Some(first.remove())
    }

    /// When the next datagram arrives.
    pub fn next_at(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|(&(at, _), _)| at)
    }

    /// What happened so far.
    pub const fn stats(&self) -> &NetworkStats {
        &self.stats
    }

    /// Sends one copy on its way.
    fn dispatch(&mut self, now: Instant, from: P, to: P, bytes: &[u8]) {
        if self.under_way.len() >= MAX_IN_FLIGHT {
            self.stats.overflowed += 1;
            return;
        }
        let mut bytes = bytes.to_vec();
        self.damage(&mut bytes);
        let at = now + self.rng.duration(self.profile.delay_min, self.profile.delay_max);
        self.under_way.insert((at, self.next_number), Datagram { from, to, bytes });
        self.next_number += 1;
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        if self.rng.chance(self.profile.corrupt) {
            let at = usize::try_from(self.rng.below(bytes.len() as u64)).unwrap_or(0);
            let bit = 1 << self.rng.below(8);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bit;
                self.stats.corrupted += 1;
            }
        }
        if self.rng.chance(self.profile.truncate) {
            let len = usize::try_from(self.rng.below(bytes.len() as u64)).unwrap_or(0);
            bytes.truncate(len);
            self.stats.truncated += 1;
        }
    }
}

#[cfg(test)]
mod tests;
