//! MQTT 5 and quality of service 2 with Mosquitto: properties, limits, and exactly once.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use proto::Rng;
use serde_json::Value;

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::mosquitto::{Message, Mosquitto, Subscriber};
use crate::harness::process::run;
use crate::harness::sim::Detour;

/// Two sources of JSON lines that reply: one of values, one where the device says everything.
const SOURCES: &str = r#"
[sources.values]
link = { type = "tcp", bind = "127.0.0.1:0", reply = true }
decode = { type = "json", device = "device" }
[sources.whole]
link = { type = "tcp", bind = "127.0.0.1:0", reply = true }
decode = { type = "json", device = "device", value = "t", time = "time", epoch = "epoch", seq = "seq" }
"#;

fn gateway(broker: &str, routes: &str) -> Gateway {
    Gateway::start(&format!("{SOURCES}{broker}{routes}"))
}

/// Hands in readings, one after the other, and waits until each is on disk.
fn send(gateway: &Gateway, source: &str, lines: impl IntoIterator<Item = String>) {
    let mut client = LineClient::connect(gateway.address(source)).unwrap();
    for line in lines {
        assert_eq!(client.ask(&line).unwrap(), "ok");
    }
}

fn reading(device: &str, value: impl Display) -> String {
    format!(r#"{{"device":"{device}","t":{value}}}"#)
}

fn whole(device: &str, time: &str) -> String {
    format!(r#"{{"device":"{device}","t":21.5,"time":"{time}","epoch":3,"seq":12}}"#)
}

/// The current second, as a device would say it.
fn now() -> String {
    let date = run(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]));
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

#[test]
fn properties_say_what_a_message_is() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe_with("p/#", &["-V", "5", "-q", "1"]);
    let routes = ["json", "senml+json", "senml+cbor", "value"].map(|form| {
        let id = form.replace('+', "-");
        format!(
            "[routes.{id}]\ntopic = \"p/{id}/{{device}}\"\npayload = \"{form}\"\n\
             expiry = \"1h\"\nresponse_topic = \"answers/{{device}}/{{name}}\"\n"
        )
    });
    let broker = mosquitto.table("local") + "protocol = \"5\"\n";
    let gateway = gateway(&broker, &routes.concat());
    send(&gateway, "whole", [whole("th/1", &now())]);
    send(&gateway, "values", [reading("th-2", true)]);
    for (form, content_type, is_text) in [
        ("json", "application/json", "1"),
        ("senml-json", "application/senml+json", "1"),
        ("senml-cbor", "application/senml+cbor", ""),
        ("value", "text/plain", "1"),
    ] {
        let Message { properties, .. } = all.first(&format!("p/{form}/th%2F1"));
        let [content, format, expiry, response, user] = &properties;
        assert_eq!((&**content, &**format), (content_type, is_text), "{form}");
        assert_eq!(response, "answers/th%2F1/t");
        assert_eq!(user, "n:1 device:th/1 epoch:3 seq:12");
        // Mosquitto takes off what it has waited there.
        assert!((3590..=3600).contains(&expiry.parse::<u32>().unwrap()), "{expiry}");
        let [.., user] = all.first(&format!("p/{form}/th-2")).properties;
        assert_eq!(user, "n:2 device:th-2");
    }
}

#[test]
fn user_properties_can_be_left_off() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe_with("p/#", &["-V", "5", "-q", "1"]);
    let broker = mosquitto.table("local") + "protocol = \"5\"\nuser_properties = false\n";
    let gateway = gateway(&broker, "[routes.all]\ntopic = \"p/{device}\"\n");
    send(&gateway, "values", [reading("d", 1)]);
    let properties = all.first("p/d").properties;
    assert_eq!(properties, ["application/json", "1", "", "", ""].map(str::to_owned));
}

#[test]
fn a_reading_that_is_too_old_is_counted_and_not_published() {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("e/#");
    let gateway = gateway(
        &mosquitto.table("local"),
        "[routes.fresh]\ntopic = \"e/fresh/{device}\"\nexpiry = \"1h\"\n\
         [routes.all]\ntopic = \"e/all/{device}\"\n",
    );
    send(&gateway, "whole", [whole("old", "2020-01-01T00:00:00Z")]);
    send(&gateway, "values", [reading("new", 2)]);
    // The order is kept, so that nothing can come after this one.
    all.first("e/all/new");
    all.first("e/fresh/new");
    assert_eq!(all.at("e/all/old").len(), 1);
    assert!(all.at("e/fresh/old").is_empty());
    let status = gateway.status();
    let expired = &status["brokers"]["local"]["refused"]["expired"];
    assert_eq!(expired["count"], 1, "{status}");
    assert_eq!(expired["last"], "fresh: old t, n 1: too old to be published");
    wait_until("nothing to wait", || gateway.status()["store"]["pending"]["local"] == 0);
}

#[test]
fn a_broker_that_can_less_gets_less() {
    let limits = "max_qos 1\nmax_packet_size 400\nmax_topic_alias 1\nmax_keepalive 10\n";
    let mosquitto = Mosquitto::start_keeping(limits);
    let all = mosquitto.subscribe_with("l/#", &["-V", "5", "-q", "1"]);
    let broker = mosquitto.table("local") + "protocol = \"5\"\n";
    let gateway = gateway(&broker, "[routes.all]\ntopic = \"l/{device}\"\nqos = 2\n");
    let long = "x".repeat(200);
    send(&gateway, "values", ["a", &long, "a", "a"].map(|device| reading(device, 1)));
    wait_until("three messages", || all.at("l/a").len() == 3);
    assert!(all.at("l/a").iter().all(|message| message.qos == 1));
    assert!(all.at(&format!("l/{long}")).is_empty());
    gateway.wait_for_count("/brokers/local/refused/packet_too_large/count", 1);
    let status = gateway.status();
    let broker = &status["brokers"]["local"];
    assert_eq!(broker["refused"]["packet_too_large"]["count"], 1, "{status}");
    assert_eq!(broker["connections"], 1, "{status}");
    let log = gateway.log_entries();
    let is_told = |entry: &&Value| {
        let message = entry["fields"]["message"].as_str().unwrap_or_default();
        entry["level"] == "INFO" && message.contains("lower quality of service")
    };
    assert_eq!(log.iter().filter(is_told).count(), 1);
}

#[test]
fn a_broker_that_does_not_speak_mqtt_5_is_told_with_a_way_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // MQTT 3.1.1 §3.1.2.2: return code 1. It ends with its first client.
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.read_exact(&mut [0; 10]).unwrap();
        client.write_all(&[0x20, 2, 0, 1]).unwrap();
    });
    let broker = format!("[brokers.old]\nurl = \"mqtt://{address}\"\nprotocol = \"5\"\n");
    let gateway = gateway(&broker, "[routes.all]\n");
    gateway.wait_for_count("/brokers/old/disconnects/refused/count", 1);
    server.join().unwrap();
    let last = gateway.status()["brokers"]["old"]["disconnects"]["refused"]["last"].clone();
    assert!(last.as_str().unwrap().contains("protocol = \"3.1.1\""), "{last}");
}

/// How often each reading arrived, by its number.
fn arrivals(subscriber: &Subscriber, filter: &str) -> BTreeMap<u64, u32> {
    let mut counts = BTreeMap::new();
    for message in subscriber.all().iter().filter(|message| message.topic.starts_with(filter)) {
        assert_eq!(message.qos, 2, "{message:?}");
        *counts.entry(message.json()["n"].as_u64().unwrap()).or_default() += 1;
    }
    counts
}

/// Sends readings while something goes wrong, until that says it is enough; how many.
fn send_while(gateway: &Gateway, mut goes_wrong: impl FnMut() -> bool) -> u64 {
    let mut sent = 0;
    while goes_wrong() {
        send(gateway, "values", (0..80).map(|n| reading("d", n)));
        sent += 80;
    }
    sent
}

fn assert_exactly_once(gateway: &Gateway, subscriber: &Subscriber, sent: u64) {
    wait_until("nothing to wait", || gateway.status()["store"]["pending"]["local"] == 0);
    wait_until("every reading", || arrivals(subscriber, "x/").len() as u64 >= sent);
    let arrived = arrivals(subscriber, "x/");
    assert!(arrived.keys().copied().eq(1..=sent), "none is missing");
    let twice: Vec<_> = arrived.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

fn exactly_once_over_cuts(protocol: &str, seed: u64) {
    const CUTS: u64 = 20;
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe_with("x/#", &["-q", "2"]);
    let detour = Detour::start(mosquitto.address());
    let table = mosquitto.table_at("local", detour.address());
    let broker = format!("{table}protocol = \"{protocol}\"\n");
    let gateway = gateway(&broker, "[routes.all]\ntopic = \"x/{device}\"\nqos = 2\n");
    let mut rng = Rng::new(seed);
    let mut cuts = 0;
    let sent = send_while(&gateway, || {
        wait_until("the cut", || detour.cuts() == cuts);
        cuts += 1;
        // From within the CONNECT to within the last PUBREL: what is sent meanwhile goes out at once,
        // so that the cut falls into exchanges at every step.
        detour.cut_after_bytes(1 + rng.below(8000));
        cuts <= CUTS
    });
    assert_exactly_once(&gateway, &all, sent);
    let disconnects = gateway.status()["brokers"]["local"]["disconnects"].clone();
    assert!(disconnects.get("protocol").is_none(), "{disconnects}");
}

#[test]
fn mqtt_3_1_1_delivers_exactly_once_over_cuts() {
    exactly_once_over_cuts("3.1.1", 3);
}

#[test]
fn mqtt_5_delivers_exactly_once_over_cuts() {
    exactly_once_over_cuts("5", 5);
}

fn exactly_once_over_restarts(protocol: &str) {
    const RESTARTS: usize = 3;
    let mut mosquitto = Mosquitto::start_keeping("persistence true\n");
    // Mosquitto keeps the readings for this one until it comes back, so that the restarts fall into
    // no exchange but those of the gateway.
    let subscribe =
        |mosquitto: &Mosquitto| mosquitto.subscribe_with("x/#", &["-q", "2", "-i", "all", "-c"]);
    drop(subscribe(&mosquitto));
    let broker = format!("{}protocol = \"{protocol}\"\n", mosquitto.table("local"));
    let gateway = gateway(&broker, "[routes.all]\ntopic = \"x/{device}\"\nqos = 2\n");
    let mut restarts = 0;
    wait_until("a session", || session_starts(&gateway).len() == 1);
    let sent = send_while(&gateway, || {
        if restarts > 0 {
            mosquitto.restart();
            wait_until("the next session", || session_starts(&gateway).len() > restarts);
        }
        restarts += 1;
        restarts <= RESTARTS + 1
    });
    wait_until("nothing to wait", || gateway.status()["store"]["pending"]["local"] == 0);
    let subscriber = subscribe(&mosquitto);
    assert_exactly_once(&gateway, &subscriber, sent);
    let starts = session_starts(&gateway);
    assert!(!starts[0] && starts[1..].iter().all(|resumed| *resumed), "{starts:?}");
}

/// Whether the session was resumed, of each connection that took readings.
fn session_starts(gateway: &Gateway) -> Vec<bool> {
    let log = gateway.log_entries();
    let resumed = log.iter().map(|entry| &entry["fields"]["resumed"]);
    resumed.filter_map(Value::as_bool).collect()
}

#[test]
fn mqtt_3_1_1_delivers_exactly_once_over_restarts_of_the_broker() {
    exactly_once_over_restarts("3.1.1");
}

#[test]
fn mqtt_5_delivers_exactly_once_over_restarts_of_the_broker() {
    exactly_once_over_restarts("5");
}
