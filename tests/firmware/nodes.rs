//! Simulated nodes of the link protocol, and a gateway that is killed under them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use device_sim::fleet::FleetBuilder;
use device_sim::ledger::{Arrival, Mark};
use device_sim::{Fleet, Via};

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::sim::{Devices, Recorder};
use crate::harness::temp::{TempDir, port};

const NODES: u32 = 3;
const KILLS: u32 = 3;
/// Arrivals between two ends of the gateway.
const ROUND: u64 = 60;

/// Nodes that count.
fn nodes(recorder: &Recorder, via: Via, address: impl Display) -> FleetBuilder {
    let builder = Fleet::builder().via(via, address).every(Duration::from_millis(20));
    builder.measures("count", "{ type = \"counter\" }").far_end(recorder.url(), "#")
}

/// A gateway whose commits wait for each other, so that an acknowledgement that does not wait for
/// one would be given long before its reading is on the disk.
fn gateway(recorder: &Recorder, link: &str, keys: &str) -> Gateway {
    let url = recorder.url();
    Gateway::new(&format!(
        r#"
[store]
commit_interval = "300ms"
[sources.nodes]
link = {{ {link} }}
decode = {{ type = "link"{keys} }}
[brokers.sim]
url = "{url}"
max_backoff = "1s"
[routes.all]
"#
    ))
}

/// The numbers in the store of each reading that arrived.
fn arrived(recorder: &Recorder) -> BTreeMap<(String, Mark), BTreeSet<u64>> {
    let mut arrived: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    for recorded in recorder.recorded() {
        let Ok(arrival) = Arrival::from_json(&recorded.payload) else { continue };
        let payload: serde_json::Value = serde_json::from_slice(&recorded.payload).unwrap();
        let numbers = arrived.entry((arrival.device, arrival.mark)).or_default();
        numbers.insert(payload["n"].as_u64().unwrap());
    }
    arrived
}

/// Ends the devices: what was acknowledged has arrived, as it was sent, and is stored once.
fn assert_delivered_once(devices: Devices, recorder: &Recorder) {
    devices.verify().assert_at_least_once();
    for (reading, numbers) in arrived(recorder) {
        assert_eq!(numbers.len(), 1, "stored twice: {reading:?}");
    }
}

fn survives_kills(link: &str, via: Via) {
    let recorder = Recorder::start();
    let address = SocketAddr::from(([127, 0, 0, 1], port()));
    let link = format!("type = \"{link}\", bind = \"{address}\"");
    let mut gateway = gateway(&recorder, &link, ", keys_file = \"{dir}/keys\"");
    let key = |device: u32| format!("{device} {}\n", format!("{device:02x}").repeat(32));
    let keys = gateway.dir().join("keys");
    fs::write(&keys, (1..=NODES).map(key).collect::<String>()).unwrap();
    gateway.launch();
    assert_eq!(gateway.address("nodes"), address, "it listens before nodes look for it");
    let nodes = nodes(&recorder, via, address).count(NODES).id("{n}");
    let keys = format!("{{ keys_file = {keys:?} }}");
    let mut devices = Devices::start(nodes.with("node", &keys));
    for _ in 0..KILLS {
        devices.wait_for_more(ROUND);
        gateway.kill();
        gateway.launch();
    }
    devices.wait_for_more(ROUND);
    assert_delivered_once(devices, &recorder);
}

#[test]
fn nodes_over_tcp_lose_and_double_nothing_when_the_gateway_is_killed() {
    survives_kills("tcp", Via::LinkTcp);
}

#[test]
fn nodes_over_udp_lose_and_double_nothing_when_the_gateway_is_killed() {
    survives_kills("udp", Via::LinkUdp);
}

#[test]
fn a_node_on_a_serial_port_reports_in_an_epoch_of_its_own_after_each_restart() {
    let (recorder, folder) = (Recorder::start(), TempDir::new());
    let path = folder.join("tty");
    let link = format!("type = \"serial\", path = \"{}\", baud = 115200", path.display());
    let mut gateway = gateway(&recorder, &link, "");
    let port = format!("pty:{}", path.display());
    let node = nodes(&recorder, Via::LinkSerial, port).id("7").with("node", "{ first = 7 }");
    let node = node.with("baud", "115200").with("reboot", r#"{ up = "1s", down = "0s" }"#);
    let devices = Devices::start(node);
    gateway.launch();
    let epochs = || -> BTreeSet<u32> {
        let epoch = |(_, mark): (String, Mark)| match mark {
            Mark::Sequence { epoch, .. } => epoch,
            Mark::Time { .. } => panic!("it is numbered"),
        };
        arrived(&recorder).into_keys().map(epoch).collect()
    };
    wait_until("readings of three epochs", || epochs().is_superset(&BTreeSet::from([1, 2, 3])));
    assert_delivered_once(devices, &recorder);
}
