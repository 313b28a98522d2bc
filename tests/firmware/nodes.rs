//! Simulated nodes of the link protocol, and a gateway that is killed under them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use device_sim::device::{Channel, DeviceClock, DeviceConfig, Schedule};
use device_sim::ledger::{Arrival, Mark};
use device_sim::signal::Signal;
use device_sim::transport::{LinkCarrier, LinkUplink, SerialPort, Uplink};
use proto::link::Key;
use proto::{Instant, Timestamp};

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::sim::{Devices, Recorder};
use crate::harness::temp::{TempDir, port};

const NODES: u32 = 3;
/// Acknowledgements between two ends of the gateway.
const ROUND: u64 = 60;

/// A node that counts.
fn node(device: u32, carrier: LinkCarrier) -> (DeviceConfig, LinkUplink) {
    let signal = Signal::Counter { start: 1.0, step: 0.25 };
    let config = DeviceConfig {
        id: device.to_string(),
        channels: vec![Channel { name: "count".to_owned(), unit: None, signal, decimals: 2 }],
        schedule: Schedule::every(Instant::ZERO, Duration::from_millis(20)),
        epoch: Some(1),
        clock: DeviceClock::new(Timestamp::from_nanos(0)),
        seed: device.into(),
    };
    let seed = device.into();
    (config, LinkUplink { carrier, device, key: None, restart_every: None, seed })
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
fn assert_delivered_once(devices: Devices, gateway: &Gateway, recorder: &Recorder) {
    let ledger = devices.stop();
    wait_until("everything to be delivered", || gateway.status()["store"]["pending"]["sim"] == 0);
    for recorded in recorder.recorded() {
        if let Ok(arrival) = Arrival::from_json(&recorded.payload) {
            ledger.handle_arrived(recorded.at, &arrival);
        }
    }
    let verdict = ledger.verdict();
    assert!(verdict.is_good(), "{verdict:?}");
    for (reading, numbers) in arrived(recorder) {
        assert_eq!(numbers.len(), 1, "stored twice: {reading:?}");
    }
}

fn survives_kills(link: &str, carrier: fn(SocketAddr) -> LinkCarrier) {
    let recorder = Recorder::start();
    let address = SocketAddr::from(([127, 0, 0, 1], port()));
    let link = format!("type = \"{link}\", bind = \"{address}\"");
    let mut gateway = gateway(&recorder, &link, ", keys_file = \"{dir}/keys\"");
    let key = |device: u32| format!("{device} {}\n", format!("{device:02x}").repeat(32));
    fs::write(gateway.dir().join("keys"), (1..=NODES).map(key).collect::<String>()).unwrap();
    let node = |device: u32| {
        let (config, uplink) = node(device, carrier(address));
        let key = Some(Key::new(&[device as u8; 32]));
        (config, Uplink::Link(LinkUplink { key, ..uplink }))
    };
    let devices = Devices::start(|| (1..=NODES).map(node).collect());
    for round in 0..4 {
        gateway.launch();
        let goal = devices.acknowledged() + ROUND;
        wait_until("acknowledgements", || devices.acknowledged() >= goal);
        if round < 3 {
            gateway.kill();
        }
    }
    assert_delivered_once(devices, &gateway, &recorder);
}

#[test]
fn nodes_over_tcp_lose_and_double_nothing_when_the_gateway_is_killed() {
    survives_kills("tcp", LinkCarrier::Tcp);
}

#[test]
fn nodes_over_udp_lose_and_double_nothing_when_the_gateway_is_killed() {
    survives_kills("udp", LinkCarrier::Udp);
}

#[test]
fn a_node_on_a_serial_port_reports_in_an_epoch_of_its_own_after_each_restart() {
    let (recorder, folder) = (Recorder::start(), TempDir::new());
    let path = folder.join("tty");
    let link = format!("type = \"serial\", path = \"{}\", baud = 115200", path.display());
    let mut gateway = gateway(&recorder, &link, "");
    let devices = Devices::start(|| {
        let port = SerialPort::plug_in(&path).unwrap();
        let (config, uplink) = node(7, LinkCarrier::Serial { port, baud: 115_200 });
        let restart_every = Some(Duration::from_secs(1));
        vec![(config, Uplink::Link(LinkUplink { restart_every, ..uplink }))]
    });
    gateway.launch();
    let epochs = || -> BTreeSet<u32> {
        let epoch = |(_, mark): (String, Mark)| match mark {
            Mark::Sequence { epoch, .. } => epoch,
            Mark::Time { .. } => panic!("it is numbered"),
        };
        arrived(&recorder).into_keys().map(epoch).collect()
    };
    wait_until("readings of three epochs", || epochs().is_superset(&BTreeSet::from([1, 2, 3])));
    assert_delivered_once(devices, &gateway, &recorder);
}
