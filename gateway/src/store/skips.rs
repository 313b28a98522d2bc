//! Numbers that no record has: where the store was damaged, it goes on with a higher number.
//!
//! They are not readings, so they count neither as pending nor as dropped, and a broker is not
//! behind because of them.

use std::ops::Range;

use super::Progress;

/// Numbers that no record has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Skips(Vec<Range<u64>>);

impl Skips {
    /// From stretches in ascending order that have nothing in common.
    pub(super) fn new(stretches: impl IntoIterator<Item = Range<u64>>) -> Self {
        Self(stretches.into_iter().filter(|stretch| !stretch.is_empty()).collect())
    }

    /// How many records below `head` are pending.
    pub(super) fn pending(&self, progress: &Progress, head: u64) -> u64 {
        let parts = progress.pending(head).flat_map(|range| self.records(range));
        parts.map(|part| part.end - part.start).sum()
    }

    /// The lowest floor that leaves at most `most` records below `head` pending.
    pub(super) fn floor_for(&self, progress: &Progress, most: u64, head: u64) -> u64 {
        let mut left = most;
        for part in progress.pending(head).rev().flat_map(|range| self.records(range).rev()) {
            match left.checked_sub(part.end - part.start) {
                Some(rest) => left = rest,
                None => return part.end - left,
            }
        }
        progress.lowest()
    }

    /// The parts of a range that records have, in order.
    fn records(&self, range: Range<u64>) -> impl DoubleEndedIterator<Item = Range<u64>> + use<> {
        let mut parts = Vec::new();
        let mut from = range.start;
        for skip in self.0.iter().filter(|skip| skip.start < range.end && range.start < skip.end) {
            parts.push(from..skip.start.max(from));
            from = skip.end;
        }
        parts.push(from..range.end.max(from));
        parts.into_iter().filter(|part| !part.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const HEAD: u64 = 60;

    fn stretches() -> impl Strategy<Value = Vec<Range<u64>>> {
        proptest::collection::btree_set(1..HEAD, 0..8).prop_map(|ends| {
            let ends: Vec<u64> = ends.into_iter().collect();
            ends.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect()
        })
    }

    proptest! {
        /// Against a set of pending records.
        #[test]
        fn a_floor_leaves_as_many_records_as_it_should(
            skips in stretches(), gaps in stretches(), next in 1..HEAD, most in 0..HEAD,
        ) {
            let mut progress = Progress::new(1);
            for gap in &gaps {
                progress.release_open(gap.start);
                prop_assert!(progress.skip_to(gap.end));
            }
            progress.release_open(next);
            let is_skipped = |n: &u64| skips.iter().any(|skip| skip.contains(n));
            let model: BTreeSet<u64> =
                progress.pending(HEAD).flatten().filter(|n| !is_skipped(n)).collect();
            let skips = Skips::new(skips.iter().cloned());
            prop_assert_eq!(skips.pending(&progress, HEAD), model.len() as u64);
            let floor = skips.floor_for(&progress, most, HEAD);
            prop_assert!(floor <= HEAD);
            progress.drop_below(floor);
            prop_assert_eq!(skips.pending(&progress, HEAD), most.min(model.len() as u64));
        }
    }

    #[test]
    fn numbers_that_are_skipped_put_no_broker_behind() {
        let skips = Skips::new(Some(500..66_000));
        let progress = Progress::new(10);
        assert_eq!(skips.pending(&progress, 66_001), 491);
        assert_eq!(skips.floor_for(&progress, 1000, 66_001), 10);
        assert_eq!(skips.floor_for(&progress, 100, 66_001), 401);
    }
}
