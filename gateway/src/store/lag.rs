//! Brokers that are too far behind: their oldest readings are dropped for them.
//!
//! The storage thread decides and raises the lane's floor; the broker's task skips to it before it
//! publishes more. A reading that is under way at that moment may still arrive.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use proto::Timestamp;
use tracing::{debug, warn};

use super::StoreError;
use super::cursor::DropReason;
use super::log::Log;
use super::shared::{LaneState, Shared};
use super::skips::Skips;
use super::worker::READ_BYTES;

/// The pause between two looks at the age of readings.
const AGE_PAUSE: Duration = Duration::from_secs(1);
/// Reads with which one look at the age of readings goes on; the next look continues.
const MAX_READS: usize = 64;
/// The pause between two warnings about one lane.
const WARN_PAUSE: Duration = Duration::from_secs(60);

/// Drops what is too far behind.
#[derive(Debug, Default)]
pub(super) struct Lag {
    ages_checked: Option<Timestamp>,
    warned: BTreeMap<String, Timestamp>,
}

impl Lag {
    /// Drops what is beyond the limits of each lane.
    pub(super) fn enforce(
        &mut self,
        shared: &Shared,
        log: &impl Log,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let head = log.next();
        let ages_due = has_passed(self.ages_checked, AGE_PAUSE, now);
        if ages_due {
            self.ages_checked = Some(now);
        }
        let skips = shared.skips();
        for lane in &shared.lanes {
            if let Some(most) = lane.limits.max_lag {
                let floor = skips.floor_for(&lane.position().cursor.progress, most, head);
                self.drop_below(lane, floor, DropReason::Lag, &skips, now);
            }
            if let Some(most) = lane.limits.max_age.filter(|_| ages_due) {
                let since = before(shared.times.now(now), most);
                let lowest = lane.position().cursor.progress.lowest();
                let older = log.end_of_older(lowest, since)?;
                let floor = end_of_certain(shared, log, lowest..older, most, now)?;
                self.drop_below(lane, floor, DropReason::Age, &skips, now);
            }
        }
        Ok(())
    }

    /// Drops what the lane has pending below `floor`.
    pub(super) fn drop_below(
        &mut self,
        lane: &LaneState,
        floor: u64,
        reason: DropReason,
        skips: &Skips,
        now: Timestamp,
    ) {
        let readings = lane.drop_below(floor, reason, skips);
        if readings == 0 {
            return;
        }
        let broker = &lane.key;
        debug!(broker, readings, floor, ?reason, "dropped");
        if has_passed(self.warned.get(broker).copied(), WARN_PAUSE, now) {
            let dropped = lane.position().cursor.dropped.total();
            warn!(
                broker,
                ?reason,
                dropped,
                "the oldest readings are dropped for a broker that is behind"
            );
            self.warned.insert(broker.clone(), now);
        }
    }
}

/// One past the last of some numbers whose chunks were committed by a clock that says that they are too
/// old: as far as that clock was right, or more than `most` has passed since for certain.
fn end_of_certain(
    shared: &Shared,
    log: &impl Log,
    numbers: Range<u64>,
    most: Duration,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut floor = numbers.start;
    for _ in 0..MAX_READS {
        if floor >= numbers.end {
            break;
        }
        for chunk in log.read(floor, READ_BYTES)? {
            let newest = chunk.records.last().filter(|record| record.moment.is_some());
            if newest.is_some_and(|record| shared.times.age(record, now) <= most) {
                return Ok(floor);
            }
            floor = chunk.end.clamp(floor + 1, numbers.end.max(floor + 1));
        }
    }
    Ok(floor.min(numbers.end.max(numbers.start)))
}

/// Whether the pause since then is over; a clock that was set back ends it too.
pub(super) fn has_passed(then: Option<Timestamp>, pause: Duration, now: Timestamp) -> bool {
    then.is_none_or(|then| now < then || before(now, pause) >= then)
}

fn before(now: Timestamp, by: Duration) -> Timestamp {
    let nanos = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos))
}
