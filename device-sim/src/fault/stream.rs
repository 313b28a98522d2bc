//! One direction of a connection or line with faults on it, in virtual time.
//!
//! Bytes keep their order, and none is lost: what would be, the transport underneath sends again, so
//! during a partition they wait. In pieces of a fiftieth of a second they wait for the bandwidth, then
//! take a delay, and never overtake each other. Noise is counted in blocks of [`BLOCK`] bytes from the
//! beginning, so that it does not depend on how bytes come together.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use proto::{Instant, Rng};

use super::effect::Impairment;

/// Of so many bytes one bit is flipped, with the probability of `corrupt`.
pub const BLOCK: usize = 64;
const BLOCK_BITS: u64 = 512;
/// Bytes on their way; beyond, [`ImpairedStream::has_room`] is false.
pub const MAX_WAITING: usize = 256 << 10;
/// Pieces per second that a bandwidth makes of bytes.
const PIECES: u64 = 50;

/// One direction.
///
/// While there [is room](Self::has_room), hand in what comes with [`handle_bytes`](Self::handle_bytes).
/// Then, and at [`poll_timeout`](Self::poll_timeout), call [`poll_delivery`](Self::poll_delivery) until
/// it gives nothing.
#[derive(Debug)]
pub struct ImpairedStream {
    impairment: Impairment,
    /// For noise; it does not depend on how delays are drawn.
    noise: Rng,
    delays: Rng,
    /// In their order; what could arrive earlier than the first waits for it.
    waiting: VecDeque<(Instant, Bytes)>,
    bytes_waiting: usize,
    /// When the last byte has left that waits for the bandwidth.
    queue_empty_at: Instant,
    /// Bytes until the next block.
    block_left: usize,
    /// Which bit of the block is flipped, counted from where it is now.
    flip: Option<u64>,
}

impl ImpairedStream {
    /// A way without faults, whose accidents are drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut seeds = Rng::new(seed);
        Self {
            impairment: Impairment::default(),
            noise: Rng::new(seeds.next_u64()),
            delays: Rng::new(seeds.next_u64()),
            waiting: VecDeque::new(),
            bytes_waiting: 0,
            queue_empty_at: Instant::ZERO,
            block_left: 0,
            flip: None,
        }
    }

    /// Makes the way better or worse: the partition for all bytes, the rest for those that come now.
    pub const fn set_impairment(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// Takes the next bytes.
    pub fn handle_bytes(&mut self, now: Instant, bytes: Bytes) {
        let mut bytes = self.noisy(bytes);
        self.bytes_waiting += bytes.len();
        let delay = self.impairment.delay.map(|delay| delay.draw(&mut self.delays));
        while !bytes.is_empty() {
            let mut at = now;
            let piece = match self.impairment.bandwidth {
                Some(bandwidth) => {
                    let fitting = (bandwidth.bits_per_second() / 8 / PIECES).max(1);
                    let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
                    let piece = bytes.split_to(fitting.min(bytes.len()));
                    at = self.queue_empty_at.max(now) + bandwidth.time_of(piece.len());
                    self.queue_empty_at = at;
                    piece
                }
                None => bytes.split_to(bytes.len()),
            };
            self.waiting.push_back((at + delay.unwrap_or_default(), piece));
        }
    }

    /// Bytes that have arrived by `now`.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<Bytes> {
        if self.poll_timeout() > now {
            return None;
        }
        let (_, bytes) = self.waiting.pop_front()?;
        self.bytes_waiting -= bytes.len();
        Some(bytes)
    }

    /// When the next bytes arrive.
    pub fn poll_timeout(&self) -> Instant {
        match self.waiting.front() {
            Some((at, _)) if !self.impairment.partition => *at,
            Some(_) | None => Instant::FAR_FUTURE,
        }
    }

    /// Whether it takes more bytes; as many as come at a time.
    pub const fn has_room(&self) -> bool {
        self.bytes_waiting < MAX_WAITING
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn noisy(&mut self, bytes: Bytes) -> Bytes {
        if self.impairment.corrupt <= 0.0 && self.flip.is_none() {
            let beyond = bytes.len().saturating_sub(self.block_left);
            self.block_left = match bytes.len() <= self.block_left {
                true => self.block_left - bytes.len(),
                false => (BLOCK - beyond % BLOCK) % BLOCK,
            };
            return bytes;
        }
        let mut bytes = BytesMut::from(bytes);
        for byte in bytes.iter_mut() {
            if self.block_left == 0 {
                self.block_left = BLOCK;
                let flips = self.noise.chance(self.impairment.corrupt);
                self.flip = flips.then(|| self.noise.below(BLOCK_BITS));
            }
            self.block_left -= 1;
            self.flip = self.flip.and_then(|bit| {
                if bit < 8 {
                    *byte ^= 1 << bit;
                }
                bit.checked_sub(8)
            });
        }
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::values::Delay;
    use super::*;

    fn millis(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn with(impairment: Impairment) -> ImpairedStream {
        let mut way = ImpairedStream::new(7);
        way.set_impairment(impairment);
        way
    }

    /// All bytes, and when the last of them arrived.
    fn drained(way: &mut ImpairedStream) -> (Vec<u8>, Instant) {
        let (mut all, mut last) = (Vec::new(), Instant::ZERO);
        while way.poll_timeout() != Instant::FAR_FUTURE {
            last = way.poll_timeout();
            while let Some(bytes) = way.poll_delivery(last) {
                all.extend_from_slice(&bytes);
            }
        }
        (all, last)
    }

    #[test]
    fn a_bandwidth_lets_bytes_through_one_after_the_other() {
        let narrow = Impairment { bandwidth: "1 kB/s".parse().ok(), ..Impairment::default() };
        let mut way = with(narrow);
        way.handle_bytes(millis(0), Bytes::from(vec![1; 1500]));
        way.handle_bytes(millis(100), Bytes::from(vec![2; 500]));
        let mut by_one_second = 0;
        while let Some(bytes) = way.poll_delivery(millis(1000)) {
            by_one_second += bytes.len();
        }
        assert_eq!(by_one_second, 1000);
        let (rest, last) = drained(&mut way);
        assert_eq!((rest.len(), last), (1000, millis(2000)));
        assert_eq!(rest, [vec![1; 500], vec![2; 500]].concat());
    }

    #[test]
    fn delays_that_vary_keep_the_order() {
        let ms = Duration::from_millis;
        let delay = Delay::log_normal(ms(20), ms(200)).ok();
        let mut way = with(Impairment { delay, ..Impairment::default() });
        for number in 0..200_u8 {
            way.handle_bytes(millis(number.into()), Bytes::from(vec![number]));
        }
        assert!(way.poll_delivery(millis(0)).is_none());
        let (bytes, last) = drained(&mut way);
        assert_eq!(bytes, Vec::from_iter(0..200));
        assert!(last > millis(200), "{last:?}");
    }

    #[test]
    fn bytes_wait_while_parted_and_arrive_afterwards() {
        let mut way = with(Impairment { partition: true, ..Impairment::default() });
        way.handle_bytes(millis(0), Bytes::from_static(b"within"));
        assert_eq!(
            (way.poll_delivery(millis(50)), way.poll_timeout()),
            (None, Instant::FAR_FUTURE)
        );
        way.set_impairment(Impairment::default());
        assert_eq!(way.poll_delivery(millis(50)).unwrap(), "within");
        assert!(way.is_empty());
    }

    #[test]
    fn so_many_blocks_have_one_flipped_bit_however_bytes_come() {
        let noise = Impairment { corrupt: 0.25, ..Impairment::default() };
        let sent = vec![0; BLOCK * 1000];
        let received = |chunk: usize| {
            let mut way = with(noise);
            for bytes in sent.chunks(chunk) {
                way.handle_bytes(millis(0), Bytes::copy_from_slice(bytes));
            }
            drained(&mut way).0
        };
        let whole = received(sent.len());
        assert_eq!(whole, received(1));
        assert_eq!(whole, received(100));
        let flipped = |block: &[u8]| block.iter().map(|byte| byte.count_ones()).sum::<u32>();
        let counts: Vec<_> = whole.chunks(BLOCK).map(flipped).collect();
        assert!(counts.iter().all(|&count| count <= 1));
        // 250 of 1,000, by a deviation of 13.7.
        let noisy = counts.iter().sum::<u32>();
        assert!((196..=304).contains(&noisy), "{noisy}");
        // Blocks are counted while there is no noise, too.
        let mut way = ImpairedStream::new(7);
        way.handle_bytes(millis(0), Bytes::from(vec![0; BLOCK + 10]));
        way.set_impairment(Impairment { corrupt: 1.0, ..Impairment::default() });
        way.handle_bytes(millis(0), Bytes::from(vec![0; BLOCK]));
        let (bytes, _) = drained(&mut way);
        assert_eq!(flipped(&bytes[..2 * BLOCK]), 0);
    }

    #[test]
    fn there_is_no_room_beyond_the_limit() {
        let mut way = with(Impairment { partition: true, ..Impairment::default() });
        way.handle_bytes(millis(0), Bytes::from(vec![0; MAX_WAITING - 1]));
        assert!(way.has_room());
        way.handle_bytes(millis(0), Bytes::from_static(b"x"));
        assert!(!way.has_room());
        way.set_impairment(Impairment::default());
        drained(&mut way);
        assert!(way.has_room());
    }
}
