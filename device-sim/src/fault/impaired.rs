//! A way of datagrams with faults on it, in virtual time.
//!
//! [`proto::impair::Network`] judges what is lost, doubled and damaged, and hands out by time. Here it
//! is decided when a datagram arrives: it waits in the queue of the bandwidth, if there is one, then
//! takes the delay that is drawn for it, and is held back for [`HELD_BACK`] when it is to be
//! overtaken. A delay that varies reorders too. What is on its way when a fault begins or ends keeps
//! its fate.

use std::time::Duration;

use proto::impair::{Datagram, Network, NetworkStats, Profile};
use proto::{Instant, Rng};

use super::effect::Impairment;

/// How long a datagram that is to be overtaken is held back.
pub const HELD_BACK: Duration = Duration::from_millis(100);
/// How much time the queue of a bandwidth holds; what would wait longer is dropped and counted.
pub const MAX_QUEUED: Duration = Duration::from_secs(1);

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImpairedStats {
    /// What the network did.
    pub network: NetworkStats,
    /// Dropped because nothing passed.
    pub partitioned: u64,
    /// Dropped because the queue of the bandwidth was full.
    pub queue_full: u64,
    /// Held back, to be overtaken.
    pub reordered: u64,
}

/// One direction between peers `P`.
///
/// After every [`handle_datagram`](Self::handle_datagram) and at [`poll_timeout`](Self::poll_timeout),
/// call [`poll_delivery`](Self::poll_delivery) until it gives nothing.
#[derive(Debug)]
pub struct Impaired<P> {
    impairment: Impairment,
    network: Network<P>,
    /// For delays; what is lost does not depend on how they are drawn.
    rng: Rng,
    /// When the last byte that waits has left.
    queue_empty_at: Instant,
    partitioned: u64,
    queue_full: u64,
    reordered: u64,
}

impl<P: Copy> Impaired<P> {
    /// A way without faults, whose accidents are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut seeds = Rng::new(seed);
        Self {
            impairment: Impairment::default(),
            network: Network::new(Profile::PERFECT, seeds.next_u64()),
            rng: Rng::new(seeds.next_u64()),
            queue_empty_at: Instant::ZERO,
            partitioned: 0,
            queue_full: 0,
            reordered: 0,
        }
    }

    /// Makes the way better or worse, for what is sent from now on.
    pub fn set_impairment(&mut self, impairment: Impairment) {
        self.impairment = impairment;
        self.network.set_profile(Profile {
            loss: impairment.loss,
            duplicate: impairment.duplicate,
            corrupt: impairment.corrupt,
            truncate: impairment.truncate,
            ..Profile::PERFECT
        });
    }

    /// Takes a datagram that `from` sends to `to`, and tells whether it will arrive undamaged.
    pub fn handle_datagram(&mut self, now: Instant, from: P, to: P, bytes: &[u8]) -> bool {
        if self.impairment.partition {
            self.partitioned += 1;
            return false;
        }
        let mut at = now;
        if let Some(bandwidth) = self.impairment.bandwidth {
            let begins = self.queue_empty_at.max(now);
            if begins - now > MAX_QUEUED {
                self.queue_full += 1;
                return false;
            }
            at = begins + bandwidth.time_of(bytes.len());
            self.queue_empty_at = at;
        }
        if let Some(delay) = &self.impairment.delay {
            at = at + delay.draw(&mut self.rng);
        }
        if self.rng.chance(self.impairment.reorder) {
            self.reordered += 1;
            at = at + HELD_BACK;
        }
        let before = *self.network.stats();
        self.network.handle_send(at, from, to, bytes);
        let after = self.network.stats();
        let gone = after.lost + after.overflowed - before.lost - before.overflowed;
        let damaged = after.corrupted + after.truncated - before.corrupted - before.truncated;
        // A copy that is damaged twice counts as two: the other one may arrive whole all the same.
        1 + after.duplicated - before.duplicated > gone + damaged
    }

    /// A datagram that has arrived by `now`.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<Datagram<P>> {
        self.network.poll_delivery(now)
    }

    /// When the next datagram arrives.
    pub fn poll_timeout(&self) -> Instant {
        self.network.next_at().unwrap_or(Instant::FAR_FUTURE)
    }

    /// What happened so far.
    pub fn stats(&self) -> ImpairedStats {
        ImpairedStats {
            network: *self.network.stats(),
            partitioned: self.partitioned,
            queue_full: self.queue_full,
            reordered: self.reordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::Delay;
    use super::*;

    const COUNT: u32 = 100_000;

    /// Sends numbered datagrams 1 ms apart; what arrives and when.
    fn run(
        impairment: Impairment,
        seed: u64,
        count: u32,
    ) -> (Vec<(Instant, Vec<u8>)>, ImpairedStats) {
        let mut way = Impaired::new(seed);
        way.set_impairment(impairment);
        for number in 0..count {
            way.handle_datagram(millis(number.into()), 'a', 'b', &number.to_be_bytes());
        }
        let mut arrived = Vec::new();
        while way.poll_timeout() != Instant::FAR_FUTURE {
            let at = way.poll_timeout();
            arrived.extend(way.poll_delivery(at).map(|datagram| (at, datagram.bytes)));
        }
        (arrived, way.stats())
    }

    fn millis(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    /// Whether so many hits are within four deviations of the binomial distribution.
    fn as_often(hits: u64, of: u64, share: f64) -> bool {
        let (hits, of) = (hits as f64, of as f64);
        (hits - of * share).abs() < 4.0 * (of * share * (1.0 - share)).sqrt()
    }

    fn bad() -> Impairment {
        let delay = Delay::log_normal(Duration::from_millis(5), Duration::from_millis(50));
        Impairment {
            loss: 0.05,
            duplicate: 0.02,
            reorder: 0.01,
            corrupt: 0.005,
            truncate: 0.01,
            delay: delay.ok(),
            ..Impairment::default()
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_fates_and_another_gives_others() {
        assert_eq!(run(bad(), 1, 2000), run(bad(), 1, 2000));
        assert_ne!(run(bad(), 1, 2000).0, run(bad(), 2, 2000).0);
    }

    #[test]
    fn what_is_lost_does_not_depend_on_delays() {
        let numbers = |impairment| {
            let (arrived, _) = run(impairment, 1, 2000);
            let mut numbers: Vec<_> = arrived.into_iter().map(|(_, bytes)| bytes).collect();
            numbers.sort();
            numbers
        };
        assert_eq!(numbers(bad()), numbers(Impairment { delay: None, reorder: 0.0, ..bad() }));
    }

    #[test]
    fn accidents_happen_as_often_as_they_were_asked_for() {
        // So few are under way at a time that the network has room for all.
        let mut way = Impaired::new(7);
        way.set_impairment(bad());
        for number in 0..COUNT {
            let now = millis(number.into());
            while way.poll_delivery(now).is_some() {}
            way.handle_datagram(now, 'a', 'b', &number.to_be_bytes());
        }
        let stats = way.stats();
        let network = stats.network;
        let sent = u64::from(COUNT);
        assert_eq!((network.sent, network.overflowed), (sent, 0));
        assert!(as_often(network.lost, sent, 0.05), "{stats:?}");
        assert!(as_often(network.duplicated, sent - network.lost, 0.02), "{stats:?}");
        let copies = sent - network.lost + network.duplicated;
        assert!(as_often(network.corrupted, copies, 0.005), "{stats:?}");
        assert!(as_often(network.truncated, copies, 0.01), "{stats:?}");
        assert!(as_often(stats.reordered, sent, 0.01), "{stats:?}");
    }

    #[test]
    fn it_is_known_at_once_what_arrives_undamaged() {
        let mut way = Impaired::new(3);
        way.set_impairment(Impairment { duplicate: 0.0, ..bad() });
        let mut arriving = Vec::new();
        for number in 0..2000_u32 {
            if way.handle_datagram(millis(number.into()), 'a', 'b', &number.to_be_bytes()) {
                arriving.push(number);
            }
        }
        let arrived = std::iter::from_fn(|| way.poll_delivery(Instant::FAR_FUTURE));
        let arrived: std::collections::BTreeSet<_> =
            arrived.map(|datagram| datagram.bytes).collect();
        assert!((1700..1950).contains(&arriving.len()), "{}", arriving.len());
        assert!(arriving.iter().all(|number| arrived.contains(number.to_be_bytes().as_slice())));
        let stats = way.stats().network;
        // Few are damaged twice.
        let whole = stats.delivered - stats.corrupted - stats.truncated;
        assert!((arriving.len() as u64) - whole < 3, "{stats:?} {}", arriving.len());
    }

    #[test]
    fn what_is_held_back_is_overtaken() {
        let (arrived, stats) = run(Impairment { reorder: 0.1, ..Impairment::default() }, 1, 1000);
        let overtaken = arrived.windows(2).filter(|pair| pair[0].1 > pair[1].1).count();
        assert!(stats.reordered > 50 && overtaken > 50, "{stats:?} {overtaken}");
        assert_eq!(arrived.len(), 1000);
    }

    #[test]
    fn a_bandwidth_spaces_datagrams_and_drops_what_would_wait_too_long() {
        // 4 bytes take 10 ms, and one comes each millisecond.
        let narrow = Impairment { bandwidth: "3200 bit/s".parse().ok(), ..Impairment::default() };
        let (arrived, stats) = run(narrow, 1, 1000);
        assert!(arrived.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_millis(10)));
        assert_eq!(arrived.first().map(|(at, _)| *at), Some(millis(10)));
        // A second of queue, and the 100 that have left within the second of the test.
        assert!((199..=202).contains(&arrived.len()), "{}", arrived.len());
        assert_eq!(stats.queue_full, 1000 - arrived.len() as u64);
    }

    #[test]
    fn nothing_passes_while_parted_and_what_is_on_its_way_arrives() {
        let mut way = Impaired::new(1);
        let delay = Some(Delay::constant(Duration::from_millis(10)));
        way.set_impairment(Impairment { delay, ..Impairment::default() });
        way.handle_datagram(millis(0), 'a', 'b', b"before");
        way.set_impairment(Impairment { partition: true, ..Impairment::default() });
        assert!(!way.handle_datagram(millis(1), 'a', 'b', b"within"));
        way.set_impairment(Impairment::default());
        way.handle_datagram(millis(20), 'a', 'b', b"after");
        let arrived = [millis(10), millis(20)].map(|at| way.poll_delivery(at).unwrap().bytes);
        assert_eq!(arrived, [b"before".to_vec(), b"after".to_vec()]);
        assert_eq!((way.stats().partitioned, way.poll_timeout()), (1, Instant::FAR_FUTURE));
    }
}
