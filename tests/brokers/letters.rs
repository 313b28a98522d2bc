//! What a broker does not take, what it is sent once more, and what goes over the wire.

use std::process::{Command, Stdio};

use device_sim::broker::{Matching, Reason};
use serde_json::Value;

use crate::harness::clock::wait_until;
use crate::harness::gateway::Gateway;
use crate::harness::lines::LineClient;
use crate::harness::process::{Lines, Running};
use crate::harness::sim::Recorder;

/// A gateway with one source of lines and this broker, which gets whole readings.
fn gateway(broker: &Recorder, keys: &str) -> Gateway {
    Gateway::start(&format!(
        "[sources.lines]\nlink = {{ type = \"tcp\", bind = \"127.0.0.1:0\", reply = true }}\n\
         decode = {{ type = \"json\", device = \"device\" }}\n\
         [brokers.b]\nurl = \"{}\"\nmax_backoff = \"1s\"\n{keys}\n[routes.all]\n",
        broker.url()
    ))
}

/// Hands in these values of a device, each on its own.
fn send(gateway: &Gateway, device: &str, values: impl IntoIterator<Item = u64>) {
    let mut client = LineClient::connect(gateway.address("lines")).unwrap();
    for value in values {
        let line = format!(r#"{{"device":"{device}","v":{value}}}"#);
        assert_eq!(client.ask(&line).unwrap(), "ok");
    }
}

/// The JSON lines that a command prints.
fn lines(command: &mut Command) -> Vec<Value> {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn letters(gateway: &Gateway) -> Vec<Value> {
    lines(gateway.command("dead-letters").args(["list", "--json"]))
}

/// Device and value of every reading that arrived.
fn arrived(broker: &Recorder) -> Vec<(String, u64)> {
    let readings = broker.readings().into_iter();
    readings.map(|reading| (reading.device, reading.value.as_u64().unwrap())).collect()
}

#[test]
fn a_refused_reading_is_listed_and_can_be_sent_again_or_deleted() {
    let broker = Recorder::start();
    let secret = Matching::all().topic("+/secret/#".parse().unwrap());
    broker.faults().reject(Some((Reason::NotAuthorized, secret)));
    let gateway = gateway(&broker, "protocol = \"5\"");
    send(&gateway, "secret", [1, 2]);
    send(&gateway, "open", [3]);
    gateway.wait_for_count("/store/dead/b", 2);
    wait_until("the other one", || arrived(&broker) == [("open".to_owned(), 3)]);

    let listed = letters(&gateway);
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["reason"], "not_authorized");
    assert_eq!(listed[0]["topic"], "gw/secret/v");
    assert_eq!(
        (&listed[0]["reading"]["value"], &listed[0]["reading"]["n"]),
        (&1.into(), &1.into())
    );
    let text = gateway.command("dead-letters").arg("list").output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("not_authorized") && text.contains("secret v = 2, n 2"), "{text}");

    // Refused once more, it stays.
    let again = lines(gateway.command("dead-letters").args(["resend", "--all", "--json"]));
    assert_eq!((&again[0]["acknowledged"], &again[0]["refused"]), (&0.into(), &2.into()));
    assert_eq!(letters(&gateway).len(), 2);

    broker.faults().clear();
    let id = letters(&gateway)[0]["id"].to_string();
    let resent = lines(gateway.command("dead-letters").args(["resend", "--id", &id, "--json"]));
    assert_eq!(resent[0]["acknowledged"], 1, "{resent:?}");
    assert_eq!(arrived(&broker).last(), Some(&("secret".to_owned(), 1)));
    let dropped = lines(gateway.command("dead-letters").args(["drop", "--broker", "b", "--json"]));
    assert_eq!(dropped[0]["dropped"], 1);
    assert_eq!(letters(&gateway), [] as [Value; 0]);
    let nothing = gateway.command("dead-letters").arg("drop").output().unwrap();
    assert_eq!(nothing.status.code(), Some(2), "nothing is meant by mistake");
}

#[test]
fn a_reading_that_ends_connections_is_put_aside_and_survives_a_restart() {
    let broker = Recorder::start();
    broker.faults().poison(Some(Matching::all().payload("\"value\":7,")));
    let mut gateway = gateway(&broker, "quarantine_after = 3");
    send(&gateway, "d", 0..20);
    gateway.wait_for_count("/store/dead/b", 1);
    wait_until("the others", || gateway.count("/store/pending/b") == 0);
    let values: Vec<u64> = arrived(&broker).into_iter().map(|(_, value)| value).collect();
    let others: Vec<u64> = (0..20).filter(|value| *value != 7).collect();
    assert!(others.iter().all(|value| values.contains(value)), "{values:?}");
    gateway.kill();
    gateway.launch();
    gateway.wait_until_up();
    let listed = letters(&gateway);
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["reason"], &listed[0]["reading"]["value"]),
        (&"ends_connections".into(), &7.into())
    );
}

#[test]
fn readings_of_a_time_are_sent_once_more() {
    let broker = Recorder::start();
    let gateway = gateway(&broker, "");
    send(&gateway, "d", 0..10);
    wait_until("ten readings", || broker.readings().len() == 10);
    let between = lines(gateway.command("store").args(["export"]))[9]["received"].clone();
    let between = between.as_str().unwrap();
    send(&gateway, "d", 10..15);
    wait_until("five more", || broker.readings().len() == 15);

    let replay = |arguments: &[&str]| {
        let mut command = gateway.command("replay");
        lines(command.args(["--broker", "b", "--json"]).args(arguments))
    };
    assert_eq!(replay(&["--from", "1h", "--to", between])[0]["acknowledged"], 9);
    assert_eq!(replay(&["--from", between])[0]["acknowledged"], 6);
    let numbers: Vec<u64> = broker.readings().iter().map(|reading| reading.n).collect();
    let expected: Vec<u64> = (1..=15).chain(1..=9).chain(10..=15).collect();
    assert_eq!(numbers, expected);

    let wrong = gateway.command("replay").args(["--broker", "x", "--from", "1h"]).output().unwrap();
    let error = String::from_utf8(wrong.stderr).unwrap();
    assert!(error.contains("no broker is called `x`; there are: b"), "{error}");
}

#[test]
fn the_wire_is_shown_without_the_password() {
    let broker = Recorder::start();
    let keys = "username = \"u\"\npassword = \"hunter2\"\nprotocol = \"5\"";
    let gateway = gateway(&broker, keys);
    let shown = Lines::default();
    let mut command = gateway.command("wire");
    let _wire = Running::start_reading(command.args(["b", "--json"]), &shown);
    // Whether it looks already shows in what it sees.
    wait_until("a publish on the wire", || {
        send(&gateway, "d", [1]);
        shown.text().contains("PUBACK")
    });
    broker.faults().cut_all();
    wait_until("a new connection on the wire", || shown.text().contains("CONNACK"));
    // The first one of a connection has its topic, not an alias.
    send(&gateway, "d", [2]);
    wait_until("a publish with its topic", || shown.text().contains("\"topic\":\"gw/d/v\""));
    let packets: Vec<Value> =
        shown.since(0).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let publish = packets.iter().find(|packet| packet["topic"] == "gw/d/v").unwrap();
    assert_eq!((&publish["direction"], &publish["kind"]), (&"to_broker".into(), &"PUBLISH".into()));
    let secret: String = "hunter2".bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(!shown.text().contains(&secret) && !shown.text().contains("hunter2"));
}
