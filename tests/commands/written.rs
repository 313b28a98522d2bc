//! Coils and registers of Modbus units: against pymodbus, and against a server that is wrong on purpose.

use proto::modbus::Request;
use serde_json::json;

use crate::harness::asked::Site;
use crate::harness::clock::{wait_for, wait_until};
use crate::harness::process::pymodbus;
use crate::harness::serial::Cable;
use crate::harness::temp::port;
use crate::slave::Slave;

/// Units 1 and 2, and an operation for each kind of place; the others are of registers at their address.
fn config(link: &str) -> String {
    let operation = |name: &str, value: &str, via: &str, rest: &str| {
        format!(
            "[operations.{name}]\nsource = \"bus\"\ndevices = [\"bus-*\"]\nvalue = {value}\n\
             via = {{ type = \"modbus\", {via} }}\n{rest}\n"
        )
    };
    let number = r#"{ type = "number" }"#;
    let mut text = format!(
        "[sources.bus]\nlink = {{ type = \"modbus\", {link}, timeout = \"300ms\", max_backoff = \"1s\" }}\n\
         units.1 = {{ interval = \"100ms\", registers.itself = {{ at = 60 }} }}\n\
         units.2 = {{ interval = \"100ms\", registers.itself = {{ at = 60 }} }}\n"
    );
    for (name, value, via, rest) in [
        ("setpoint", number, "at = 0, scale = 0.1", ""),
        ("float", number, "at = 14, holds = \"f32\"", ""),
        ("relay", "{ type = \"boolean\" }", "at = 1, coil = true", ""),
        ("once", number, "at = 1, read_back = false", "repeatable = false"),
        ("stubborn", number, "at = 90", ""),
        ("busy", number, "at = 91", ""),
        ("unsure", number, "at = 92, multiple = true", ""),
        ("unsure-once", number, "at = 92", "repeatable = false"),
        ("absent", number, "at = 1000", ""),
    ] {
        text.push_str(&operation(name, value, via, rest));
    }
    text
}

fn write_each_kind(site: &Site) {
    site.ask("bus-1", "setpoint", "1", "21.5");
    assert_eq!(site.wait_for("bus-1", "1", "done")["result"], json!(21.5));
    site.ask("bus-1", "float", "2", "-1.25");
    assert_eq!(site.wait_for("bus-1", "2", "done")["result"], json!(-1.25));
    site.ask("bus-1", "relay", "3", "on");
    assert_eq!(site.wait_for("bus-1", "3", "done")["result"], json!(true));
    site.ask("bus-1", "absent", "4", "1");
    let refused = site.wait_for("bus-1", "4", "failed");
    assert_eq!(refused["error"]["code"], "exception_2");
}

#[test]
fn pymodbus_is_written_over_tcp() {
    let port = port().to_string();
    let _slave = pymodbus(&["tcp", &port, "1", "2"]);
    let site = Site::start(&config(&format!("tcp = \"127.0.0.1:{port}\"")));
    write_each_kind(&site);
}

#[test]
fn pymodbus_is_written_on_a_serial_line_and_a_dead_unit_holds_nothing_up() {
    let cable = Cable::new();
    let far_end = cable.far_end().display().to_string();
    let _slave = pymodbus(&["serial", &far_end, "1"]);
    let site = Site::start(&config(&format!(
        "serial = \"{}\", baud = 9600, parity = \"none\"",
        cable.port().display()
    )));
    let silent = "/sources/bus/bus/units/2/failed/timeout/count";
    site.gateway.wait_for_count(silent, 1);
    site.ask("bus-2", "setpoint", "9", "1");
    assert_eq!(site.wait_for("bus-2", "9", "queued")["error"]["code"], "resting");
    write_each_kind(&site);
    site.cancel("bus-2", "9");
    assert_eq!(site.wait_for("bus-2", "9", "failed")["error"]["code"], "cancelled");
}

fn site(slave: &Slave) -> Site {
    Site::start(&config(&format!("tcp = \"{}\"", slave.address())))
}

#[test]
fn what_does_not_fit_or_is_not_there_afterwards_fails_with_both_values() {
    let slave = Slave::start();
    let site = site(&slave);
    site.ask("bus-1", "setpoint", "1", "21.57");
    assert_eq!(site.wait_for("bus-1", "1", "failed")["error"]["code"], "value");
    site.ask("bus-1", "setpoint", "2", "6553.6");
    let refused = site.wait_for("bus-1", "2", "failed");
    let detail = "a whole number from 0 to 65535 is expected, after `scale` and `offset`";
    assert_eq!(refused["error"], json!({"code": "value", "detail": detail}));
    assert_eq!(slave.writes(1), []);
    site.ask("bus-1", "stubborn", "3", "7");
    let refused = site.wait_for("bus-1", "3", "failed");
    let detail = "7 was written, and 0 is there";
    assert_eq!(refused["error"], json!({"code": "read_back", "detail": detail}));
}

#[test]
fn no_answer_is_tried_again_only_where_it_does_no_harm() {
    let slave = Slave::start();
    let site = site(&slave);
    site.ask("bus-1", "busy", "1", "5");
    assert_eq!(site.wait_for("bus-1", "1", "done")["result"], 5);
    assert!(site.states("bus-1", "1").contains(&"queued exception_6".to_owned()));
    site.ask("bus-1", "unsure", "2", "5");
    assert_eq!(site.wait_for("bus-1", "2", "done")["result"], 5);
    let twice = Request::WriteRegisters { address: 92, values: vec![5] };
    assert_eq!(slave.writes(1).iter().filter(|request| **request == twice).count(), 2);
    site.ask("bus-2", "unsure-once", "3", "5");
    assert_eq!(site.wait_for("bus-2", "3", "failed")["error"]["code"], "unknown_outcome");
    assert_eq!(slave.writes(2), [Request::WriteRegister { address: 92, value: 5 }]);
}

#[test]
fn a_unit_that_is_away_is_written_when_it_is_back_unless_it_is_too_late() {
    let slave = Slave::start();
    let site = site(&slave);
    wait_until("an answer", || site.gateway.count("/sources/bus/bus/units/1/answers") > 0);
    slave.be_silent(true);
    for unit in [1, 2] {
        let pointer = format!("/sources/bus/bus/units/{unit}/failed/timeout/count");
        site.gateway.wait_for_count(&pointer, 1);
    }
    site.ask("bus-1", "once", "1", "5");
    site.ask_json("bus-2", "setpoint", &json!({"id": "2", "value": 5, "deadline": "1s"}));
    site.wait_for("bus-1", "1", "queued");
    site.wait_for("bus-2", "2", "expired");
    slave.be_silent(false);
    site.wait_for("bus-1", "1", "done");
    assert_eq!(slave.writes(1), [Request::WriteRegister { address: 1, value: 5 }]);
    assert_eq!(slave.writes(2), []);
}

#[test]
fn kill_9_between_begin_and_outcome_repeats_only_what_is_repeatable() {
    let slave = Slave::start();
    let mut site = site(&slave);
    wait_until("an answer", || site.gateway.count("/sources/bus/bus/units/1/answers") > 0);
    // Nothing is confirmed the first time, so that the gateway is killed while it waits.
    site.ask("bus-1", "unsure", "1", "5");
    site.ask("bus-2", "unsure-once", "2", "6");
    wait_until("both writes", || slave.writes(1).len() + slave.writes(2).len() >= 1);
    site.gateway.kill();
    site.gateway.launch();
    site.gateway.wait_until_up();
    assert_eq!(site.wait_for("bus-1", "1", "done")["result"], 5);
    let end = wait_for("an end", || {
        let states = site.states("bus-2", "2");
        states.last().filter(|state| state.starts_with("failed") || *state == "done").cloned()
    });
    // It was begun, or was not: whatever it was, it was written once at most.
    let writes = slave.writes(2).len();
    match end.as_str() {
        "failed unknown_outcome" => assert!(writes <= 1, "{writes}"),
        other => panic!("{other} after {writes} writes"),
    }
}
