//! What a device makes of a command.

use std::time::Duration;

use proto::Rng;

use crate::scenario::stream_seed;

/// Parts that are told apart.
const PARTS: u64 = 1_000_000_000;

/// How often devices of a fleet do not simply obey; the shares together are 1 at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Obeys {
    /// The share that is refused.
    pub refuse: f64,
    /// The share that is answered late.
    pub late: f64,
    /// How late.
    pub by: Duration,
    /// The share in the middle of which the device loses its power.
    pub die: f64,
}

/// What a device makes of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandManner {
    /// It carries it out and answers.
    Obey,
    /// It does not carry it out, and says so.
    Refuse,
    /// It carries it out, and answers after this time.
    Late(Duration),
    /// It carries it out, and starts again before it has answered.
    Die,
}

impl Obeys {
    /// What the device with this seed makes of a command that it has carried out so often `before`. It is
    /// drawn from the number at the end of the id.
    pub fn manner(&self, seed: u64, id: &str, before: u64) -> CommandManner {
        let number = id.rsplit('-').next().unwrap_or_default();
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        let drawn = Rng::new(stream_seed(seed, number, before)).below(PARTS);
        let drawn = drawn as f64 / PARTS as f64;
        let late = self.refuse + self.late;
        match drawn {
            drawn if drawn < self.refuse => CommandManner::Refuse,
            drawn if drawn < late => CommandManner::Late(self.by),
            drawn if drawn < late + self.die => CommandManner::Die,
            _ => CommandManner::Obey,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manners(obeys: &Obeys, seed: u64, start: &str) -> Vec<CommandManner> {
        (0..10_000).map(|n| obeys.manner(seed, &format!("c-{seed}-{start}-{n}"), 0)).collect()
    }

    #[test]
    fn shares_hold_and_the_seed_and_the_number_decide_alone() {
        let by = Duration::from_secs(2);
        let obeys = Obeys { refuse: 0.05, late: 0.1, by, die: 0.01 };
        let drawn = manners(&obeys, 7, "a");
        let count = |manner| drawn.iter().filter(|drawn| **drawn == manner).count();
        assert!((400..600).contains(&count(CommandManner::Refuse)));
        assert!((850..1150).contains(&count(CommandManner::Late(by))));
        assert!((50..150).contains(&count(CommandManner::Die)));
        assert_eq!(drawn, manners(&obeys, 7, "b"), "when a run began decides nothing");
        assert_ne!(drawn, manners(&obeys, 8, "a"));
        let all = Obeys { refuse: 1.0, ..Obeys::default() };
        assert!(manners(&all, 1, "a").iter().all(|manner| *manner == CommandManner::Refuse));
        let none = manners(&Obeys::default(), 1, "a");
        assert!(none.iter().all(|manner| *manner == CommandManner::Obey));
    }

    #[test]
    fn what_a_device_has_died_of_once_it_need_not_die_of_again() {
        let obeys = Obeys { die: 0.5, ..Obeys::default() };
        let dies =
            |n: &u32, before| obeys.manner(1, &format!("c-1-a-{n}"), before) == CommandManner::Die;
        let first: Vec<_> = (0..100).filter(|n| dies(n, 0)).collect();
        let again = first.iter().filter(|n| dies(n, 1)).count();
        assert!(again > 0 && again < first.len(), "{again} of {}", first.len());
    }
}
