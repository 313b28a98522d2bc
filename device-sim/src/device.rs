//! A device as a pure machine: channels, a schedule and a seed become reports.
//!
//! Time is an argument and only says what is due; what a report holds depends on the schedule alone.
//! So a shell that is late sends the same readings, late, and says when they were *meant* to be sent:
//! a slow system cannot hide behind a slow simulator.

use std::time::Duration;

use proto::{Instant, Reading, Rng, TimeQuality, Timestamp, Value};

use crate::signal::{Generator, Signal};

/// The shortest time between two reports; times of readings have milliseconds.
const SHORTEST: Duration = Duration::from_millis(1);

/// What a device is.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// Its name.
    pub id: String,
    /// What it measures; each report has one reading of each.
    pub channels: Vec<Channel>,
    /// When it reports.
    pub schedule: Schedule,
    /// Its boot count, and that it numbers its reports; `None` for a device whose protocol has no
    /// room for that, as SenML has not: what identifies its readings is their time.
    pub epoch: Option<u32>,
    /// The civil time at [`Instant::ZERO`], by its own clock.
    pub origin: Timestamp,
    /// What its values are drawn from.
    pub seed: u64,
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

/// When a device reports: first at `from`, then once each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The first report.
    pub from: Instant,
    /// From one report to the next; at least a millisecond.
    pub every: Duration,
}

/// What a device sends at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// When it was due, which is when it was measured.
    pub due: Instant,
    /// One reading of each channel.
    pub readings: Vec<Reading>,
}

/// A running device. Ask [`Device::poll_timeout`] when the next report is due, then take it with
/// [`Device::poll_report`].
#[derive(Clone, Debug)]
pub struct Device {
    config: DeviceConfig,
    generators: Vec<Generator>,
    due: Instant,
    sequence: u64,
}

impl Device {
    /// A device that has not reported yet.
    pub fn new(config: DeviceConfig) -> Self {
        let mut seeds = Rng::new(config.seed);
        let generator =
            |channel: &Channel| Generator::new(channel.signal, channel.decimals, seeds.next_u64());
        let generators = config.channels.iter().map(generator).collect();
        Self { generators, due: config.schedule.from, sequence: 0, config }
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

    /// When the next report is due.
    pub const fn poll_timeout(&self) -> Instant {
        self.due
    }

    /// The next report, if it is due at `now`; to be called until there is none.
    pub fn poll_report(&mut self, now: Instant) -> Option<Report> {
        if now < self.due {
            return None;
        }
        let due = self.due;
        self.due = due + self.config.schedule.every.max(SHORTEST);
        self.sequence += 1;
        let Self { config, generators, sequence, .. } = self;
        let time = civil(config.origin, due);
        let readings = config.channels.iter().zip(generators).map(|(channel, generator)| Reading {
            device: config.id.clone(),
            name: channel.name.clone(),
            unit: channel.unit.clone(),
            value: Value::Number(generator.sample(due)),
            time,
            time_quality: TimeQuality::Device,
            epoch: config.epoch,
            sequence: config.epoch.map(|_| *sequence),
        });
        Some(Report { due, readings: readings.collect() })
    }
}

/// The time at `at` on a clock that shows `origin` at zero, in whole milliseconds.
fn civil(origin: Timestamp, at: Instant) -> Timestamp {
    let millis = i64::try_from(at.as_micros() / 1000).unwrap_or(i64::MAX);
    let origin = Timestamp::from_nanos(origin.as_millis().saturating_mul(1_000_000));
    origin.checked_add_nanos(millis.saturating_mul(1_000_000)).unwrap_or(origin)
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
            schedule: Schedule {
                from: Instant::from_micros(250_000),
                every: Duration::from_millis(500),
            },
            epoch,
            origin: Timestamp::from_nanos(1_795_214_340_123_456_789),
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
        config.schedule.every = Duration::ZERO;
        let mut device = Device::new(config);
        let mut times = Vec::new();
        for _ in 0..3 {
            let report = device.poll_report(device.poll_timeout()).unwrap();
            assert_eq!(report.readings[0].sequence, None);
            times.push(report.readings[0].time.as_millis());
        }
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    }
}
