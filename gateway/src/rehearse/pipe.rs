//! One direction of a connection, in virtual time: bytes arrive in their order, as late as the faults on
//! the way make them, and none is lost.

use std::collections::VecDeque;

use bytes::Bytes;
use device_sim::fault::Impairment;
use proto::{Instant, Rng};

/// Bytes on their way.
pub(super) struct Pipe {
    impairment: Impairment,
    rng: Rng,
    queue: VecDeque<(Instant, Bytes)>,
    /// When the last byte that waits for the bandwidth has left.
    left_at: Instant,
    /// When what was sent last arrives.
    last_at: Instant,
}

impl Pipe {
    /// An empty one without faults; delays are drawn from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            impairment: Impairment::default(),
            rng: Rng::new(seed),
            queue: VecDeque::new(),
            left_at: Instant::ZERO,
            last_at: Instant::ZERO,
        }
    }

    /// Makes the way better or worse, for what is sent from now on; a partition holds back also what is
    /// on its way.
    pub(super) const fn set_impairment(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// Bytes leave.
    pub(super) fn handle_bytes(&mut self, now: Instant, bytes: Bytes) {
        if let Some(bandwidth) = self.impairment.bandwidth {
            self.left_at = self.left_at.max(now) + bandwidth.time_of(bytes.len());
        } else {
            self.left_at = now;
        }
        let delay = self.impairment.delay.map(|delay| delay.draw(&mut self.rng));
        self.last_at = self.last_at.max(self.left_at + delay.unwrap_or_default());
        self.queue.push_back((self.last_at, bytes));
    }

    /// Bytes that have arrived by `now`.
    pub(super) fn poll_bytes(&mut self, now: Instant) -> Option<Bytes> {
        if self.impairment.partition {
            return None;
        }
        self.queue.front().filter(|(at, _)| *at <= now)?;
        self.queue.pop_front().map(|(_, bytes)| bytes)
    }

    /// When the next ones arrive.
    pub(super) fn poll_timeout(&self) -> Instant {
        let next = self.queue.front().filter(|_| !self.impairment.partition);
        next.map_or(Instant::FAR_FUTURE, |(at, _)| *at)
    }

    /// The connection has ended.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn bytes_arrive_in_order_as_late_as_bandwidth_and_delay_make_them() {
        let mut pipe = Pipe::new(1);
        let delay = serde_json::from_str("\"5ms\"").ok();
        let bandwidth = "8000 bit/s".parse().ok();
        pipe.set_impairment(Impairment { delay, bandwidth, ..Impairment::default() });
        // 10 bytes take 10 ms.
        pipe.handle_bytes(at(0), Bytes::from_static(&[1; 10]));
        pipe.handle_bytes(at(0), Bytes::from_static(&[2; 10]));
        assert_eq!(pipe.poll_timeout(), at(15));
        assert_eq!(pipe.poll_bytes(at(14)), None);
        assert_eq!(pipe.poll_bytes(at(15)).unwrap()[0], 1);
        pipe.set_impairment(Impairment::default());
        pipe.handle_bytes(at(16), Bytes::from_static(&[3]));
        assert_eq!(pipe.poll_bytes(at(16)), None, "it cannot overtake");
        assert_eq!(pipe.poll_bytes(at(25)).unwrap()[0], 2);
        assert_eq!(pipe.poll_bytes(at(25)).unwrap()[0], 3);
    }

    #[test]
    fn nothing_passes_while_parted_and_nothing_is_lost() {
        let mut pipe = Pipe::new(1);
        pipe.handle_bytes(at(0), Bytes::from_static(b"a"));
        pipe.set_impairment(Impairment { partition: true, ..Impairment::default() });
        assert_eq!((pipe.poll_bytes(at(9)), pipe.poll_timeout()), (None, Instant::FAR_FUTURE));
        pipe.set_impairment(Impairment::default());
        assert_eq!(pipe.poll_bytes(at(9)).unwrap(), "a");
    }
}
