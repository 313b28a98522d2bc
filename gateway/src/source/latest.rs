//! The last readings of every device, of all sources: what a source that is asked for them shows.
//!
//! Only what is on disk comes here: the source [follows](Latest::follow) the store, and after a start
//! it begins with what the store still has. "Last" is the order of the store, whatever time a reading
//! carries.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::{Reading, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock;
use crate::config::Id;
use crate::store::{Record, Spool};

/// Readings that are kept; the one that was stored first gives way.
pub(super) const MAX_READINGS: usize = 4096;
/// Bytes of text in them; the same.
const MAX_BYTES: usize = 4 << 20;

/// The readings.
pub(super) struct Latest {
    kept: Mutex<Kept>,
    /// The number of the newest.
    newest: watch::Sender<u64>,
}

/// Every reading has the number that the store gave it.
#[derive(Default)]
struct Kept {
    by_number: BTreeMap<u64, Reading>,
    by_device: BTreeMap<String, BTreeMap<String, u64>>,
    bytes: usize,
}

impl Latest {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { kept: Mutex::default(), newest: watch::Sender::new(0) }
    }

    /// Takes records in their order.
    pub(super) fn store(&self, records: impl IntoIterator<Item = impl Borrow<Record>>) {
        let mut kept = self.kept();
        for record in records {
            let record = record.borrow();
            if let Some(reading) = record.reading() {
                kept.insert(record.n, reading);
            }
        }
        let newest = kept.by_number.last_key_value().map_or(0, |(number, _)| *number);
        drop(kept);
        self.newest.send_replace(newest);
    }

    /// Takes what is stored from the record `next` on, until `stop` is cancelled. `source` is whose
    /// log says that it could not.
    pub(super) async fn follow(
        &self,
        source: &Id,
        spool: &Spool,
        mut next: u64,
        stop: CancellationToken,
    ) {
        let mut head = spool.head();
        loop {
            while *head.borrow_and_update() > next {
                match spool.read(next).await {
                    Ok(chunks) => {
                        let Some(last) = chunks.last() else { break };
                        next = last.end;
                        let (now, times) = (clock::wall(), spool.times());
                        let records = chunks.iter().flat_map(|chunk| &chunk.records);
                        self.store(records.map(|record| times.settle(record, now).0));
                    }
                    Err(error) => {
                        warn!(%source, %error, "cannot see what was stored");
                        break;
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = head.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The number of the newest reading, and its changes.
    pub(super) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Calls `see` with those that came after the one with the number `seen`.
    pub(super) fn since(&self, seen: u64, mut see: impl FnMut(&Reading)) {
        self.first_since(seen, usize::MAX, |_, reading| see(reading));
    }

    /// Calls `see` with the first `most` of them, and their numbers.
    pub(super) fn first_since(&self, seen: u64, most: usize, mut see: impl FnMut(u64, &Reading)) {
        let kept = self.kept();
        let later = (Bound::Excluded(seen), Bound::Unbounded);
        for (number, reading) in kept.by_number.range(later).take(most) {
            see(*number, reading);
        }
    }

    /// Calls `see` with those of a device, by their names, or with the one of that name.
    pub(super) fn of(&self, device: &str, name: Option<&str>, mut see: impl FnMut(u64, &Reading)) {
        let kept = self.kept();
        let names = kept.by_device.get(device);
        let wanted = |(other, _): &(&String, &u64)| name.is_none_or(|name| name == *other);
        for (_, number) in names.into_iter().flatten().filter(wanted) {
            if let Some(reading) = kept.by_number.get(number) {
                see(*number, reading);
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn insert(&mut self, number: u64, reading: &Reading) {
        let last = self.by_device.get_mut(&reading.device).and_then(|n| n.get_mut(&reading.name));
        if let Some(last) = last {
            let before = self.by_number.remove(last);
            self.bytes -= before.as_ref().map_or(0, size);
            *last = number;
        } else {
            let names = self.by_device.entry(reading.device.clone()).or_default();
            names.insert(reading.name.clone(), number);
        }
        self.bytes += size(reading);
        self.by_number.insert(number, reading.clone());
        while self.by_number.len() > MAX_READINGS || self.bytes > MAX_BYTES {
            let Some((_, oldest)) = self.by_number.pop_first() else { return };
            self.bytes -= size(&oldest);
            if let Some(names) = self.by_device.get_mut(&oldest.device) {
                names.remove(&oldest.name);
                if names.is_empty() {
                    self.by_device.remove(&oldest.device);
                }
            }
        }
    }
}

fn size(reading: &Reading) -> usize {
    let unit = reading.unit.as_ref().map_or(0, String::len);
    let value = match &reading.value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Number(_) | Value::Boolean(_) => 0,
    };
    reading.device.len() + reading.name.len() + unit + value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::{TimeQuality, Timestamp};

    use crate::store::Content;

    fn record(n: u64, device: &str, name: &str, value: Value) -> Record {
        let reading = Reading {
            device: device.to_owned(),
            name: name.to_owned(),
            unit: None,
            value,
            time: Timestamp::from_nanos(1_732_198_755_000_000_000),
            time_quality: TimeQuality::Device,
            epoch: None,
            sequence: None,
        };
        let received = reading.time;
        let content = Content::Reading(reading);
        Record { n, source: "s".into(), content, received, origin: None, moment: None }
    }

    fn number(value: u64) -> Value {
        Value::Number(i64::try_from(value).unwrap().into())
    }

    fn shown(latest: &Latest, device: &str, name: Option<&str>) -> Vec<(u64, Value)> {
        let mut shown = Vec::new();
        latest.of(device, name, |n, reading| shown.push((n, reading.value.clone())));
        shown
    }

    #[test]
    fn the_last_reading_is_shown_and_a_device_shows_all_of_them() {
        let latest = Latest::new();
        assert_eq!(shown(&latest, "a", Some("t")), []);
        latest.store(&[record(1, "a", "t", number(1)), record(2, "a", "u", number(2))]);
        latest.store(&[record(3, "a", "t", number(3)), record(4, "b", "t", number(4))]);
        assert_eq!(shown(&latest, "a", Some("t")), [(3, number(3))]);
        assert_eq!(shown(&latest, "a", None), [(3, number(3)), (2, number(2))]);
        let mut seen = Vec::new();
        latest.since(2, |reading| seen.push(reading.value.clone()));
        assert_eq!(seen, [number(3), number(4)]);
        let mut first = Vec::new();
        latest.first_since(2, 1, |n, _| first.push(n));
        assert_eq!(first, [3]);
    }

    #[test]
    fn the_oldest_gives_way_at_either_limit() {
        let latest = Latest::new();
        let most = MAX_READINGS as u64;
        let many: Vec<_> =
            (0..=most).map(|n| record(n + 1, &format!("d{n}"), "t", number(n))).collect();
        latest.store(&many);
        assert_eq!(shown(&latest, "d0", None), []);
        assert_eq!(shown(&latest, "d1", None), [(2, number(1))]);
        let long = || Value::Bytes(vec![0; MAX_BYTES / 2]);
        latest.store(&[record(most + 2, "x", "a", long()), record(most + 3, "x", "b", long())]);
        assert_eq!(shown(&latest, "x", Some("a")), []);
        assert_eq!(shown(&latest, "x", Some("b")).len(), 1);
        let kept = latest.kept();
        assert_eq!((kept.by_number.len(), kept.by_device.len()), (1, 1));
        assert_eq!(kept.bytes, kept.by_number.values().map(size).sum::<usize>());
    }
}
