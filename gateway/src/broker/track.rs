//! How far everything is acknowledged.

use std::collections::VecDeque;

/// Records between the first unacknowledged one and the newest one that was begun, of one lane.
///
/// Acknowledgements may come in any order; what is released is the prefix without a gap.
#[derive(Debug)]
pub(super) struct Track {
    entries: VecDeque<Entry>,
    /// One past the last record that was passed to [`begin`](Self::begin).
    end: u64,
}

#[derive(Debug)]
struct Entry {
    /// Covers the records below this and from the previous entry's end on.
    end: u64,
    /// Publishes that are not settled.
    pending: u32,
}

impl Track {
    /// Nothing under way, everything below `next` released.
    pub(super) const fn new(next: u64) -> Self {
        Self { entries: VecDeque::new(), end: next }
    }

    /// Starts record `n`, the next in order, which has so many publishes; `n` and everything before
    /// it is released once they all are settled.
    pub(super) fn begin(&mut self, n: u64, publishes: u32) {
        self.end = n + 1;
        let entry = Entry { end: self.end, pending: publishes };
        match self.entries.back_mut() {
            Some(last) if last.pending == 0 => *last = entry,
            None if publishes == 0 => {}
            _ => self.entries.push_back(entry),
        }
    }

    /// One publish of record `n` needs nothing more; false if it had none to wait for.
    pub(super) fn settle(&mut self, n: u64) -> bool {
        let at = match self.entries.front() {
            // Nearly all brokers acknowledge in order.
            Some(first) if first.end > n => 0,
            _ => self.entries.partition_point(|entry| entry.end <= n),
        };
        let Some(entry) = self.entries.get_mut(at) else { return false };
        // An entry waits for the last record that it covers.
        if entry.end != n + 1 || entry.pending == 0 {
            return false;
        }
        entry.pending -= 1;
        while self.entries.front().is_some_and(|entry| entry.pending == 0) {
            self.entries.pop_front();
        }
        true
    }

    /// Every record below this is settled.
    pub(super) fn released(&self) -> u64 {
        // The front entry waits for its last record, and those before it are done.
        self.entries.front().map_or(self.end, |entry| entry.end - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn only_the_prefix_without_a_gap_is_released() {
        let mut track = Track::new(10);
        (10..14).for_each(|n| track.begin(n, 1));
        assert!(track.settle(12) && track.settle(11));
        assert_eq!(track.released(), 10);
        assert!(track.settle(10));
        assert_eq!(track.released(), 13);
        assert!(track.settle(13));
        assert_eq!(track.released(), 14);
    }

    #[test]
    fn records_that_need_no_publish_are_released_with_those_before_them() {
        let mut track = Track::new(1);
        track.begin(1, 0);
        track.begin(2, 0);
        assert_eq!(track.released(), 3);
        track.begin(3, 1);
        track.begin(4, 0);
        track.begin(5, 0);
        track.begin(6, 1);
        assert_eq!(track.released(), 3);
        assert!(track.settle(6));
        assert_eq!(track.released(), 3);
        assert!(track.settle(3));
        assert_eq!(track.released(), 7);
    }

    #[test]
    fn a_record_with_two_publishes_waits_for_both() {
        let mut track = Track::new(1);
        track.begin(1, 2);
        assert!(track.settle(1));
        assert_eq!(track.released(), 1);
        assert!(track.settle(1));
        assert_eq!(track.released(), 2);
    }

    #[test]
    fn what_does_not_wait_cannot_be_settled() {
        let mut track = Track::new(5);
        track.begin(5, 0);
        track.begin(7, 1);
        for unknown in [0, 4, 5, 6, 8, u64::MAX - 1] {
            assert!(!track.settle(unknown), "{unknown}");
        }
        assert!(track.settle(7) && !track.settle(7));
        assert_eq!(track.released(), 8);
    }

    proptest! {
        /// Against a map: released is the smallest record with an open publish.
        #[test]
        fn released_is_the_first_open_record(steps in proptest::collection::vec((0..3u32, any::<u16>()), 1..200)) {
            let mut track = Track::new(1);
            let mut open: BTreeMap<u64, u32> = BTreeMap::new();
            let mut next = 1;
            for (publishes, pick) in steps {
                if open.len() < 16 {
                    track.begin(next, publishes);
                    if publishes > 0 {
                        open.insert(next, publishes);
                    }
                    next += 1;
                }
                let picked = open.keys().nth(usize::from(pick) % open.len().max(1)).copied();
                if let Some(n) = picked {
                    prop_assert!(track.settle(n));
                    let left = open.remove(&n).unwrap() - 1;
                    if left > 0 {
                        open.insert(n, left);
                    }
                }
                prop_assert_eq!(track.released(), open.keys().next().copied().unwrap_or(next));
            }
        }
    }
}
