//! Where each lane of each broker begins when the store is opened.
//!
//! A broker reads the store in one lane, or in several that share its routes among them. What a
//! cursor says holds for the routes of its lane, so it is good as long as the lanes are the same;
//! otherwise all lanes of the broker go back to the lowest record that any of them has pending:
//! some readings are published again, and none is lost. With one lane there is nothing to share,
//! and its routes may change.
//!
//! A cursor whose broker is not configured is an *orphan*. It is kept, but holds no record back, and
//! is saved as such. So where a record is missing that any other cursor has pending, that is damage.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::Progress;
use super::cursor::{Cursor, Cursors, Dropped};
use super::skips::Skips;

/// Stands between the name of a broker and that of a further lane in a key.
const SEPARATOR: char = '/';

/// One lane of a broker, as it is configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lane {
    /// Names its cursor: the broker's name, or `name/…` for a further lane.
    pub(crate) key: String,
    /// Name of the broker.
    pub(crate) broker: String,
    /// Fingerprint of the routes that it serves.
    pub(crate) routes: u64,
    /// When readings are dropped for it.
    pub(crate) limits: Limits,
}

/// How far a broker may be behind; what is older is dropped for it, and counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Limits {
    /// In readings of the store.
    pub(crate) max_lag: Option<u64>,
    /// In time since they were stored.
    pub(crate) max_age: Option<Duration>,
}

/// How far a broker is, in all its lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    /// The lowest number that is pending.
    pub(crate) lowest: u64,
    /// Records that are pending.
    pub(crate) pending: u64,
    /// Records that were dropped for it, ever.
    pub(crate) dropped: Dropped,
    /// Whether it is not configured.
    pub(crate) is_orphan: bool,
}

/// What the cursors are at the start.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Start {
    /// In the order of the lanes.
    pub(super) lanes: Vec<Cursor>,
    /// Cursors of brokers that are not configured.
    pub(super) orphans: Cursors,
}

impl Lane {
    /// The only lane of a broker.
    pub(crate) fn only(broker: &str, limits: Limits) -> Self {
        Self { key: broker.to_owned(), broker: broker.to_owned(), routes: 0, limits }
    }
}

/// How far each broker is, in a store that goes on at `head`.
pub(super) fn standings(cursors: &Cursors, skips: &Skips, head: u64) -> BTreeMap<String, Standing> {
    let mut standings = BTreeMap::<_, Standing>::new();
    for (key, cursor) in cursors {
        let Cursor { progress, dropped, is_orphan, .. } = cursor;
        let (lowest, pending) = (progress.lowest(), skips.pending(progress, head));
        let lane = Standing { lowest, pending, dropped: *dropped, is_orphan: *is_orphan };
        let add = |of_broker: &mut Standing| {
            of_broker.lowest = of_broker.lowest.min(lowest);
            // Lanes of one broker have most of what is pending in common.
            of_broker.pending = of_broker.pending.max(pending);
            of_broker.dropped = of_broker.dropped.plus(*dropped);
            of_broker.is_orphan &= is_orphan;
        };
        standings.entry(broker_of(key).to_owned()).and_modify(add).or_insert(lane);
    }
    standings
}

/// The broker whose lane has this key.
pub(super) fn broker_of(key: &str) -> &str {
    key.split_once(SEPARATOR).map_or(key, |(broker, _)| broker)
}

/// Finds the start of each lane from the cursors that are `known`; `on_disk` are the numbers of the
/// records that there are.
///
/// A broker that is not known starts at the lowest known cursor, so that one that was renamed goes
/// on where it was; where no cursor is known, with everything that there is.
pub(super) fn start(known: Cursors, lanes: &[Lane], on_disk: Range<u64>) -> Start {
    let lowest = |cursors: &Cursors| cursors.values().map(|cursor| cursor.progress.lowest()).min();
    let anywhere = lowest(&known).unwrap_or(on_disk.start);
    let mut by_broker: BTreeMap<String, Cursors> = BTreeMap::new();
    for (key, cursor) in known {
        by_broker.entry(broker_of(&key).to_owned()).or_default().insert(key, cursor);
    }
    let mut starts = Vec::with_capacity(lanes.len());
    let mut seen = BTreeSet::new();
    for lane in lanes {
        let of_broker = by_broker.get(&lane.broker);
        let is_first = seen.insert(&lane.broker);
        // While nobody was configured for it, it held nothing back.
        let may_be_deleted =
            of_broker.is_none_or(|known| known.values().all(|cursor| cursor.is_orphan));
        let mut cursor = match of_broker.map(|known| (known, known.get(&lane.key))) {
            Some((known, Some(cursor))) if is_same(known, lanes, &lane.broker) => cursor.clone(),
            Some((known, _)) => {
                let mut cursor = Cursor::new(Progress::new(lowest(known).unwrap_or(anywhere)));
                if is_first {
                    let dropped = known.values().map(|cursor| cursor.dropped);
                    cursor.dropped = dropped.fold(Dropped::default(), Dropped::plus);
                }
                cursor
            }
            None => Cursor::new(Progress::new(anywhere)),
        };
        cursor.routes = lane.routes;
        cursor.is_orphan = false;
        // Numbers that are used again would be taken for what it says.
        cursor.mark = cursor.mark.filter(|mark| mark.end <= on_disk.end);
        cursor.progress.limit_to(on_disk.end);
        if may_be_deleted {
            cursor.progress.drop_below(on_disk.start);
        }
        starts.push(cursor);
    }
    by_broker.retain(|broker, _| !seen.contains(broker));
    let mut orphans: Cursors = by_broker.into_values().flatten().collect();
    orphans.values_mut().for_each(|cursor| cursor.is_orphan = true);
    Start { lanes: starts, orphans }
}

/// Whether a broker's lanes are those that its known cursors were saved for.
fn is_same(known: &Cursors, lanes: &[Lane], broker: &str) -> bool {
    let mut count = 0;
    let mut is_known = true;
    for lane in lanes.iter().filter(|lane| lane.broker == broker) {
        count += 1;
        is_known &=
            known.get(&lane.key).is_some_and(|c| c.routes == lane.routes || known.len() == 1);
    }
    is_known && count == known.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(key: &str, routes: u64) -> Lane {
        let broker = broker_of(key).to_owned();
        Lane { key: key.to_owned(), broker, routes, limits: Limits::default() }
    }

    fn cursor(next: u64, routes: u64) -> Cursor {
        Cursor { routes, ..Cursor::new(Progress::new(next)) }
    }

    fn orphan(next: u64) -> Cursor {
        Cursor { is_orphan: true, ..cursor(next, 0) }
    }

    fn known<const N: usize>(cursors: [(&str, Cursor); N]) -> Cursors {
        cursors.into_iter().map(|(key, cursor)| (key.to_owned(), cursor)).collect()
    }

    /// Lowest pending number of each lane.
    fn starts(known: Cursors, lanes: &[Lane]) -> Vec<u64> {
        start(known, lanes, 1..100).lanes.iter().map(|c| c.progress.lowest()).collect()
    }

    #[test]
    fn a_single_lane_goes_on_whatever_its_routes_are() {
        let start = start(known([("a", cursor(7, 1))]), &[lane("a", 2)], 1..100);
        assert_eq!(start.lanes, [cursor(7, 2)]);
        assert!(start.orphans.is_empty());
    }

    #[test]
    fn lanes_go_on_while_their_routes_are_the_same() {
        let known = || known([("a", cursor(7, 1)), ("a/live", cursor(50, 2))]);
        assert_eq!(starts(known(), &[lane("a", 1), lane("a/live", 2)]), [7, 50]);
        assert_eq!(starts(known(), &[lane("a", 1), lane("a/live", 3)]), [7, 7]);
        assert_eq!(starts(known(), &[lane("a", 9), lane("a/live", 2)]), [7, 7]);
    }

    #[test]
    fn a_lane_more_or_less_starts_all_lanes_at_the_lowest_pending_record() {
        let both = [lane("a", 1), lane("a/live", 2)];
        assert_eq!(starts(known([("a", cursor(50, 1))]), &both), [50, 50]);
        let known = known([("a", cursor(50, 1)), ("a/live", cursor(7, 2))]);
        let start = start(known, &[lane("a", 1)], 1..100);
        assert_eq!(start.lanes[0].progress, Progress::new(7));
        assert!(start.orphans.is_empty(), "the lane that is gone is merged, not orphaned");
    }

    #[test]
    fn the_count_of_what_was_dropped_survives_a_change_of_lanes() {
        let dropped = Dropped { lag: 1, age: 2, full: 3 };
        let with = |next| Cursor { dropped, ..cursor(next, 0) };
        let known = known([("a", with(5)), ("a/live", with(6))]);
        let start = start(known, &[lane("a", 1), lane("a/live", 2)], 1..100);
        let total: u64 = start.lanes.iter().map(|cursor| cursor.dropped.total()).sum();
        assert_eq!(total, 2 * dropped.total());
    }

    #[test]
    fn a_renamed_broker_goes_on_where_the_old_one_was_and_the_old_one_is_an_orphan() {
        let old = known([("old", cursor(7, 0)), ("b", cursor(60, 0))]);
        let start = start(old, &[lane("b", 0), lane("new", 0)], 1..100);
        assert_eq!(start.lanes, [cursor(60, 0), cursor(7, 0)]);
        assert_eq!(start.orphans, known([("old", orphan(7))]));
    }

    #[test]
    fn without_any_cursor_everything_on_disk_is_pending() {
        assert_eq!(start(Cursors::new(), &[lane("a", 0)], 30..100).lanes, [cursor(30, 0)]);
    }

    #[test]
    fn what_was_deleted_while_a_broker_was_not_configured_is_not_pending() {
        let start = start(known([("a", orphan(5))]), &[lane("a", 0)], 30..100);
        assert_eq!(start.lanes, [cursor(30, 0)]);
    }

    #[test]
    fn what_is_missing_for_a_broker_that_held_it_back_stays_pending_so_that_it_is_told() {
        let known = known([("a", cursor(5, 0)), ("b", cursor(500, 0))]);
        let start = start(known, &[lane("a", 0), lane("b", 0)], 30..100);
        assert_eq!(start.lanes, [cursor(5, 0), cursor(100, 0)], "never beyond the end");
    }

    #[test]
    fn a_broker_stands_where_its_lanes_are_together() {
        let live = Cursor { dropped: Dropped { lag: 3, age: 0, full: 0 }, ..cursor(50, 2) };
        let known = known([("a", cursor(40, 1)), ("a/live", live), ("old", orphan(7))]);
        let standings = standings(&known, &Skips::new(Some(45..48)), 60);
        let a = &standings["a"];
        assert_eq!((a.lowest, a.pending, a.dropped.lag, a.is_orphan), (40, 17, 3, false));
        assert!(standings["old"].is_orphan && standings.len() == 2);
    }
}
