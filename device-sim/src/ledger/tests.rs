use proto::{TimeQuality, Timestamp};

use super::*;

const GRACE: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn number(text: &str) -> Value {
    Value::Number(text.parse().unwrap())
}

fn reading(sequence: u64) -> [Reading; 1] {
    [Reading {
        device: "th-1".to_owned(),
        name: "temp".to_owned(),
        unit: None,
        value: number("21.50"),
        time: Timestamp::from_nanos(1_795_214_340_123_000_000),
        time_quality: TimeQuality::Device,
        epoch: Some(1),
        sequence: Some(sequence),
    }]
}

fn arrival(sequence: u64) -> Arrival {
    Arrival {
        device: "th-1".to_owned(),
        name: "temp".to_owned(),
        mark: Mark::Sequence { epoch: 1, sequence },
        value: number("21.5"),
    }
}

fn ledger(max_rows: usize) -> Ledger {
    Ledger::new(Limits { grace: GRACE, max_rows })
}

fn rows(ledger: &Ledger) -> usize {
    ledger.devices.values().flat_map(BTreeMap::values).map(|stream| stream.rows.len()).sum()
}

#[test]
fn delivered_reading_is_neither_lost_nor_waiting() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), Via::Coap, &reading(1));
    assert!(!ledger.is_settled(), "the answer is to come");
    ledger.handle_acknowledged(&reading(1));
    assert!(!ledger.is_settled(), "it is not there yet");
    ledger.handle_arrived(&arrival(1));
    assert!(ledger.is_settled());
    let verdict = ledger.verdict();
    assert!(verdict.is_good());
    let expected = Tally { sent: 1, acknowledged: 1, arrived: 1, ..Tally::default() };
    assert_eq!(verdict.transports, BTreeMap::from([(Via::Coap, expected)]));
}

#[test]
fn acknowledged_reading_that_never_arrives_is_lost() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), Via::Coap, &reading(1));
    ledger.handle_acknowledged(&reading(1));
    assert_eq!(ledger.verdict().total().lost, 1);
    assert!(!ledger.verdict().is_good());
}

#[test]
fn written_reading_is_owed_where_nothing_is_acknowledged() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), Via::Udp, &reading(1));
    let total = ledger.verdict().total();
    assert_eq!((total.lost, total.acknowledged), (1, 0));
}

#[test]
fn refused_or_unanswered_reading_is_not_owed() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), Via::Tcp, &reading(1));
    ledger.handle_sent(at(0), Via::Tcp, &reading(2));
    ledger.handle_refused(&reading(1));
    let total = ledger.verdict().total();
    assert_eq!((total.sent, total.acknowledged, total.lost), (2, 0, 0));
    ledger.handle_refused(&reading(2));
    assert!(ledger.is_settled());
    ledger.handle_arrived(&arrival(1));
    assert_eq!(ledger.verdict().total().arrived, 1);
}

#[test]
fn missing_reading_is_late_first_and_lost_after_the_grace() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(5), Via::Udp, &reading(1));
    let progress = |now| {
        let total = ledger.progress(at(now)).total();
        (total.waiting, total.lost)
    };
    assert_eq!((progress(6), progress(14), progress(15)), ((1, 0), (1, 0), (0, 1)));
}

#[test]
fn second_copy_is_a_duplicate_also_when_its_row_is_folded() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), Via::Udp, &reading(1));
    ledger.handle_arrived(&arrival(1));
    ledger.handle_arrived(&arrival(1));
    assert_eq!(ledger.verdict().total().duplicates, 1);
    ledger.handle_sent(at(20), Via::Udp, &reading(2));
    assert_eq!(rows(&ledger), 1, "the first is folded");
    ledger.handle_arrived(&arrival(1));
    let total = ledger.verdict().total();
    assert_eq!((total.sent, total.arrived, total.duplicates), (2, 1, 2));
}

#[test]
fn wrong_value_is_told() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), Via::Udp, &reading(1));
    ledger.handle_arrived(&Arrival { value: number("21.51"), ..arrival(1) });
    let verdict = ledger.verdict();
    assert_eq!((verdict.total().wrong, verdict.total().arrived), (1, 1));
    assert!(!verdict.is_good());
}

#[test]
fn what_nobody_sent_is_unknown() {
    let mut ledger = ledger(100);
    ledger.handle_arrived(&arrival(1));
    ledger.handle_sent(at(0), Via::Udp, &reading(1));
    ledger.handle_arrived(&arrival(2));
    ledger.handle_arrived(&Arrival { mark: Mark::Time { millis: 5 }, ..arrival(1) });
    assert_eq!(ledger.verdict().unknown, 3);
    assert!(!ledger.verdict().is_good());
}

#[test]
fn readings_without_number_are_told_apart_by_time() {
    let mut ledger = ledger(100);
    let unnumbered = reading(1).map(|reading| Reading { epoch: None, sequence: None, ..reading });
    ledger.handle_sent(at(0), Via::Udp, &unnumbered);
    let mark = Mark::Time { millis: 1_795_214_340_123 };
    ledger.handle_arrived(&Arrival { mark, ..arrival(1) });
    assert!(ledger.verdict().is_good());
}

#[test]
fn memory_stays_flat_while_readings_arrive() {
    let mut ledger = ledger(1_000_000);
    for n in 0..1000 {
        ledger.handle_sent(at(n), Via::Tcp, &reading(n));
        ledger.handle_acknowledged(&reading(n));
        ledger.handle_arrived(&arrival(n));
        assert!(rows(&ledger) <= 11, "{}", rows(&ledger));
        assert_eq!(rows(&ledger), ledger.ages.len());
    }
    let total = ledger.verdict().total();
    assert_eq!((total.sent, total.acknowledged, total.arrived), (1000, 1000, 1000));
    assert!(ledger.verdict().is_good() && ledger.is_settled());
}

#[test]
fn missing_rows_wait_until_the_limit_and_count_as_lost_beyond() {
    let mut ledger = ledger(3);
    for n in 1..=5 {
        ledger.handle_sent(at(n * 100), Via::Udp, &reading(n));
    }
    assert_eq!((rows(&ledger), ledger.ages.len()), (3, 3));
    assert_eq!(ledger.progress(at(500)).total().lost, 4);
    assert_eq!(ledger.verdict().total().lost, 5);
    for n in 3..=5 {
        ledger.handle_arrived(&arrival(n));
    }
    assert_eq!(ledger.verdict().total().lost, 2);
    assert!(ledger.is_settled(), "nothing is waited for that is forgotten");
}

#[tokio::test]
async fn waiting_for_the_end_wakes_when_the_last_one_is_there() {
    let ledger = SharedLedger::new(Limits::default());
    ledger.settled().await;
    ledger.handle_sent(at(0), Via::Udp, &reading(1));
    let (settled, ()) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(5), ledger.settled()), async {
            ledger.handle_arrived(&arrival(1))
        },);
    assert!(settled.is_ok());
}
