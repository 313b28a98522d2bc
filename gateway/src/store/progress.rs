//! What of the store one lane of a broker has acknowledged.
//!
//! Everything below `next` is acknowledged, except some closed gaps; everything from `next` on is
//! pending. Without gaps that is one number. A gap comes from skipping ahead: new readings go first
//! while an older stretch waits its turn.

use std::ops::Range;

use minicbor::data::Type;
use minicbor::decode::{Decode, Decoder};
use minicbor::encode::{Encode, Encoder, Write};

/// Most gaps; skipping ahead once more is refused until one is closed.
pub(crate) const MAX_GAPS: usize = 32;

/// Which records are acknowledged.
///
/// As CBOR it is `next` alone where there are no gaps, else the array
/// `[next, start, end, start, end, …]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    /// Ascending, none empty, none touching the next one, all below `next`.
    gaps: Vec<Range<u64>>,
    next: u64,
}

impl Progress {
    /// Everything below `next` is acknowledged.
    pub(crate) const fn new(next: u64) -> Self {
        Self { gaps: Vec::new(), next }
    }

    /// Where the open end begins: everything from here on is pending.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// What is pending below [`next`](Self::next), in order.
    pub(crate) fn gaps(&self) -> &[Range<u64>] {
        &self.gaps
    }

    /// The lowest pending number.
    pub(crate) fn lowest(&self) -> u64 {
        self.gaps.first().map_or(self.next, |gap| gap.start)
    }

    /// How many records below `head` are pending.
    pub(crate) fn pending_count(&self, head: u64) -> u64 {
        let gaps: u64 = self.gaps.iter().map(|gap| gap.end - gap.start).sum();
        gaps + head.saturating_sub(self.next)
    }

    /// Acknowledges the open end below `n`; how many records that were.
    pub(crate) fn release_open(&mut self, n: u64) -> u64 {
        let count = n.saturating_sub(self.next);
        self.next += count;
        count
    }

    /// Acknowledges what lies below `n` in the gap that reaches up to `n` or holds it; how many
    /// records that were.
    pub(crate) fn release_gap(&mut self, n: u64) -> u64 {
        let at = self.gaps.partition_point(|gap| gap.end < n);
        let Some(gap) = self.gaps.get_mut(at) else { return 0 };
        let count = n.saturating_sub(gap.start);
        gap.start += count;
        if gap.is_empty() {
            self.gaps.remove(at);
        }
        count
    }

    /// Leaves what is pending below `n` behind as a gap; `false` where that would be one too many.
    #[must_use]
    pub(crate) fn skip_to(&mut self, n: u64) -> bool {
        if n <= self.next {
            return true;
        }
        let count = self.gaps.len();
        match self.gaps.last_mut() {
            Some(last) if last.end == self.next => last.end = n,
            _ if count >= MAX_GAPS => return false,
            _ => self.gaps.push(self.next..n),
        }
        self.next = n;
        true
    }

    /// Gives up what is pending below `floor`; how many records that were.
    pub(crate) fn drop_below(&mut self, floor: u64) -> u64 {
        let pending = self.pending_count(floor.max(self.next));
        self.gaps.retain_mut(|gap| {
            gap.start = gap.start.max(floor);
            gap.start < gap.end
        });
        self.next = self.next.max(floor);
        pending - self.pending_count(self.next)
    }

    /// What is pending below `head`, in order.
    pub(super) fn pending(&self, head: u64) -> impl DoubleEndedIterator<Item = Range<u64>> {
        let open = self.next..head.max(self.next);
        self.gaps.iter().cloned().chain(std::iter::once(open))
    }

    /// Whether a record is pending.
    pub(super) fn is_pending(&self, n: u64) -> bool {
        n >= self.next || self.gaps.iter().any(|gap| gap.contains(&n))
    }

    /// Makes everything from `head` on pending, which no record has reached yet.
    pub(super) fn limit_to(&mut self, head: u64) {
        if self.next <= head {
            return;
        }
        self.next = head;
        self.gaps.retain_mut(|gap| {
            gap.end = gap.end.min(head);
            gap.start < gap.end
        });
        // A gap that now touches the open end is a part of it.
        if let Some(last) = self.gaps.pop_if(|last| last.end == self.next) {
            self.next = last.start;
        }
    }
}

impl<C> Encode<C> for Progress {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        if self.gaps.is_empty() {
            return e.u64(self.next)?.ok();
        }
        e.array(1 + 2 * self.gaps.len() as u64)?.u64(self.next)?;
        for gap in &self.gaps {
            e.u64(gap.start)?.u64(gap.end)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Progress {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let wrong = |what| Err(minicbor::decode::Error::message(what));
        if d.datatype()? != Type::Array {
            return d.u64().map(Self::new);
        }
        let gaps = match d.array()? {
            Some(len) if len % 2 == 1 && len / 2 <= MAX_GAPS as u64 => len / 2,
            _ => return wrong("not a number of gaps"),
        };
        let mut progress = Self::new(d.u64()?);
        let mut end = None;
        for _ in 0..gaps {
            let gap = d.u64()?..d.u64()?;
            if gap.is_empty() || end.is_some_and(|end| gap.start <= end) || gap.end > progress.next
            {
                return wrong("gaps out of order");
            }
            end = Some(gap.end);
            progress.gaps.push(gap);
        }
        Ok(progress)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Numbers from 1 to below this are on disk.
    const HEAD: u64 = 40;

    #[derive(Clone, Debug)]
    enum Step {
        Open(u64),
        Gap(u64),
        Skip(u64),
        Drop(u64),
        Limit(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let n = || 1..=HEAD;
        let step = prop_oneof![
            3 => n().prop_map(Step::Open),
            3 => n().prop_map(Step::Gap),
            4 => n().prop_map(Step::Skip),
            1 => n().prop_map(Step::Drop),
            1 => n().prop_map(Step::Limit),
        ];
        proptest::collection::vec(step, 0..40)
    }

    fn pending(progress: &Progress) -> BTreeSet<u64> {
        progress.gaps().iter().cloned().flatten().chain(progress.next()..HEAD).collect()
    }

    fn take(model: &mut BTreeSet<u64>, range: Range<u64>) -> u64 {
        let before = model.len();
        model.retain(|n| !range.contains(n));
        (before - model.len()) as u64
    }

    /// Does the same to the progress and to a set of pending numbers.
    fn apply(step: &Step, progress: &mut Progress, model: &mut BTreeSet<u64>) {
        match *step {
            Step::Open(n) => {
                let expected = take(model, progress.next()..n);
                assert_eq!(progress.release_open(n), expected);
            }
            Step::Gap(n) => {
                let gap = progress.gaps().iter().find(|gap| gap.start < n && n <= gap.end);
                let expected = gap.map_or(0, |gap| take(model, gap.start..n));
                assert_eq!(progress.release_gap(n), expected);
            }
            Step::Skip(n) => assert!(progress.skip_to(n)),
            Step::Drop(n) => assert_eq!(progress.drop_below(n), take(model, 0..n)),
            Step::Limit(n) => {
                progress.limit_to(n);
                model.extend(n..HEAD);
            }
        }
    }

    fn bytes(progress: &Progress) -> Vec<u8> {
        minicbor::to_vec(progress).unwrap()
    }

    proptest! {
        /// Against a set of pending numbers.
        #[test]
        fn progress_is_the_set_of_what_is_pending(steps in steps()) {
            let mut progress = Progress::new(1);
            let mut model: BTreeSet<u64> = (1..HEAD).collect();
            for step in &steps {
                apply(step, &mut progress, &mut model);
                prop_assert_eq!(&pending(&progress), &model, "{:?}", progress);
                prop_assert_eq!(progress.pending_count(HEAD), model.len() as u64);
                prop_assert!((1..HEAD).all(|n| progress.is_pending(n) == model.contains(&n)));
                prop_assert_eq!(progress.lowest().min(HEAD), model.first().copied().unwrap_or(HEAD));
                let ends: Vec<u64> = progress.gaps().iter().flat_map(|gap| [gap.start, gap.end]).collect();
                prop_assert!(ends.is_sorted_by(|a, b| a < b), "{:?}", progress);
                prop_assert_eq!(minicbor::decode::<Progress>(&bytes(&progress)).unwrap(), progress.clone());
            }
        }

        #[test]
        fn any_bytes_are_a_progress_or_an_error(bytes in any::<Vec<u8>>()) {
            if let Ok(progress) = minicbor::decode::<Progress>(&bytes) {
                prop_assert!(progress.gaps().len() <= MAX_GAPS && progress.lowest() <= progress.next());
            }
        }
    }

    #[test]
    fn without_gaps_it_is_a_plain_integer() {
        assert_eq!(bytes(&Progress::new(500)), minicbor::to_vec(500_u64).unwrap());
        assert_eq!(minicbor::decode::<Progress>(&[0x18, 0x64]).unwrap(), Progress::new(100));
    }

    #[test]
    fn skipping_ahead_is_refused_when_there_are_too_many_gaps() {
        let mut progress = Progress::new(1);
        for gap in 0..MAX_GAPS as u64 {
            assert!(progress.skip_to(gap * 10 + 5));
            progress.release_open(gap * 10 + 6);
        }
        let before = progress.clone();
        assert!(!progress.skip_to(1000));
        assert_eq!(progress, before);
        assert_eq!(progress.release_gap(5), 4, "the first gap is closed");
        assert!(progress.skip_to(1000));
    }

    #[test]
    fn gaps_that_are_not_in_order_are_refused() {
        for gaps in [[10, 5, 5, 6, 7], [10, 3, 5, 5, 7], [10, 6, 8, 2, 3], [10, 2, 3, 8, 11]] {
            let gaps: [u64; 5] = gaps;
            assert!(minicbor::decode::<Progress>(&minicbor::to_vec(gaps).unwrap()).is_err());
        }
    }
}
