//! Groups against a reference that has all records at once.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::config::Config;
use crate::store::tests::{reading_of, record};

const SECOND: i64 = 1_000_000_000;
const VERSION: u64 = 7;

fn window(aggregate: &str) -> Window {
    let text = format!("[routes.r]\naggregate = {{ {aggregate} }}\n");
    let config: Config = toml::from_str(&text).unwrap();
    Window::new(config.routes.first_key_value().unwrap().1.aggregate.as_ref().unwrap())
}

/// Of a device, with a time and a time of arrival in milliseconds.
fn of(n: u64, device: &str, time: i64, received: i64, value: i64) -> Record {
    let mut record = record(device, 1);
    record.n = n;
    record.received = Timestamp::from_nanos(received * 1_000_000);
    let reading = reading_of(&mut record);
    reading.time = Timestamp::from_nanos(time * 1_000_000);
    reading.value = Value::Number(value.into());
    record
}

fn take(
    windows: &mut Windows,
    window: &Window,
    route: usize,
    record: &Record,
) -> Result<(), NotANumber> {
    windows.take(window, route, record, record.reading().unwrap())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(seconds * SECOND)
}

/// What is over at a time: name, value, second of its time, `n`.
fn over(windows: &mut Windows, window: &Window, now: i64) -> Vec<(String, String, i64, u64)> {
    let mut all = Vec::new();
    while let Some(closed) = windows.poll_closed(at(now), |_| Some(window)) {
        for record in closed.records {
            let (n, reading) = (record.n, record.reading().unwrap());
            let Value::Number(value) = reading.value else { panic!("a number") };
            let time = reading.time.as_nanos() / SECOND;
            all.push((reading.name.clone(), value.to_string(), time, n));
            windows.settle(closed.id);
        }
    }
    all
}

#[test]
fn a_window_becomes_its_statistics_when_it_is_over() {
    let window =
        window("window = \"1m\", of = [\"min\", \"mean\", \"max\", \"last\", \"count\", \"sum\"]");
    let mut windows = Windows::new(1, None, VERSION);
    for (n, time, value) in [(1, 60_000, 3), (2, 119_999, -5), (3, 70_000, 12)] {
        take(&mut windows, &window, 0, &of(n, "d", time, 119_999, value)).unwrap();
    }
    assert_eq!(over(&mut windows, &window, 124), []);
    let expected = [
        ("min", "-5"),
        ("mean", "3.33333333333333"),
        ("max", "12"),
        ("last", "-5"),
        ("count", "3"),
        ("sum", "10"),
    ];
    let expected =
        expected.map(|(name, value)| (format!("value.{name}"), value.to_owned(), 120, 3));
    assert_eq!(over(&mut windows, &window, 125), expected);
}

#[test]
fn what_comes_late_makes_another_aggregate_of_its_window_and_is_not_lost() {
    let window = window("window = \"1m\", of = [\"sum\"], grace = \"5s\"");
    let mut windows = Windows::new(1, None, VERSION);
    take(&mut windows, &window, 0, &of(1, "d", 59_000, 59_000, 1)).unwrap();
    take(&mut windows, &window, 0, &of(2, "d", 58_000, 64_999, 2)).unwrap();
    // A backlog of two windows, at once.
    for (n, time) in [(3, 10_000), (4, 20_000), (5, -30_000)] {
        take(&mut windows, &window, 0, &of(n, "d", time, 70_000, 10)).unwrap();
    }
    let sum = |value: &str, time, n| ("value.sum".to_owned(), value.to_owned(), time, n);
    assert_eq!(over(&mut windows, &window, 69), [sum("3", 60, 2)]);
    assert_eq!(over(&mut windows, &window, 124), []);
    let late: BTreeSet<_> = over(&mut windows, &window, 125).into_iter().collect();
    assert_eq!(late, BTreeSet::from([sum("20", 60, 4), sum("10", 0, 5)]));
}

#[test]
fn devices_names_units_and_routes_are_apart() {
    let window = window("window = \"1m\", of = [\"count\"]");
    let mut windows = Windows::new(1, None, VERSION);
    let mut other_unit = of(3, "a", 0, 0, 1);
    reading_of(&mut other_unit).unit = Some("Cel".to_owned());
    let mut other_name = of(4, "a", 0, 0, 1);
    reading_of(&mut other_name).name = "other".to_owned();
    for record in [of(1, "a", 0, 0, 1), of(2, "b", 0, 0, 1), other_unit, other_name] {
        take(&mut windows, &window, 0, &record).unwrap();
    }
    take(&mut windows, &window, 1, &of(4, "a", 0, 0, 1)).unwrap();
    let counts = over(&mut windows, &window, 100);
    assert!(counts.len() == 5 && counts.iter().all(|count| count.1 == "1"), "{counts:?}");
}

#[test]
fn values_that_are_no_numbers_are_refused() {
    let mut text = of(1, "d", 0, 0, 1);
    reading_of(&mut text).value = Value::Text("on".to_owned());
    let window = window("window = \"1m\", of = [\"count\"]");
    assert_eq!(take(&mut Windows::new(1, None, VERSION), &window, 0, &text), Err(NotANumber));
}

#[test]
fn the_number_of_groups_is_limited() {
    let window = window("window = \"1m\", of = [\"count\"]");
    let mut windows = Windows::new(1, None, VERSION);
    for n in 0..MAX_GROUPS as u64 {
        assert!(windows.has_room());
        take(&mut windows, &window, 0, &of(n, &n.to_string(), 0, 0, 1)).unwrap();
    }
    assert!(!windows.has_room());
    assert_eq!(over(&mut windows, &window, 100).len(), MAX_GROUPS);
    windows.handle_position(MAX_GROUPS as u64);
    assert_eq!(windows.reached().released, MAX_GROUPS as u64);
    assert!(windows.has_room());
}

#[test]
fn a_record_that_is_stored_after_its_group_was_published_is_published_too_also_over_a_kill() {
    let window = window("window = \"1m\", of = [\"sum\"]");
    let mut windows = Windows::new(1, None, VERSION);
    take(&mut windows, &window, 0, &of(1, "d", 0, 0, 1)).unwrap();
    windows.handle_position(2);
    assert_eq!(over(&mut windows, &window, 100).len(), 1);
    assert_eq!(windows.reached().released, 2);
    let late = of(2, "d", 0, 0, 10);
    take(&mut windows, &window, 0, &late).unwrap();
    windows.handle_position(3);
    let Reached { released, mark, .. } = windows.reached();
    assert_eq!((released, mark.end), (2, 2));
    let mut restarted = Windows::new(released, Some(mark), VERSION);
    take(&mut restarted, &window, 0, &late).unwrap();
    for windows in [&mut windows, &mut restarted] {
        assert_eq!(over(windows, &window, 100).len(), 1);
        windows.handle_position(3);
        assert_eq!(windows.reached().released, 3);
    }
}

#[test]
fn a_mark_of_other_windows_says_nothing() {
    let window = window("window = \"1m\", of = [\"count\"]");
    let mark = Mark { windows: VERSION, due: i64::MAX, hash: 0, end: 100 };
    for (version, count) in [(VERSION, 0), (VERSION + 1, 1)] {
        let mut windows = Windows::new(1, Some(mark), version);
        take(&mut windows, &window, 0, &of(1, "d", 0, 0, 1)).unwrap();
        assert_eq!(over(&mut windows, &window, 100).len(), count);
    }
}

/// What happens to a gateway.
#[derive(Clone, Debug)]
enum Step {
    /// A reading of a device is stored, this many milliseconds old.
    Store(u8, i64),
    /// Milliseconds pass.
    Pass(i64),
    /// What is due is published; of what is under way, these are acknowledged.
    Publish(u8),
    /// The cursor is saved.
    Save,
    /// The connection is made anew.
    Rewind,
    /// The gateway is killed, and starts again from what was saved.
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let old = prop_oneof![8 => 0..3_000_i64, 1 => -5_000..100_000_i64];
    let step = prop_oneof![
        20 => (0..4_u8, old).prop_map(|(device, old)| Step::Store(device, old)),
        6 => (0..15_000_i64).prop_map(Step::Pass),
        8 => any::<u8>().prop_map(Step::Publish),
        3 => Just(Step::Save),
        1 => Just(Step::Rewind),
        1 => Just(Step::Kill),
    ];
    proptest::collection::vec(step, 0..150)
}

/// A lane that reads every record at once.
struct Site {
    window: Window,
    windows: Windows,
    records: Vec<Record>,
    saved: (u64, Option<Mark>),
    now: i64,
    under_way: Vec<(u64, Record)>,
    /// Groups as they arrived: device, window, sum and count, `n`.
    arrived: Vec<(String, i64, i64, i64, u64)>,
}

impl Site {
    fn read(&mut self) {
        let from = self.windows.position.max(1);
        for record in self.records.iter().filter(|record| record.n >= from) {
            take(&mut self.windows, &self.window, 0, record).unwrap();
            self.windows.handle_position(record.n + 1);
        }
    }

    fn publish(&mut self) {
        let clock = Timestamp::from_nanos(self.now * 1_000_000);
        while let Some(closed) = self.windows.poll_closed(clock, |_| Some(&self.window)) {
            let [sum, count] = &closed.records[..] else { panic!("two statistics") };
            let of = |record: &Record| {
                let Value::Number(number) = record.reading().unwrap().value else {
                    panic!("a number")
                };
                i64::try_from(number.as_whole().unwrap()).unwrap()
            };
            let device = sum.reading().unwrap().device.clone();
            let time = sum.reading().unwrap().time.as_nanos();
            self.arrived.push((device, time, of(sum), of(count), sum.n));
            self.under_way.extend(closed.records.iter().map(|r| (closed.id, r.clone())));
        }
    }

    fn reached(&mut self) -> (u64, Option<Mark>) {
        let reached = self.windows.reached();
        (reached.released, Some(reached.mark))
    }

    fn do_step(&mut self, step: &Step) {
        match *step {
            Step::Store(device, old) => {
                let n = self.records.len() as u64 + 1;
                // Every value is a bit of its own, so that a sum says what is in it.
                let value = 1 << (n % 60);
                let device = format!("d{device}");
                self.records.push(of(n, &device, self.now - old, self.now, value));
                self.read();
            }
            Step::Pass(millis) => self.now += millis,
            Step::Publish(pick) => {
                self.publish();
                let mut index = 0;
                self.under_way.retain(|(id, _)| {
                    index += 1;
                    let is_acknowledged = pick.rotate_left(index) & 1 == 1;
                    if is_acknowledged {
                        assert!(self.windows.settle(*id));
                    }
                    !is_acknowledged
                });
            }
            Step::Save => self.saved = self.reached(),
            Step::Rewind => {
                self.under_way.clear();
                self.windows.rewind();
            }
            Step::Kill => {
                self.under_way.clear();
                let (next, mark) = self.saved;
                self.windows = Windows::new(next, mark, VERSION);
                self.read();
            }
        }
    }
}

proptest! {
    /// Whatever happens, the aggregates that arrive are those of all records at once: none is missing,
    /// none is a part, and one that comes again is the same.
    #[test]
    fn every_aggregate_arrives_whole_over_any_kills(steps in steps()) {
        let window = window("window = \"10s\", of = [\"sum\", \"count\"], grace = \"2s\"");
        let mut site = Site {
            window: window.clone(),
            windows: Windows::new(1, None, VERSION),
            records: Vec::new(),
            saved: (1, None),
            now: 1_000_000,
            under_way: Vec::new(),
            arrived: Vec::new(),
        };
        for step in &steps {
            site.do_step(step);
        }
        // Kill it once more, so that what is saved is tested too.
        site.do_step(&Step::Kill);
        site.now += 60_000;
        site.do_step(&Step::Publish(0xff));
        let (released, _) = site.reached();
        prop_assert_eq!(released, site.records.len() as u64 + 1, "everything is released");

        let mut expected: BTreeMap<Key, (i64, i64, u64)> = BTreeMap::new();
        for record in &site.records {
            let Value::Number(value) = record.reading().unwrap().value else { panic!("a number") };
            let entry = expected.entry(window.key(0, record, record.reading().unwrap())).or_default();
            let value = i64::try_from(value.as_whole().unwrap()).unwrap();
            *entry = (entry.0 + value, entry.1 + 1, record.n);
        }
        let expected: BTreeSet<_> = expected
            .into_iter()
            .map(|(key, (sum, count, n))| (key.device, key.start + window.length, sum, count, n))
            .collect();
        let arrived: BTreeSet<_> = site.arrived.into_iter().collect();
        prop_assert_eq!(arrived, expected);
    }

    /// A crash repeats no more messages than were exposed.
    #[test]
    fn a_kill_repeats_what_was_not_known_to_be_done(steps in steps()) {
        let window = window("window = \"10s\", of = [\"sum\", \"count\"], grace = \"2s\"");
        let mut site = Site {
            window,
            windows: Windows::new(1, None, VERSION),
            records: Vec::new(),
            saved: (1, None),
            now: 1_000_000,
            under_way: Vec::new(),
            arrived: Vec::new(),
        };
        for step in steps.iter().filter(|step| !matches!(step, Step::Kill)) {
            site.do_step(step);
        }
        site.do_step(&Step::Save);
        let before: BTreeSet<_> = site.arrived.iter().cloned().collect();
        let exposed = site.windows.exposed();
        site.do_step(&Step::Kill);
        site.arrived.clear();
        site.publish();
        let again = site.arrived.iter().filter(|group| before.contains(group)).count() as u64;
        prop_assert!(2 * again <= exposed, "{} of {}", 2 * again, exposed);
    }
}
