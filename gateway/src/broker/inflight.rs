//! Which records are under way, and how far everything before them is acknowledged.

use std::collections::VecDeque;

use proto::Instant;

/// Records between the first unacknowledged one and the newest published one.
///
/// Acknowledgements may come in any order; what is released is the prefix without a gap. Packet
/// identifiers are chosen here, and a new publish waits for a free one, so that two messages never
/// share an identifier (MQTT 3.1.1 §2.3.1).
#[derive(Debug)]
pub(super) struct Inflight {
    /// Indexed by packet identifier - 1.
    slots: Vec<Option<Slot>>,
    free: VecDeque<u16>,
    entries: VecDeque<Entry>,
    /// One past the last record that was passed to [`begin`](Self::begin).
    end: u64,
}

/// What an acknowledgement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// A publish of this record.
    Record(u64),
    /// The gateway's own status.
    Status,
}

#[derive(Debug)]
struct Entry {
    /// Covers the records below this and from the previous entry's end on.
    end: u64,
    /// Publishes without acknowledgement.
    pending: u32,
    /// When it was published, or when it became the oldest, whichever is later.
    since: Instant,
}

impl Inflight {
    /// Nothing under way, everything below `next` released.
    pub(super) fn new(window: u16, next: u64) -> Self {
        Self {
            slots: vec![None; usize::from(window)],
            free: (1..=window).collect(),
            entries: VecDeque::new(),
            end: next,
        }
    }

    /// Whether another publish can be made.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether no publish waits for an acknowledgement.
    pub(super) fn is_idle(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    /// Starts record `n`, the next in order, of which `publishes` wait for an acknowledgement; `n`
    /// and everything before it is released once they all came.
    pub(super) fn begin(&mut self, n: u64, publishes: u32, now: Instant) {
        self.end = n + 1;
        let end = self.end;
        match self.entries.back_mut() {
            Some(last) if last.pending == 0 => {
                *last = Entry { end, pending: publishes, since: now }
            }
            None if publishes == 0 => {}
            _ => self.entries.push_back(Entry { end, pending: publishes, since: now }),
        }
    }

    /// Takes a packet identifier for what [`begin`](Self::begin) announced last, or for the status.
    pub(super) fn publish(&mut self, slot: Slot) -> Option<u16> {
        let id = self.free.pop_front()?;
        *self.slots.get_mut(usize::from(id) - 1)? = Some(slot);
        Some(id)
    }

    /// Takes an acknowledgement; `None` if nothing waits for it.
    pub(super) fn acknowledge(&mut self, id: u16, now: Instant) -> Option<Slot> {
        let slot = self.slots.get_mut(usize::from(id).checked_sub(1)?)?.take()?;
        self.free.push_back(id);
        if let Slot::Record(n) = slot {
            let at = self.entries.partition_point(|entry| entry.end <= n);
            if let Some(entry) = self.entries.get_mut(at) {
                entry.pending = entry.pending.saturating_sub(1);
            }
            while self.entries.front().is_some_and(|entry| entry.pending == 0) {
                self.entries.pop_front();
                if let Some(oldest) = self.entries.front_mut() {
                    oldest.since = now;
                }
            }
        }
        Some(slot)
    }

    /// Every record below this is acknowledged.
    pub(super) fn released(&self) -> u64 {
        // The front entry waits; it covers one record, and those before it are done.
        self.entries.front().map_or(self.end, |entry| entry.end - 1)
    }

    /// Since when the broker owes the acknowledgement of the oldest record: it need not be fast, but
    /// it has to go on.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.entries.front().map(|entry| entry.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const NOW: Instant = Instant::ZERO;

    fn publish(inflight: &mut Inflight, n: u64) -> u16 {
        inflight.begin(n, 1, NOW);
        inflight.publish(Slot::Record(n)).unwrap()
    }

    #[test]
    fn only_the_prefix_without_a_gap_is_released() {
        let mut inflight = Inflight::new(8, 10);
        let ids: Vec<u16> = (10..14).map(|n| publish(&mut inflight, n)).collect();
        inflight.acknowledge(ids[2], NOW);
        inflight.acknowledge(ids[1], NOW);
        assert_eq!(inflight.released(), 10);
        inflight.acknowledge(ids[0], NOW);
        assert_eq!(inflight.released(), 13);
        inflight.acknowledge(ids[3], NOW);
        assert_eq!((inflight.released(), inflight.is_idle()), (14, true));
    }

    #[test]
    fn records_that_need_no_publish_are_released_with_those_before_them() {
        let mut inflight = Inflight::new(8, 1);
        inflight.begin(1, 0, NOW);
        inflight.begin(2, 0, NOW);
        assert_eq!(inflight.released(), 3);
        let id = publish(&mut inflight, 3);
        inflight.begin(4, 0, NOW);
        inflight.begin(5, 0, NOW);
        let later = publish(&mut inflight, 6);
        assert_eq!(inflight.released(), 3);
        inflight.acknowledge(later, NOW);
        assert_eq!(inflight.released(), 3);
        inflight.acknowledge(id, NOW);
        assert_eq!(inflight.released(), 7);
    }

    #[test]
    fn a_record_with_two_publishes_waits_for_both() {
        let mut inflight = Inflight::new(8, 1);
        inflight.begin(1, 2, NOW);
        let first = inflight.publish(Slot::Record(1)).unwrap();
        let second = inflight.publish(Slot::Record(1)).unwrap();
        inflight.acknowledge(second, NOW);
        assert_eq!(inflight.released(), 1);
        inflight.acknowledge(first, NOW);
        assert_eq!(inflight.released(), 2);
    }

    #[test]
    fn an_identifier_is_free_again_only_after_its_acknowledgement() {
        let mut inflight = Inflight::new(2, 1);
        let ids = [publish(&mut inflight, 1), publish(&mut inflight, 2)];
        assert!(!inflight.has_room() && inflight.publish(Slot::Status).is_none());
        assert_eq!(inflight.acknowledge(ids[1], NOW), Some(Slot::Record(2)));
        assert_eq!(
            inflight.acknowledge(ids[1], NOW),
            None,
            "a second acknowledgement is for nothing"
        );
        assert_eq!(inflight.publish(Slot::Status), Some(ids[1]));
        assert_eq!(inflight.acknowledge(ids[1], NOW), Some(Slot::Status));
        for unknown in [0, 3, u16::MAX] {
            assert_eq!(inflight.acknowledge(unknown, NOW), None);
        }
    }

    proptest! {
        /// Against a set: released is the smallest record with an open publish.
        #[test]
        fn released_is_the_first_open_record(steps in proptest::collection::vec((0..3u32, any::<u16>()), 1..200)) {
            let mut inflight = Inflight::new(16, 1);
            let mut open: BTreeSet<(u64, u16)> = BTreeSet::new();
            let mut next = 1;
            for (publishes, pick) in steps {
                if open.len() + 3 <= 16 {
                    inflight.begin(next, publishes, NOW);
                    for _ in 0..publishes {
                        open.insert((next, inflight.publish(Slot::Record(next)).unwrap()));
                    }
                    next += 1;
                }
                if let Some(&acked) = open.iter().nth(usize::from(pick) % open.len().max(1)) {
                    open.remove(&acked);
                    prop_assert_eq!(inflight.acknowledge(acked.1, NOW), Some(Slot::Record(acked.0)));
                }
                let first = open.first().map_or(next, |&(n, _)| n);
                prop_assert_eq!(inflight.released(), first);
            }
        }
    }
}
