//! When a unit is asked for what.
//!
//! A unit that does not answer rests for its timeout, then for twice as long, and so on up to a limit:
//! the first time it costs the others of its bus half of the time, later next to nothing. A block that
//! fails rests in the same way, so that one that the unit never answers holds up none of its others.

use alloc::vec::Vec;
use core::time::Duration;

use crate::Instant;

use super::super::plan::apart;
use super::super::{Block, Limits, Point, Read, plan};
use super::UnitConfig;

/// A unit of the bus.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) address: u8,
    pub(super) timeout: Duration,
    /// When it was asked last, as a number that grows.
    pub(super) turn: u64,
    points: Vec<Point>,
    limits: Limits,
    blocks: Vec<Scheduled>,
    /// Requests in a row without an answer.
    failures: u32,
    rests_until: Instant,
    is_split: bool,
}

#[derive(Debug)]
struct Scheduled {
    block: Block,
    due: Instant,
    /// Requests in a row that failed or were refused.
    failures: u32,
}

impl Unit {
    pub(super) fn new(config: UnitConfig) -> Self {
        let UnitConfig { address, timeout, points, limits } = config;
        let mut unit = Self {
            address,
            timeout,
            turn: 0,
            points,
            limits,
            blocks: Vec::new(),
            failures: 0,
            rests_until: Instant::ZERO,
            is_split: false,
        };
        unit.blocks = scheduled(plan(&unit.points, unit.limits), Instant::ZERO);
        unit
    }

    /// The link is new: whatever was learnt about the unit may be wrong by now.
    pub(super) fn handle_connected(&mut self, now: Instant) {
        if core::mem::take(&mut self.is_split) {
            self.blocks = scheduled(plan(&self.points, self.limits), now);
        }
    }

    /// When it can be asked next.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = self.blocks.iter().map(|scheduled| scheduled.due).min()?;
        Some(due.max(self.rests_until))
    }

    /// The block that waits for longest.
    pub(super) fn choose(&self, now: Instant) -> Option<usize> {
        let due = self.blocks.iter().enumerate().filter(|(_, scheduled)| scheduled.due <= now);
        let first = due.min_by_key(|(_, scheduled)| scheduled.due);
        first.filter(|_| self.rests_until <= now).map(|(index, _)| index)
    }

    /// Whether it did not answer last.
    pub(super) const fn is_silent(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn block(&self, index: usize) -> Option<&Block> {
        self.blocks.get(index).map(|scheduled| &scheduled.block)
    }

    pub(super) fn point(&self, index: usize) -> Option<&Point> {
        self.points.get(index)
    }

    /// It answered a block; how many times that should have been asked for meanwhile.
    pub(super) fn handle_answer(&mut self, index: usize, now: Instant) -> u64 {
        self.handle_presence(now);
        let Some(scheduled) = self.blocks.get_mut(index) else { return 0 };
        scheduled.failures = 0;
        // Polls keep their phase: what is late once is not late for ever.
        scheduled.due = scheduled.due + scheduled.block.interval;
        if scheduled.due > now {
            return 0;
        }
        let interval = micros(scheduled.block.interval).max(1);
        let missed = micros(now - scheduled.due) / interval + 1;
        scheduled.due = scheduled.due + Duration::from_micros(missed.saturating_mul(interval));
        missed
    }

    /// It refused a block.
    pub(super) fn handle_refusal(&mut self, index: usize, now: Instant, longest: Duration) {
        self.handle_presence(now);
        let timeout = self.timeout;
        let Some(scheduled) = self.blocks.get_mut(index) else { return };
        scheduled.failures = scheduled.failures.saturating_add(1);
        let pause = rest(timeout, scheduled.failures, longest);
        scheduled.due = now + pause.max(scheduled.block.interval);
    }

    /// It gave no right answer, whatever it was asked.
    pub(super) fn handle_silence(&mut self, now: Instant, longest: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.rests_until = now + rest(self.timeout, self.failures, longest);
    }

    /// It gave no right answer to a block.
    pub(super) fn handle_failure(&mut self, index: usize, now: Instant, longest: Duration) {
        let timeout = self.timeout;
        let Some(scheduled) = self.blocks.get_mut(index) else { return };
        scheduled.failures = scheduled.failures.saturating_add(1);
        scheduled.due = now + rest(timeout, scheduled.failures, longest);
    }

    /// Asks for the points of a block one by one from now on; whether that is less than before.
    pub(super) fn split(&mut self, index: usize, now: Instant) -> Option<Read> {
        let scheduled = self.blocks.get(index)?;
        let read = scheduled.block.read;
        let parts = apart(&self.points, &scheduled.block);
        if parts.len() < 2 {
            return None;
        }
        self.handle_presence(now);
        self.is_split = true;
        self.blocks.remove(index);
        self.blocks.extend(scheduled_parts(parts, now));
        Some(read)
    }

    /// It is there. What rested meanwhile did so for no longer than the unit itself, and is due.
    pub(super) fn handle_presence(&mut self, now: Instant) {
        self.failures = 0;
        self.rests_until = now;
    }
}

fn scheduled(blocks: Vec<Block>, now: Instant) -> Vec<Scheduled> {
    scheduled_parts(blocks, now).collect()
}

fn scheduled_parts(blocks: Vec<Block>, due: Instant) -> impl Iterator<Item = Scheduled> {
    blocks.into_iter().map(move |block| Scheduled { block, due, failures: 0 })
}

/// The pause after so many failures in a row.
fn rest(timeout: Duration, failures: u32, longest: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    timeout.saturating_mul(1 << doublings).min(longest)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
