//! A made-up run for tests: two fleets, a lossy radio, a broker that is down.

use std::time::Duration;

use proto::{Instant, Reading, TimeQuality, Timestamp, Value};

use super::{Plan, Recorder, Report, Resources, Shard, SharedRecorder, Span, Wall};
use crate::Via;
use crate::ledger::{Arrival, Ledger, Limits, Mark};

/// Devices of each fleet.
const DEVICES: u32 = 4;
/// From one reading of a device to the next.
const EVERY_MS: u64 = 500;
const DURATION_MS: u64 = 60_000;
const DOWN_MS: std::ops::Range<u64> = 30_000..40_000;

/// What is asked of it, as a scenario says it.
pub(crate) const THRESHOLDS: &str = r#"{
    "lost": 0, "wrong_value": 0, "duplicates": "< 1%", "recovery": "< 5s",
    "latency": { "p50": "<= 100ms", "p99": { "max": "2s", "except": ["broker down"] } }
}"#;

pub(crate) fn plan(shard: Option<Shard>) -> Plan {
    let span = |fault: &str, from_ms: u64, to_ms: u64| Span {
        fault: fault.to_owned(),
        from_us: from_ms * 1000,
        to_us: to_ms * 1000,
    };
    Plan {
        scenario: "greenhouse-flaky-radio".to_owned(),
        file: "scenarios/greenhouse.toml".to_owned(),
        command: ["device-sim", "run", "scenarios/greenhouse.toml"].map(str::to_owned).into(),
        seed: 42,
        shard,
        duration: Duration::from_millis(DURATION_MS),
        spans: vec![
            span("lossy radio", 12_000, 24_000),
            span("broker down", DOWN_MS.start, DOWN_MS.end),
        ],
        late_after: Duration::from_secs(8),
        thresholds: serde_json::from_str(THRESHOLDS).unwrap(),
    }
}

pub(crate) fn wall() -> Wall {
    Wall {
        started: "2026-11-21T18:30:00Z".to_owned(),
        program: "device-sim 0.1.0".to_owned(),
        system: "Linux 6.1.0 x86_64".to_owned(),
        processors: 2,
        gateway: Some(Resources { max_rss_bytes: 14_680_064, cpu_us: 2_340_000 }),
    }
}

/// The report of the run, or of a part of its devices.
pub(crate) fn report(shard: Option<Shard>) -> Report {
    let recorder = play(shard);
    recorder.with(|recorder| recorder.report(Some(wall())))
}

/// Plays it to the end, in order of time.
pub(crate) fn play(shard: Option<Shard>) -> SharedRecorder {
    let recorder = SharedRecorder::new(Recorder::new(plan(shard)));
    let mut ledger = Ledger::new(Limits { grace: Duration::from_secs(100), max_rows: 1_000_000 });
    ledger.observe(Box::new(recorder.clone()));
    let mut events = Vec::new();
    for index in 0..2 * DEVICES {
        if shard.is_none_or(|shard| shard.has(index.into())) {
            let device = Device::new(index);
            recorder.with(|recorder| recorder.enrol(&device.id, device.fleet, device.via));
            events.extend((1..=DURATION_MS / EVERY_MS).flat_map(|sequence| device.story(sequence)));
        }
    }
    events.sort_by_key(|(at, order, ..)| (*at, *order));
    for (at, _, device, due, reading, happening) in events {
        device.happen(&mut ledger, at, due, &reading, happening);
    }
    ledger.finish(Instant::from_micros((DURATION_MS + 5000) * 1000));
    recorder
}

#[derive(Clone, Debug)]
struct Device {
    index: u32,
    id: String,
    fleet: &'static str,
    via: Via,
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Sent,
    Acknowledged,
    Refused,
    Arrived,
    ArrivedWrong,
}

/// When, in which order among those at the same time, of which device, due when, what.
type Story = (Instant, u64, Device, Instant, Reading, Happening);

impl Device {
    fn new(index: u32) -> Self {
        let (fleet, via) = match index < DEVICES {
            true => ("bench", Via::Coap),
            false => ("meters", Via::Udp),
        };
        Self { index, id: format!("{fleet}-{:02}", index % DEVICES + 1), fleet, via }
    }

    /// What happens to its reading of this number.
    fn story(&self, sequence: u64) -> Vec<Story> {
        let order = u64::from(self.index) << 32 | sequence;
        let due_ms = sequence * EVERY_MS - EVERY_MS + u64::from(self.index) * 37;
        let event = |at_ms: u64, happening| {
            let at = |ms: u64| Instant::from_micros(ms * 1000);
            (at(at_ms), order, self.clone(), at(due_ms), reading(&self.id, sequence), happening)
        };
        let is_radio = (12_000..24_000).contains(&due_ms);
        let latency = 3 + order * 7 % 40 + if is_radio { order * 131 % 900 } else { 0 };
        let arrives = match DOWN_MS.contains(&(due_ms + latency)) {
            true => DOWN_MS.end + 300 + (due_ms - DOWN_MS.start + latency) / 5,
            false => due_ms + latency,
        };
        let mut story = vec![event(due_ms, Happening::Sent)];
        if self.via.acknowledges() {
            if order % 101 == 100 {
                story.push(event(due_ms + 2, Happening::Refused));
                return story;
            }
            story.push(event(due_ms + 2, Happening::Acknowledged));
        }
        match (self.index, sequence) {
            (5, 33) => {}
            (6, 71) => story.push(event(arrives, Happening::ArrivedWrong)),
            (2, 60) => {
                story.push(event(arrives, Happening::Arrived));
                story.push(event(arrives + 40, Happening::Arrived));
            }
            _ => story.push(event(arrives, Happening::Arrived)),
        }
        story
    }

    fn happen(
        &self,
        ledger: &mut Ledger,
        at: Instant,
        due: Instant,
        reading: &Reading,
        happening: Happening,
    ) {
        let readings = std::slice::from_ref(reading);
        let arrival = |value: &str| Arrival {
            device: reading.device.clone(),
            name: reading.name.clone(),
            mark: Mark::of(reading),
            value: Value::Number(value.parse().unwrap()),
            number: None,
        };
        match happening {
            Happening::Sent => ledger.handle_sent(at, due, self.via, readings),
            Happening::Acknowledged => ledger.handle_acknowledged(at, readings),
            Happening::Refused => ledger.handle_refused(at, readings),
            Happening::Arrived => ledger.handle_arrived(at, &arrival("21.5")),
            Happening::ArrivedWrong => ledger.handle_arrived(at, &arrival("2.15")),
        }
    }
}

fn reading(device: &str, sequence: u64) -> Reading {
    Reading {
        device: device.to_owned(),
        name: "temp".to_owned(),
        unit: Some("Cel".to_owned()),
        value: Value::Number("21.5".parse().unwrap()),
        time: Timestamp::from_nanos(1_795_285_800_000_000_000),
        time_quality: TimeQuality::Device,
        epoch: Some(1),
        sequence: Some(sequence),
    }
}
