//! The Modbus master against pymodbus, over TCP and over a serial line, and against slaves that answer
//! wrongly.

mod raw;

use std::net::SocketAddr;
use std::process::Stdio;

use proto::modbus::{Exception, Request, Response, rtu, tcp};
use serde_json::{Value, json};

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::{Mosquitto, Subscriber};
use crate::harness::process::{pymodbus, run};
use crate::harness::serial::Cable;
use crate::harness::sim::Recorder;
use crate::harness::temp::port;
use raw::RawSlave;

const ROUTE: &str = "[routes.all]\ntopic = \"site/{device}/{name}\"\n";

/// A gateway with one bus, and Mosquitto.
fn start(link: &str, units: &str) -> (Mosquitto, Subscriber, Gateway) {
    let mosquitto = Mosquitto::start();
    let all = mosquitto.subscribe("site/#");
    let table = mosquitto.table("local");
    let gateway = Gateway::start(&format!(
        "[sources.bus]\nlink = {{ type = \"modbus\", {link} }}\n{units}\n{table}{ROUTE}"
    ));
    (mosquitto, all, gateway)
}

/// What `gateway status` says about a unit.
fn unit(gateway: &Gateway, address: u8) -> Value {
    gateway.status()["sources"]["bus"]["bus"]["units"][address.to_string()].clone()
}

fn failed(gateway: &Gateway, address: u8, reason: &str) -> u64 {
    gateway.count(&format!("/sources/bus/bus/units/{address}/failed/{reason}/count"))
}

fn values(all: &Subscriber, topic: &str) -> Vec<Value> {
    all.at(topic).iter().map(|message| message.json()["value"].clone()).collect()
}

#[test]
fn every_type_and_order_arrives_as_pymodbus_says_it() {
    let port = port().to_string();
    let mut slave = pymodbus(&["tcp", &port, "1"]);
    let (_mosquitto, all, gateway) = start(
        &format!("tcp = \"127.0.0.1:{port}\", max_backoff = \"1s\""),
        r#"
[sources.bus.units.1]
device = "em24"
interval = "100ms"
# There are registers between these that the unit does not have.
max_gap = 10
[sources.bus.units.1.registers]
u16 = { at = 0 }
i16 = { at = 1, type = "i16" }
u32 = { at = 2, type = "u32" }
i32 = { at = 4, type = "i32" }
u64 = { at = 6, type = "u64" }
i64 = { at = 10, type = "i64" }
f32 = { at = 14, type = "f32", unit = "V" }
f64 = { at = 16, type = "f64" }
model = { at = 20, type = "string", length = 4 }
bit-3 = { at = 24, bit = 3 }
bit-4 = { at = 24, bit = 4 }
state = { at = 25, values = { 0 = "off", 1 = "on" } }
scaled = { at = 26, scale = 0.1, offset = -5, name = "V.L1" }
cdab = { at = 30, type = "f32", order = "cdab" }
badc = { at = 32, type = "f32", order = "badc" }
dcba = { at = 34, type = "f32", order = "dcba" }
long-cdab = { at = 36, type = "u64", order = "cdab" }
long-dcba = { at = 40, type = "u64", order = "dcba" }
nothing = { at = 44, type = "f32" }
absent = { at = 1000 }
input = { at = 8, table = "input" }
coil-0 = { at = 0, table = "coil" }
coil-1 = { at = 1, table = "coil" }
coil-2 = { at = 2, table = "coil" }
contact-14 = { at = 14, table = "discrete" }
contact-15 = { at = 15, table = "discrete" }
"#,
    );
    for (name, value) in [
        ("u16", json!(65534)),
        ("i16", json!(-2)),
        ("u32", json!(4_000_000_000_u32)),
        ("i32", json!(-70000)),
        ("u64", json!(u64::MAX)),
        ("i64", json!(i64::MIN)),
        ("f64", json!(-1.5e-7)),
        ("model", json!("EM24-DIN")),
        ("bit-3", json!(true)),
        ("bit-4", json!(false)),
        ("state", json!("on")),
        ("V.L1", json!(225.1)),
        ("cdab", json!(123.456)),
        ("badc", json!(123.456)),
        ("dcba", json!(123.456)),
        ("long-cdab", json!(0x1234_5678_9abc_def0_u64)),
        ("long-dcba", json!(0x1234_5678_9abc_def0_u64)),
        ("input", json!(10)),
        ("coil-0", json!(true)),
        ("coil-1", json!(false)),
        ("coil-2", json!(true)),
        ("contact-14", json!(false)),
        ("contact-15", json!(true)),
    ] {
        let expected = json!({"gateway": "gw", "device": "em24", "name": name, "value": value});
        all.expect(&format!("site/em24/{name}"), &expected);
    }
    let volts =
        json!({"gateway": "gw", "device": "em24", "name": "f32", "value": 123.456, "unit": "V"});
    all.expect("site/em24/f32", &volts);

    // What is not there is counted and explained, and published by nobody.
    let illegal = "exception_2_illegal_data_address";
    wait_until("the exception to be counted", || failed(&gateway, 1, illegal) >= 2);
    wait_until("a float that is none to be counted", || failed(&gateway, 1, "not_a_number") > 0);
    assert!(all.at("site/em24/nothing").is_empty() && all.at("site/em24/absent").is_empty());
    let output = run(&mut gateway.command("status"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("unit 1 (em24): answered "), "{text}");
    assert!(text.contains(&format!("({illegal}), the last: 1 from 1000 of")), "{text}");
    assert!(text.contains("the device has no such register"), "{text}");

    // A slave that was killed is found again.
    slave.kill();
    wait_until("the loss to be noticed", || gateway.status()["sources"]["bus"]["up"] == false);
    let before = all.at("site/em24/u16").len();
    let _slave = pymodbus(&["tcp", &port, "1"]);
    wait_until("values after the restart", || all.at("site/em24/u16").len() > before + 2);
    assert!(gateway.count("/sources/bus/reconnects") > 0);
}

#[test]
fn a_dead_unit_on_a_serial_line_does_not_stall_the_other() {
    let cable = Cable::new();
    let far_end = cable.far_end().display().to_string();
    let mut slave = pymodbus(&["serial", &far_end, "1"]);
    let (_mosquitto, all, gateway) = start(
        &format!(
            "serial = \"{}\", baud = 9600, parity = \"none\", timeout = \"300ms\", max_backoff = \"2s\"",
            cable.port().display()
        ),
        r#"
[sources.bus.units.1]
interval = "100ms"
registers.itself = { at = 60 }
registers.f32 = { at = 14, type = "f32", interval = "1s" }
registers.coil = { at = 2, table = "coil", interval = "1s" }
[sources.bus.units.2]
interval = "100ms"
registers.itself = { at = 60 }
"#,
    );
    for (name, value) in [("itself", json!(1)), ("f32", json!(123.456)), ("coil", json!(true))] {
        let expected = json!({"gateway": "gw", "device": "bus-1", "name": name, "value": value});
        all.expect(&format!("site/bus-1/{name}"), &expected);
    }
    wait_until("the dead unit to be told", || failed(&gateway, 2, "timeout") > 2);
    let (alive, dead) = (unit(&gateway, 1), unit(&gateway, 2));
    assert!(alive["answers"].as_u64() > dead["requests"].as_u64().map(|n| 2 * n), "{alive} {dead}");
    assert_eq!(dead["answers"], 0);
    assert_eq!(dead["answered_ms_ago"], Value::Null);
    assert!(all.at("site/bus-2/itself").is_empty());

    // Both are there after the slave was killed and started with the other one too.
    slave.kill();
    wait_until("the silence to be noticed", || failed(&gateway, 1, "timeout") > 0);
    let before = all.at("site/bus-1/itself").len();
    let _slave = pymodbus(&["serial", &far_end, "1", "2"]);
    let expected = json!({"gateway": "gw", "device": "bus-2", "name": "itself", "value": 2});
    all.expect("site/bus-2/itself", &expected);
    wait_until("the first one to go on", || all.at("site/bus-1/itself").len() > before + 2);
    let first = values(&all, "site/bus-1/itself");
    assert!(first.iter().all(|value| *value == 1), "an answer of another unit was taken");
    assert_eq!(gateway.status()["sources"]["bus"]["up"], true);
}

/// A frame with what unit 1 answers to a read of one register that holds 42.
fn right(frame: &[u8]) -> Vec<u8> {
    let (unit, pdu) = rtu::decode(frame).unwrap();
    let request = Request::decode(pdu).unwrap();
    rtu::encode(unit, &Response::Registers(vec![42]).encode(&request))
}

#[test]
fn wrong_answers_are_counted_by_reason_and_the_right_one_is_taken() {
    let slave = RawSlave::start(8, |number, frame| match number {
        0 => {
            let mut wrong = right(frame);
            wrong[3] ^= 0xff;
            wrong
        }
        1 => right(frame)[..4].to_vec(),
        2 => rtu::encode(9, &[3, 2, 0, 66]),
        3 => rtu::encode(1, &[4, 2, 0, 66]),
        4 => rtu::encode(1, &[3, 4, 0, 66, 0, 66]),
        5 => rtu::encode(1, &[0x83, Exception::SERVER_DEVICE_FAILURE.0]),
        6 => Vec::new(),
        _ => right(frame),
    });
    let (_mosquitto, all, gateway) = start(
        &format!(
            "rtu_over_tcp = \"{}\", timeout = \"200ms\", max_backoff = \"1s\"",
            slave.address()
        ),
        "units.1 = { interval = \"100ms\", registers = { a = { at = 0 } } }\n",
    );
    let expected = json!({"gateway": "gw", "device": "bus-1", "name": "a", "value": 42});
    all.expect("site/bus-1/a", &expected);
    for reason in [
        "checksum",
        "truncated",
        "wrong_function",
        "wrong_length",
        "exception_4_server_device_failure",
        "timeout",
    ] {
        assert!(failed(&gateway, 1, reason) > 0, "{reason}: {}", unit(&gateway, 1));
    }
    assert_eq!(gateway.count("/sources/bus/refused/wrong_unit/count"), 1);
    assert!(values(&all, "site/bus-1/a").iter().all(|value| *value == 42));
}

#[test]
fn late_answers_and_strange_servers_are_told_on_tcp() {
    let slave = RawSlave::start(12, |number, bytes| {
        let (frame, _) = tcp::decode(bytes).unwrap().unwrap();
        let request = Request::decode(frame.pdu).unwrap();
        let answer = |transaction, value| {
            let pdu = Response::Registers(vec![value]).encode(&request);
            tcp::encode(transaction, frame.unit, &pdu)
        };
        match number {
            // To an earlier request, and nothing to this one.
            0 => answer(frame.transaction.wrapping_sub(1), 66),
            // The same, and then the right one.
            1 => [answer(frame.transaction.wrapping_sub(1), 66), answer(frame.transaction, 42)]
                .concat(),
            2 => tcp::encode(frame.transaction, 9, &[3, 2, 0, 66]),
            3 => b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            _ => answer(frame.transaction, 43),
        }
    });
    let (_mosquitto, all, gateway) = start(
        &format!("tcp = \"{}\", timeout = \"200ms\", max_backoff = \"1s\"", slave.address()),
        "units.255 = { interval = \"100ms\", registers = { a = { at = 0 } } }\n",
    );
    wait_until("the last answer", || values(&all, "site/bus-255/a").contains(&json!(43)));
    assert_eq!(gateway.count("/sources/bus/refused/late/count"), 2);
    assert!(failed(&gateway, 255, "timeout") > 0);
    assert_eq!(failed(&gateway, 255, "wrong_unit"), 1);
    assert_eq!(failed(&gateway, 255, "not_modbus"), 1);
    assert!(gateway.count("/sources/bus/reconnects") > 0);
    assert!(!values(&all, "site/bus-255/a").contains(&json!(66)), "a late answer was taken");
}

/// A gateway whose store is soon full, because its broker is away.
fn full(policy: &str, broker: &Recorder, slave: SocketAddr) -> Gateway {
    let registers: String = (0..125).map(|at| format!("r{at} = {{ at = {at} }}\n")).collect();
    Gateway::start(&format!(
        "[store]\nquota = \"1MiB\"\nwhen_full = \"{policy}\"\n\
         [sources.bus]\nlink = {{ type = \"modbus\", tcp = \"{slave}\" }}\n\
         units.1.interval = \"10ms\"\n[sources.bus.units.1.registers]\n{registers}\
         [brokers.sim]\nurl = \"{}\"\nmax_backoff = \"1s\"\n[routes.all]\n",
        broker.url()
    ))
}

#[test]
fn nothing_is_asked_while_the_store_is_full() {
    for policy in ["block", "drop_newest"] {
        let slave = RawSlave::start(12, |_, bytes| {
            let (frame, _) = tcp::decode(bytes).unwrap().unwrap();
            let request = Request::decode(frame.pdu).unwrap();
            let pdu = Response::Registers(vec![7; 125]).encode(&request);
            tcp::encode(frame.transaction, frame.unit, &pdu)
        });
        let broker = Recorder::start();
        broker.down();
        let gateway = full(policy, &broker, slave.address());
        wait_until("polling to pause", || gateway.count("/sources/bus/bus/pauses") > 0);
        if policy == "block" {
            let asked = slave.requests();
            for _ in 0..3 {
                gateway.status();
            }
            assert_eq!(slave.requests(), asked, "polling goes on without room");
        } else {
            assert!(gateway.count("/sources/bus/refused/not_stored/count") > 0);
        }
        broker.up();
        let asked = slave.requests();
        wait_until("polling to go on", || slave.requests() > asked + 10);
        assert!(unit(&gateway, 1)["skipped"].as_u64() > Some(0), "what was left out is counted");
    }
}

#[test]
fn a_later_layer_changes_one_field_of_a_register() {
    let gateway = Gateway::new(&format!(
        "[sources.bus]\nlink = {{ type = \"modbus\", tcp = \"192.0.2.9:502\" }}\n\
         units.1.registers.volts = {{ at = 0, type = \"i32\", scale = 0.1 }}\n\
         [brokers.b]\nurl = \"mqtt://h\"\n{ROUTE}"
    ));
    let mut command = gateway.command("config");
    command.arg("show").args(["--set", "sources.bus.units.1.registers.volts.scale=0.01"]);
    command.env("GATEWAY_SOURCES__BUS__UNITS__1__INTERVAL", "2s").stdin(Stdio::null());
    let output = run(&mut command);
    let shown = String::from_utf8(output.stdout).unwrap();
    for line in ["scale = 0.01", "type = \"i32\"", "interval = \"2s\""] {
        assert!(shown.contains(line), "{shown}");
    }
}
