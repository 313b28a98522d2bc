//! What the display knows: devices with their last values, the last arrivals, the rate.

use std::collections::{BTreeMap, VecDeque};

use device_sim::Via;
use device_sim::broker::Recorded;
use device_sim::ledger::Arrival;
use proto::{Instant, Timestamp, Value};

use super::fleet::Plan;
use super::settings::TOPIC;
use crate::config::Id;

/// Arrivals that are kept for the log; no terminal is higher.
const MAX_LOG: usize = 200;
/// Values of a device that its trend shows.
const MAX_TREND: usize = 24;
/// Whole seconds that the rate is the mean of.
const RATE_SECONDS: u64 = 5;

/// The model behind the display.
pub(super) struct Board {
    pub(super) gateway: String,
    pub(super) broker: String,
    pub(super) devices: Vec<DeviceRow>,
    pub(super) log: VecDeque<Entry>,
    pub(super) stopping: bool,
    positions: BTreeMap<String, usize>,
    rate: Rate,
}

/// A device.
pub(super) struct DeviceRow {
    pub(super) via: Via,
    pub(super) id: String,
    pub(super) channels: Vec<ChannelCell>,
    /// The last values of the first channel.
    pub(super) trend: VecDeque<f64>,
    pub(super) seen: Option<Instant>,
}

/// A quantity of a device.
pub(super) struct ChannelCell {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) value: Option<String>,
}

/// An arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: Instant,
    pub(super) topic: String,
    pub(super) value: String,
    pub(super) unit: &'static str,
}

impl Board {
    pub(super) fn new(gateway: &Id, broker: &str, plan: &Plan) -> Self {
        let devices = plan.iter().map(|planned| DeviceRow {
            via: planned.via,
            id: planned.device.id.clone(),
            channels: (planned.device.channels.iter())
                .map(|channel| ChannelCell {
                    name: channel.name.clone(),
                    unit: channel.unit.as_deref().map_or("", symbol),
                    value: None,
                })
                .collect(),
            trend: VecDeque::new(),
            seen: None,
        });
        let mut devices: Vec<_> = devices.collect();
        devices.sort_by(|a, b| (a.via, &a.id).cmp(&(b.via, &b.id)));
        let positions = devices.iter().zip(0..).map(|(row, at)| (row.id.clone(), at)).collect();
        Self {
            gateway: gateway.to_string(),
            broker: broker.to_owned(),
            devices,
            log: VecDeque::new(),
            stopping: false,
            positions,
            rate: Rate::default(),
        }
    }

    /// Takes a message of the broker; `None` where it is no reading of the demo.
    pub(super) fn handle_recorded(&mut self, recorded: &Recorded) -> Option<(Arrival, Entry)> {
        recorded.topic.strip_prefix(TOPIC)?.strip_prefix('/')?;
        let arrival = Arrival::from_json(&recorded.payload);
        let arrival = arrival.inspect_err(|error| {
            tracing::warn!(topic = %recorded.topic, %error, "cannot read what arrived");
        });
        let arrival = arrival.ok()?;
        self.rate.count(recorded.at);
        let (value, number) = match &arrival.value {
            Value::Number(number) => (number.to_string(), Some(number.as_f64())),
            Value::Boolean(boolean) => (boolean.to_string(), None),
            Value::Text(text) => (text.clone(), None),
            Value::Bytes(bytes) => (format!("{} bytes", bytes.len()), None),
        };
        let row = self.positions.get(&arrival.device).and_then(|&at| self.devices.get_mut(at));
        let unit = row.map_or("", |row| row.show(recorded.at, &arrival.name, &value, number));
        let topic = recorded.topic.to_string();
        let entry = Entry { at: recorded.at, topic, value, unit };
        if self.log.len() >= MAX_LOG {
            self.log.pop_front();
        }
        self.log.push_back(entry.clone());
        Some((arrival, entry))
    }

    /// Arrivals per second.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        self.rate.at(now)
    }
}

impl DeviceRow {
    /// Shows a value; returns its unit.
    fn show(&mut self, at: Instant, name: &str, value: &str, number: Option<f64>) -> &'static str {
        self.seen = Some(at);
        let found = self.channels.iter_mut().zip(0..).find(|(channel, _)| channel.name == name);
        let Some((channel, position)) = found else { return "" };
        channel.value = Some(value.to_owned());
        if position == 0
            && let Some(number) = number
        {
            if self.trend.len() >= MAX_TREND {
                self.trend.pop_front();
            }
            self.trend.push_back(number);
        }
        channel.unit
    }
}

/// A SenML unit (RFC 8428 §12.1) as people write it.
fn symbol(unit: &str) -> &'static str {
    match unit {
        "Cel" => "°C",
        "%RH" | "%" => "%",
        "m/s" => "m/s",
        "hPa" => "hPa",
        "l/s" => "l/s",
        "W" => "W",
        "kWh" => "kWh",
        _ => "",
    }
}

/// Arrivals of the last seconds; it changes once a second, so that it can be read.
#[derive(Default)]
struct Rate(VecDeque<(u64, u64)>);

impl Rate {
    fn count(&mut self, at: Instant) {
        let second = second_of(at);
        match self.0.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            Some(_) | None => self.0.push_back((second, 1)),
        }
        while self.0.front().is_some_and(|(first, _)| first + RATE_SECONDS < second) {
            self.0.pop_front();
        }
    }

    /// The mean of the whole seconds before `now`.
    fn at(&self, now: Instant) -> f64 {
        let second = second_of(now);
        let from = second.saturating_sub(RATE_SECONDS);
        let counted = self.0.iter().filter(|(at, _)| (from..second).contains(at));
        let sum: u64 = counted.map(|(_, count)| count).sum();
        sum as f64 / (second - from).max(1) as f64
    }
}

const fn second_of(at: Instant) -> u64 {
    at.as_micros() / 1_000_000
}

/// Civil time with milliseconds, in UTC: `2026-11-20T22:39:00.123Z`.
pub(super) fn civil(origin: Timestamp, at: Instant) -> String {
    let millis = origin.as_millis().saturating_add_unsigned(at.as_micros() / 1000);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn rate_is_the_mean_of_whole_seconds() {
        let mut rate = Rate::default();
        assert_eq!(rate.at(at(0)), 0.0);
        for n in 0..100 {
            rate.count(at(n * 100));
        }
        assert_eq!(rate.at(at(9_999)), 10.0);
        assert_eq!(rate.at(at(12_500)), 6.0, "three of five seconds had arrivals");
        assert_eq!(rate.at(at(60_000)), 0.0);
        assert!(rate.0.len() <= 6);
    }

    #[test]
    fn times_have_milliseconds() {
        let origin = Timestamp::from_nanos(1_795_214_340_000_000_000);
        assert_eq!(civil(origin, at(1_120)), "2026-11-20T22:39:01.120Z");
    }
}
