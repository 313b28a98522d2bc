//! What waits for one device.

use std::collections::BTreeSet;

use proto::Instant;

use super::super::command::{Key, Priority};

/// Commands of one device: at most one is at its source.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// By priority, and by when they were accepted.
    waiting: BTreeSet<(Priority, u64, Key)>,
    /// The one at the source.
    ordered: Option<Key>,
    /// No other may go before.
    free_at: Option<Instant>,
}

/// What a lane can do now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// This one may go.
    Go(Key),
    /// This one is next, then.
    Later(Key, Instant),
    /// Nothing, until something ends or comes.
    Nothing,
}

impl Lane {
    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn add(&mut self, priority: Priority, number: u64, key: Key) {
        self.waiting.insert((priority, number, key));
    }

    /// Takes one out that is not to go any more.
    pub(super) fn remove(&mut self, priority: Priority, number: u64, key: &Key) {
        self.waiting.remove(&(priority, number, key.clone()));
    }

    /// What goes next: `ready` tells from when on one may be tried.
    pub(super) fn next(&self, now: Instant, ready: impl Fn(&Key) -> Option<Instant>) -> Next {
        let Some((_, _, first)) = self.waiting.first().filter(|_| self.ordered.is_none()) else {
            return Next::Nothing;
        };
        match ready(first).max(self.free_at).filter(|at| *at > now) {
            Some(at) => Next::Later(first.clone(), at),
            None => Next::Go(first.clone()),
        }
    }

    /// One has gone to the source.
    pub(super) fn order(&mut self, priority: Priority, number: u64, key: &Key) {
        self.remove(priority, number, key);
        self.ordered = Some(key.clone());
    }

    /// The one at the source has come back; the next may go from then on.
    pub(super) fn free(&mut self, key: &Key, at: Instant) {
        if self.ordered.as_ref() == Some(key) {
            self.ordered = None;
            self.free_at = Some(at);
        }
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.waiting.is_empty() && self.ordered.is_none() && self.free_at.is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn one_goes_at_a_time_the_urgent_ones_first_and_else_in_order() {
        let key = |id: &str| Key::new("a", id);
        let mut lane = Lane::default();
        let rest = [
            (Priority::Normal, "1"),
            (Priority::Low, "2"),
            (Priority::High, "3"),
            (Priority::Normal, "4"),
        ];
        for (number, (priority, id)) in (0..).zip(rest) {
            lane.add(priority, number, key(id));
        }
        let mut gone = Vec::new();
        let by_id =
            |id: &str| rest.iter().zip(0..).find(|((_, one), _)| *one == id).map(|(r, n)| (r.0, n));
        while let Next::Go(next) = lane.next(at(0), |_| None) {
            let (priority, number) = by_id(&next.id).unwrap();
            lane.order(priority, number, &next);
            assert_eq!(lane.next(at(0), |_| None), Next::Nothing, "one is under way");
            lane.free(&next, at(0));
            gone.push(next.id.to_string());
        }
        assert_eq!(gone, ["3", "1", "4", "2"]);
        assert!(lane.is_idle(at(0)));
    }

    #[test]
    fn a_pause_and_a_rest_hold_the_next_back() {
        let mut lane = Lane::default();
        let (one, two) = (Key::new("a", "1"), Key::new("a", "2"));
        lane.add(Priority::Normal, 1, one.clone());
        lane.order(Priority::Normal, 1, &one);
        lane.add(Priority::Normal, 2, two.clone());
        lane.free(&one, at(500));
        assert_eq!(lane.next(at(499), |_| None), Next::Later(two.clone(), at(500)));
        assert_eq!(lane.next(at(500), |_| None), Next::Go(two.clone()));
        assert_eq!(lane.next(at(500), |_| Some(at(900))), Next::Later(two, at(900)));
    }
}
