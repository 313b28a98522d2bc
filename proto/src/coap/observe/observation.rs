//! What a client knows of a resource that it observes (RFC 7641 §3).

use core::time::Duration;

use super::super::Response;
use super::SequenceNumber;
use crate::{Instant, Rng};

/// How long after the end of Max-Age a client registers anew: time for a notification that is
/// under way, and different for each client (RFC 7641 §3.3.1).
const MARGIN: core::ops::RangeInclusive<Duration> =
    Duration::from_secs(5)..=Duration::from_secs(15);

/// Orders the notifications of one observation and says when to register anew.
#[derive(Clone, Debug)]
pub struct Observation {
    newest: Option<(SequenceNumber, Instant)>,
    renew_at: Instant,
    /// Whether the notifications come in order, over a connection whose end would be noticed.
    in_order: bool,
}

impl Observation {
    /// An observation without notifications so far.
    pub const fn new() -> Self {
        Self { newest: None, renew_at: Instant::FAR_FUTURE, in_order: false }
    }

    /// The same over a reliable transport: what comes later is newer, whatever its number
    /// (RFC 8323 §7.1), and the connection shows that the server is there (§7.3).
    pub(in super::super) const fn in_order() -> Self {
        Self { newest: None, renew_at: Instant::FAR_FUTURE, in_order: true }
    }

    /// Takes a notification: whether it is newer than all before, and so the state of the
    /// resource. One that is not is to be ignored (RFC 7641 §3.4), but it shows like any other that
    /// the server has the client on its list.
    pub fn handle_notification(
        &mut self,
        now: Instant,
        response: &Response,
        rng: &mut Rng,
    ) -> bool {
        let Some(sequence) = SequenceNumber::of(&response.options) else { return false };
        if self.in_order {
            self.renew_at = Instant::FAR_FUTURE;
            return true;
        }
        let margin = rng.duration(*MARGIN.start(), *MARGIN.end());
        self.renew_at = now + response.freshness() + margin;
        let is_newer = self.newest.is_none_or(|newest| sequence.is_newer(now, newest));
        if is_newer {
            self.newest = Some((sequence, now));
        }
        is_newer
    }

    /// When the state has not been fresh for a while: to be registered anew then, because the
    /// server may have forgotten the client (RFC 7641 §3.3.1).
    pub const fn renew_at(&self) -> Instant {
        self.renew_at
    }

    /// Notes that a state was announced but could not be fetched: to be registered anew soon.
    pub fn handle_gap(&mut self, now: Instant, rng: &mut Rng) {
        self.renew_at = now + rng.duration(*MARGIN.start(), *MARGIN.end());
    }

    /// Notes that the registration is under way; the next notification says when to repeat it.
    pub const fn handle_renewal(&mut self) {
        self.renew_at = Instant::FAR_FUTURE;
    }
}

impl Default for Observation {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coap::{Code, OptionNumber};

    const SECOND: Duration = Duration::from_secs(1);

    fn notification(number: u32, max_age: u32) -> Response {
        let mut response = Response::new(Code::CONTENT).max_age(max_age);
        response.options.push_uint(OptionNumber::OBSERVE, number);
        response
    }

    #[test]
    fn only_newer_notifications_are_taken() {
        // RFC 7641 §3.4
        let mut observation = Observation::new();
        let mut rng = Rng::new(1);
        let mut take = |seconds, number| {
            let now = Instant::ZERO + seconds * SECOND;
            observation.handle_notification(now, &notification(number, 60), &mut rng)
        };
        assert!(take(0, 5) && take(1, 7));
        assert!(!take(2, 6) && !take(3, 7));
        // The 128 seconds count from the newest, not from the one that was ignored.
        assert!(!take(129, 6) && take(130, 6));
    }

    #[test]
    fn it_is_renewed_5_to_15_seconds_after_the_last_notification_was_fresh() {
        // RFC 7641 §3.3.1
        let mut rng = Rng::new(1);
        let mut waits: alloc::vec::Vec<_> = (0..100)
            .map(|_| {
                let mut observation = Observation::new();
                assert_eq!(observation.renew_at(), Instant::FAR_FUTURE);
                observation.handle_notification(Instant::ZERO, &notification(1, 60), &mut rng);
                observation.renew_at() - Instant::ZERO
            })
            .collect();
        waits.sort();
        assert!(waits[0] >= 65 * SECOND && waits[99] <= 75 * SECOND);
        assert!(waits[99] - waits[0] > 8 * SECOND, "clients do not all come at once");
    }

    #[test]
    fn a_notification_that_is_not_newer_still_shows_that_the_server_knows_the_client() {
        let mut observation = Observation::new();
        let mut rng = Rng::new(1);
        observation.handle_notification(Instant::ZERO, &notification(2, 60), &mut rng);
        observation.handle_renewal();
        assert_eq!(observation.renew_at(), Instant::FAR_FUTURE);
        let later = Instant::ZERO + 70 * SECOND;
        assert!(!observation.handle_notification(later, &notification(2, 60), &mut rng));
        assert!(observation.renew_at() > later + 60 * SECOND);
    }
}
