//! The broker goes away, the connection breaks, acknowledgements are lost.

use std::time::Duration;

use device_sim::broker::Which;
use proto::Rng;

use crate::fleet::{Site, check, keep_on, repetitions, run_fleet, wait_until_delivered};
use crate::harness::clock::wait_until;
use crate::harness::sim::Recorder;

#[test]
fn nothing_is_lost_while_the_broker_is_gone() {
    let broker = Recorder::start();
    let mut site = Site::start(&broker.url(), "");
    let ledgers = run_fleet(&mut site, |gateway, load| {
        load.wait_for_more(200);
        broker.down();
        keep_on(Duration::from_secs(10));
        assert!(gateway.count("/store/pending/sim") >= 100, "readings were taken meanwhile");
        let oldest = gateway.count("/brokers/sim/oldest_seconds");
        assert!((9..60).contains(&oldest), "the oldest waits {oldest} s");
        broker.up();
        load.wait_for_more(200);
    });
    wait_until_delivered(&site.gateway);
    let arrived = broker.readings();
    check(&arrived, &ledgers);
}

#[test]
fn nothing_is_lost_when_the_connection_is_cut_fifty_times() {
    const CUTS: u64 = 50;
    const SEED: u64 = 2;
    const WINDOW: u64 = 100;
    let broker = Recorder::start();
    let proxy = broker.proxy();
    let url = format!("mqtt://{}", proxy.address());
    let mut site = Site::start(&url, &format!("window = {WINDOW}"));
    let mut rng = Rng::new(SEED);
    let ledgers = run_fleet(&mut site, |_, load| {
        while proxy.cuts() < CUTS {
            let cuts = proxy.cuts();
            let is_reset = rng.below(5) == 0;
            if is_reset {
                let publishes = broker.counts().publishes;
                wait_until("publishes", || broker.counts().publishes > publishes + 20);
            } else {
                // From within the CONNECT to within a publish.
                proxy.cut_after_bytes(1 + rng.below(5_000));
            }
            wait_until("the cut", || {
                if is_reset {
                    proxy.cut_all();
                }
                proxy.cuts() > cuts
            });
        }
        load.wait_for_more(50);
    });
    wait_until_delivered(&site.gateway);
    let arrived = broker.readings();
    check(&arrived, &ledgers);
    let repetitions = repetitions(&arrived);
    assert!(!repetitions.is_empty(), "no cut lost an acknowledgement");
    assert!(repetitions.iter().all(|&count| count <= WINDOW), "{repetitions:?}");
}

#[test]
fn nothing_is_lost_when_acknowledgements_are_dropped_reordered_and_late() {
    let broker = Recorder::start();
    let mut site = Site::start(&broker.url(), "ack_timeout = \"1s\"");
    let ledgers = run_fleet(&mut site, |_, load| {
        let faults = broker.faults();
        faults.reorder_pubacks(7);
        faults.delay_pubacks(Duration::from_millis(30));
        load.wait_for_more(500);
        faults.drop_pubacks(Which::EveryNth(150));
        wait_until("dropped acknowledgements", || broker.counts().pubacks_dropped >= 4);
        faults.drop_pubacks(Which::All);
        let connects = broker.counts().connects;
        wait_until("two more connections", || broker.counts().connects >= connects + 2);
        faults.clear();
        load.wait_for_more(50);
    });
    wait_until_delivered(&site.gateway);
    let arrived = broker.readings();
    check(&arrived, &ledgers);
    assert!(arrived.iter().any(|reading| reading.dup), "something was sent again");
    let disconnects = &site.gateway.status()["brokers"]["sim"]["disconnects"];
    assert!(disconnects["unacknowledged"]["count"].as_u64() >= Some(4), "{disconnects}");
    assert_eq!(disconnects.as_object().map(|reasons| reasons.len()), Some(1), "{disconnects}");
}
