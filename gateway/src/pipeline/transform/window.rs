//! Readings of a window of time become one: the aggregates of a route.
//!
//! # Which readings belong together
//! A [`Group`] has the readings of one name of one device, in one unit, whose own time is in the same
//! window; windows are aligned to the clock in UTC. It is *due* when its window is over, and `grace`
//! after that. Readings that arrive later than that make a group of their own with the same window,
//! which is due when the window is over in which they *arrived*: a device that was out of reach for a
//! day and then sends everything gets the aggregates of a whole day, and nothing is dropped. So which
//! group a record belongs to, its [`Key`], is a pure function of the record, and all its members were
//! received before it is due.
//!
//! # What survives a crash
//! Groups are in memory; their records stay pending in the store until the broker has acknowledged
//! what was made of them. As groups interleave, a position in the store alone could cut one
//! in two. So a lane of windows saves a [`Mark`] with its cursor: groups are published in the order of
//! their keys, and below [`Mark::end`] everything up to the mark is done. After a start the records from the
//! cursor on are read again, those that are done are left out, and every other group is whole.
//!
//! A record that is stored so late that its group was published already makes another one of the same
//! key, which goes out at once; the end of the mark stays below it until it is done.
//!
//! # Limits
//! A group takes the same memory however many readings it has. With [`MAX_GROUPS`] no more records are
//! taken until some are done: they wait in the store. Groups that are due by the clock are published then
//! without them, and they make further groups of the same windows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use proto::{Number, Reading, TimeQuality, Timestamp, Value};

use crate::config::{Aggregate, Statistic};
use crate::store::{Mark, Record};

/// Most groups that are open or under way in a lane.
const MAX_GROUPS: usize = 16_384;

/// The windows of a route.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    length: i64,
    grace: i64,
    statistics: Vec<Statistic>,
}

/// Which readings belong together. The order is that of publishing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Nanoseconds since 1970, as is `start`.
    due: i64,
    /// Of what follows.
    hash: u64,
    start: i64,
    route: usize,
    device: String,
    name: String,
    unit: Option<String>,
    /// Told apart where a group of this key was published before.
    number: u64,
}

/// What is known of the readings that belong together.
#[derive(Clone, Debug)]
struct Group {
    /// Whether it was published before; then it takes no more readings.
    is_again: bool,
    end: i64,
    first: u64,
    count: u64,
    /// `None` once it was beyond what a number can be.
    sum: Option<Number>,
    lowest: Number,
    highest: Number,
    /// The one with the latest time, and the later number.
    newest: (i64, u64, Number),
    is_estimated: bool,
    /// The record that came last.
    last: Record,
}

/// A group that was published.
#[derive(Debug)]
struct UnderWay {
    id: u64,
    group: Group,
    messages: u64,
    /// How many of them are not settled.
    pending: u64,
}

/// A group to publish.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    /// Names it until it is [settled](Windows::settle).
    pub(crate) id: u64,
    /// Place of its route.
    pub(crate) route: usize,
    /// One for each statistic: the last record of the group with the reading that it became.
    pub(crate) records: Vec<Record>,
    /// Whether it may have been published before.
    pub(crate) again: bool,
}

/// The groups of a lane.
#[derive(Debug)]
pub(crate) struct Windows {
    /// To be published.
    open: BTreeMap<Key, Group>,
    /// Published, and still in the way of the mark.
    under_way: BTreeMap<Key, UnderWay>,
    /// First records of the groups, and how many groups begin with each.
    firsts: BTreeMap<u64, u32>,
    /// Keys of what is under way.
    ids: BTreeMap<u64, Key>,
    next_id: u64,
    mark: Mark,
    /// The next record.
    position: u64,
    /// Messages that were published and are not in the mark.
    exposed: u64,
}

/// How far a lane of windows is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Every record below this is done.
    pub(crate) released: u64,
    pub(crate) mark: Mark,
    /// Messages that are done since the last time.
    pub(crate) messages: u64,
}

impl Window {
    pub(crate) fn new(aggregate: &Aggregate) -> Self {
        let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self {
            length: nanos(aggregate.window.duration()).max(1),
            grace: nanos(aggregate.grace.duration()),
            statistics: aggregate.of.clone(),
        }
    }

    /// When what the reading of a record is in is published.
    pub(crate) fn due(&self, record: &Record, reading: &Reading) -> Result<Timestamp, NotANumber> {
        let Value::Number(_) = reading.value else { return Err(NotANumber) };
        Ok(Timestamp::from_nanos(self.key(0, record, reading).due))
    }

    /// What readings of this name become.
    pub(crate) fn names(&self, name: &str) -> impl Iterator<Item = String> {
        self.statistics.iter().map(move |statistic| statistic.name_of(name))
    }

    /// Where the window of a time begins.
    fn start_of(&self, time: i64) -> i64 {
        time.saturating_sub(time.rem_euclid(self.length))
    }

    /// Which group a reading belongs to.
    fn key(&self, route: usize, record: &Record, reading: &Reading) -> Key {
        let (time, received) = (reading.time.as_nanos(), record.received.as_nanos());
        let due_of = |start: i64| start.saturating_add(self.length).saturating_add(self.grace);
        let start = self.start_of(time);
        let is_expected = time <= received && received < due_of(start);
        let due = if is_expected { due_of(start) } else { due_of(self.start_of(received)) };
        let (device, name, unit) =
            (reading.device.clone(), reading.name.clone(), reading.unit.clone());
        let mut hash = Fnv::default();
        hash.add(&route.to_le_bytes());
        hash.add(&start.to_le_bytes());
        for text in [&device, &name, unit.as_ref().unwrap_or(&String::new())] {
            hash.add(&text.len().to_le_bytes());
            hash.add(text.as_bytes());
        }
        Key { due, hash: hash.0, start, route, device, name, unit, number: 0 }
    }
}

impl Windows {
    /// Goes on where a lane was; a mark under which other windows were made says nothing.
    pub(crate) fn new(position: u64, mark: Option<Mark>, windows: u64) -> Self {
        let nothing = Mark { windows, due: i64::MIN, hash: 0, end: 0 };
        Self {
            open: BTreeMap::new(),
            under_way: BTreeMap::new(),
            firsts: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_id: 0,
            mark: mark.filter(|mark| mark.windows == windows).unwrap_or(nothing),
            position,
            exposed: 0,
        }
    }

    /// Whether another record can be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() + self.under_way.len() < MAX_GROUPS
    }

    /// Takes a record for a route that has windows, with what the route made of its reading; a value
    /// that is no number is refused.
    pub(crate) fn take(
        &mut self,
        window: &Window,
        route: usize,
        record: &Record,
        reading: &Reading,
    ) -> Result<(), NotANumber> {
        let Value::Number(value) = reading.value else { return Err(NotANumber) };
        let mut key = window.key(route, record, reading);
        let is_marked = (key.due, key.hash) <= (self.mark.due, self.mark.hash);
        if is_marked && record.n < self.mark.end {
            return Ok(());
        }
        // What is under way takes no more.
        while self.under_way.contains_key(&key)
            || self.open.get(&key).is_some_and(|group| group.is_again)
        {
            key.number += 1;
        }
        let end = key.start.saturating_add(window.length);
        let is_estimated = reading.time_quality == TimeQuality::Estimated;
        let newest = (reading.time.as_nanos(), record.n, value);
        match self.open.get_mut(&key) {
            Some(group) => {
                group.count += 1;
                group.sum = group.sum.and_then(|sum| sum.checked_add(value));
                if value.compare(group.lowest).is_lt() {
                    group.lowest = value;
                }
                if value.compare(group.highest).is_gt() {
                    group.highest = value;
                }
                if (newest.0, newest.1) > (group.newest.0, group.newest.1) {
                    group.newest = newest;
                }
                group.is_estimated |= is_estimated;
                group.last = record.with(reading.clone());
            }
            None => {
                let group = Group {
                    is_again: false,
                    end,
                    first: record.n,
                    count: 1,
                    sum: Some(value),
                    lowest: value,
                    highest: value,
                    newest,
                    is_estimated,
                    last: record.with(reading.clone()),
                };
                *self.firsts.entry(record.n).or_default() += 1;
                self.open.insert(key, group);
            }
        }
        Ok(())
    }

    /// Every record below this was taken.
    pub(crate) fn handle_position(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// The next group that is due at `clock`, now under way; `windows` are those of the routes.
    pub(crate) fn poll_closed<'a>(
        &mut self,
        clock: Timestamp,
        windows: impl Fn(usize) -> Option<&'a Window>,
    ) -> Option<Closed> {
        let entry = self.open.first_entry().filter(|entry| entry.key().due <= clock.as_nanos())?;
        let (key, group) = entry.remove_entry();
        let records: Vec<Record> = match windows(key.route) {
            Some(window) => window.statistics.iter().filter_map(|s| group.record(*s)).collect(),
            None => Vec::new(),
        };
        let (id, route, again) = (self.next_id, key.route, group.is_again);
        self.next_id += 1;
        let messages = records.len() as u64;
        if !again {
            self.exposed += messages;
        }
        self.ids.insert(id, key.clone());
        self.under_way.insert(key, UnderWay { id, group, messages, pending: messages });
        Some(Closed { id, route, records, again })
    }

    /// When the next group is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.open.first_key_value().map(|(key, _)| Timestamp::from_nanos(key.due))
    }

    /// One message of a group needs nothing more; false if it had none to wait for.
    pub(crate) fn settle(&mut self, id: u64) -> bool {
        let group = self.ids.get(&id).and_then(|key| self.under_way.get_mut(key));
        let Some(group) = group.filter(|group| group.pending > 0) else { return false };
        group.pending -= 1;
        true
    }

    /// What was made of a group that is under way, with this number among its messages.
    pub(crate) fn record(&self, id: u64, part: u8, window: &Window) -> Option<Record> {
        let group = &self.under_way.get(self.ids.get(&id)?)?.group;
        window.statistics.iter().filter_map(|s| group.record(*s)).nth(part.into())
    }

    /// Place of the route of a group that is under way.
    pub(crate) fn route_of(&self, id: u64) -> Option<usize> {
        self.ids.get(&id).map(|key| key.route)
    }

    /// What is under way may not have arrived: it is published again.
    pub(crate) fn rewind(&mut self) {
        for (key, published) in std::mem::take(&mut self.under_way) {
            if published.pending == 0 {
                self.under_way.insert(key, published);
            } else {
                self.ids.remove(&published.id);
                self.open.insert(key, Group { is_again: true, ..published.group });
            }
        }
    }

    /// Messages that were published, and of which a crash would not know that they are done.
    pub(crate) fn exposed(&self) -> u64 {
        self.exposed
    }

    /// Whether nothing is due and nothing under way.
    pub(crate) fn is_quiet(&self, clock: Timestamp) -> bool {
        self.under_way.is_empty() && self.next_due().is_none_or(|due| due > clock)
    }

    /// Forgets what is done, in order.
    pub(crate) fn reached(&mut self) -> Reached {
        let mut messages = 0;
        while let Some(entry) = self.under_way.first_entry()
            && entry.get().pending == 0
            && self.open.first_key_value().is_none_or(|(open, _)| entry.key() < open)
        {
            let (key, done) = entry.remove_entry();
            messages += done.messages;
            self.ids.remove(&done.id);
            if let Entry::Occupied(mut count) = self.firsts.entry(done.group.first) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
            let reached = (key.due, key.hash).max((self.mark.due, self.mark.hash));
            (self.mark.due, self.mark.hash) = reached;
        }
        self.exposed = self.exposed.saturating_sub(messages);
        let marked = (self.mark.due, self.mark.hash);
        // Keys that cannot be told from the mark, and such that came too late.
        let is_late = |key: &Key| (key.due, key.hash) <= marked;
        let open = self.open.iter().take_while(|(key, _)| is_late(key)).map(|(_, group)| group);
        let under_way = self.under_way.iter().take_while(|(key, _)| is_late(key));
        let late = open.chain(under_way.map(|(_, u)| &u.group)).map(|group| group.first).min();
        self.mark.end = late.unwrap_or(self.position);
        let released = self.firsts.first_key_value().map_or(self.position, |(first, _)| *first);
        Reached { released, mark: self.mark, messages }
    }
}

/// The value is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its value is not a number")]
pub(crate) struct NotANumber;

impl Group {
    /// What a statistic makes of it.
    fn record(&self, statistic: Statistic) -> Option<Record> {
        let value = match statistic {
            Statistic::Min => self.lowest,
            Statistic::Max => self.highest,
            Statistic::Last => self.newest.2,
            Statistic::Count => self.count.into(),
            Statistic::Sum => self.sum?,
            Statistic::Mean => self.sum?.checked_div(self.count.into())?,
        };
        let last = self.last.reading()?;
        let Reading { device, name, unit, .. } = last;
        let reading = Reading {
            device: device.clone(),
            name: statistic.name_of(name),
            unit: unit.clone().filter(|_| statistic != Statistic::Count),
            value: Value::Number(value),
            time: Timestamp::from_nanos(self.end),
            time_quality: match self.is_estimated {
                true => TimeQuality::Estimated,
                false => last.time_quality,
            },
            epoch: None,
            sequence: None,
        };
        Some(self.last.with(reading))
    }
}

/// FNV-1a of 64 bits: the same in every version of the gateway, as a mark on disk has to be.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests;
