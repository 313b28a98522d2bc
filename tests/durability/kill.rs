//! `kill -9` of the gateway.

use std::time::Duration;

use proto::Rng;
use proto::coap::Code;

use crate::fleet::{Site, check, keep_on, repetitions, run_fleet, wait_until_delivered};
use crate::harness::clock::{PATIENCE, wait_until};
use crate::harness::coap::request;
use crate::harness::sim::Recorder;

#[test]
fn acknowledged_readings_survive_kill_9() {
    const KILLS: u64 = 30;
    const WINDOW: u64 = 50;
    const SEED: u64 = 1;
    let broker = Recorder::start();
    let mut site = Site::start(&broker.url(), &format!("window = {WINDOW}"));
    let mut rng = Rng::new(SEED);
    let ledgers = run_fleet(&mut site, |gateway, load| {
        for _ in 0..KILLS {
            // From before the gateway listens to when it is well under way.
            keep_on(Duration::from_millis(rng.below(800)));
            gateway.kill();
            gateway.launch();
            // Now and then it gets a little further.
            if rng.below(3) == 0 {
                load.wait_for_more(50);
            }
        }
        gateway.wait_until_up();
        load.wait_for_more(50);
    });
    wait_until_delivered(&site.gateway);

    let arrived = broker.readings();
    check(&arrived, &ledgers);
    let repetitions = repetitions(&arrived);
    assert!(repetitions.len() as u64 <= KILLS, "{repetitions:?}");
    assert!(repetitions.iter().all(|&count| count <= WINDOW), "{repetitions:?}");
    let retransmitted: u64 = ledgers.iter().map(|ledger| ledger.retransmitted).sum();
    assert!(retransmitted >= 5, "only {retransmitted} messages outlived a kill");
}

#[test]
fn a_retransmission_across_a_kill_is_answered_and_not_stored_again() {
    const MESSAGES: u16 = 20;
    let broker = Recorder::start();
    let mut site = Site::start(&broker.url(), "");
    let node = site.node();
    let ask = |message_id: u16| {
        let pack =
            format!("[{{\"bn\":\"d/\",\"n\":\"a\",\"v\":{message_id}}},{{\"n\":\"b\",\"v\":1}}]");
        let token = message_id.to_le_bytes();
        node.send(&request(message_id, &token, "r", Some(110), pack.as_bytes()));
        node.receive(PATIENCE).expect("an answer")
    };
    let answers: Vec<_> = (0..MESSAGES).map(ask).collect();
    for (answer, id) in answers.iter().zip(0_u16..) {
        let [high, low] = id.to_be_bytes();
        let [token_low, token_high] = id.to_le_bytes();
        assert_eq!(*answer, [0x62, 0x44, high, low, token_low, token_high], "2.04, piggybacked");
    }
    for _ in 0..2 {
        site.gateway.kill();
        site.gateway.launch();
        site.gateway.wait_until_up();
        assert_eq!((0..MESSAGES).map(ask).collect::<Vec<_>>(), answers);
        assert_eq!(site.gateway.count("/store/next"), 1 + 2 * u64::from(MESSAGES));
    }
    // Another message is a new one.
    ask(MESSAGES);
    assert_eq!(site.gateway.count("/store/next"), 3 + 2 * u64::from(MESSAGES));
}

#[test]
fn the_last_block_of_a_pack_is_recognised_across_a_kill() {
    // RFC 7959 §2.3, RFC 7252 §4.5
    let broker = Recorder::start();
    let mut site = Site::start(&broker.url(), "");
    let node = site.node();
    let ask = |message_id: u8, block1: u8, payload: &[u8]| {
        // POST with Uri-Path r (11), Content-Format 110 (12) and Block1 (27 = 12 + 13 + 2).
        let head = [0x41, 2, 0, message_id, 7, 0xb1, b'r', 0x11, 110, 0xd1, 2, block1, 0xff];
        node.send(&[&head, payload].concat());
        let answer = node.receive(PATIENCE).expect("an answer");
        assert_eq!(answer[2..4], [0, message_id], "{answer:02x?}");
        Code::from_byte(answer[1])
    };
    const MORE: u8 = 0x08;
    const LAST: u8 = 0x10;
    let (first, last) = br#"[{"bn":"d/","n":"a","v":1}]"#.split_at(16);
    assert_eq!(ask(1, MORE, first), Code::CONTINUE);
    assert_eq!(ask(2, LAST, last), Code::CHANGED);
    for _ in 0..2 {
        assert_eq!(ask(2, LAST, last), Code::CHANGED);
        assert_eq!(site.gateway.count("/store/next"), 2);
        site.gateway.kill();
        site.gateway.launch();
        site.gateway.wait_until_up();
    }
    assert_eq!(ask(3, LAST, last), Code::REQUEST_ENTITY_INCOMPLETE, "as another message");
}

#[test]
fn a_kill_repeats_no_more_than_the_window() {
    const KILLS: u64 = 5;
    const WINDOW: u64 = 20;
    const READINGS: u64 = 4000;
    let broker = Recorder::start();
    broker.down();
    let mut site = Site::start(&broker.url(), &format!("window = {WINDOW}"));
    // A backlog, so that no commit of new readings saves how far the broker is.
    site.store(READINGS);
    broker.up();
    for kill in 1..=KILLS {
        let goal = kill * READINGS / (KILLS + 1);
        let arrived = || broker.readings().last().is_some_and(|reading| reading.n >= goal);
        wait_until("a part of the backlog", arrived);
        site.gateway.kill();
        site.gateway.launch();
    }
    site.gateway.wait_until_up();
    wait_until_delivered(&site.gateway);
    let arrived = broker.readings();
    let mut numbers: Vec<u64> = arrived.iter().map(|reading| reading.n).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=READINGS).collect::<Vec<_>>());
    let repetitions = repetitions(&arrived);
    assert!(repetitions.iter().all(|&count| count <= WINDOW), "{repetitions:?}");
}
