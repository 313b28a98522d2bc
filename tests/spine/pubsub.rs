//! Topics of a broker as CoAP resources: libcoap, aiocoap and raw nodes on one side, Mosquitto's
//! clients on the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proto::coap::{Message, MessageType};

use crate::coap::{Answer, aiocoap, libcoap, libcoap_answer};
use crate::harness::clock::{PATIENCE, wait_until};
use crate::harness::coap::{Node, acknowledgement};
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::{Lines, Running, any_program};
use crate::harness::sim::Recorder;

/// What clients may do in these tests.
const PS: &str =
    "ps = { broker = \"local\", publish = [\"site/+/set\", \"log/#\"], subscribe = [\"site/#\"] }";

/// A gateway at this broker, whose clients may do this.
fn config(broker: &str, ps: &str) -> String {
    format!(
        "[sources.nodes]\nlink = {{ type = \"coap\", bind = [\"127.0.0.1:0\"], \
         tcp = [\"127.0.0.1:0\"], amplification = 1000, {ps} }}\n{broker}[routes.all]\n"
    )
}

fn gateway(mosquitto: &Mosquitto) -> Gateway {
    let gateway = Gateway::start(&config(&mosquitto.table("local"), PS));
    wait_until_subscribing(&gateway);
    gateway
}

fn gateway_v5(mosquitto: &Mosquitto) -> Gateway {
    let broker = mosquitto.table("local") + "protocol = \"5\"\n";
    let gateway = Gateway::start(&config(&broker, PS));
    wait_until_subscribing(&gateway);
    gateway
}

fn wait_until_subscribing(gateway: &Gateway) {
    wait_until("the connection that subscribes", || {
        gateway.status()["brokers"]["local"]["subscriber"]["connected"] == true
    });
}

fn get(gateway: SocketAddr, path: &str) -> Answer {
    libcoap(gateway, path, &["-m", "get"])
}

/// The payload that libcoap's client shows.
fn shows(answer: &Answer, payload: &str) -> bool {
    answer.code == "2.05" && answer.text.lines().any(|line| line.ends_with(payload))
}

#[test]
fn a_topic_is_observed_by_libcoap_and_aiocoap() {
    let mosquitto = Mosquitto::start();
    mosquitto.publish("site/a/state", "v0", &["-r"]);
    let gateway = gateway(&mosquitto);
    let uri = format!("coap://{}/ps/site/a/state", gateway.address("nodes"));
    let [libcoap, aio] = [Lines::default(), Lines::default()];
    let mut command = any_program(&["coap-client-notls", "coap-client"], "libcoap3-bin");
    let _libcoap = Running::start_reading(command.args(["-s", "60", "-w", &uri]), &libcoap);
    let mut aiocoap = Running::start_reading(aiocoap("get.py").args([&uri, "6"]), &aio);
    for value in 0..6 {
        if value > 0 {
            mosquitto.publish("site/a/state", &format!("v{value}"), &[]);
        }
        let what = format!("v{value} at both: {} {}", libcoap.text(), aio.text());
        wait_until(&what, || {
            libcoap.text().contains(&format!("v{value}"))
                && aio.text().contains(&format!("2.05 v{value}"))
        });
    }
    assert!(aiocoap.wait().success(), "{}", aio.text());
    // Who observes the same at the same address is one of them.
    assert_eq!(gateway.count("/brokers/local/subscriber/topics"), 1);
}

#[test]
fn what_is_put_is_retained_and_what_is_posted_is_not() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway_v5(&mosquitto);
    let address = gateway.address("nodes");
    let all = mosquitto.subscribe_with("#", &["-q", "1", "-V", "5"]);
    let json = ["-m", "put", "-t", "50", "-e", r#"{"on":true}"#];
    assert_eq!(libcoap(address, "ps/site/a/set", &json).code, "2.04");
    assert_eq!(libcoap(address, "ps/log/b", &["-m", "post", "-e", "once"]).code, "2.04");
    let put = all.first("site/a/set");
    assert_eq!(
        (put.text(), put.qos, &*put.properties[0]),
        (r#"{"on":true}"#, 1, "application/json")
    );
    assert_eq!(all.first("log/b").text(), "once");
    let later = mosquitto.subscribe("#");
    assert!(later.payload("site/a/set", br#"{"on":true}"#).retained);
    assert!(later.at("log/b").is_empty());
    // Back through the broker, with its type.
    let answer = get(address, "ps/site/a/set");
    assert!(shows(&answer, r#"{"on":true}"#), "{}", answer.text);
    assert!(answer.text.contains("Content-Format:application/json"), "{}", answer.text);
    assert_eq!(libcoap(address, "ps/site/a/set", &["-m", "get", "-A", "50"]).code, "2.05");
    assert_eq!(libcoap(address, "ps/site/a/set", &["-m", "get", "-A", "60"]).code, "4.06");
    let over_tcp = format!("coap+tcp://{}/ps/site/a/set", gateway.tcp_address("nodes"));
    assert!(shows(&libcoap_answer(&over_tcp, &["-m", "get"]), r#"{"on":true}"#));
    // It is among the links as long as it is known.
    let links = get(address, ".well-known/core?rt=core.ps.data").text;
    assert!(links.contains("</ps/site/a/set>;rt=\"core.ps.data\";obs"), "{links}");
    assert!(get(address, ".well-known/core?rt=core.ps").text.contains("</ps>"));
    // An empty one takes it away (MQTT 5 §3.3.1.3).
    assert_eq!(libcoap(address, "ps/site/a/set", &["-m", "put"]).code, "2.04");
    all.payload("site/a/set", b"");
    assert!(mosquitto.subscribe("site/#").at("site/a/set").is_empty());
}

#[test]
fn a_topic_without_a_state_is_not_found() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto);
    let address = gateway.address("nodes");
    assert_eq!(get(address, "ps/site/a/none").code, "4.04");
    mosquitto.publish("site/a/none", "first", &[]);
    wait_until("the first message", || shows(&get(address, "ps/site/a/none"), "first"));
    mosquitto.publish("site/b/state", "kept", &["-r"]);
    assert!(shows(&get(address, "ps/site/b/state"), "kept"));
}

#[test]
fn what_the_lists_do_not_allow_is_refused_and_counted() {
    let mosquitto = Mosquitto::start();
    mosquitto.publish("secret", "s", &["-r"]);
    let all = mosquitto.subscribe("#");
    let gateway = gateway(&mosquitto);
    let address = gateway.address("nodes");
    let put = |path: &str| libcoap(address, path, &["-m", "put", "-e", "x"]).code;
    for path in ["ps/secret", "ps/site/a/b/set", "ps/site/a/get", "ps/$SYS/x"] {
        assert_eq!(put(path), "4.03", "{path}");
    }
    for path in ["ps/secret", "ps/log/b", "ps/$SYS/broker/version"] {
        assert_eq!(get(address, path).code, "4.03", "{path}");
    }
    assert_eq!(gateway.count("/sources/nodes/refused/not_allowed/count"), 7);
    // Segments that would be other levels or wildcards: %2F is a slash within a segment.
    for path in
        ["ps/site%2Fa/set", "ps/site/+/set", "ps/site/%23", "ps/site/%00/set", "ps/site/%01/set"]
    {
        assert_eq!(put(path), "4.00", "{path}");
        assert_eq!(get(address, path).code, "4.00", "{path}");
    }
    assert_eq!(get(address, "ps/").code, "4.00", "no topic");
    // An empty level is a level.
    assert_eq!(put("ps/site//set"), "2.04");
    assert_eq!(all.first("site//set").text(), "x");
    assert_eq!(libcoap(address, "ps/site/a/set", &["-m", "delete"]).code, "4.05");
    let large = gateway.dir().join("large");
    std::fs::write(&large, vec![b'x'; 300_000]).unwrap();
    let arguments = ["-m", "put", "-f", large.to_str().unwrap()];
    assert_eq!(libcoap(address, "ps/site/a/set", &arguments).code, "4.13");
    assert!(all.at("site/a/set").is_empty() && all.at("site/a/b/set").is_empty());
}

#[test]
fn without_lists_there_is_nothing() {
    let mosquitto = Mosquitto::start();
    let gateway = Gateway::start(&config(&mosquitto.table("local"), "ps = { broker = \"local\" }"));
    let address = gateway.address("nodes");
    assert_eq!(libcoap(address, "ps/a", &["-m", "put", "-e", "x"]).code, "4.03");
    assert_eq!(get(address, "ps/a").code, "4.03");
    assert!(gateway.status()["brokers"]["local"]["subscriber"].is_null());
}

/// A node that observes one topic under many tokens.
struct Observers {
    node: Node,
    /// What each of them saw last.
    seen: BTreeMap<u8, Vec<u8>>,
}

impl Observers {
    fn register(gateway: SocketAddr, count: u8) -> Self {
        let node = Node::new(gateway);
        for token in 0..count {
            // Confirmable GET: Observe (6) of 0, Uri-Path (11) ps, site, state.
            let head = [0x41, 1, 1, token, token];
            node.send(&[&head[..], b"\x60\x52ps\x04site\x05state"].concat());
        }
        let mut observers = Self { node, seen: BTreeMap::new() };
        observers.wait_until_all_see(b"v0", count);
        observers
    }

    /// Takes responses and notifications, and acknowledges them.
    fn wait_until_all_see(&mut self, payload: &[u8], count: u8) {
        let all = |seen: &BTreeMap<u8, Vec<u8>>| seen.values().filter(|s| *s == payload).count();
        while all(&self.seen) < usize::from(count) {
            let received = self.node.receive(PATIENCE).expect("a response or a notification");
            let message = Message::parse(&received).unwrap();
            if message.kind() == MessageType::Confirmable {
                self.node.send(&acknowledgement(message.message_id()));
            }
            if let [token] = message.token()[..] {
                assert_eq!(message.code().to_string(), "2.05");
                self.seen.insert(token, message.payload().to_vec());
            }
        }
    }
}

impl Observers {
    /// Rejects the next notification of each, which ends it (RFC 7641 §3.6).
    fn reject(&mut self, count: u8) {
        let mut left: BTreeSet<u8> = (0..count).collect();
        while !left.is_empty() {
            let received = self.node.receive(PATIENCE).expect("a notification");
            let message = Message::parse(&received).unwrap();
            let [high, low] = message.message_id().to_be_bytes();
            self.node.send(&[0x70, 0, high, low]);
            left.remove(&message.token()[0]);
        }
    }
}

#[test]
fn a_thousand_observers_are_one_subscription() {
    let mosquitto = Mosquitto::start_keeping("log_type all\n");
    mosquitto.publish("site/state", "v0", &["-r"]);
    let gateway = gateway(&mosquitto);
    let address = gateway.address("nodes");
    let mut observers: Vec<_> = (0..40).map(|_| Observers::register(address, 25)).collect();
    for value in ["v1", "v2"] {
        mosquitto.publish("site/state", value, &["-r"]);
        for node in &mut observers {
            node.wait_until_all_see(value.as_bytes(), 25);
        }
    }
    assert_eq!(mosquitto.logged("Received SUBSCRIBE from gw-sub").len(), 1);
    assert_eq!(gateway.count("/brokers/local/subscriber/topics"), 1);
    assert_eq!(gateway.count("/brokers/local/subscriber/messages"), 3);
    mosquitto.publish("site/state", "v3", &["-r"]);
    for node in &mut observers {
        node.reject(25);
    }
    wait_until("the end of the subscription", || {
        mosquitto.logged("Received UNSUBSCRIBE from gw-sub").len() == 1
    });
    assert_eq!(gateway.count("/brokers/local/subscriber/topics"), 0);
}

#[test]
fn observers_converge_when_the_broker_comes_back() {
    let mut mosquitto = Mosquitto::start();
    mosquitto.publish("site/state", "v0", &["-r"]);
    let gateway = gateway(&mosquitto);
    let address = gateway.address("nodes");
    let mut observers = Observers::register(address, 10);
    mosquitto.kill();
    wait_until("the connection to be gone", || {
        gateway.status()["brokers"]["local"]["subscriber"]["connected"] == false
    });
    assert!(shows(&get(address, "ps/site/state"), "v0"), "what is known is shown");
    let unknown = get(address, "ps/site/other");
    assert_eq!(unknown.code, "5.03");
    assert!(unknown.text.contains("Max-Age:10"), "{}", unknown.text);
    // What is put meanwhile waits in the store.
    assert_eq!(libcoap(address, "ps/site/a/set", &["-m", "put", "-e", "on"]).code, "2.04");
    mosquitto.start_again();
    let all = mosquitto.subscribe("site/#");
    mosquitto.publish("site/state", "v1", &["-r"]);
    observers.wait_until_all_see(b"v1", 10);
    assert_eq!(all.first("site/a/set").text(), "on");
    assert!(shows(&get(address, "ps/site/state"), "v1"));
    assert_eq!(get(address, "ps/site/other").code, "4.04");
}

#[test]
fn what_was_put_survives_kill_9_and_an_outage() {
    let recorder = Recorder::start();
    let broker = format!("[brokers.local]\nurl = \"{}\"\nmax_backoff = \"1s\"\n", recorder.url());
    let mut gateway = Gateway::start(&config(&broker, PS));
    let put = |gateway: &Gateway, value: usize| {
        let payload = value.to_string();
        let arguments = ["-m", "put", "-e", payload.as_str()];
        let answer = libcoap(gateway.address("nodes"), "ps/log/n", &arguments);
        assert_eq!(answer.code, "2.04", "{}", answer.text);
    };
    let arrived = |value: usize| {
        let payload = value.to_string();
        recorder.recorded().iter().any(|message| message.payload == payload.as_bytes())
    };
    for value in 0..30 {
        if value == 10 {
            recorder.down();
        }
        put(&gateway, value);
        if value % 10 == 9 {
            gateway.kill();
            gateway.launch();
            gateway.wait_until_up();
        }
    }
    recorder.up();
    for value in 0..30 {
        wait_until(&format!("{value} to arrive"), || arrived(value));
    }
    // The gateway says what it is about where it lies in the store.
    let output = gateway.command("store").args(["export"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(r#""broker":"local","topic":"log/n","payload":"29","#), "{text}");
}
