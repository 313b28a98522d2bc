//! Scenarios of the simulator through the built gateway and Mosquitto: what was accepted arrives, by
//! every transport.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use device_sim::live::Progress;
use device_sim::report::Report;
use device_sim::run::{self, RunError, RunOptions};
use device_sim::scenario::Scenario;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::{Mosquitto, PASSWORD, USER};
use crate::harness::temp::port;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The gateway of the ready scenario, on free ports.
fn gateway(mosquitto: &Mosquitto, more: &str) -> Gateway {
    let text = fs::read_to_string(root().join("configs/simulated.toml")).unwrap();
    let (_, sources) = text.split_once("\n[sources.").expect("sources come second");
    let (sources, rest) = sources.split_once("[brokers.local]").expect("then brokers");
    let (_, routes) = rest.split_once("[routes.all]").expect("then routes");
    let sources = ["5683", "7000", "7001"].iter().fold(sources.to_owned(), |text, port| {
        text.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0")
    });
    let sources = sources
        .replace("bind = [\"127.0.0.1:0\"]", "bind = [\"127.0.0.1:0\"], tcp = [\"127.0.0.1:0\"]");
    let broker = mosquitto.table("local");
    Gateway::start(&format!("[sources.{sources}\n{more}\n{broker}\n[routes.all]{routes}"))
}

/// Plays the file at `path` for `duration`, with these variables.
pub(crate) fn play(path: &Path, duration: Duration, variables: &[(&str, String)]) -> Report {
    try_play(path, duration, variables).unwrap()
}

pub(crate) fn try_play(
    path: &Path,
    duration: Duration,
    variables: &[(&str, String)],
) -> Result<Report, RunError> {
    let login = [("MQTT_USER", USER.to_owned()), ("MQTT_PASSWORD", PASSWORD.to_owned())];
    let variables =
        variables.iter().chain(&login).map(|(name, value)| ((*name).to_owned(), value.into()));
    let mut scenario = Scenario::load(path, &variables.collect()).unwrap();
    scenario.duration = duration;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (progress, _watched) = watch::channel(Progress::default());
    let options = RunOptions::default();
    let played = run::run(&scenario, &options, progress, CancellationToken::new());
    runtime.block_on(played)
}

fn assert_delivered(report: &Report) {
    assert!(report.passed, "{:#?}\n{:#?}", report.outcomes, report.examples);
    for (name, fleet) in &report.fleets {
        assert!(fleet.sent > 0 && fleet.arrived == fleet.sent, "{name}: {fleet:#?}");
    }
    assert_eq!(report.unknown, 0);
}

#[test]
fn the_ready_scenario_loses_nothing() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "");
    let report = play(
        &root().join("device-sim/scenarios/smoke.toml"),
        Duration::from_secs(3),
        &[
            ("MQTT_URL", mosquitto.url()),
            ("COAP", gateway.address("nodes").to_string()),
            ("UDP", gateway.address("weather").to_string()),
            ("TCP", gateway.address("pumps").to_string()),
        ],
    );
    assert_delivered(&report);
}

#[test]
fn every_value_that_a_modbus_unit_answered_arrives() {
    let mosquitto = Mosquitto::start();
    let text = fs::read_to_string(root().join("configs/simulated-modbus.toml")).unwrap();
    let bus = format!("127.0.0.1:{}", port());
    let (_, sources) = text.split_once("\n[sources.").expect("sources come second");
    let (sources, rest) = sources.split_once("[brokers.local]").expect("then brokers");
    let (_, routes) = rest.split_once("[routes.all]").expect("then routes");
    let sources = sources.replace("127.0.0.1:5020", &bus);
    let broker = mosquitto.table("local");
    let gateway = Gateway::start(&format!("[sources.{sources}\n{broker}\n[routes.all]{routes}"));
    let report = play(
        &root().join("device-sim/scenarios/modbus.toml"),
        Duration::from_secs(6),
        &[("MQTT_URL", mosquitto.url()), ("MODBUS", bus)],
    );
    assert_delivered(&report);
    let asked = |unit: u8| gateway.count(&format!("/sources/bus/bus/units/{unit}/answers"));
    assert!((1..=3).all(|unit| asked(unit) > 10), "each is asked again and again");
}

#[test]
fn devices_that_leave_start_again_or_have_no_clock_are_told_apart() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(
        &mosquitto,
        r#"
[sources.web]
link = { type = "http", bind = "127.0.0.1:0" }
[sources.clockless]
link = { type = "tcp", bind = "127.0.0.1:0", reply = true }
decode = { type = "json", device = "device", epoch = "epoch", seq = "seq" }
"#,
    );
    let path = gateway.dir().join("scenario.toml");
    let scenario = r#"
version = 1
name = "restless"
duration = "3s"
[target]
mqtt = "${MQTT_URL}"
username = "${MQTT_USER}"
password = "${MQTT_PASSWORD}"
coap-tcp = "${COAP_TCP}"
http = "${HTTP}"
tcp = "${TCP}"
[signals.temp]
type = "walk"
start = 20
step = 1
min = 0
max = 40
[fleets.room]
count = 3
via = "coap+tcp"
every = { mean = "200ms", jitter = "50%" }
churn = { up = "700ms", down = "300ms" }
clock = { skew = "-2s" }
payload = { temp = "temp" }
[fleets.web]
count = 3
via = "http"
every = "200ms"
payload = { format = "senml-json", temp = { signal = "temp", unit = "Cel" } }
[fleets.pump]
count = 3
via = "tcp"
burst = { count = 5, every = "500ms", gap = "5ms" }
reboot = { up = "800ms", down = "200ms" }
clock = { none = true }
payload = { temp = "temp" }
[verify]
topic = "site/+/+"
delivery = "exactly-once"
"#;
    fs::write(&path, scenario).unwrap();
    let report = play(
        &path,
        Duration::from_secs(3),
        &[
            ("MQTT_URL", mosquitto.url()),
            ("COAP_TCP", gateway.tcp_address("nodes").to_string()),
            ("HTTP", gateway.address("web").to_string()),
            ("TCP", gateway.address("clockless").to_string()),
        ],
    );
    assert_delivered(&report);
}
