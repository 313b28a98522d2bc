//! When a device reports: slots on a grid, without those in which it is away.
//!
//! A slot depends on the schedule, the seed and its number alone. Jitter is drawn around the grid, so
//! that it does not add up and a slow simulator changes nothing.

use std::time::Duration;

use proto::{Instant, Rng};

/// The shortest time between two reports; times of readings have milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);
/// Absences that follow each other without a slot between; beyond, the device counts as there.
const MAX_LOOKS: u32 = 1000;

/// When a device reports, and when it is there at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The first report, but for its jitter.
    pub from: Instant,
    /// How often.
    pub pace: Pace,
    /// It goes out of reach again and again, and forgets nothing.
    pub churn: Option<Cycle>,
    /// It loses its power again and again: it counts its boots, and its reports from 1.
    pub reboot: Option<Cycle>,
    /// It is silent after so many reports.
    pub reports: Option<u64>,
}

/// How often a device reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Once each `mean`.
    Every {
        /// From one report to the next.
        mean: Duration,
        /// The part of `mean` that a report is early or late at most, 0 to 0.5.
        jitter: f64,
    },
    /// Several reports at a time.
    Burst {
        /// How many.
        count: u32,
        /// From one to the next.
        gap: Duration,
        /// From the first of a burst to the first of the next.
        every: Duration,
    },
    /// When a value has changed.
    OnChange {
        /// How often it measures.
        look: Duration,
        /// The least change of a number that is one.
        by: f64,
        /// It reports after this time all the same.
        at_least: Option<Duration>,
    },
    /// Never by itself: it is asked.
    Asked,
}

/// Presence and absence in turn; where in its presence a device begins is drawn from its seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// How long it is there.
    pub up: Duration,
    /// How long it is not.
    pub down: Duration,
}

impl Schedule {
    /// First at `from`, then once each `every`.
    pub const fn every(from: Instant, every: Duration) -> Self {
        let pace = Pace::Every { mean: every, jitter: 0.0 };
        Self { from, pace, churn: None, reboot: None, reports: None }
    }

    /// Whether it reports only changes.
    pub(super) const fn reports_changes(&self) -> bool {
        matches!(self.pace, Pace::OnChange { .. })
    }

    /// From one place of the grid to the next.
    fn step(&self) -> Duration {
        let step = match self.pace {
            Pace::Every { mean, .. } => mean,
            Pace::Burst { every, count, gap } => every.max(gap.max(SHORTEST) * count.max(1)),
            Pace::OnChange { look, .. } => look,
            Pace::Asked => SHORTEST,
        };
        step.max(SHORTEST)
    }
}

/// A time at which a device is to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) due: Instant,
    /// Whether it was away since the slot before.
    pub(super) is_back: bool,
    /// How often it has started again until then.
    pub(super) boots: u32,
}

/// The slots of a device, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    schedule: Schedule,
    rng: Rng,
    churn: Option<Phased>,
    reboot: Option<Phased>,
    /// The place on the grid of what comes next, and the report of a burst there.
    place: u64,
    within: u32,
    next: Slot,
    /// The absences of either kind before `next`.
    absences: (u64, u64),
}

/// A cycle and where in it a device begins.
#[derive(Clone, Copy, Debug)]
struct Phased {
    cycle: Cycle,
    phase: u64,
}

impl Phased {
    fn new(cycle: Cycle, rng: &mut Rng) -> Self {
        // It is there at the start.
        let phase = rng.below(micros(cycle.up));
        Self { cycle, phase }
    }

    /// The absences that have begun at `at`, and the end of the one that lasts.
    fn at(&self, at: Instant) -> (u64, Option<Instant>) {
        let (up, down) = (micros(self.cycle.up), micros(self.cycle.down));
        let length = up.saturating_add(down).max(1);
        let shifted = at.as_micros().saturating_add(self.phase);
        let (whole, within) = (shifted / length, shifted % length);
        if within < up {
            return (whole, None);
        }
        let back = at.as_micros().saturating_add(length - within);
        (whole.saturating_add(1), Some(Instant::from_micros(back)))
    }
}

impl Slots {
    pub(super) fn new(schedule: Schedule, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let churn = schedule.churn.map(|cycle| Phased::new(cycle, &mut rng));
        let reboot = schedule.reboot.map(|cycle| Phased::new(cycle, &mut rng));
        let next = Slot { due: schedule.from, is_back: false, boots: 0 };
        let (place, within, absences) = (0, 0, (0, 0));
        let mut slots = Self { schedule, rng, churn, reboot, place, within, next, absences };
        slots.find();
        slots
    }

    /// When the next slot is.
    pub(super) const fn due(&self) -> Instant {
        self.next.due
    }

    /// Whether the device was away before the next slot.
    pub(super) const fn is_back(&self) -> bool {
        self.next.is_back
    }

    /// The next slot; then comes the one after it.
    pub(super) fn take(&mut self) -> Slot {
        let taken = self.next;
        self.within += 1;
        if !matches!(self.schedule.pace, Pace::Burst { count, .. } if self.within < count) {
            (self.place, self.within) = (self.place + 1, 0);
        }
        self.find();
        taken
    }

    /// Finds the first slot from here on at which the device is there; an absence of any length is
    /// one step.
    fn find(&mut self) {
        let step = micros(self.schedule.step());
        let start = self.schedule.from.as_micros();
        let mut due = self.due_here(start, step);
        let mut looks = 0;
        let (churned, rebooted) = loop {
            let at = |phased: Option<Phased>| phased.map_or((0, None), |phased| phased.at(due));
            let ((churned, away), (rebooted, off)) = (at(self.churn), at(self.reboot));
            looks += 1;
            let Some(back) = away.max(off).filter(|_| looks < MAX_LOOKS) else {
                break (churned, rebooted);
            };
            let places = back.as_micros().saturating_sub(start).div_ceil(step);
            (self.place, self.within) = (places.max(self.place + 1), 0);
            due = self.due_here(start, step);
        };
        let is_back = (churned, rebooted) != self.absences;
        self.absences = (churned, rebooted);
        let boots = u32::try_from(rebooted).unwrap_or(u32::MAX);
        self.next = Slot { due, is_back, boots };
    }

    fn due_here(&mut self, start: u64, step: u64) -> Instant {
        let at = start.saturating_add(self.place.saturating_mul(step));
        Instant::from_micros(match self.schedule.pace {
            Pace::Every { jitter, .. } if jitter > 0.0 => {
                // Neighbours stay in order, and a millisecond apart.
                let most = micros(Duration::from_micros(step).mul_f64(jitter.min(0.5)))
                    .min(step.saturating_sub(micros(SHORTEST)) / 2);
                at.saturating_add(self.rng.below(2 * most + 1)).saturating_sub(most)
            }
            Pace::Burst { gap, .. } => {
                at.saturating_add(micros(gap.max(SHORTEST)).saturating_mul(self.within.into()))
            }
            Pace::Every { .. } | Pace::OnChange { .. } | Pace::Asked => at,
        })
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn dues(schedule: Schedule, count: usize) -> Vec<u64> {
        let mut slots = Slots::new(schedule, 5);
        (0..count).map(|_| slots.take().due.as_micros() / 1000).collect()
    }

    #[test]
    fn jitter_stays_around_the_grid_and_in_order() {
        for jitter in [0.2, 0.5] {
            let pace = Pace::Every { mean: SECOND, jitter };
            let from = Instant::from_micros(3_000_000);
            let dues = dues(Schedule { pace, ..Schedule::every(from, SECOND) }, 1000);
            for (n, due) in dues.iter().enumerate() {
                let off = *due as f64 - (3000.0 + n as f64 * 1000.0);
                assert!(off.abs() <= 1000.0 * jitter + 1.0, "{n}: {off}");
            }
            assert!(dues.windows(2).all(|pair| pair[0] < pair[1]));
            let spread = dues.iter().filter(|due| (100..900).contains(&(*due % 1000)));
            assert!(spread.count() > 200);
        }
    }

    #[test]
    fn bursts_come_together() {
        let pace = Pace::Burst { count: 3, gap: Duration::from_millis(10), every: SECOND };
        let schedule = Schedule { pace, ..Schedule::every(Instant::ZERO, SECOND) };
        assert_eq!(dues(schedule, 5), [0, 10, 20, 1000, 1010]);
    }

    #[test]
    fn nothing_is_due_while_a_device_is_away() {
        let churn = Some(Cycle { up: 4 * SECOND, down: 2 * SECOND });
        let schedule = Schedule { churn, ..Schedule::every(Instant::ZERO, SECOND / 2) };
        let mut slots = Slots::new(schedule, 5);
        let taken: Vec<_> = (0..100).map(|_| slots.take()).collect();
        let mut backs = 0;
        for pair in taken.windows(2) {
            let gap = pair[1].due.as_micros() - pair[0].due.as_micros();
            assert_eq!(pair[1].is_back, gap > 500_000, "{pair:?}");
            assert!(gap <= 2_500_000, "{gap}");
            backs += usize::from(pair[1].is_back);
        }
        assert!((11..=13).contains(&backs), "{backs}");
        assert!(taken.iter().all(|slot| slot.boots == 0));
    }

    #[test]
    fn shortest_times_end() {
        let jittery = Pace::Every { mean: Duration::ZERO, jitter: 0.5 };
        let cycle = Some(Cycle { up: Duration::ZERO, down: SECOND });
        let every = Schedule::every(Instant::ZERO, Duration::ZERO);
        let schedule = Schedule { pace: jittery, churn: cycle, reboot: cycle, ..every };
        let dues = dues(schedule, 3);
        assert!(dues.windows(2).all(|pair| pair[0] < pair[1]), "{dues:?}");
    }
}
