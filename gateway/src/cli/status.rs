//! `gateway status`

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::run::block_on;
use super::{ConfigArgs, Output, complain, complain_of};
use crate::control::{AskError, Request, ask};
use crate::exit::Exit;

/// Nodes that do not answer and are shown; `--json` has them all.
const MAX_SILENT: usize = 10;

#[derive(Args)]
pub(super) struct Arguments {
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// No gateway answered.
#[derive(Debug, thiserror::Error)]
#[error(
    "no gateway answers in {0}; is it running, with the same configuration, and are you its user?"
)]
struct NoGateway(String, #[source] AskError);

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    let loaded = match config.load_partly() {
        Ok(loaded) => loaded,
        Err(report) => return complain(&report),
    };
    let state_dir = &loaded.config.gateway.state_dir;
    match ask_status(state_dir) {
        Ok(status) if arguments.json => Output::lock().finish_json(&status, Exit::Ok),
        Ok(status) => Output::lock().finish(&table(&status), Exit::Ok),
        Err(error) => {
            complain_of(&NoGateway(state_dir.display().to_string(), error));
            Exit::Unreachable
        }
    }
}

/// Asks the gateway that uses `state_dir` for its status.
fn ask_status(state_dir: &Path) -> Result<Value, AskError> {
    let mut status = Value::Null;
    let take = |line: &str| {
        status = serde_json::from_str(line).unwrap_or_default();
        true
    };
    block_on(ask(state_dir, &Request::Status, take))??;
    Ok(status)
}

/// The same for people.
fn table(status: &Value) -> String {
    let text = |path: &str| match status.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    };
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "gateway {}, up {} s", text("/gateway"), text("/uptime_seconds"));
    clock(&mut out, status);
    store(&mut out, status);
    for name in names(status, "/sources") {
        let at = |key: &str| text(&format!("/sources/{name}/{key}"));
        let up = if at("up") == "true" { "up" } else { "down" };
        let addresses = |key: &str| {
            let addresses = status.pointer(&format!("/sources/{name}/{key}"));
            let addresses = addresses.and_then(Value::as_array).into_iter().flatten();
            addresses.filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        };
        let (addresses, tcp) = (addresses("addresses"), addresses("tcp_addresses"));
        let on = if addresses.is_empty() { "" } else { " on " };
        let and_tcp = if tcp.is_empty() { "" } else { ", TCP " };
        let clients = status.pointer(&format!("/sources/{name}/clients"));
        let clients = clients.and_then(Value::as_u64);
        let clients = clients.map_or_else(String::new, |clients| format!("{clients} clients, "));
        let _ = writeln!(
            out,
            "source   {name}: {up}{on}{addresses}{and_tcp}{tcp}, {clients}{} messages, {} readings, {} reconnects",
            at("messages"),
            at("readings"),
            at("reconnects")
        );
        nodes(&mut out, status, name);
        counts(&mut out, status, &format!("/sources/{name}/refused"), "refused");
        bus(&mut out, status, name);
    }
    for name in names(status, "/routes") {
        let _ = writeln!(out, "route    {name}: {} readings", text(&format!("/routes/{name}")));
    }
    counts(&mut out, status, "/dropped", "dropped");
    for name in names(status, "/brokers") {
        let at = |key: &str| text(&format!("/brokers/{name}/{key}"));
        let state = if at("connected") == "true" { "connected to" } else { "not connected," };
        let _ = writeln!(
            out,
            "broker   {name}: {state} {}, {} published, {} acknowledged, {} waiting{}",
            at("url"),
            at("published"),
            at("acknowledged"),
            text(&format!("/store/pending/{name}")),
            match status.pointer(&format!("/brokers/{name}/oldest_seconds")) {
                Some(Value::Number(seconds)) => format!(" for up to {seconds} s"),
                _ => String::new(),
            }
        );
        dropped(&mut out, status, name);
        counts(&mut out, status, &format!("/brokers/{name}/refused"), "refused");
        counts(&mut out, status, &format!("/brokers/{name}/left_out"), "left out");
        counts(&mut out, status, &format!("/brokers/{name}/disconnects"), "disconnected");
        subscriber(&mut out, status, name);
    }
    commands(&mut out, status);
    for name in names(status, "/store/orphans") {
        let _ = writeln!(
            out,
            "broker   {name}: not configured, stands at reading {}; `gateway store forget {name}` \
             deletes what is kept of it",
            text(&format!("/store/orphans/{name}"))
        );
    }
    out
}

/// The nodes that a source asks: how many there are, and the first of those that do not answer.
fn nodes(out: &mut String, status: &Value, source: &str) {
    let nodes = status.pointer(&format!("/sources/{source}/nodes")).and_then(Value::as_object);
    let Some(nodes) = nodes else { return };
    let number = |node: &Value, key: &str| node.get(key).and_then(Value::as_u64);
    let observed: u64 = nodes.values().filter_map(|node| number(node, "observed")).sum();
    let silent: Vec<_> =
        nodes.iter().filter(|(_, node)| number(node, "failures_in_a_row") > Some(0)).collect();
    let how_many = match silent.len() {
        0 => "none is silent".to_owned(),
        count => format!("{count} silent"),
    };
    let _ =
        writeln!(out, "         {} nodes, {observed} observed resources, {how_many}", nodes.len());
    for (name, node) in silent.iter().take(MAX_SILENT) {
        let heard = match number(node, "heard_seconds") {
            Some(seconds) => format!("heard of {seconds} s ago"),
            None => "never heard of".to_owned(),
        };
        let why = node.get("last_failure").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(out, "         {name}: {heard}, {why}");
    }
}

/// The machine's clock, and devices whose own cannot be right.
fn clock(out: &mut String, status: &Value) {
    let count = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let since = status.pointer("/clock/since").and_then(Value::as_str);
    let state = match (status.pointer("/clock/synchronised").and_then(Value::as_bool), since) {
        (Some(true), Some(since)) => format!("synchronised since {since}"),
        (Some(true), None) => "synchronised".to_owned(),
        (Some(false) | None, _) => {
            format!("not synchronised, {} readings wait for their time", count("/clock/waiting"))
        }
    };
    let _ = writeln!(out, "clock    {state}, was set {} times", count("/clock/steps"));
    counts(out, status, "/redated", "dated by arrival");
}

/// The units of a Modbus master.
fn bus(out: &mut String, status: &Value, source: &str) {
    let bus = format!("/sources/{source}/bus");
    let number = |path: &str| status.pointer(&format!("{bus}/{path}")).and_then(Value::as_u64);
    let count = |path: &str| number(path).unwrap_or(0);
    if count("pauses") > 0 {
        let _ = writeln!(out, "         polling waited {} times for the store", count("pauses"));
    }
    let units = format!("{bus}/units");
    let mut addresses: Vec<_> = names(status, &units).collect();
    addresses.sort_by_key(|address| address.parse::<u8>().ok());
    for unit in addresses {
        let device = status.pointer(&format!("{units}/{unit}/device")).and_then(Value::as_str);
        let ago = number(&format!("units/{unit}/answered_ms_ago"));
        let ago = ago.map_or_else(
            || "no answer yet".to_owned(),
            |ms| format!("answered {}.{} s ago", ms / 1000, ms % 1000 / 100),
        );
        let _ = writeln!(
            out,
            "         unit {unit} ({}): {ago}, {} requests, {} answers, {} polls left out",
            device.unwrap_or_default(),
            count(&format!("units/{unit}/requests")),
            count(&format!("units/{unit}/answers")),
            count(&format!("units/{unit}/skipped")),
        );
        counts(out, status, &format!("{units}/{unit}/failed"), "  failed");
    }
}

/// The store and its disk.
fn store(out: &mut String, status: &Value) {
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64);
    let count = |path: &str| number(path).unwrap_or(0);
    let bytes = |path: &str| number(path).map_or_else(|| "-".to_owned(), amount);
    let is = |path: &str| status.pointer(path).and_then(Value::as_bool).unwrap_or(false);
    let _ = writeln!(
        out,
        "store    {}, {} commits, the next number is {}",
        bytes("/store/used_bytes"),
        count("/store/commits"),
        count("/store/next"),
    );
    let _ = writeln!(
        out,
        "         {} written, {} a day at the rate of the last minutes; {} free on the disk",
        bytes("/store/wear/written_bytes"),
        bytes("/store/wear/written_per_day"),
        bytes("/store/disk/free_bytes"),
    );
    if count("/store/damaged") > 0 {
        let _ = writeln!(
            out,
            "         {} parts are damaged, with up to {} readings: see the log, and \
             `gateway store verify`",
            count("/store/damaged"),
            count("/store/damaged_numbers"),
        );
    }
    if is("/store/blocked") {
        let _ = writeln!(out, "         full: readings wait for room");
    }
    if !is("/store/disk/may_grow") {
        let _ = writeln!(
            out,
            "         the disk is full up to `store.min_free`: the store cannot grow"
        );
    }
    if !is("/store/disk/reserve") {
        let _ = writeln!(out, "         no reserve file: the disk has no room for it");
    }
    let dead: u64 =
        names(status, "/store/dead").map(|broker| count(&format!("/store/dead/{broker}"))).sum();
    if dead > 0 {
        let _ = writeln!(out, "         {dead} dead letters, see `gateway dead-letters list`");
    }
}

/// The connection to a broker that subscribes, where there is one.
fn subscriber(out: &mut String, status: &Value, broker: &str) {
    let path = format!("/brokers/{broker}/subscriber");
    let Some(Value::Object(_)) = status.pointer(&path) else { return };
    let number = |key: &str| status.pointer(&format!("{path}/{key}")).and_then(Value::as_u64);
    let count = |key: &str| number(key).unwrap_or(0);
    let up = status.pointer(&format!("{path}/connected")) == Some(&Value::Bool(true));
    let _ = writeln!(
        out,
        "         {}: {} topics, {} watchers, {} messages, {} connections",
        if up { "subscriptions" } else { "no subscriptions, not connected" },
        count("topics"),
        count("watchers"),
        count("messages"),
        count("connections"),
    );
    counts(out, status, &format!("{path}/refused"), "not subscribed or taken:");
    counts(out, status, &format!("{path}/disconnects"), "disconnected from subscribing:");
}

/// What became of commands, where any are taken.
fn commands(out: &mut String, status: &Value) {
    let Some(Value::Object(_)) = status.pointer("/commands") else { return };
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let deaf: Vec<&str> = names(status, "/brokers")
        .filter(|broker| {
            let ears = status.pointer(&format!("/brokers/{broker}/commands/connected"));
            ears == Some(&Value::Bool(false))
        })
        .map(String::as_str)
        .collect();
    let _ = writeln!(
        out,
        "commands {} open, {} done, {} failed, {} expired{}",
        number("/commands/open"),
        number("/commands/done"),
        number("/commands/failed"),
        number("/commands/expired"),
        match deaf.is_empty() {
            true => String::new(),
            false => format!(", not connected to take any from {}", deaf.join(", ")),
        }
    );
    counts(out, status, "/commands/refused", "not taken:");
}

/// What a broker has missed, by reason.
fn dropped(out: &mut String, status: &Value, broker: &str) {
    for reason in ["lag", "age", "full"] {
        let path = format!("/store/dropped/{broker}/{reason}");
        let count = status.pointer(&path).and_then(Value::as_u64).unwrap_or(0);
        if count > 0 {
            let _ = writeln!(out, "         dropped {count} ({reason})");
        }
    }
}

/// Bytes for people.
fn amount(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

fn names<'a>(status: &'a Value, path: &str) -> impl Iterator<Item = &'a String> {
    status.pointer(path).and_then(Value::as_object).into_iter().flat_map(|map| map.keys())
}

fn counts(out: &mut String, status: &Value, path: &str, word: &str) {
    for reason in names(status, path) {
        let count = status.pointer(&format!("{path}/{reason}/count"));
        let last = status.pointer(&format!("{path}/{reason}/last")).and_then(Value::as_str);
        let (count, last) = (count.and_then(Value::as_u64).unwrap_or(0), last.unwrap_or_default());
        let _ = writeln!(out, "         {word} {count} ({reason}), the last: {last}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_rounded_down_to_a_tenth() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_600_000, "1.5 MiB"),
            (7 << 30, "7.0 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(amount(bytes), text);
        }
    }

    #[test]
    fn nodes_that_do_not_answer_are_shown_and_the_others_counted() {
        let node = |failures: u32, heard: Option<u32>| {
            json!({
                "failures_in_a_row": failures, "heard_seconds": heard, "observed": 2,
                "last_failure": "/temp: the peer did not acknowledge the request"
            })
        };
        let nodes = json!({ "a": node(0, Some(1)), "b": node(3, Some(99)), "c": node(1, None) });
        let text = table(&json!({ "sources": { "plant": { "nodes": nodes } } }));
        for line in [
            "3 nodes, 6 observed resources, 2 silent",
            "b: heard of 99 s ago, /temp: the peer did not acknowledge the request",
            "c: never heard of, /temp",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
        assert!(!text.contains("a: "), "{text}");
    }

    #[test]
    fn each_unit_of_a_bus_has_a_line_in_the_order_of_addresses() {
        let failed = json!({ "timeout": { "count": 3, "last": "no answer in time" } });
        let unit = |ago: Value, failed: Value| {
            json!({
                "device": "em24", "requests": 9, "answers": 6, "skipped": 1,
                "answered_ms_ago": ago, "failed": failed
            })
        };
        let units = json!({ "12": unit(json!(null), failed), "2": unit(json!(1250), json!({})) });
        let bus = json!({ "pauses": 2, "units": units });
        let text = table(&json!({ "sources": { "meter": { "bus": bus } } }));
        let lines = "         polling waited 2 times for the store\n         \
            unit 2 (em24): answered 1.2 s ago, 9 requests, 6 answers, 1 polls left out\n         \
            unit 12 (em24): no answer yet, 9 requests, 6 answers, 1 polls left out\n           \
            failed 3 (timeout), the last: no answer in time\n";
        assert!(text.contains(lines), "{text}");
    }

    #[test]
    fn what_the_store_does_not_keep_is_told() {
        let status = json!({
            "store": {
                "blocked": true,
                "damaged": 2,
                "damaged_numbers": 9,
                "orphans": { "old": 7 },
                "dropped": { "cloud": { "lag": 3, "age": 0, "full": 5 } },
                "dead": { "cloud": 2, "local": 1 },
                "disk": { "free_bytes": 1048576, "may_grow": false, "reserve": false },
                "wear": { "written_bytes": 2048, "written_per_day": null }
            },
            "brokers": { "cloud": {} }
        });
        let text = table(&status);
        for line in [
            "2.0 KiB written, - a day at the rate of the last minutes; 1.0 MiB free on the disk",
            "2 parts are damaged, with up to 9 readings: see the log, and `gateway store verify`",
            "full: readings wait for room",
            "the store cannot grow",
            "no reserve file",
            "3 dead letters",
            "dropped 3 (lag)",
            "dropped 5 (full)",
            "broker   old: not configured, stands at reading 7; `gateway store forget old`",
        ] {
            assert!(text.contains(line), "{line} is missing:\n{text}");
        }
        assert!(!text.contains("(age)"), "{text}");
    }
}
