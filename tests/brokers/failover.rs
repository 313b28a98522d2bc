//! A broker with several addresses.

use std::collections::BTreeSet;

use crate::config;
use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::{Mosquitto, Subscriber, table_of};
use crate::harness::temp::port;
use crate::traffic::traffic;

fn urls(brokers: &[&Mosquitto]) -> String {
    let urls: Vec<_> = brokers.iter().map(|broker| format!("\"{}\"", broker.url())).collect();
    format!("[{}]", urls.join(", "))
}

fn values(subscriber: &Subscriber) -> BTreeSet<u64> {
    subscriber.at("r/d/v").iter().map(|message| message.text().parse().unwrap()).collect()
}

#[test]
fn everything_acknowledged_arrives_at_one_of_the_brokers_when_the_one_in_use_is_killed() {
    const BEFORE: u64 = 300;
    const AFTER: u64 = 300;
    let (mut one, other) = (Mosquitto::start(), Mosquitto::start());
    let seen = [one.subscribe("r/#"), other.subscribe("r/#")];
    let gateway = Gateway::start(&config(&table_of("b", &urls(&[&one, &other]))));
    let acknowledged = traffic(&gateway, || {
        wait_until("traffic", || values(&seen[0]).len() as u64 >= BEFORE);
        assert_eq!(gateway.status()["brokers"]["b"]["url"], one.url());
        one.kill();
        wait_until("traffic elsewhere", || values(&seen[1]).len() as u64 >= AFTER);
    });
    let all: BTreeSet<u64> = (0..acknowledged).collect();
    wait_until("nothing to wait", || gateway.count("/store/pending/b") == 0);
    let arrived = || &values(&seen[0]) | &values(&seen[1]);
    wait_until("every reading", || arrived() == all);
    assert_eq!(gateway.status()["brokers"]["b"]["url"], other.url());
}

#[test]
fn a_dead_address_is_passed_over_at_once_and_after_a_pause_all_are_tried_again() {
    let dead = format!("\"mqtt://127.0.0.1:{}\"", port());
    let (door, lines) = (port(), "allow_anonymous false");
    let live = format!("\"mqtt://127.0.0.1:{door}\"");
    let broker = table_of("b", &format!("[{dead}, {live}]"));
    let gateway = Gateway::start(&config(&broker));
    gateway.wait_for_count("/brokers/b/disconnects/connect/count", 4);
    let retries: Vec<String> = gateway
        .log_entries()
        .iter()
        .filter_map(|entry| entry["fields"]["retry_in"].as_str().map(str::to_owned))
        .collect();
    let at_once: Vec<bool> = retries.iter().map(|pause| pause == "0ns").take(4).collect();
    assert_eq!(at_once, [true, false, true, false], "{retries:?}");
    let mosquitto = Mosquitto::start_at(door, lines, &[]);
    wait_until("a connection", || gateway.status()["brokers"]["b"]["connected"] == true);
    assert_eq!(gateway.status()["brokers"]["b"]["url"], format!("mqtt://127.0.0.1:{door}"));
    drop(mosquitto);
}
