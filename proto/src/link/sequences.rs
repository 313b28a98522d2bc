//! Which sequence numbers of one epoch were seen, and which of them are durable.
//!
//! The last 64 are known one by one. A node keeps all that it sends within 32 numbers of the oldest
//! that is not acknowledged, so what has fallen further behind than that and was not seen has been
//! given up: it is lost, and counted.

/// Numbers that are known one by one.
const WINDOW: u16 = 64;
/// How far a node's newest number may be ahead of its oldest that is not acknowledged.
pub(super) const REACH: u16 = 32;

/// What is kept over a restart to tell replays: the epoch, and in it the highest durable number with
/// a bit for each of the 64 up to it, the lowest bit for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replay {
    /// The highest epoch.
    pub epoch: u32,
    /// The highest number that is durable in it.
    pub highest: u16,
    /// Which of the numbers up to it are.
    pub window: u64,
}

impl Replay {
    /// Nothing is durable yet in `epoch`.
    pub const fn new(epoch: u32) -> Self {
        Self { epoch, highest: 0, window: 0 }
    }

    /// Writes down that a number is durable; one of an older epoch changes nothing.
    pub fn add(&mut self, epoch: u32, sequence: u16) {
        if epoch > self.epoch {
            *self = Self::new(epoch);
        }
        if epoch < self.epoch {
            return;
        }
        let ahead = sequence.saturating_sub(self.highest);
        self.window = self.window.checked_shl(ahead.into()).unwrap_or(0);
        self.highest = self.highest.max(sequence);
        self.window |= bit(self.highest, sequence);
    }

    /// Adds what another copy knows.
    pub fn merge(&mut self, other: Self) {
        if other.epoch >= self.epoch {
            let known = *self;
            *self = Self::new(other.epoch);
            for copy in [known, other].into_iter().filter(|copy| copy.epoch == other.epoch) {
                self.highest = self.highest.max(copy.highest);
            }
            for copy in [known, other].into_iter().filter(|copy| copy.epoch == other.epoch) {
                let behind = self.highest - copy.highest;
                self.window |= copy.window.checked_shl(behind.into()).unwrap_or(0);
            }
        }
    }
}

/// The bit of `sequence` in a window whose lowest bit is that of `highest`; none outside it.
fn bit(highest: u16, sequence: u16) -> u64 {
    highest.checked_sub(sequence).and_then(|back| 1_u64.checked_shl(back.into())).unwrap_or(0)
}

/// What a number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Offer {
    /// Not seen yet.
    New,
    /// Seen, and on its way to the disk.
    Pending,
    /// Durable, or given up by its node.
    Settled,
    /// Further ahead than a node may be.
    TooFar,
}

/// The numbers of one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sequences {
    highest: u16,
    seen: u64,
    durable: u64,
}

impl Sequences {
    /// Those from `first` on are still to come; what was before is not ours.
    pub(super) const fn starting_at(first: u16) -> Self {
        let highest = first.saturating_sub(1);
        let before = if highest < WINDOW { (1 << highest) - 1 } else { u64::MAX };
        Self { highest, seen: before, durable: before }
    }

    pub(super) const fn restored(replay: Replay) -> Self {
        Self { highest: replay.highest, seen: replay.window, durable: replay.window }
    }

    /// What has to be kept over a restart.
    pub(super) fn replay(&self, epoch: u32) -> Replay {
        let behind = self.durable.trailing_zeros();
        match self.durable.checked_shr(behind) {
            Some(window) if self.durable > 0 => {
                let behind = u16::try_from(behind).unwrap_or(0);
                Replay { epoch, highest: self.highest.saturating_sub(behind), window }
            }
            _ => Replay::new(epoch),
        }
    }

    pub(super) fn offer(&self, sequence: u16) -> Offer {
        if sequence > self.highest {
            let is_near = sequence - self.highest <= REACH;
            return if is_near { Offer::New } else { Offer::TooFar };
        }
        let bit = bit(self.highest, sequence);
        if self.seen & bit > 0 && self.durable & bit == 0 {
            Offer::Pending
        } else if self.seen & bit == 0 && sequence > self.floor() {
            Offer::New
        } else {
            Offer::Settled
        }
    }

    /// Takes a number that is new; how many are lost for good now.
    pub(super) fn take(&mut self, sequence: u16) -> u16 {
        let lost = self.move_to(self.highest.max(sequence));
        self.seen |= bit(self.highest, sequence);
        lost
    }

    /// The node will send none before `first`; how many of those are lost.
    pub(super) fn skip_to(&mut self, first: u16) -> u16 {
        let before = first.saturating_sub(1);
        let lost = self.move_to(self.highest.max(before));
        // What is between the floor and `first` was given up earlier than the floor tells.
        let skipped =
            (self.floor() + 1..first).filter(|&one| self.seen & bit(self.highest, one) == 0);
        let skipped =
            skipped.fold((0, 0), |(count, bits), one| (count + 1, bits | bit(self.highest, one)));
        self.seen |= skipped.1;
        self.durable |= skipped.1;
        lost + skipped.0
    }

    /// A number is durable.
    pub(super) fn settle(&mut self, sequence: u16) {
        self.durable |= self.seen & bit(self.highest, sequence);
    }

    /// A number was not stored after all.
    pub(super) fn forget(&mut self, sequence: u16) {
        self.seen &= !(bit(self.highest, sequence) & !self.durable);
    }

    /// Up to where all are settled, and a bit for each durable one behind that.
    pub(super) fn acknowledged(&self) -> (u16, u32) {
        let oldest = self.highest.saturating_sub(WINDOW - 1).max(1);
        let open = (oldest..=self.highest).find(|&one| {
            let bit = bit(self.highest, one);
            self.durable & bit == 0 && (self.seen & bit > 0 || one > self.floor())
        });
        let cumulative = open.map_or(self.highest, |open| open - 1);
        let is_durable = |at: &u16| {
            let sequence = cumulative.checked_add(at + 1).filter(|one| *one <= self.highest);
            sequence.is_some_and(|one| self.durable & bit(self.highest, one) > 0)
        };
        let bitmap = (0..REACH).filter(is_durable).fold(0, |bits, at| bits | 1 << at);
        (cumulative, bitmap)
    }

    /// Whether any number is on its way to the disk.
    pub(super) const fn has_pending(&self) -> bool {
        self.seen & !self.durable != 0
    }

    /// What is not behind this may still come.
    const fn floor(&self) -> u16 {
        self.highest.saturating_sub(REACH)
    }

    fn move_to(&mut self, highest: u16) -> u16 {
        let floor = self.floor();
        let ahead = highest - self.highest;
        let known = self.highest;
        let seen = self.seen;
        self.seen = self.seen.checked_shl(ahead.into()).unwrap_or(0);
        self.durable = self.durable.checked_shl(ahead.into()).unwrap_or(0);
        self.highest = highest;
        let passed = self.floor() - floor;
        let among = (floor + 1..=self.floor().min(known)).filter(|&one| seen & bit(known, one) > 0);
        passed - u16::try_from(among.count()).unwrap_or(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(numbers: &[u16]) -> (Sequences, u16) {
        let mut sequences = Sequences::starting_at(1);
        let mut lost = 0;
        for &number in numbers {
            assert_eq!(sequences.offer(number), Offer::New, "{number}");
            lost += sequences.take(number);
        }
        (sequences, lost)
    }

    #[test]
    fn only_what_is_durable_is_acknowledged() {
        let (mut sequences, _) = taken(&[1, 2, 4, 5]);
        assert_eq!(sequences.acknowledged(), (0, 0));
        sequences.settle(2);
        sequences.settle(5);
        assert_eq!(sequences.acknowledged(), (0, 0b1_0010));
        sequences.settle(1);
        assert_eq!(sequences.acknowledged(), (2, 0b100), "3 may still come");
        assert_eq!(sequences.offer(4), Offer::Pending);
        assert_eq!(sequences.offer(5), Offer::Settled);
    }

    #[test]
    fn what_falls_out_of_reach_is_lost_and_counted_once() {
        let (mut sequences, lost) = taken(&[1, 2, 5, 34]);
        assert_eq!(lost, 0, "3 and 4 may still come");
        assert_eq!(sequences.take(36), 2);
        assert_eq!(sequences.offer(3), Offer::Settled);
        assert_eq!(sequences.take(68), 29, "5 to 36 without 5, 34 and 36");
        for number in [1, 2, 34, 36, 68] {
            sequences.settle(number);
        }
        assert_eq!(
            sequences.acknowledged(),
            (4, 0xa000_0000),
            "5 is not durable: it holds the rest up"
        );
    }

    #[test]
    fn a_number_that_was_not_stored_may_come_again() {
        let (mut sequences, _) = taken(&[1]);
        sequences.forget(1);
        assert_eq!(sequences.offer(1), Offer::New);
        sequences.take(1);
        sequences.settle(1);
        sequences.forget(1);
        assert_eq!(sequences.offer(1), Offer::Settled, "durable stays durable");
    }

    #[test]
    fn what_a_node_has_given_up_is_lost_at_once() {
        let (mut sequences, _) = taken(&[1, 3]);
        sequences.settle(1);
        sequences.settle(3);
        assert_eq!(sequences.skip_to(3), 1);
        assert_eq!(sequences.acknowledged(), (3, 0));
        assert_eq!(sequences.skip_to(1000), 996);
        assert_eq!(sequences.skip_to(1000), 0);
        assert_eq!(sequences.acknowledged(), (999, 0));
        assert_eq!(sequences.offer(1000), Offer::New);
        assert_eq!(sequences.offer(1031), Offer::New);
        assert_eq!(sequences.offer(1032), Offer::TooFar);
    }

    #[test]
    fn the_end_of_the_numbers_is_reached_without_a_wrap() {
        let mut sequences = Sequences::starting_at(u16::MAX - 1);
        sequences.take(u16::MAX - 1);
        sequences.take(u16::MAX);
        sequences.settle(u16::MAX);
        assert_eq!(sequences.acknowledged(), (u16::MAX - 2, 0b10));
        sequences.settle(u16::MAX - 1);
        assert_eq!(sequences.acknowledged(), (u16::MAX, 0));
    }

    #[test]
    fn what_is_kept_over_a_restart_knows_the_durable_and_no_others() {
        let (mut sequences, _) = taken(&[1, 2, 3, 9]);
        sequences.settle(1);
        sequences.settle(3);
        let replay = sequences.replay(7);
        assert_eq!(replay, Replay { epoch: 7, highest: 3, window: 0b101 });
        let restored = Sequences::restored(replay);
        let offers = [1, 2, 3, 9].map(|number| restored.offer(number));
        assert_eq!(offers, [Offer::Settled, Offer::New, Offer::Settled, Offer::New]);
        assert_eq!(Sequences::starting_at(1).replay(7), Replay::new(7));
        assert_eq!(Sequences::starting_at(1000).acknowledged(), (999, 0));
    }

    #[test]
    fn copies_of_what_is_kept_are_merged() {
        let mut built = Replay::new(0);
        for (epoch, sequence) in [(2, 5), (2, 3), (1, 60), (2, 5), (2, 200)] {
            built.add(epoch, sequence);
        }
        assert_eq!(built, Replay { epoch: 2, highest: 200, window: 1 });
        built.merge(Replay { epoch: 2, highest: 199, window: 0b101 });
        assert_eq!(built, Replay { epoch: 2, highest: 200, window: 0b1011 });
        built.merge(Replay { epoch: 1, highest: 300, window: 1 });
        assert_eq!(built.highest, 200, "an older epoch is over");
        built.merge(Replay { epoch: 3, highest: 4, window: 1 });
        assert_eq!(built, Replay { epoch: 3, highest: 4, window: 1 });
    }
}
