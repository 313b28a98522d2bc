//! How often a client may ask (RFC 8516).
//!
//! Every client has a bucket that refills steadily and holds the requests of one second. All that is
//! kept of one is the time at which it would be full, so a client that has been quiet for a second
//! leaves nothing behind.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proto::Instant;

/// Clients whose bucket is not full; the fullest one is forgotten, and so counts as full.
const MAX_CLIENTS: usize = 16_384;
/// What a full bucket holds, in time.
const BURST: Duration = Duration::from_secs(1);

/// The rates of all clients of a source.
#[derive(Debug)]
pub(super) struct Rates {
    /// The time that a request takes of its client's bucket.
    cost: Duration,
    buckets: Mutex<Buckets>,
}

/// When each bucket is full.
#[derive(Debug, Default)]
struct Buckets {
    full_at: HashMap<IpAddr, Instant>,
    by_time: BTreeSet<(Instant, IpAddr)>,
}

impl Rates {
    /// At most so many requests a second, at least one.
    pub(super) fn new(max_rate: u32) -> Self {
        Self { cost: BURST / max_rate.max(1), buckets: Mutex::default() }
    }

    /// Counts a request that comes `now`, or says how long its client has to wait.
    pub(super) fn admit(&self, now: Instant, client: IpAddr) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.forget_full(now);
        let full_at = buckets.full_at.get(&client).map_or(now, |&at| at.max(now)) + self.cost;
        match full_at.saturating_since(now + BURST) {
            Duration::ZERO => {
                buckets.set(client, full_at);
                Ok(())
            }
            wait => Err(wait),
        }
    }
}

impl Buckets {
    fn set(&mut self, client: IpAddr, full_at: Instant) {
        if let Some(before) = self.full_at.insert(client, full_at) {
            self.by_time.remove(&(before, client));
        }
        self.by_time.insert((full_at, client));
        if self.full_at.len() > MAX_CLIENTS {
            self.forget_first();
        }
    }

    fn forget_full(&mut self, now: Instant) {
        while self.by_time.first().is_some_and(|&(at, _)| at <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, client)) = self.by_time.pop_first() {
            self.full_at.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from(number).into()
    }

    fn admitted(rates: &Rates, now: Instant, client: IpAddr) -> usize {
        (0..1000).take_while(|_| rates.admit(now, client).is_ok()).count()
    }

    #[test]
    fn a_client_may_ask_for_a_second_at_once_and_then_at_its_rate() {
        let (rates, start) = (Rates::new(10), Instant::from_micros(5_000_000));
        assert_eq!(admitted(&rates, start, client(1)), 10);
        assert_eq!(rates.admit(start, client(1)), Err(100 * MILLISECOND));
        assert_eq!(admitted(&rates, start + 350 * MILLISECOND, client(1)), 3);
        assert_eq!(rates.admit(start + 350 * MILLISECOND, client(1)), Err(50 * MILLISECOND));
        assert_eq!(admitted(&rates, start + 400 * MILLISECOND, client(1)), 1, "as it was told");
        assert_eq!(
            admitted(&rates, start + 9000 * MILLISECOND, client(1)),
            10,
            "no more than that"
        );
    }

    #[test]
    fn clients_do_not_take_from_each_other() {
        let (rates, now) = (Rates::new(1), Instant::ZERO);
        assert_eq!((admitted(&rates, now, client(1)), admitted(&rates, now, client(2))), (1, 1));
    }

    #[test]
    fn who_is_quiet_is_forgotten_and_the_rest_has_a_limit() {
        let (rates, now) = (Rates::new(2), Instant::ZERO);
        let len = || {
            let buckets = rates.buckets.lock().unwrap();
            assert_eq!(buckets.full_at.len(), buckets.by_time.len());
            buckets.full_at.len()
        };
        assert_eq!(admitted(&rates, now, client(0)), 2);
        for number in 1..=u32::try_from(MAX_CLIENTS).unwrap() + 10 {
            assert_eq!(rates.admit(now, client(number)), Ok(()));
        }
        assert_eq!(len(), MAX_CLIENTS);
        assert!(rates.admit(now, client(0)).is_err(), "the emptiest bucket stays");
        assert_eq!(rates.admit(now + 1000 * MILLISECOND, client(0)), Ok(()));
        assert_eq!(len(), 1);
    }
}
