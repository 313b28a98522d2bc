//! SIGTERM.

use std::net::UdpSocket;
use std::time::Duration;

use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::sim::Recorder;

const READINGS: u64 = 200;

fn gateway(broker: &Recorder, before: &str, table: &str) -> Gateway {
    Gateway::start(&format!(
        r#"{before}
[sources.lines]
device = "d"
link = {{ type = "tcp", bind = "127.0.0.1:0", reply = true }}
decode = {{ type = "value", name = "v" }}
[sources.datagrams]
device = "u"
link = {{ type = "udp", bind = "127.0.0.1:0" }}
decode = {{ type = "value", name = "v" }}
[brokers.sim]
url = "{}"
max_backoff = "1s"
{table}
[routes.all]
"#,
        broker.url()
    ))
}

fn send(gateway: &Gateway, values: std::ops::Range<u64>) {
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    let lines: String = values.clone().map(|value| format!("{value}\n")).collect();
    client.send(lines.as_bytes()).unwrap();
    values.for_each(|_| assert_eq!(client.reply().unwrap(), "ok"));
}

fn delivered(broker: &Recorder) -> Vec<u64> {
    let of_lines = broker.readings().into_iter().filter(|reading| reading.device == "d");
    of_lines.map(|reading| reading.value.as_u64().unwrap()).collect()
}

#[test]
fn a_gateway_that_is_told_to_stop_delivers_what_it_has() {
    let broker = Recorder::start();
    // Slow enough for a backlog: four publishes at a time, each acknowledged after 50 ms.
    broker.faults().delay_pubacks(Duration::from_millis(50));
    let mut gateway = gateway(&broker, "gateway.drain = \"60s\"", "window = 4");
    send(&gateway, 0..READINGS);
    // Datagrams that nobody acknowledges count once they were taken.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"1", gateway.address("datagrams")).unwrap();
    gateway.wait_for_count("/sources/datagrams/readings", 1);
    assert!(gateway.count("/store/pending/sim") > 1, "there is a backlog");
    let status = gateway.terminate();
    assert_eq!(status.code(), Some(0));
    assert_eq!(delivered(&broker), (0..READINGS).collect::<Vec<_>>());
    assert!(broker.readings().iter().any(|reading| reading.device == "u"));
    assert_eq!(broker.counts().wills, 0, "it took its leave");
    let last = broker.recorded().pop().unwrap();
    assert_eq!((&*last.topic, &*last.payload), ("gateway/gw/status", &b"offline"[..]));
}

#[test]
fn what_a_stopping_gateway_cannot_deliver_stays_for_the_next_start() {
    let broker = Recorder::start();
    broker.down();
    let mut gateway = gateway(&broker, "gateway.drain = \"0s\"", "");
    send(&gateway, 0..READINGS);
    assert_eq!(gateway.terminate().code(), Some(0));
    let said = gateway.log_entries().into_iter().any(|entry| {
        let message = entry["fields"]["message"].as_str().unwrap_or_default();
        message.contains("stay on disk")
            && entry["fields"]["pending"].as_str().unwrap_or_default().contains("200")
    });
    assert!(said, "it says what stays");
    broker.up();
    gateway.launch();
    gateway.wait_until_up();
    gateway.wait_for_count("/brokers/sim/acknowledged", READINGS);
    assert_eq!(delivered(&broker), (0..READINGS).collect::<Vec<_>>());
}

/// More than a source takes in one turn, and fewer than the smallest receive buffer holds.
const BURST: u64 = 150;

/// Sends datagrams while the gateway stands still, so that they wait in its socket together.
fn burst(gateway: &Gateway) {
    gateway.signal("STOP");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for value in 0..BURST {
        socket.send_to(value.to_string().as_bytes(), gateway.address("datagrams")).unwrap();
    }
}

fn of_datagrams(broker: &Recorder) -> Vec<u64> {
    let readings = broker.readings().into_iter().filter(|reading| reading.device == "u");
    readings.map(|reading| reading.value.as_u64().unwrap()).collect()
}

#[test]
fn datagrams_that_wait_together_are_all_taken() {
    let broker = Recorder::start();
    let gateway = gateway(&broker, "", "");
    burst(&gateway);
    gateway.signal("CONT");
    gateway.wait_for_count("/brokers/sim/acknowledged", BURST);
    assert_eq!(of_datagrams(&broker), (0..BURST).collect::<Vec<_>>());
}

#[test]
fn datagrams_that_arrived_before_the_stop_are_taken() {
    let broker = Recorder::start();
    let mut gateway = gateway(&broker, "", "");
    burst(&gateway);
    gateway.signal("TERM");
    gateway.signal("CONT");
    assert_eq!(gateway.terminate().code(), Some(0));
    assert_eq!(of_datagrams(&broker), (0..BURST).collect::<Vec<_>>());
}
