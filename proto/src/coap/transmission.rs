//! The schedule of a message that waits for an Acknowledgement (RFC 7252 §4.2).

use alloc::vec::Vec;
use core::time::Duration;

use super::EndpointConfig;
use super::arena::Key;
use crate::{Instant, Rng};

/// What the message carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// A request of ours.
    Request(Key),
    /// A separate response.
    Response,
    /// A notification.
    Notification,
}

/// A message of ours that a Reset or an Acknowledgement can refer to.
#[derive(Debug)]
pub(super) struct Transmission {
    pub(super) owner: Owner,
    /// What to retransmit, and when: only Confirmable messages are.
    pub(super) retransmit: Option<Schedule>,
    /// When a Reset of a Non-confirmable notification is not expected any more.
    pub(super) expires: Option<Instant>,
}

impl Transmission {
    /// When its timer is set to.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retransmit.as_ref().map(|schedule| schedule.due).or(self.expires)
    }
}

/// When a Confirmable message is sent again.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) datagram: Vec<u8>,
    pub(super) due: Instant,
    started: Instant,
    timeout: Duration,
    retransmissions: u8,
}

/// What to do when a [`Schedule`] is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Send it again, then come back when it is due.
    Retransmit,
    /// Come back when it is due.
    Wait,
    /// It counts as lost.
    GiveUp,
}

impl Schedule {
    /// The schedule of a message sent at `now`.
    pub(super) fn new(
        now: Instant,
        datagram: Vec<u8>,
        config: &EndpointConfig,
        rng: &mut Rng,
    ) -> Self {
        let timeout = rng.duration(config.ack_timeout, config.longest_ack_timeout());
        Self { datagram, due: now + timeout, started: now, timeout, retransmissions: 0 }
    }

    /// Decides what to do at `now`, when it is due or later, and when to ask again.
    pub(super) fn step(&mut self, now: Instant, config: &EndpointConfig) -> Step {
        let all_sent = self.retransmissions >= config.retransmissions();
        if !all_sent && now <= self.started + config.max_transmit_span() {
            self.retransmissions += 1;
            self.timeout *= 2;
            self.due = now + self.timeout;
            return Step::Retransmit;
        }
        // A caller that slept too long may not send any more, but an Acknowledgement of what it
        // did send can still come.
        let deadline = self.started + config.max_transmit_wait();
        if !all_sent && now < deadline {
            self.retransmissions = config.retransmissions();
            self.due = deadline;
            return Step::Wait;
        }
        Step::GiveUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn timeouts_start_between_2_and_3_seconds_and_double_4_times() {
        // RFC 7252 §4.2, §4.8
        let config = EndpointConfig::default();
        let mut rng = Rng::new(1);
        let mut shortest = Duration::MAX;
        let mut longest = Duration::ZERO;
        for _ in 0..1000 {
            let mut schedule = Schedule::new(Instant::ZERO, Vec::new(), &config, &mut rng);
            let first = schedule.due - Instant::ZERO;
            (shortest, longest) = (shortest.min(first), longest.max(first));
            for doubled in [3, 7, 15, 31] {
                let due = schedule.due;
                assert_eq!(schedule.step(due, &config), Step::Retransmit);
                assert_eq!(schedule.due - Instant::ZERO, first * doubled);
            }
            assert_eq!(schedule.step(schedule.due, &config), Step::GiveUp);
        }
        assert!((2 * SECOND..21 * SECOND / 10).contains(&shortest), "{shortest:?}");
        assert!((29 * SECOND / 10..=3 * SECOND).contains(&longest), "{longest:?}");
    }

    #[test]
    fn nothing_is_sent_after_the_transmit_span_however_late_the_caller_is() {
        // RFC 7252 §4.2: the sequence stays within MAX_TRANSMIT_SPAN of 45 s.
        let config = EndpointConfig::default();
        let mut schedule = Schedule::new(Instant::ZERO, Vec::new(), &config, &mut Rng::new(1));
        assert_eq!(schedule.step(Instant::ZERO + 45 * SECOND, &config), Step::Retransmit);
        assert_eq!(schedule.step(Instant::ZERO + 46 * SECOND, &config), Step::Wait);
        assert_eq!(schedule.due, Instant::ZERO + 93 * SECOND);
        assert_eq!(schedule.step(schedule.due, &config), Step::GiveUp);
    }
}
