//! A device as a pure machine: channels, a schedule and a seed become reports.
//!
//! Time is an argument and only says what is due; what a report holds depends on the schedule alone.
//! So a shell that is late sends the same readings, late, and says when they were *meant* to be sent:
//! a slow system cannot hide behind a slow simulator.

mod schedule;

use std::time::Duration;

use proto::{Instant, Reading, Rng, TimeQuality, Timestamp, Value};

pub use schedule::{Cycle, Pace, Schedule};

use self::schedule::Slots;
use crate::signal::{Generator, Signal};

/// What a device is.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Its name.
    pub id: String,
    /// What it measures; each report has one reading of each.
    pub channels: Vec<Channel>,
    /// When it reports.
    pub schedule: Schedule,
    /// Its first boot count, and that it numbers its reports; `None` for a device whose protocol has
    /// no room for that, as SenML has not: what identifies its readings is their time.
    pub epoch: Option<u32>,
    /// What it knows of the time.
    pub clock: DeviceClock,
    /// What its values are drawn from.
    pub seed: u64,
}

/// The clock of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceClock {
    /// What it shows at [`Instant::ZERO`]; of a device without a clock, when that really was.
    pub origin: Timestamp,
    /// Times are multiples of this; at least a millisecond.
    pub resolution: Duration,
    /// Whether there is one: else [`TimeQuality::Gateway`] says that a payload has no time.
    pub is_there: bool,
}

impl DeviceClock {
    /// A clock that shows milliseconds, and `origin` at [`Instant::ZERO`].
    pub const fn new(origin: Timestamp) -> Self {
        Self { origin, resolution: Duration::from_millis(1), is_there: true }
    }

    /// The time at `at`.
    fn read(self, at: Instant) -> Timestamp {
        const MILLI: i64 = 1_000_000;
        let after = i64::try_from(at.as_micros()).unwrap_or(i64::MAX).saturating_mul(1000);
        let resolution = i64::try_from(self.resolution.as_nanos()).unwrap_or(i64::MAX).max(MILLI);
        let nanos = self.origin.as_millis().saturating_mul(MILLI).saturating_add(after);
        Timestamp::from_nanos(nanos - nanos.rem_euclid(resolution))
    }

    fn quality(self) -> TimeQuality {
        if self.is_there { TimeQuality::Device } else { TimeQuality::Gateway }
    }
}

/// A quantity that a device measures.
#[derive(Clone, Debug)]
pub struct Channel {
    /// The name of its readings.
    pub name: String,
    /// Their unit by SenML (RFC 8428 §12.1).
    pub unit: Option<String>,
    /// How it behaves.
    pub signal: Signal,
    /// Digits after the decimal point.
    pub decimals: u8,
}

/// What a device sends at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// When it was due, which is when it was measured.
    pub due: Instant,
    /// One reading of each channel.
    pub readings: Vec<Reading>,
}

/// A running device. Ask [`Device::poll_timeout`] when to look at it next, then take what is due with
/// [`Device::poll_report`].
#[derive(Clone, Debug)]
pub struct Device {
    config: DeviceConfig,
    generators: Vec<Generator>,
    slots: Slots,
    /// The boot that the last report was of.
    boots: u32,
    sequence: u64,
    /// Reports until it is silent, if it ever is.
    left: Option<u64>,
    last: Option<Last>,
}

/// What was reported last.
#[derive(Clone, Debug)]
struct Last {
    due: Instant,
    values: Vec<Value>,
}

impl Device {
    /// A device that has not reported yet.
    pub fn new(config: DeviceConfig) -> Self {
        let mut seeds = Rng::new(config.seed);
        let mut generator = |channel: &Channel| {
            Generator::new(channel.signal.clone(), channel.decimals, seeds.next_u64())
        };
        let generators = config.channels.iter().map(&mut generator).collect();
        let slots = Slots::new(config.schedule, seeds.next_u64());
        let left = config.schedule.reports;
        Self { generators, slots, boots: 0, sequence: 0, left, last: None, config }
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// Its boot count; 1 where it does not count.
    pub(crate) fn epoch(&self) -> u32 {
        self.config.epoch.unwrap_or(1)
    }

    /// What it measures.
    pub(crate) fn channels(&self) -> &[Channel] {
        &self.config.channels
    }

    /// When it is to be looked at next: no report is due before.
    pub const fn poll_timeout(&self) -> Instant {
        if self.is_silent() { Instant::FAR_FUTURE } else { self.slots.due() }
    }

    /// Whether it has sent all that it ever sends by itself.
    const fn is_silent(&self) -> bool {
        matches!(self.left, Some(0)) || matches!(self.config.schedule.pace, Pace::Asked)
    }

    /// Whether it will have been away or off before its next report: then its connection is a new
    /// one.
    pub(crate) const fn is_back(&self) -> bool {
        self.slots.is_back()
    }

    /// The next report, if one is due at `now`; to be called until there is none.
    pub fn poll_report(&mut self, now: Instant) -> Option<Report> {
        while !self.is_silent() && now >= self.slots.due() {
            let slot = self.slots.take();
            if slot.boots != self.boots {
                (self.boots, self.sequence) = (slot.boots, 0);
            }
            let samples = self.generators.iter_mut().map(|generator| generator.sample(slot.due));
            let values: Vec<_> = samples.collect();
            if !self.is_worth_it(slot.due, &values) {
                continue;
            }
            self.sequence += 1;
            self.left = self.left.map(|left| left.saturating_sub(1));
            let readings = self.readings(slot.due, self.config.channels.iter().zip(&values));
            if self.config.schedule.reports_changes() {
                self.last = Some(Last { due: slot.due, values });
            }
            return Some(Report { due: slot.due, readings });
        }
        None
    }

    /// Measures on being asked: a reading of each channel whose position is asked for, in their order.
    pub(crate) fn measure(
        &mut self,
        now: Instant,
        is_asked: impl Fn(usize) -> bool,
    ) -> Vec<Reading> {
        self.sequence += 1;
        let generators = self.generators.iter_mut().enumerate();
        let values: Vec<_> = generators
            .map(|(index, generator)| is_asked(index).then(|| generator.sample(now)))
            .collect();
        let channels = self.config.channels.iter().zip(&values);
        let measured = channels.filter_map(|(channel, value)| Some((channel, value.as_ref()?)));
        self.readings(now, measured)
    }

    /// Whether a device that reports changes has one to report.
    fn is_worth_it(&self, due: Instant, values: &[Value]) -> bool {
        let (Pace::OnChange { by, at_least, .. }, Some(last)) =
            (self.config.schedule.pace, &self.last)
        else {
            return true;
        };
        let has_changed = |(before, now): (&Value, &Value)| match (before, now) {
            (Value::Number(before), Value::Number(now)) => {
                let change = (now.as_f64() - before.as_f64()).abs();
                change > 0.0 && change >= by
            }
            (before, now) => before != now,
        };
        at_least.is_some_and(|at_least| due >= last.due + at_least)
            || last.values.iter().zip(values).any(has_changed)
    }

    fn readings<'v>(
        &self,
        due: Instant,
        measured: impl Iterator<Item = (&'v Channel, &'v Value)>,
    ) -> Vec<Reading> {
        let config = &self.config;
        let time = config.clock.read(due);
        let epoch = config.epoch.map(|first| first.saturating_add(self.boots));
        let reading = |(channel, value): (&Channel, &Value)| Reading {
            device: config.id.clone(),
            name: channel.name.clone(),
            unit: channel.unit.clone(),
            value: value.clone(),
            time,
            time_quality: config.clock.quality(),
            epoch,
            sequence: epoch.map(|_| self.sequence),
        };
        measured.map(reading).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(epoch: Option<u32>) -> DeviceConfig {
        let channel = |name: &str, signal| Channel {
            name: name.to_owned(),
            unit: Some("Cel".to_owned()),
            signal,
            decimals: 1,
        };
        DeviceConfig {
            id: "th-1".to_owned(),
            channels: vec![
                channel("temp", Signal::Walk { start: 20.0, step: 1.0, min: 0.0, max: 40.0 }),
                channel("count", Signal::Counter { start: 0.0, step: 1.0 }),
            ],
            schedule: Schedule::every(Instant::from_micros(250_000), Duration::from_millis(500)),
            epoch,
            clock: DeviceClock::new(Timestamp::from_nanos(1_795_214_340_123_456_789)),
            seed: 42,
        }
    }

    #[test]
    fn reports_come_on_schedule_however_late_they_are_asked_for() {
        let mut device = Device::new(config(Some(3)));
        assert_eq!(device.poll_report(Instant::from_micros(249_999)), None);
        let late = Instant::from_micros(1_400_000);
        let mut dues = Vec::new();
        while let Some(report) = device.poll_report(late) {
            dues.push(report.due.as_micros());
        }
        assert_eq!(dues, [250_000, 750_000, 1_250_000]);
        assert_eq!(device.poll_timeout().as_micros(), 1_750_000);
    }

    #[test]
    fn what_is_late_is_the_same_as_what_is_in_time() {
        let (mut punctual, mut late) = (Device::new(config(Some(3))), Device::new(config(Some(3))));
        let end = Instant::from_micros(3_000_000);
        while let Some(report) = late.poll_report(end) {
            assert_eq!(punctual.poll_report(punctual.poll_timeout()), Some(report));
        }
    }

    #[test]
    fn a_report_has_a_reading_of_each_channel() {
        let mut device = Device::new(config(Some(3)));
        device.poll_report(Instant::from_micros(250_000));
        let report = device.poll_report(Instant::from_micros(750_000)).unwrap();
        let [temp, count] = &report.readings[..] else { panic!("{report:?}") };
        assert_eq!((&*temp.device, &*temp.name, &*count.name), ("th-1", "temp", "count"));
        assert_eq!((count.epoch, count.sequence), (Some(3), Some(2)));
        assert_eq!(count.value, Value::Number("1.0".parse().unwrap()));
        assert_eq!(count.time.as_nanos(), 1_795_214_340_873_000_000, "whole milliseconds");
    }

    #[test]
    fn a_device_without_numbers_is_told_apart_by_time() {
        let mut config = config(None);
        config.schedule = Schedule::every(Instant::ZERO, Duration::ZERO);
        let mut device = Device::new(config);
        let mut times = Vec::new();
        for _ in 0..3 {
            let report = device.poll_report(device.poll_timeout()).unwrap();
            assert_eq!(report.readings[0].sequence, None);
            times.push(report.readings[0].time.as_millis());
        }
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    }

    #[test]
    fn a_device_that_starts_again_counts_its_boots_and_numbers_from_one() {
        let mut config = config(Some(3));
        let (up, down) = (Duration::from_millis(1500), Duration::from_secs(1));
        config.schedule.reboot = Some(Cycle { up, down });
        let mut device = Device::new(config);
        let (mut numbers, mut will_be_back) = (Vec::new(), false);
        while let Some(report) = device.poll_report(Instant::from_micros(20_000_000)) {
            let [reading, ..] = &report.readings[..] else { panic!("{report:?}") };
            let numbered = (reading.epoch.unwrap(), reading.sequence.unwrap());
            let is_back = std::mem::replace(&mut will_be_back, device.is_back());
            assert_eq!(is_back, numbered.1 == 1 && numbered.0 > 3, "{numbered:?}");
            numbers.push(numbered);
        }
        assert_eq!(numbers[0], (3, 1));
        for pair in numbers.windows(2) {
            let ((epoch, number), next) = (pair[0], pair[1]);
            assert!(next == (epoch, number + 1) || next == (epoch + 1, 1), "{pair:?}");
        }
        assert!((10..=12).contains(&numbers.last().unwrap().0), "{numbers:?}");
    }

    #[test]
    fn only_changes_are_reported_or_what_is_overdue() {
        let mut config = config(Some(1));
        config.channels.truncate(1);
        let period = Duration::from_secs(4);
        config.channels[0].signal = Signal::Square { low: 0.0, high: 1.0, period, duty: 0.5 };
        let look = Duration::from_millis(500);
        let due = |at_least, by| {
            let mut config = config.clone();
            config.schedule = Schedule {
                pace: Pace::OnChange { look, by, at_least },
                ..Schedule::every(Instant::ZERO, look)
            };
            let mut device = Device::new(config);
            let end = Instant::from_micros(8_400_000);
            std::iter::from_fn(move || device.poll_report(end))
                .map(|report| report.due.as_micros() / 1000)
                .collect::<Vec<_>>()
        };
        assert_eq!(due(None, 0.5), [0, 2000, 4000, 6000, 8000]);
        assert_eq!(due(None, 1.5), [0]);
        assert_eq!(due(Some(Duration::from_secs(3)), 1.5), [0, 3000, 6000]);
    }

    #[test]
    fn a_device_is_silent_after_its_last_report() {
        let mut config = config(Some(1));
        config.schedule.reports = Some(3);
        let mut device = Device::new(config);
        let end = Instant::from_micros(100_000_000);
        assert_eq!(std::iter::from_fn(|| device.poll_report(end)).count(), 3);
        assert_eq!(device.poll_timeout(), Instant::FAR_FUTURE);
    }

    #[test]
    fn times_are_those_of_the_clock() {
        let mut config = config(Some(1));
        config.clock.resolution = Duration::from_secs(1);
        config.clock.is_there = false;
        let report = Device::new(config).poll_report(Instant::from_micros(250_000)).unwrap();
        assert_eq!(report.readings[0].time.as_nanos(), 1_795_214_340_000_000_000);
        assert_eq!(report.readings[0].time_quality, TimeQuality::Gateway);
    }
}
