//! `gateway store`: with a gateway running and without.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::damage::{falsify, gateway, spool, store};
use crate::fleet::wait_until_delivered;
use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::sim::Recorder;
use crate::harness::temp::TempDir;

/// Runs `gateway store` with the gateway's configuration.
fn tool(gateway: &Gateway, arguments: &[&str]) -> Output {
    gateway.command("store").args(arguments).output().unwrap()
}

/// What a command prints, which must work.
fn printed(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = tool(gateway, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(gateway: &Gateway, arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(gateway, arguments)).unwrap()
}

fn fails(output: &Output, code: i32, parts: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "`{part}` is missing in: {stderr}");
    }
}

/// Values of the exported readings.
fn values(lines: &str) -> Vec<String> {
    let value = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["value"].as_str().unwrap().to_owned()
    };
    lines.lines().map(value).collect()
}

fn expected(numbers: std::ops::RangeInclusive<u64>) -> Vec<String> {
    numbers.map(|n| format!("value-{n}")).collect()
}

/// Every file in a folder, with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn the_tools_say_the_same_whether_a_gateway_runs_was_killed_or_was_stopped() {
    let broker = Recorder::start();
    let mut gateway = gateway(&[("sim", &broker)]);
    store(&gateway, "value", 1..=20);
    let state = gateway.dir().join("state");
    let mut exports = Vec::new();
    for how in ["running", "killed", "stopped"] {
        match how {
            "killed" => gateway.kill(),
            "stopped" => {
                gateway.launch();
                gateway.wait_until_up();
                gateway.terminate();
            }
            _ => {}
        }
        let before = content(&state);
        let is_running = how == "running";
        assert_eq!(before.contains_key(&state.join("spool.db-wal")), how != "stopped", "{how}");
        exports.push(printed(&gateway, &["export"]));
        let verdict = json(&gateway, &["verify", "--json"]);
        assert_eq!(
            (&verdict["sound"], &verdict["records"], &verdict["first"], &verdict["next"]),
            (&true.into(), &20.into(), &1.into(), &21.into()),
            "{how}"
        );
        assert!(printed(&gateway, &["verify"]).starts_with("sound: "), "{how}");
        let status = json(&gateway, &["status", "--json"]);
        assert_eq!(
            (&status["next"], &status["waiting"]["sim"], status["used_by"].is_string()),
            (&21.into(), &20.into(), is_running),
            "{how}"
        );
        assert!(printed(&gateway, &["status"]).contains("broker   sim: 20 waiting"), "{how}");
        if !is_running {
            assert!(content(&state) == before, "{how}: nothing is changed");
        }
    }
    assert_eq!(values(&exports[0]), expected(1..=20));
    assert!(exports.iter().all(|export| *export == exports[0]), "{exports:?}");
    let line: Value = serde_json::from_str(exports[0].lines().next().unwrap()).unwrap();
    let members: Vec<&String> = line.as_object().unwrap().keys().collect();
    let known = ["device", "n", "name", "received", "source", "time", "time_quality", "value"];
    assert_eq!(members, known);
}

#[test]
fn an_export_can_be_narrowed() {
    let broker = Recorder::start();
    let mut gateway = gateway(&[("sim", &broker)]);
    store(&gateway, "value", 1..=10);
    broker.up();
    wait_until_delivered(&gateway);
    broker.down();
    store(&gateway, "value", 11..=15);
    for how in ["running", "stopped"] {
        if how == "stopped" {
            gateway.terminate();
        }
        let export =
            |arguments: &[&str]| values(&printed(&gateway, &[&["export"], arguments].concat()));
        assert_eq!(export(&["--broker", "sim"]), expected(11..=15), "{how}");
        assert_eq!(export(&["--device", "d*"]), expected(1..=15), "{how}");
        assert_eq!(export(&["--device", "e*"]), [""; 0], "{how}");
        assert_eq!(export(&["--from", "1h"]), expected(1..=15), "{how}");
        assert_eq!(export(&["--to", "1h"]), [""; 0], "{how}");
        assert_eq!(export(&["--from", "2100-01-01T00:00:00Z"]), [""; 0], "{how}");
        let unknown = tool(&gateway, &["export", "--broker", "cloud"]);
        fails(&unknown, 1, &["no broker `cloud`", "`sim`"]);
    }
    fails(&tool(&gateway, &["export", "--from", "yesterday"]), 2, &["2026-11-20T22:39:00Z"]);
}

/// What a broker that is gone has not acknowledged is deleted when room is needed. That is no damage.
#[test]
fn a_broker_that_is_not_configured_any_more_is_shown_and_takes_nothing_for_damage() {
    let [sim, old] = [Recorder::start(), Recorder::start()];
    let mut gateway = gateway(&[("sim", &sim), ("old", &old)]);
    let long = "x".repeat(20_000);
    store(&gateway, &long, 1..=5);
    gateway.terminate();
    let config = fs::read_to_string(gateway.config()).unwrap();
    let (config, _) = config.split_once("[brokers.old]").unwrap();
    fs::write(gateway.config(), format!("store.quota = \"1MiB\"\n{config}")).unwrap();
    sim.up();
    gateway.launch();
    gateway.wait_until_up();
    for n in (6..=55).step_by(5) {
        store(&gateway, &long, n..=n + 4);
        wait_until_delivered(&gateway);
    }
    let mut kept = 0;
    for how in ["running", "stopped"] {
        if how == "stopped" {
            assert_eq!(tool(&gateway, &["forget", "other"]).status.code(), Some(1), "not known");
            gateway.terminate();
            fails(&tool(&gateway, &["forget", "old"]), 69, &["no gateway uses", "start it"]);
        }
        let status = json(&gateway, &["status", "--json"]);
        assert_eq!(
            (&status["orphans"]["old"], &status["waiting"]["old"]),
            (&1.into(), &Value::Null)
        );
        let text = printed(&gateway, &["status"]);
        assert!(text.contains("broker   old: not configured, stands at reading 1\n"), "{text}");
        let verdict = json(&gateway, &["verify", "--json"]);
        assert_eq!(verdict["sound"], true, "{how}: {verdict}");
        assert!(verdict["first"].as_u64().unwrap() > 5, "{how}: {verdict}");
        let left = values(&printed(&gateway, &["export", "--broker", "old"]));
        assert_eq!(left.last().unwrap(), &format!("{long}-55"), "{how}");
        kept = left.len();
        assert_eq!(values(&printed(&gateway, &["export", "--broker", "sim"])), [""; 0], "{how}");
    }
    // Configured again it gets what is there, and nothing counts as damaged or dropped.
    let url = old.url();
    let config = format!("store.quota = \"1MiB\"\n{config}[brokers.old]\nurl = \"{url}\"\n");
    fs::write(gateway.config(), config).unwrap();
    old.up();
    gateway.launch();
    gateway.wait_until_up();
    wait_until("the rest", || gateway.status()["store"]["pending"]["old"] == 0);
    assert_eq!(old.readings().len(), kept);
    assert_eq!((gateway.count("/store/damaged"), gateway.count("/store/dropped/old/full")), (0, 0));
}

#[test]
fn dead_letters_are_counted_and_survive_damage() {
    let broker = Recorder::start();
    let mut gateway = gateway(&[("sim", &broker)]);
    let config = fs::read_to_string(gateway.config()).unwrap();
    gateway.terminate();
    fs::write(gateway.config(), format!("{config}max_packet = \"1KiB\"\n")).unwrap();
    gateway.launch();
    gateway.wait_until_up();
    broker.up();
    store(&gateway, "value", 1..=3);
    store(&gateway, &"x".repeat(5000), 4..=5);
    wait_until_delivered(&gateway);
    for how in ["running", "stopped", "damaged", "repaired"] {
        match how {
            "stopped" => drop(gateway.terminate()),
            "damaged" => {
                let mut bytes = fs::read(spool(&gateway)).unwrap();
                bytes[..4096].fill(0);
                fs::write(spool(&gateway), bytes).unwrap();
                gateway.launch();
                gateway.wait_until_up();
            }
            "repaired" => drop(gateway.terminate()),
            _ => {}
        }
        let text = printed(&gateway, &["status"]);
        assert!(text.contains("broker   sim: 0 waiting, 2 dead letters\n"), "{how}: {text}");
        assert_eq!(json(&gateway, &["status", "--json"])["dead"]["sim"], 2, "{how}");
        let text = printed(&gateway, &["verify"]);
        assert!(
            text.starts_with("sound: ") && text.contains("2 dead letters can be read"),
            "{text}"
        );
    }
    assert_eq!(broker.readings().len(), 3);
}

#[test]
fn damage_is_found_and_the_rest_can_be_had() {
    let broker = Recorder::start();
    let mut gateway = gateway(&[("sim", &broker)]);
    store(&gateway, "value", 1..=20);
    gateway.terminate();
    falsify(&spool(&gateway), "value-7");
    let mut rest = expected(1..=20);
    rest.remove(6);

    let verdict = tool(&gateway, &["verify"]);
    let text = String::from_utf8(verdict.stdout.clone()).unwrap();
    assert!(
        text.starts_with("damaged: ") && text.contains("7 to 7: its checksum is wrong"),
        "{text}"
    );
    fails(&verdict, 1, &[]);
    let export = tool(&gateway, &["export"]);
    fails(&export, 0, &["warning: up to 1 readings cannot be read", "gateway store verify"]);
    assert_eq!(values(&String::from_utf8(export.stdout).unwrap()), rest);

    // The same, when a gateway is asked.
    gateway.launch();
    gateway.wait_until_up();
    fails(&tool(&gateway, &["verify"]), 1, &[]);
    assert_eq!(values(&printed(&gateway, &["export"])), rest);
    assert_eq!(json(&gateway, &["status", "--json"])["damaged"], 1);
    gateway.terminate();

    // And of a file that is no store any more, but was.
    let mut bytes = fs::read(spool(&gateway)).unwrap();
    bytes[..4096].fill(0);
    let copy = gateway.dir().join("copy.db");
    fs::write(&copy, &bytes).unwrap();
    let copy = copy.to_str().unwrap();
    let verdict = tool(&gateway, &["verify", copy]);
    assert!(String::from_utf8_lossy(&verdict.stdout).contains("is not a database"), "{verdict:?}");
    fails(&verdict, 1, &[]);
    let export = tool(&gateway, &["export", copy]);
    fails(&export, 0, &["warning: ", "what can be read of it follows"]);
    assert_eq!(values(&String::from_utf8(export.stdout).unwrap()), rest);
    assert_eq!(fs::read(copy).unwrap(), bytes, "it is not changed");
}

#[test]
fn what_was_set_aside_is_listed_and_can_be_exported() {
    let broker = Recorder::start();
    let mut gateway = gateway(&[("sim", &broker)]);
    store(&gateway, "value", 1..=20);
    gateway.terminate();
    let mut bytes = fs::read(spool(&gateway)).unwrap();
    bytes[..100].fill(0xff);
    fs::write(spool(&gateway), bytes).unwrap();
    gateway.launch();
    gateway.wait_until_up();
    let status = json(&gateway, &["status", "--json"]);
    let aside = status["set_aside"][0]["file"].as_str().unwrap().to_owned();
    assert!(printed(&gateway, &["status"]).contains(&aside));
    // While the gateway runs on the new one.
    let export = tool(&gateway, &["export", &aside]);
    fails(&export, 0, &["what can be read of it follows"]);
    assert_eq!(values(&String::from_utf8(export.stdout).unwrap()), expected(1..=20));
}

#[test]
fn a_store_that_cannot_be_looked_into_is_told() {
    let dir = TempDir::new();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.current_dir(dir.path()).env_clear().arg("store").args(arguments);
        command.output().unwrap()
    };
    let state = dir.join("state").display().to_string();
    let set = format!("gateway.state_dir={state}");
    for command in ["status", "verify", "export"] {
        let here = [command, "--set", &set];
        fails(&run(&here), 1, &["no state directory", &state, "--config"]);
        fs::create_dir(&state).unwrap();
        fails(&run(&here), 1, &["no store in", "spool.db"]);
        // Somebody has the lock and does not answer.
        let lock = fs::File::create(dir.join("state/lock")).unwrap();
        lock.lock().unwrap();
        fails(&run(&here), 69, &["does not answer", &state, "its user"]);
        let file = dir.join("state/spool.db").display().to_string();
        fails(&run(&[command, &file]), 1, &["uses", "leave FILE out"]);
        drop(lock);
        fs::remove_dir_all(&state).unwrap();
        // Not a store at all, and nothing that was one.
        fails(&run(&[command, "nowhere.db"]), 1, &["no store in nowhere.db"]);
    }
}

#[test]
fn clients_that_do_not_read_hold_up_nobody() {
    const STREAMS: usize = 4;
    let broker = Recorder::start();
    let gateway = gateway(&[("sim", &broker)]);
    let long = "x".repeat(60_000);
    store(&gateway, &long, 1..=40);
    let socket = gateway.dir().join("state/control.sock");
    let ask = |request: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        writeln!(stream, "{request}").unwrap();
        stream
    };
    // Each has got a part of what it asked for, and takes no more.
    let export = r#"{"request":"store-export"}"#;
    let mut stalled: Vec<_> = (0..STREAMS).map(|_| ask(export)).collect();
    for stream in &mut stalled {
        stream.read_exact(&mut [0; 10]).unwrap();
    }
    let one_too_many = BufReader::new(ask(export)).lines().next().unwrap().unwrap();
    assert!(one_too_many.contains("try again later"), "{one_too_many}");
    fails(&tool(&gateway, &["export"]), 1, &["4 others", "try again later"]);
    // The gateway does its work all the same, and answers who asks for little.
    store(&gateway, "value", 41..=60);
    broker.up();
    wait_until_delivered(&gateway);
    assert_eq!(gateway.count("/store/next"), 61);
    // A place that is left is free, and who comes back to reading gets everything.
    drop(stalled.pop());
    wait_until("a place", || tool(&gateway, &["verify"]).status.success());
    let lines: Vec<String> =
        BufReader::new(stalled.pop().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 41, "40 readings and the end");
    assert_eq!(lines[40], r#"{"end":"complete"}"#);
}

#[test]
fn requests_that_are_none_are_refused() {
    let broker = Recorder::start();
    let gateway = gateway(&[("sim", &broker)]);
    let socket = gateway.dir().join("state/control.sock");
    // The last one has no end, and is not waited for.
    for request in ["status\n", "{\"request\":\"stop\"}\n", &"x".repeat(600_000)] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let _ = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        let _ = BufReader::new(&stream).read_line(&mut answer);
        assert!(answer.starts_with("{\"end\":{\"failed\":"), "{answer:?}");
    }
    gateway.status();
}
