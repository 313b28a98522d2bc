//! Which address of a broker is next, and when.

use std::time::Duration;

use proto::Instant;

use super::super::backoff::Backoff;
use crate::config::{BrokerUrl, BrokerUrls};

/// The addresses of a broker, in turn.
///
/// After any failure the next address is tried at once, until each one has failed; then there is a
/// pause, and the next round begins with the address that worked last. A connection that did not
/// last is a failure like any other, so that a broker which takes connections only to drop them is
/// not stormed.
#[derive(Debug)]
pub(super) struct Failover {
    urls: BrokerUrls,
    /// The address in use.
    position: usize,
    /// The address that worked last.
    worked: usize,
    /// Failures since the last pause, or since a connection that lasted.
    failures: usize,
    backoff: Backoff,
}

impl Failover {
    /// Begins with the first address; pauses are no longer than `limit`.
    pub(super) fn new(urls: BrokerUrls, limit: Duration, seed: u64) -> Self {
        Self { urls, position: 0, worked: 0, failures: 0, backoff: Backoff::new(limit, seed) }
    }

    /// The address in use, or tried next.
    pub(super) fn url(&self) -> &BrokerUrl {
        self.urls.at(self.position)
    }

    /// Its place among the addresses.
    pub(super) const fn position(&self) -> usize {
        self.position
    }

    /// Goes over to the next address after a connection that lasted from `connected` on, if there
    /// was one; returns the pause to make before.
    pub(super) fn handle_end(&mut self, connected: Option<Instant>, now: Instant) -> Duration {
        if connected.is_some() {
            self.worked = self.position;
        }
        if Backoff::is_stable(connected, now) {
            self.failures = 0;
            self.backoff.reset();
        }
        self.failures += 1;
        if self.failures < self.urls.len() {
            self.position = (self.position + 1) % self.urls.len();
            return Duration::ZERO;
        }
        self.failures = 0;
        self.position = self.worked;
        self.backoff.pause()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, SeqDeserializer};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn failover(count: usize) -> Failover {
        let urls = (0..count).map(|n| format!("mqtt://h{n}").into_deserializer());
        let urls = BrokerUrls::deserialize(SeqDeserializer::<_, Error>::new(urls)).unwrap();
        Failover::new(urls, Duration::from_secs(5), 1)
    }

    /// The hosts of the attempts that follow `end`s, `|` where there is a pause before.
    fn attempts(
        failover: &mut Failover,
        ends: impl IntoIterator<Item = Option<Instant>>,
    ) -> String {
        let mut text = failover.url().host().to_owned();
        for connected in ends {
            let pause = failover.handle_end(connected, Instant::ZERO + LONG);
            text.push_str(if pause.is_zero() { " " } else { "|" });
            text.push_str(failover.url().host());
        }
        text
    }

    #[test]
    fn every_address_is_tried_before_a_pause() {
        assert_eq!(attempts(&mut failover(3), [None; 7]), "h0 h1 h2|h0 h1 h2|h0 h1");
        assert_eq!(attempts(&mut failover(1), [None; 3]), "h0|h0|h0|h0");
    }

    #[test]
    fn a_round_begins_with_the_address_that_worked_last() {
        let mut failover = failover(3);
        let lasted = Some(Instant::ZERO);
        assert_eq!(attempts(&mut failover, [None, lasted]), "h0 h1 h2");
        assert_eq!(attempts(&mut failover, [None, None, None]), "h2 h0|h1 h2");
    }

    #[test]
    fn connections_that_do_not_last_make_no_storm() {
        let short = Some(Instant::ZERO + (LONG - Duration::from_millis(1)));
        let mut failover = failover(2);
        assert_eq!(attempts(&mut failover, [short; 4]), "h0 h1|h1 h0|h0");
    }
}
