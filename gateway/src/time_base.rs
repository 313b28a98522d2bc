//! What civil time it was, on a board whose clock is wrong after each start until the network tells it.
//!
//! # What is known
//! The kernel counts time from each boot on, evenly, whatever happens to the civil clock
//! (`CLOCK_BOOTTIME`), and names the boot. So a [`Moment`] is always known, and everything of a boot has
//! its civil time as soon as the civil time of that boot's *start* is known. It is
//!
//! - **known** from the first observation of a synchronised clock in that boot on, and never moves again:
//!   a step of the clock re-dates nothing;
//! - **claimed** before: what the clock that nobody has set says, and the latest such claim counts.
//!
//! # Estimates
//! Boots follow each other, and each lasted at least until the last thing that was stored in it. The start
//! that is assumed for a boot with a claim is the claim, but no earlier than the end of what came before,
//! and no later than lets it end before the next boot with a known start began. So in the order of their
//! moments all times rise, over any boots and whatever the clocks claimed; an estimate lies between the
//! known times around it; and a boot that ends up without known neighbours keeps its distances.
//! Only where two known starts contradict each other, as after a synchronised clock was wrong, do known
//! ones win over the order.
//!
//! # Limits
//! [`MAX_BOOTS`]; the oldest but one is forgotten, and what is left of it counts as just before the rest.

use std::time::Duration;

use proto::{Instant, Timestamp};

/// Boots that are remembered at a time: those of which something waits, mostly one.
pub(crate) const MAX_BOOTS: usize = 1024;
/// A change of the civil clock against the monotonic one that is a step, not noise.
const STEP: Duration = Duration::from_millis(500);

/// A boot of the machine, as the kernel names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct BootId(pub(crate) [u8; 16]);

/// A point in time that is known whatever the civil clock says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moment {
    pub(crate) boot: BootId,
    /// Time since the boot, in which the machine slept or not.
    pub(crate) uptime: Instant,
}

/// All clocks, read together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Clocks {
    pub(crate) moment: Moment,
    /// What the civil clock says.
    pub(crate) wall: Timestamp,
}

/// When a boot began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// By a clock that was synchronised.
    Known(Timestamp),
    /// By one that was not.
    Claimed(Timestamp),
}

/// What is remembered of a boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Boot {
    pub(crate) id: BootId,
    /// The first number that the store can have given in it.
    pub(crate) first: u64,
    pub(crate) start: Start,
    /// It lasted at least until then.
    pub(crate) last: Instant,
}

/// A civil time, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dated {
    pub(crate) time: Timestamp,
    pub(crate) is_known: bool,
}

/// The boots in their order, the current one last. Without any, the clock is trusted.
#[derive(Debug, Default)]
pub(crate) struct TimeBase {
    boots: Vec<Boot>,
    /// The start that is assumed for each of them.
    starts: Vec<Timestamp>,
    /// Steps of the civil clock that were seen, and the current boot's start by the clock then.
    steps: u64,
    seen: Option<Timestamp>,
    /// When the start of the current boot became known, where that was seen.
    known_since: Option<Instant>,
}

impl TimeBase {
    /// With what was remembered, in order.
    pub(crate) fn new(boots: Vec<Boot>) -> Self {
        let mut base = Self { boots, ..Self::default() };
        base.bound();
        base.assume();
        base
    }

    /// What is to be remembered.
    pub(crate) fn boots(&self) -> &[Boot] {
        &self.boots
    }

    /// The newest record of the store, by which the boots before the current one lasted longer; to be
    /// told before the clocks are observed.
    pub(crate) fn handle_newest(&mut self, n: u64, received: Timestamp, moment: Option<Moment>) {
        let (id, uptime) = match moment {
            Some(moment) => (moment.boot, moment.uptime),
            // By a clock that was right: as far into the last boot of which the start is known.
            None => {
                match self.boots.iter().rev().find_map(|boot| boot.known().map(|s| (boot, s))) {
                    Some((boot, start)) => (boot.id, between(start, received)),
                    // From before boots were remembered. It is as if one had begun with 1970.
                    None => (BootId::default(), between(Timestamp::from_nanos(0), received)),
                }
            }
        };
        match self.boots.iter_mut().find(|boot| boot.id == id) {
            Some(boot) => boot.last = boot.last.max(uptime),
            None => {
                let begin = shift(received, uptime, false);
                let start = match moment {
                    Some(_) => Start::Claimed(begin),
                    None => Start::Known(begin),
                };
                self.boots.push(Boot { id, first: n, start, last: uptime });
                self.bound();
            }
        }
        self.assume();
    }

    /// The clocks now, and whether the civil one is synchronised; `next` is the number that the next
    /// record gets. Returns whether there is something new to remember.
    pub(crate) fn observe(&mut self, now: Clocks, is_synchronised: bool, next: u64) -> bool {
        let Moment { boot: id, uptime } = now.moment;
        let claim = shift(now.wall, uptime, false);
        let is_new = self.boots.last().is_none_or(|boot| boot.id != id);
        if is_new {
            // Somewhere else in the list: a folder that went to another machine and came back.
            self.boots.retain(|boot| boot.id != id);
            let start = Start::Claimed(claim);
            self.boots.push(Boot { id, first: next, start, last: Instant::ZERO });
            self.bound();
            self.seen = None;
        }
        let has_stepped = self.seen.is_some_and(|seen| differs(seen, claim));
        if has_stepped {
            self.steps += 1;
        }
        if has_stepped || self.seen.is_none() {
            self.seen = Some(claim);
        }
        let Some(boot) = self.boots.last_mut() else { return false };
        let before = boot.start;
        match (before, is_synchronised) {
            (Start::Claimed(_), true) => {
                boot.start = Start::Known(claim);
                self.known_since = Some(uptime);
            }
            (Start::Claimed(then), false) if differs(then, claim) => {
                boot.start = Start::Claimed(claim);
            }
            (Start::Claimed(_), false) | (Start::Known(_), _) => {}
        }
        let is_changed = is_new || boot.start != before;
        if is_changed {
            self.assume();
        }
        is_changed
    }

    /// Forgets the boots of which nothing waits below the number `pending`, but for the last of them,
    /// after which everything else has to be. Returns whether there were any.
    pub(crate) fn forget_before(&mut self, pending: u64) -> bool {
        // A boot's numbers end where those of the next one begin.
        let done = self.boots.iter().skip(1).take_while(|boot| boot.first <= pending).count();
        let unneeded = done.saturating_sub(1);
        if unneeded == 0 {
            return false;
        }
        // What becomes the first one stays where it was assumed.
        let start = self.starts.get(unneeded).copied();
        self.boots.drain(..unneeded);
        if let (Some(first), Some(start)) = (self.boots.first_mut(), start)
            && first.known().is_none()
        {
            first.start = Start::Claimed(start);
        }
        self.assume();
        true
    }

    /// Whether the civil clock is right, as far as anybody can tell.
    pub(crate) fn is_synchronised(&self) -> bool {
        self.boots.last().is_none_or(|boot| boot.known().is_some())
    }

    /// When it became so, where that was seen.
    pub(crate) fn synchronised_since(&self) -> Option<Timestamp> {
        let start = self.boots.last()?.known()?;
        Some(shift(start, self.known_since?, true))
    }

    /// Steps of the civil clock that were seen.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The first number that was given in the current boot, while its start is not known.
    pub(crate) fn undated_since(&self) -> Option<u64> {
        let boot = self.boots.last()?;
        boot.known().is_none().then_some(boot.first)
    }

    /// What to keep with what happens at `moment`: nothing where the civil time says it.
    pub(crate) fn stamp(&self, moment: Moment) -> Option<Moment> {
        (!self.is_synchronised()).then_some(moment)
    }

    /// The civil time of a moment, at which the clock claimed to be `claimed`.
    pub(crate) fn date(&self, moment: Moment, claimed: Timestamp) -> Dated {
        let known = self.boots.iter().zip(&self.starts).find(|(boot, _)| boot.id == moment.boot);
        match known {
            Some((boot, start)) => {
                Dated { time: shift(*start, moment.uptime, true), is_known: boot.known().is_some() }
            }
            // Forgotten, because there were too many: after the first one and before the rest.
            None => {
                let time = self.starts.get(1).or(self.starts.first()).copied();
                Dated { time: time.unwrap_or(claimed), is_known: false }
            }
        }
    }

    /// How long ago a moment was, at the least.
    pub(crate) fn age(&self, moment: Moment, now: Moment) -> Duration {
        if moment.boot == now.boot {
            return now.uptime - moment.uptime;
        }
        let Some(at) = self.boots.iter().position(|boot| boot.id == moment.boot) else {
            return now.uptime - Instant::ZERO;
        };
        let mut since = self.boots.iter().skip(at);
        let rest = since.next().map_or(Duration::ZERO, |boot| boot.last - moment.uptime);
        // The current boot, which is the last one, has lasted until now.
        let between: Duration = since
            .take_while(|boot| boot.id != now.boot)
            .map(|boot| boot.last - Instant::ZERO)
            .sum();
        let lasted = rest + between + (now.uptime - Instant::ZERO);
        match (self.boots.get(at).and_then(Boot::known), self.boots.last().and_then(Boot::known)) {
            (Some(then), Some(current)) => {
                let dated = between_times(
                    shift(then, moment.uptime, true),
                    shift(current, now.uptime, true),
                );
                lasted.max(dated)
            }
            _ => lasted,
        }
    }

    /// The civil time now, against which the age of what a right clock has dated is to be measured: a
    /// clock that is not synchronised makes nothing old.
    pub(crate) fn now(&self, now: Clocks) -> Timestamp {
        if self.is_synchronised() {
            return now.wall;
        }
        let Some(at) = self.boots.iter().rposition(|boot| boot.known().is_some()) else {
            return now.wall;
        };
        let mut since = self.boots.iter().skip(at);
        let Some((boot, start)) = since.next().and_then(|b| b.known().map(|start| (b, start)))
        else {
            return now.wall;
        };
        let end = shift(start, boot.last, true);
        let between = since
            .take_while(|boot| boot.id != now.moment.boot)
            .fold(end, |end, boot| shift(end, boot.last, true));
        shift(between, now.moment.uptime, true)
    }

    /// Assumes a start for each boot.
    fn assume(&mut self) {
        let mut latest = None;
        let mut bounds: Vec<_> = self
            .boots
            .iter()
            .rev()
            .map(|boot| {
                // So late that it ends before what is known to follow.
                let before = latest.map(|next| shift(next, boot.last, false));
                latest = boot.known().or(before);
                before
            })
            .collect();
        bounds.reverse();
        let mut end = None;
        self.starts.clear();
        for (boot, before) in self.boots.iter().zip(bounds) {
            let start = match boot.start {
                Start::Known(start) => start,
                Start::Claimed(start) => {
                    let start = before.map_or(start, |before| start.min(before));
                    end.map_or(start, |end| start.max(end))
                }
            };
            self.starts.push(start);
            end = Some(shift(start, boot.last, true));
        }
    }

    fn bound(&mut self) {
        while self.boots.len() > MAX_BOOTS {
            // The first one says after what all others have to be.
            self.boots.remove(1);
        }
    }
}

impl Boot {
    fn known(&self) -> Option<Timestamp> {
        match self.start {
            Start::Known(start) => Some(start),
            Start::Claimed(_) => None,
        }
    }
}

/// A civil time moved by an uptime, forwards or back.
fn shift(time: Timestamp, by: Instant, forwards: bool) -> Timestamp {
    let nanos = i64::try_from(by.as_micros()).unwrap_or(i64::MAX).saturating_mul(1000);
    Timestamp::from_nanos(match forwards {
        true => time.as_nanos().saturating_add(nanos),
        false => time.as_nanos().saturating_sub(nanos),
    })
}

/// The uptime at `time` in a boot that began at `start`, rounded up.
fn between(start: Timestamp, time: Timestamp) -> Instant {
    let nanos = time.as_nanos().saturating_sub(start.as_nanos());
    Instant::from_micros(u64::try_from(nanos).unwrap_or(0).div_ceil(1000))
}

fn between_times(earlier: Timestamp, later: Timestamp) -> Duration {
    let nanos = later.as_nanos().saturating_sub(earlier.as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

fn differs(one: Timestamp, other: Timestamp) -> bool {
    between_times(one.min(other), one.max(other)) > STEP
}

#[cfg(test)]
mod tests;
