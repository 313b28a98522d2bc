use std::sync::Mutex;

use proto::{TimeQuality, Timestamp};

use super::*;
use crate::clock::Clock;

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
        number: None,
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
    ledger.handle_sent(at(0), at(0), Via::Coap, &reading(1));
    assert!(!ledger.is_settled(), "the answer is to come");
    ledger.handle_acknowledged(at(0), &reading(1));
    assert!(!ledger.is_settled(), "it is not there yet");
    ledger.handle_arrived(at(0), &arrival(1));
    assert!(ledger.is_settled());
    let verdict = ledger.verdict();
    assert!(verdict.is_good());
    let expected = Tally { sent: 1, acknowledged: 1, arrived: 1, ..Tally::default() };
    assert_eq!(verdict.transports, BTreeMap::from([(Via::Coap, expected)]));
}

#[test]
fn acknowledged_reading_that_never_arrives_is_lost() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), at(0), Via::Coap, &reading(1));
    ledger.handle_acknowledged(at(0), &reading(1));
    assert_eq!(ledger.verdict().total().lost, 1);
    assert!(!ledger.verdict().is_good());
}

#[test]
fn written_reading_is_owed_where_nothing_is_acknowledged() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), at(0), Via::Udp, &reading(1));
    let total = ledger.verdict().total();
    assert_eq!((total.lost, total.acknowledged), (1, 0));
}

#[test]
fn refused_or_unanswered_reading_is_not_owed() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), at(0), Via::Tcp, &reading(1));
    ledger.handle_sent(at(0), at(0), Via::Tcp, &reading(2));
    ledger.handle_refused(at(0), &reading(1));
    let total = ledger.verdict().total();
    assert_eq!((total.sent, total.acknowledged, total.lost), (2, 0, 0));
    ledger.handle_refused(at(0), &reading(2));
    assert!(ledger.is_settled());
    ledger.handle_arrived(at(0), &arrival(1));
    assert_eq!(ledger.verdict().total().arrived, 1);
}

#[test]
fn missing_reading_is_late_first_and_lost_after_the_grace() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(5), at(5), Via::Udp, &reading(1));
    let progress = |now| {
        let total = ledger.progress(at(now)).total();
        (total.waiting, total.lost)
    };
    assert_eq!((progress(6), progress(14), progress(15)), ((1, 0), (1, 0), (0, 1)));
}

#[test]
fn second_copy_is_a_duplicate_also_when_its_row_is_folded() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), at(0), Via::Udp, &reading(1));
    ledger.handle_arrived(at(0), &arrival(1));
    ledger.handle_arrived(at(0), &arrival(1));
    assert_eq!(ledger.verdict().total().duplicates, 1);
    ledger.handle_sent(at(20), at(20), Via::Udp, &reading(2));
    assert_eq!(rows(&ledger), 1, "the first is folded");
    ledger.handle_arrived(at(0), &arrival(1));
    let total = ledger.verdict().total();
    assert_eq!((total.sent, total.arrived, total.duplicates), (2, 1, 2));
}

#[test]
fn wrong_value_is_told() {
    let mut ledger = ledger(100);
    ledger.handle_sent(at(0), at(0), Via::Udp, &reading(1));
    ledger.handle_arrived(at(0), &Arrival { value: number("21.51"), ..arrival(1) });
    let verdict = ledger.verdict();
    assert_eq!((verdict.total().wrong, verdict.total().arrived), (1, 1));
    assert!(!verdict.is_good());
}

#[test]
fn what_nobody_sent_is_unknown() {
    let mut ledger = ledger(100);
    ledger.handle_arrived(at(0), &arrival(1));
    ledger.handle_sent(at(0), at(0), Via::Udp, &reading(1));
    ledger.handle_arrived(at(0), &arrival(2));
    ledger.handle_arrived(at(0), &Arrival { mark: Mark::Time { millis: 5 }, ..arrival(1) });
    assert_eq!(ledger.verdict().unknown, 3);
    assert!(!ledger.verdict().is_good());
}

#[test]
fn readings_without_number_are_told_apart_by_time() {
    let mut ledger = ledger(100);
    let unnumbered = reading(1).map(|reading| Reading { epoch: None, sequence: None, ..reading });
    ledger.handle_sent(at(0), at(0), Via::Udp, &unnumbered);
    let mark = Mark::Time { millis: 1_795_214_340_123 };
    ledger.handle_arrived(at(0), &Arrival { mark, ..arrival(1) });
    assert!(ledger.verdict().is_good());
}

#[test]
fn memory_stays_flat_while_readings_arrive() {
    let mut ledger = ledger(1_000_000);
    for n in 0..1000 {
        ledger.handle_sent(at(n), at(n), Via::Tcp, &reading(n));
        ledger.handle_acknowledged(at(0), &reading(n));
        ledger.handle_arrived(at(0), &arrival(n));
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
        ledger.handle_sent(at(n * 100), at(n * 100), Via::Udp, &reading(n));
    }
    assert_eq!((rows(&ledger), ledger.ages.len()), (3, 3));
    assert_eq!(ledger.progress(at(500)).total().lost, 4);
    assert_eq!(ledger.verdict().total().lost, 5);
    for n in 3..=5 {
        ledger.handle_arrived(at(0), &arrival(n));
    }
    assert_eq!(ledger.verdict().total().lost, 2);
    assert!(ledger.is_settled(), "nothing is waited for that is forgotten");
}

#[tokio::test]
async fn waiting_for_the_end_wakes_when_the_last_one_is_there() {
    let ledger = SharedLedger::new(Limits::default(), Clock::start());
    ledger.settled().await;
    ledger.handle_sent(at(0), Via::Udp, &reading(1));
    let (settled, ()) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(5), ledger.settled()), async {
            ledger.handle_arrived(at(0), &arrival(1))
        },);
    assert!(settled.is_ok());
}

/// Remembers events as text.
#[derive(Clone, Debug, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Observer for Diary {
    fn observe(&mut self, event: &Event<'_>) {
        let Event { at, mark, due, what, .. } = event;
        let Mark::Sequence { sequence, .. } = mark else { panic!("{event:?}") };
        let seconds = |at: Instant| at.as_micros() / 1_000_000;
        let line = format!(
            "{} #{sequence} due {:?} {what:?}",
            seconds(*at),
            due.as_ref().map(|due| seconds(*due))
        );
        self.0.lock().unwrap().push(line);
    }
}

fn observed(story: impl FnOnce(&mut Ledger)) -> Vec<String> {
    let diary = Diary::default();
    let mut ledger = ledger(100);
    ledger.observe(Box::new(diary.clone()));
    story(&mut ledger);
    diary.0.lock().unwrap().clone()
}

#[test]
fn latency_counts_from_when_a_reading_was_meant_to_be_sent() {
    let lines = observed(|ledger| {
        ledger.handle_sent(at(7), at(2), Via::Udp, &reading(1));
        ledger.handle_arrived(at(9), &arrival(1));
        ledger.handle_arrived(at(10), &arrival(1));
    });
    assert_eq!(
        lines,
        [
            "7 #1 due Some(2) Sent { owed: true }",
            "9 #1 due Some(2) Arrived { latency: 7s, out_of_order: false }",
            "10 #1 due Some(2) Duplicate",
        ]
    );
}

#[test]
fn an_earlier_reading_that_comes_after_a_later_one_is_out_of_order() {
    let lines = observed(|ledger| {
        for n in 1..=3 {
            ledger.handle_sent(at(n), at(n), Via::Udp, &reading(n));
        }
        for n in [1, 3, 2] {
            ledger.handle_arrived(at(3), &arrival(n));
        }
    });
    assert!(lines[4].ends_with("out_of_order: false }"), "{lines:?}");
    assert_eq!(lines[5], "3 #2 due Some(2) Arrived { latency: 1s, out_of_order: true }");
}

#[test]
fn every_fate_of_a_reading_is_told() {
    let lines = observed(|ledger| {
        ledger.handle_unsent(at(0), at(0), &reading(1));
        for n in 2..=5 {
            ledger.handle_sent(at(1), at(1), Via::Tcp, &reading(n));
        }
        ledger.handle_refused(at(2), &reading(2));
        ledger.handle_unanswered(at(2), &reading(3));
        ledger.handle_injured(at(2), &reading(4));
        ledger.handle_acknowledged(at(2), &reading(5));
        ledger.handle_arrived(at(2), &arrival(9));
        let verdict = ledger.finish(at(3));
        assert_eq!((verdict.total().lost, verdict.unknown), (1, 1), "nobody owes the others");
        assert_eq!(ledger.verdict(), verdict);
        ledger.handle_arrived(at(4), &Arrival { value: number("1"), ..arrival(2) });
    });
    let fates: Vec<_> = lines.iter().map(|line| line.split(" due ").collect::<Vec<_>>()).collect();
    assert_eq!(fates[0], ["0 #1", "Some(0) Unsent"]);
    assert_eq!(fates[1], ["1 #2", "Some(1) Sent { owed: false }"]);
    assert_eq!(fates[5], ["2 #2", "Some(1) Refused"]);
    assert_eq!(fates[6], ["2 #3", "Some(1) Unanswered"]);
    assert_eq!(fates[7], ["2 #4", "Some(1) Injured"]);
    assert_eq!(fates[8], ["2 #5", "Some(1) Acknowledged"]);
    assert_eq!(fates[9], ["2 #9", "None Unknown"]);
    assert!(fates[10][0] == "3 #5" && fates[10][1].starts_with("Some(1) Lost"), "{fates:?}");
    assert_eq!(fates[11], ["4 #2", "None Duplicate"]);
}

#[test]
fn a_wrong_value_is_told_with_what_was_sent() {
    let lines = observed(|ledger| {
        ledger.handle_sent(at(0), at(0), Via::Udp, &reading(1));
        ledger.handle_arrived(at(1), &Arrival { value: number("21.51"), ..arrival(1) });
    });
    let (expected, got) = (number("21.50"), number("21.51"));
    let told =
        format!("1 #1 due Some(0) {:?}", What::WrongValue { expected: &expected, got: &got });
    assert_eq!(lines[2], told);
}

/// What a device that is asked answered, and what becomes of it: a value, and the number of its record.
fn answered(ledger: &mut Ledger, sequence: u64, value: &str) {
    let [reading] = reading(sequence);
    let reading = Reading { value: number(value), ..reading };
    ledger.handle_sent(at(0), at(0), Via::Modbus, &[reading]);
}

fn polled(record: u64, value: &str) -> Arrival {
    let mark = Mark::Time { millis: 1_795_214_340_000 + i64::try_from(record).unwrap() };
    Arrival { mark, value: number(value), number: Some(record), ..arrival(0) }
}

#[test]
fn answers_are_known_again_by_value_and_order() {
    let mut ledger = ledger(100);
    for (sequence, value) in [(1, "20"), (2, "21"), (3, "20"), (4, "22")] {
        answered(&mut ledger, sequence, value);
    }
    // The second is lost; the first comes twice, before and after the others.
    for (record, value) in [(10, "20"), (10, "20"), (12, "20"), (13, "22"), (10, "20")] {
        ledger.handle_arrived(at(1), &polled(record, value));
    }
    let verdict = ledger.finish(at(2));
    let tally = verdict.total();
    assert_eq!((tally.sent, tally.arrived, tally.lost), (4, 3, 1), "{verdict:?}");
    assert_eq!((tally.duplicates, tally.wrong, verdict.unknown), (2, 0, 0));
}

#[test]
fn a_value_that_nobody_answered_is_unknown_and_the_right_one_lost() {
    let mut ledger = ledger(100);
    answered(&mut ledger, 1, "20");
    ledger.handle_arrived(at(1), &polled(10, "20.5"));
    let verdict = ledger.finish(at(2));
    assert_eq!((verdict.total().lost, verdict.unknown), (1, 1));
}

#[test]
fn a_copy_of_an_answer_that_was_forgotten_is_a_duplicate() {
    let mut ledger = ledger(100);
    answered(&mut ledger, 1, "20");
    ledger.handle_arrived(at(1), &polled(10, "20"));
    let late = at(1) + GRACE + GRACE;
    let [next] = reading(2);
    ledger.handle_sent(late, late, Via::Modbus, &[Reading { value: number("20"), ..next }]);
    assert_eq!(rows(&ledger), 1, "the first is folded");
    ledger.handle_arrived(late, &polled(10, "20"));
    ledger.handle_arrived(late, &polled(11, "20"));
    let tally = ledger.finish(late).total();
    assert_eq!((tally.arrived, tally.duplicates, tally.lost), (2, 1, 0));
}
