//! The tests in Python that docs/simulation-ci.md shows: they pass where all is delivered, and tell
//! what is not.

use std::path::{Path, PathBuf};
use std::process::Command;

use device_sim::broker::{Broker, BrokerConfig, Matching};

use super::{Folder, finish, stdout};

const SCENARIO: &str = r#"
version = 1
name = "straight"
duration = "1s"
[target]
mqtt = "${MQTT_URL}"
[signals.temp]
type = "counter"
[fleets.bench]
count = 3
via = "mqtt"
every = "50ms"
[fleets.bench.payload]
format = "text"
template = '{{"device":"{device}","name":"temp","value":{temp},"epoch":{epoch},"seq":{seq}}}'
temp = "temp"
[verify]
topic = "devices/+"
settle = "2s"
"#;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The exit code of pytest, and what it prints, with a broker that does what `prepare` says.
async fn pytest(prepare: impl FnOnce(&Broker)) -> (Option<i32>, String) {
    let python = folder().join("tests/.venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup", python.display());
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    prepare(&broker);
    let scratch = Folder::new();
    let mut command = Command::new(python);
    command.args(["-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--rootdir", "."]);
    command.arg(folder().join("device-sim/examples/test_delivery.py"));
    command.env("DEVICE_SIM", env!("CARGO_BIN_EXE_device-sim"));
    command.env("SCENARIO", scratch.file("straight.toml", SCENARIO));
    command.env("MQTT_URL", broker.url()).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = finish(command).await;
    (output.status.code(), stdout(&output))
}

#[tokio::test]
async fn delivery_passes() {
    let (code, output) = pytest(|_| {}).await;
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("3 passed"), "{output}");
}

#[tokio::test]
async fn loss_fails_with_the_reading_that_was_lost() {
    let (code, output) =
        pytest(|broker| broker.faults().lie(Some(Matching::all().payload("bench-2")))).await;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("2 failed, 1 passed"), "{output}");
    assert!(output.contains("'device': 'bench-2'"), "{output}");
}

#[test]
fn the_manual_shows_these_tests() {
    let read = |path: &str| std::fs::read_to_string(folder().join(path)).unwrap();
    let (manual, tests) =
        (read("docs/simulation-ci.md"), read("device-sim/examples/test_delivery.py"));
    assert!(manual.contains(&tests), "docs/simulation-ci.md shows other tests");
}
