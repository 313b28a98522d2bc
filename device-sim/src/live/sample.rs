//! Progress of a made-up run, for tests.

use super::*;

pub(crate) fn progress() -> Progress {
    let seconds = Duration::from_secs;
    let latencies = |base_ms: u64| {
        (0..30)
            .map(|index| (index != 11).then(|| Duration::from_millis(base_ms << (index / 6))))
            .collect()
    };
    let fleet = |name: &str, via: &str, sent: u64, lost: u64, base_ms: u64| FleetProgress {
        name: name.to_owned(),
        via: via.to_owned(),
        devices: 200,
        sent_per_second: 100,
        arrived_per_second: 98,
        generated: sent,
        sent,
        arrived: sent - lost - 40,
        on_the_way: 40,
        lost,
        latencies: latencies(base_ms),
    };
    let log = |at_ms: u64, text: &str, is_bad| LogLine {
        at: Duration::from_millis(at_ms),
        text: text.to_owned(),
        is_bad,
    };
    Progress {
        scenario: "greenhouse-flaky-radio".to_owned(),
        elapsed: Duration::from_millis(31_250),
        duration: seconds(90),
        stage: Stage::Sending,
        fleets: vec![
            fleet("bench", "coap", 12_480, 0, 3),
            fleet("a-fleet-with-a-long-name", "udp", 3125, 7, 80),
        ],
        faults: vec![("lossy radio".to_owned(), Duration::from_millis(8750))],
        log: vec![
            log(20_000, "lossy radio begins", false),
            log(24_512, "th-0007 temp, epoch 1 sequence 12: lost", true),
        ],
    }
}
