//! A broker that misbehaves in every way that the recording one knows: nothing acknowledged is lost,
//! and what repeats can be told by its number.

use std::collections::BTreeSet;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use device_sim::broker::{CutAfter, Faults, Matching, Reason, Which};

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::sim::Recorder;
use crate::traffic::traffic;

/// A gateway with one source of lines and this broker, which gets whole readings.
fn gateway(broker: &Recorder, [keys, route]: Keys) -> Gateway {
    Gateway::start(&format!(
        "[sources.lines]\nlink = {{ type = \"tcp\", bind = \"127.0.0.1:0\", reply = true }}\n\
         decode = {{ type = \"json\", device = \"device\" }}\n\
         [brokers.b]\nurl = \"{}\"\nmax_backoff = \"1s\"\nack_timeout = \"1s\"\nwindow = 20\n{keys}\n\
         [routes.all]\n{route}\n",
        broker.url()
    ))
}

/// Readings go on while the broker has the fault, and after it; `until` tells when it has shown.
fn survives(
    keys: Keys,
    break_it: impl FnOnce(&Faults),
    until: impl Fn(&Recorder, &Gateway) -> bool,
) {
    let broker = Recorder::start();
    let gateway = gateway(&broker, keys);
    gateway.wait_for_count("/brokers/b/connections", 1);
    let readings = traffic(&gateway, || {
        wait_until("readings at the broker", || broker.readings().len() >= 20);
        break_it(broker.faults());
        // What is announced holds for new connections.
        broker.faults().cut_all();
        wait_until("the fault to show", || until(&broker, &gateway));
        broker.faults().clear();
        let before = broker.readings().len();
        wait_until("more readings", || broker.readings().len() >= before + 20);
    });
    wait_until("the broker to have everything", || gateway.count("/store/pending/b") == 0);
    let arrived: BTreeSet<u64> =
        broker.readings().iter().filter_map(|reading| reading.value.as_u64()).collect();
    assert_eq!(arrived, (0..readings).collect());
    let mut values = std::collections::BTreeMap::new();
    for reading in broker.readings() {
        let value = values.entry(reading.n).or_insert_with(|| reading.value.clone());
        assert_eq!(*value, reading.value, "one number, one reading");
    }
}

/// Whether so many connections have ended for this reason.
fn ended(reason: &'static str, count: u64) -> impl Fn(&Recorder, &Gateway) -> bool {
    move |_, gateway| gateway.count(&format!("/brokers/b/disconnects/{reason}/count")) >= count
}

/// Keys of the broker and of the route.
type Keys = [&'static str; 2];

const V4: Keys = ["", ""];
const V5: Keys = ["protocol = \"5\"", ""];
const V5_EXACTLY_ONCE: Keys = ["protocol = \"5\"", "qos = 2"];

#[test]
fn refused_connections() {
    survives(V4, |f| f.refuse(Some(Reason::NotAuthorized)), ended("refused", 2));
    survives(V5, |f| f.refuse(Some(Reason::ServerBusy)), ended("refused", 2));
}

#[test]
fn silence_after_connect() {
    survives(V4, |f| f.silence(true), ended("silent", 1));
}

#[test]
fn dropped_acknowledgements() {
    survives(V4, |f| f.drop_pubacks(Which::EveryNth(7)), ended("unacknowledged", 1));
    survives(V4, |f| f.drop_pubacks(Which::All), ended("unacknowledged", 1));
}

#[test]
fn acknowledgements_out_of_order_and_late() {
    let reorder = |f: &Faults| {
        f.reorder_pubacks(7);
        f.delay_pubacks(Duration::from_millis(20));
    };
    survives(V4, reorder, |broker, _| broker.readings().len() >= 200);
}

#[test]
fn doubled_and_stray_acknowledgements() {
    survives(V4, |f| f.duplicate_pubacks(Which::EveryNth(5)), ended("protocol", 1));
    survives(V5, |f| f.stray_pubacks(Which::EveryNth(5)), ended("protocol", 1));
}

#[test]
fn cuts_in_the_middle_of_a_packet() {
    let cuts = |broker: &Recorder, _: &Gateway| broker.counts().connects >= 6;
    survives(V4, |f| f.cut_each(CutAfter::Bytes(777)), cuts);
    survives(V5, |f| f.cut_each(CutAfter::SentBytes(33)), cuts);
}

#[test]
fn a_receive_maximum_of_one() {
    let one = |f: &Faults| f.announce(|limits| limits.receive_maximum = NonZeroU16::new(1));
    survives(V5, one, |broker, _| broker.counts().connects >= 2 && broker.readings().len() >= 100);
}

#[test]
fn lost_sessions_and_lost_steps_of_quality_of_service_2() {
    let lose = |f: &Faults| {
        f.lose_sessions(true);
        f.cut_each(CutAfter::Packets(40));
    };
    survives(V5_EXACTLY_ONCE, lose, |broker, _| broker.counts().connects >= 5);
    let steps = |f: &Faults| {
        f.drop_pubrecs(Which::EveryNth(9));
        f.drop_pubcomps(Which::EveryNth(11));
    };
    survives(V5_EXACTLY_ONCE, steps, ended("unacknowledged", 1));
}

#[test]
fn a_farewell_with_a_reason() {
    let farewell = |f: &Faults| f.disconnect_each(Reason::QuotaExceeded, 30);
    survives(V5, farewell, ended("disconnected", 2));
}

#[test]
fn passing_refusals_of_publishes_are_tried_again() {
    let busy = |f: &Faults| f.reject(Some((Reason::QuotaExceeded, Matching::all().every(5))));
    survives(V5, busy, |broker, _| broker.counts().rejected >= 3);
}

#[test]
fn a_limit_below_the_size_of_a_reading_leaves_dead_letters_that_can_be_sent_later() {
    let broker = Recorder::start();
    broker.faults().announce(|limits| limits.maximum_packet_size = NonZeroU32::new(60));
    let gateway = gateway(&broker, V5);
    let readings = traffic(&gateway, || gateway.wait_for_count("/store/dead/b", 10));
    gateway.wait_for_count("/store/dead/b", readings);
    assert!(broker.readings().is_empty());
    broker.faults().clear();
    broker.faults().cut_all();
    gateway.wait_for_count("/brokers/b/connections", 2);
    let output =
        gateway.command("dead-letters").args(["resend", "--all", "--json"]).output().unwrap();
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(outcome["acknowledged"], readings, "{outcome}");
    let arrived: BTreeSet<u64> =
        broker.readings().iter().filter_map(|reading| reading.value.as_u64()).collect();
    assert_eq!(arrived, (0..readings).collect());
    assert_eq!(gateway.count("/store/dead/b"), 0);
}
