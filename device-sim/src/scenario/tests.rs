use proto::Instant;

use super::*;
use crate::device::Device;
use crate::ledger::{Arrival, Ledger, Limits, Mark};
use crate::report::{Recorder, SharedRecorder, recorder};

fn load(text: &str) -> Result<Scenario, String> {
    let name = std::thread::current().name().unwrap_or("scenario").replace("::", "-");
    let folder = std::env::temp_dir().join(format!("device-sim-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    let loaded = Scenario::load(&path, &Environment::new());
    std::fs::remove_dir_all(&folder).unwrap();
    loaded.map_err(|report| report.to_string())
}

const TWO: &str = r#"
version = 1
name = "two"
seed = 42
duration = "20s"
start = "2026-01-01T00:00:00Z"
[target]
coap = "127.0.0.1:5683"
[signals.temp]
type = "walk"
start = 20
step = 0.5
min = 0
max = 40
[fleets.bench]
count = 7
id = "th-{n:04}"
via = "coap"
every = { mean = "2s", jitter = "20%" }
payload = { format = "senml-json", temp = "temp" }
churn = { up = "10s", down = "2s" }
"#;

/// The bytes that the devices of a shard send, by device and time.
fn sent(scenario: &Scenario, shard: Option<Shard>) -> Vec<(String, u64, Vec<u8>)> {
    let mut sent = Vec::new();
    let end = Instant::ZERO + scenario.duration;
    for planned in scenario.planned(shard, Timestamp::from_nanos(0)) {
        let mut device = Device::new(planned.device);
        while let Some(report) = device.poll_report(end) {
            let bytes = planned.payload.encode(&report.readings);
            sent.push((device.id().to_owned(), report.due.as_micros(), bytes));
        }
    }
    sent
}

#[test]
fn shards_together_send_what_the_whole_sends() {
    let scenario = load(TWO).unwrap();
    let mut whole = sent(&scenario, None);
    whole.sort();
    assert!(whole.len() > 50, "{}", whole.len());
    for of in [2_u32, 3, 7, 20] {
        let part = |index: u32| sent(&scenario, Shard::new(index, of));
        let mut parts: Vec<_> = (1..=of).flat_map(part).collect();
        parts.sort();
        assert_eq!(parts, whole, "{of}");
    }
}

#[test]
fn a_seed_decides_every_byte_and_another_fleet_none() {
    let scenario = load(TWO).unwrap();
    assert_eq!(sent(&scenario, None), sent(&load(TWO).unwrap(), None));
    let other = load(&TWO.replace("seed = 42", "seed = 43")).unwrap();
    assert_ne!(sent(&scenario, None), sent(&other, None));
    let more =
        "[fleets.aaa]\ncount = 1\nvia = \"coap\"\nevery = \"1s\"\npayload = { x = \"temp\" }\n";
    let more = load(&format!("{TWO}{more}")).unwrap();
    let mut with_more = sent(&more, None);
    with_more.retain(|(device, ..)| device.starts_with("th-"));
    assert_eq!(with_more, sent(&scenario, None));
}

#[test]
fn a_ramp_lets_devices_join_one_after_the_other() {
    let ramp = "ramp = { over = \"14s\" }\n";
    let scenario = load(&format!("{TWO}{ramp}")).unwrap();
    let froms: Vec<_> = scenario
        .planned(None, Timestamp::from_nanos(0))
        .map(|planned| planned.device.schedule.from.as_micros() / 1_000_000)
        .collect();
    assert_eq!(froms, [0, 2, 4, 6, 8, 10, 12]);
}

/// The report of a run on a virtual clock: everything is acknowledged and arrives 5 ms later, but
/// for each seventh reading, which is lost.
fn report_of_virtual_run(scenario: &Scenario) -> String {
    let plan = recorder::Plan {
        scenario: scenario.name.clone(),
        seed: scenario.seed,
        duration: scenario.duration,
        thresholds: scenario.thresholds.clone(),
        ..recorder::Plan::default()
    };
    let recorder = SharedRecorder::new(Recorder::new(plan));
    let mut ledger = Ledger::new(Limits::default());
    ledger.observe(Box::new(recorder.clone()));
    let end = Instant::ZERO + scenario.duration;
    let mut reports = Vec::new();
    for planned in scenario.planned(None, Timestamp::from_nanos(0)) {
        recorder.with(|seen| seen.enrol(&planned.device.id, &planned.fleet, planned.via));
        let mut device = Device::new(planned.device);
        reports.extend(std::iter::from_fn(|| device.poll_report(end)));
    }
    reports.sort_by_key(|report| report.due);
    for (number, report) in reports.iter().enumerate() {
        let (due, seen) = (report.due, report.due + Duration::from_millis(5));
        ledger.handle_sent(due, due, crate::Via::Coap, &report.readings);
        ledger.handle_acknowledged(due, &report.readings);
        for reading in report.readings.iter().filter(|_| number % 7 != 6) {
            let (device, name) = (reading.device.clone(), reading.name.clone());
            let mark = Mark::Time { millis: reading.time.as_millis() };
            ledger.handle_arrived(
                seen,
                &Arrival { device, name, mark, value: reading.value.clone(), number: None },
            );
        }
    }
    ledger.finish(end);
    recorder.with(|recorder| recorder.report(None)).to_json().unwrap()
}

#[test]
fn two_runs_on_a_virtual_clock_give_the_same_bytes_of_report() {
    let text = format!("{TWO}[verify]\ntopic = \"#\"\n")
        .replace("[target]", "[target]\nmqtt = \"built-in\"");
    let run = |text: &str| report_of_virtual_run(&load(text).unwrap());
    let report = run(&text);
    let lost = crate::report::Report::from_json(&report).unwrap().total().lost;
    assert!((5..20).contains(&lost), "{lost}");
    assert_eq!(report, run(&text));
    assert_ne!(report, run(&text.replace("seed = 42", "seed = 43")));
}
