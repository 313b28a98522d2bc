//! Echo (RFC 9175 §2): the proof that a client is where its requests seem to come from.
//!
//! A request with a forged sender makes a server send to somebody else. A response that is much
//! larger than its request would make that worth while (§2.6), so a peer that was not heard to
//! repeat an Echo value lately gets 4.01 with one instead. The value is the time and a keyed hash
//! of it and the peer's address, so the server keeps nothing until it comes back.

use alloc::collections::{BTreeMap, BTreeSet};
use core::hash::{Hash, Hasher as _};
use core::time::Duration;

use super::{Code, OptionNumber, Response};
use crate::Instant;
use crate::siphash::SipHasher;

/// Bytes of a value: the time in seconds, and a hash of as many bits as RFC 9175 §5 wants.
const VALUE_LEN: usize = 4 + 8;

/// Parameters of a server's use of Echo.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EchoConfig {
    /// How many times as large as its request a response to an unverified peer may be; RFC 9175
    /// §2.6 says 3. `None`: every peer is trusted.
    pub amplification: Option<usize>,
    /// How long a value, and a peer that repeated one, is good for.
    pub freshness: Duration,
    /// Verified peers; the one that was verified first gives way, and is asked again.
    pub max_verified: usize,
}

impl Default for EchoConfig {
    fn default() -> Self {
        Self { amplification: Some(3), freshness: Duration::from_secs(300), max_verified: 16_384 }
    }
}

/// Who is where it seems to be.
#[derive(Debug)]
pub(super) struct Verifier<P> {
    config: EchoConfig,
    key: (u64, u64),
    verified: BTreeMap<P, Instant>,
    by_age: BTreeSet<(Instant, P)>,
}

impl<P: Copy + Ord + Hash> Verifier<P> {
    /// A verifier whose values cannot be made without the random `key`.
    pub(super) const fn new(config: EchoConfig, key: (u64, u64)) -> Self {
        Self { config, key, verified: BTreeMap::new(), by_age: BTreeSet::new() }
    }

    /// The largest response that `peer` may get to a request of `size` bytes.
    pub(super) fn allowance(&self, now: Instant, peer: P, size: usize) -> usize {
        match self.config.amplification {
            Some(factor) if !self.is_verified(now, peer) => size.saturating_mul(factor),
            Some(_) | None => usize::MAX,
        }
    }

    /// Whether a peer is trusted without further proof.
    pub(super) fn is_verified(&self, now: Instant, peer: P) -> bool {
        let is_fresh = |at: &Instant| now.saturating_since(*at) < self.config.freshness;
        self.config.amplification.is_none() || self.verified.get(&peer).is_some_and(is_fresh)
    }

    /// Takes the Echo of a request.
    pub(super) fn handle_echo(&mut self, now: Instant, peer: P, value: &[u8]) {
        let Some((&time, _)) = value.split_first_chunk() else { return };
        let age = seconds(now).wrapping_sub(u32::from_be_bytes(time));
        if u64::from(age) > self.config.freshness.as_secs() || value != self.value(time, peer) {
            return;
        }
        if let Some(before) = self.verified.insert(peer, now) {
            self.by_age.remove(&(before, peer));
        }
        self.by_age.insert((now, peer));
        if self.verified.len() > self.config.max_verified
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.verified.remove(&oldest);
        }
    }

    /// 4.01 with a value to repeat (RFC 9175 §2.3).
    pub(super) fn challenge(&self, now: Instant, peer: P) -> Response {
        let value = self.value(seconds(now).to_be_bytes(), peer);
        Response::new(Code::UNAUTHORIZED).option(OptionNumber::ECHO, &value)
    }

    /// Forgets peers that would have to prove it again.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, peer)) = self.by_age.first()
            && now.saturating_since(at) >= self.config.freshness
        {
            self.by_age.pop_first();
            self.verified.remove(&peer);
        }
    }

    fn value(&self, time: [u8; 4], peer: P) -> [u8; VALUE_LEN] {
        let mut hasher = SipHasher::new(self.key);
        hasher.write(&time);
        peer.hash(&mut hasher);
        let [a, b, c, d] = time;
        let [e, f, g, h, i, j, k, l] = hasher.finish().to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.verified.len()
    }
}

/// The time in seconds, which wraps after 136 years.
fn seconds(now: Instant) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000 % (1 << 32)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const START: Instant = Instant::from_micros(1_000_000_000);

    fn verifier(max_verified: usize) -> Verifier<u16> {
        let config = EchoConfig { max_verified, ..Default::default() };
        Verifier::new(config, (1, 2))
    }

    fn value(verifier: &Verifier<u16>, now: Instant, peer: u16) -> [u8; VALUE_LEN] {
        let challenge = verifier.challenge(now, peer);
        assert_eq!(challenge.code, Code::UNAUTHORIZED);
        challenge.options.first(OptionNumber::ECHO).unwrap().try_into().unwrap()
    }

    #[test]
    fn a_peer_that_repeats_its_value_may_get_any_response() {
        // RFC 9175 §2.3, §2.6
        let mut verifier = verifier(10);
        assert_eq!(verifier.allowance(START, 1, 20), 60);
        let echo = value(&verifier, START, 1);
        verifier.handle_echo(START + SECOND, 1, &echo);
        assert_eq!(verifier.allowance(START + SECOND, 1, 20), usize::MAX);
        assert_eq!(verifier.allowance(START + 301 * SECOND, 1, 20), 60, "not for ever");
    }

    #[test]
    fn a_value_is_of_one_peer_and_one_time() {
        // RFC 9175 §2.2
        let mut verifier = verifier(10);
        let echo = value(&verifier, START, 1);
        verifier.handle_echo(START, 2, &echo);
        verifier.handle_echo(START + 301 * SECOND, 1, &echo);
        for at in 0..VALUE_LEN {
            let mut forged = echo;
            forged[at] ^= 1;
            verifier.handle_echo(START, 1, &forged);
        }
        for cut in 0..VALUE_LEN {
            verifier.handle_echo(START, 1, &echo[..cut]);
        }
        let early = value(&verifier, START + 10 * SECOND, 1);
        verifier.handle_echo(START, 1, &early);
        assert_eq!(verifier.len(), 0);
        verifier.handle_echo(START + 300 * SECOND, 1, &echo);
        assert_eq!(verifier.len(), 1);
    }

    #[test]
    fn the_peer_that_was_verified_first_gives_way() {
        let mut verifier = verifier(2);
        for peer in 0..5 {
            let now = START + u32::from(peer) * SECOND;
            let echo = value(&verifier, now, peer);
            verifier.handle_echo(now, peer, &echo);
            verifier.handle_echo(now, peer, &echo);
            assert!(verifier.len() <= 2 && verifier.by_age.len() == verifier.len());
        }
        assert!(verifier.is_verified(START + 4 * SECOND, 4));
        assert!(!verifier.is_verified(START + 4 * SECOND, 2));
        verifier.handle_timeout(START + 303 * SECOND);
        assert_eq!(verifier.len(), 1);
        verifier.handle_timeout(START + 304 * SECOND);
        assert_eq!(verifier.len(), 0);
    }

    #[test]
    fn without_a_limit_everybody_is_trusted() {
        let config = EchoConfig { amplification: None, ..Default::default() };
        let verifier = Verifier::new(config, (1, 2));
        assert_eq!(verifier.allowance(START, 1_u16, 20), usize::MAX);
        assert!(verifier.is_verified(START, 1));
    }
}
