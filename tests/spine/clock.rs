//! A gateway whose clock is wrong until it is synchronised: a clock that libfaketime sets, and a file that
//! says whether it is right.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::harness::clock::{civil, wait_until};
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::mosquitto::Mosquitto;

/// How far off the time of a reading may be: what starting the programs takes, at the most.
const TOLERANCE: Duration = Duration::from_secs(120);

/// A gateway under a clock that [`set`] sets. Its sources take lines of JSON, with a time and without.
fn gateway(mosquitto: &Mosquitto, by: &str) -> Gateway {
    let source = |name: &str, time: &str| {
        format!(
            "[sources.{name}]\nlink = {{ type = \"tcp\", bind = \"127.0.0.1:0\", reply = true }}\n\
             decode = {{ type = \"json\", device = \"device\"{time} }}\n"
        )
    };
    let mut gateway = Gateway::new(&format!(
        "gateway.clock_flag = \"{{dir}}/synchronised\"\n\
         {}{}{}max_age = \"1h\"\n[routes.all]\nretain = true\nexpiry = \"1h\"\n",
        source("plain", ""),
        source("timed", ", time = \"time\""),
        mosquitto.table("local")
    ));
    set(&gateway, by);
    launch(&mut gateway);
    gateway
}

fn launch(gateway: &mut Gateway) {
    let library = format!("LD_PRELOAD={}", faketime().display());
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", gateway.dir().join("clock").display());
    let env = ["env", &library, &file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    gateway.launch_under(&env);
    gateway.wait_until_up();
}

/// Debian puts it into the folder of the machine's architecture.
fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap();
    let path = folders.map(|folder| folder.unwrap().path().join("faketime/libfaketime.so.1"));
    path.into_iter().find(|path| path.exists()).expect("libfaketime; run tests/setup")
}

/// Sets the clock so far from the right time.
fn set(gateway: &Gateway, by: &str) {
    let (new, path) = (gateway.dir().join("clock.new"), gateway.dir().join("clock"));
    fs::write(&new, by).unwrap();
    fs::rename(new, path).unwrap();
}

fn synchronise(gateway: &Gateway) {
    set(gateway, "+0");
    fs::write(gateway.dir().join("synchronised"), "").unwrap();
    wait_until("a synchronised clock", || gateway.status()["clock"]["synchronised"] == true);
}

fn send(gateway: &Gateway, device: &str) {
    send_to(gateway, "plain", &format!(r#"{{"device":"{device}","temp":21.5}}"#));
}

fn send_to(gateway: &Gateway, source: &str, line: &str) {
    let mut client = LineClient::connect(gateway.address(source)).unwrap();
    assert_eq!(client.ask(line).unwrap(), "ok");
}

/// The reading of a device, as published, whose time is right.
fn check_is_right(reading: &Value) {
    assert_eq!(reading.get("time_quality"), None, "{reading}");
    let time: jiff::Timestamp = reading["time"].as_str().unwrap().parse().unwrap();
    let off = jiff::Timestamp::try_from(civil()).unwrap().duration_since(time);
    assert!(off.unsigned_abs() < TOLERANCE, "{reading}");
}

fn published(mosquitto: &Mosquitto, device: &str) -> Value {
    mosquitto.subscribe("gw/#").first(&format!("gw/{device}/temp")).json()
}

#[test]
fn what_waits_gets_its_time_when_the_clock_is_synchronised_and_none_is_dropped() {
    for by in ["-400d", "+400d"] {
        let mut mosquitto = Mosquitto::start();
        let mut gateway = gateway(&mosquitto, by);
        send(&gateway, "early");
        let early = published(&mosquitto, "early");
        assert_eq!(early["time_quality"], "estimated", "it is published at once");

        mosquitto.kill();
        send(&gateway, "waiting");
        let time = jiff::Timestamp::try_from(civil()).unwrap().to_string();
        let own = format!(r#"{{"device":"own","temp":21.5,"time":"{time}"}}"#);
        send_to(&gateway, "timed", &own);
        let clock = &gateway.status()["clock"];
        assert_eq!(
            (&clock["synchronised"], &clock["waiting"]),
            (&false.into(), &2.into()),
            "{clock}"
        );
        // Another start in the same boot goes on where it was.
        gateway.kill();
        launch(&mut gateway);
        send(&gateway, "later");
        synchronise(&gateway);
        let clock = gateway.status()["clock"].clone();
        assert_eq!((&clock["steps"], &clock["waiting"]), (&1.into(), &0.into()), "{clock}");
        mosquitto.start_again();
        for device in ["waiting", "later"] {
            check_is_right(&published(&mosquitto, device));
        }
        let own = published(&mosquitto, "own");
        check_is_right(&own);
        let parsed = |time: &str| time.parse::<jiff::Timestamp>().unwrap();
        assert_eq!(own["time"].as_str().map(parsed), Some(parsed(&time)));
        let dropped = &gateway.status()["store"]["dropped"]["local"];
        assert_eq!(dropped["age"], 0, "{dropped}");
    }
}

#[test]
fn a_step_after_the_synchronisation_dates_nothing_anew() {
    let mut mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "-400d");
    mosquitto.kill();
    send(&gateway, "waiting");
    synchronise(&gateway);
    set(&gateway, "-30m");
    wait_until("the step to be seen", || gateway.count("/clock/steps") == 2);
    mosquitto.start_again();
    check_is_right(&published(&mosquitto, "waiting"));
}

#[test]
fn a_device_that_counts_from_its_start_is_dated_by_its_arrival() {
    let mosquitto = Mosquitto::start();
    let gateway = gateway(&mosquitto, "+0");
    synchronise(&gateway);
    send_to(&gateway, "timed", r#"{"device":"counting","temp":21.5,"time":5000}"#);
    check_is_right(&published(&mosquitto, "counting"));
    assert_eq!(gateway.count("/redated/too_early/count"), 1);
}
