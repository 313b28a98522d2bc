//! A run against Mosquitto (Debian package `mosquitto`): devices publish by themselves, and the far
//! end is a subscription to the same broker.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;

use super::{Folder, device_sim, finish, stderr, stdout};

/// The deadline of everything that must happen.
const SOON: Duration = Duration::from_secs(20);
/// The pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

const SCENARIO: &str = r#"
version = 1
name = "published"
duration = "1s"
[target]
mqtt = "${MQTT_URL}"
[signals.temp]
type = "gauss"
mean = 20
deviation = 2
[fleets.bench]
count = 5
id = "th-{n}"
via = "mqtt"
every = { mean = "100ms", jitter = "50%" }
topic = "site/{device}/temp"
reboot = { up = "400ms", down = "100ms" }
[fleets.bench.payload]
format = "text"
template = '{{"device":"{device}","name":"temp","value":{temp},"epoch":{epoch},"seq":{seq}}}'
temp = "temp"
[verify]
topic = "site/+/temp"
delivery = "exactly-once"
"#;

/// A broker; it is killed when it is dropped.
struct Mosquitto {
    child: Child,
    address: SocketAddr,
}

impl Mosquitto {
    async fn start(folder: &Folder, more: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = free.port();
        let config = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{more}");
        let config = folder.file(&format!("mosquitto-{port}.conf"), &config);
        let path = format!("/usr/sbin:{}", std::env::var("PATH").unwrap());
        let mut command = Command::new("mosquitto");
        command.env("PATH", path).args(["-c", &config]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run mosquitto: {error}; install the Debian package mosquitto")
        });
        let mosquitto = Self { child, address: free };
        let listens = async {
            while TcpStream::connect(free).await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(SOON, listens).await.expect("mosquitto listens");
        mosquitto
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_devices_publish_by_themselves_arrives_once_over_their_reboots() {
    let folder = Folder::new();
    let mosquitto = Mosquitto::start(&folder, "").await;
    let file = folder.file("published.toml", SCENARIO);
    let url = format!("mqtt://{}", mosquitto.address);
    let output = finish(device_sim(&["run", &file, "--json"], &[("MQTT_URL", &url)])).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let fleet = &report["fleets"]["bench"];
    assert!(fleet["sent"].as_u64().unwrap() >= 20, "{fleet}");
    assert_eq!(fleet["arrived"], fleet["sent"], "{fleet}");
}

#[tokio::test]
async fn what_a_bridge_passes_on_is_looked_for_behind_it() {
    let folder = Folder::new();
    let behind = Mosquitto::start(&folder, "").await;
    // What is published behind it without the bridge has another topic.
    let bridge = format!("connection on\naddress {}\ntopic # out 1 raw/ site/\n", behind.address);
    let before = Mosquitto::start(&folder, &bridge).await;
    let brokers =
        format!("mqtt = \"mqtt://{}\"\nmqtt-devices = \"{}\"", behind.address, before.address);
    // A bridge may send again.
    let scenario = SCENARIO.replace("exactly-once", "at-least-once").replace("site/{", "raw/{");
    let scenario = scenario.replace("mqtt = \"${MQTT_URL}\"", &brokers);
    let file = folder.file("bridged.toml", &scenario);
    let output = finish(device_sim(&["run", &file, "--json"], &[])).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let fleet = &report["fleets"]["bench"];
    assert!(fleet["sent"].as_u64().unwrap() >= 20, "{fleet}");
    assert_eq!(fleet["arrived"], fleet["sent"], "{fleet}");
}
