//! `gateway status`

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::run::block_on;
use super::{ConfigArgs, Output, complain, complain_of};
use crate::control::ask_status;
use crate::exit::Exit;

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
struct NoGateway(String, #[source] io::Error);

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    let loaded = match config.load() {
        Ok(loaded) => loaded,
        Err(report) => return complain(&report),
    };
    let state_dir = &loaded.config.gateway.state_dir;
    match ask(state_dir) {
        Ok(status) if arguments.json => Output::lock().finish_json(&status, Exit::Ok),
        Ok(status) => Output::lock().finish(&table(&status), Exit::Ok),
        Err(error) => {
            complain_of(&NoGateway(state_dir.display().to_string(), error));
            Exit::Unreachable
        }
    }
}

fn ask(state_dir: &Path) -> io::Result<Value> {
    block_on(ask_status(state_dir))?
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
    let _ = writeln!(
        out,
        "store    {} bytes, {} commits, {} readings since the store was made",
        text("/store/used_bytes"),
        text("/store/commits"),
        status.pointer("/store/next").and_then(Value::as_u64).unwrap_or(1) - 1,
    );
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
        counts(&mut out, status, &format!("/sources/{name}/refused"), "refused");
    }
    for name in names(status, "/routes") {
        let _ = writeln!(out, "route    {name}: {} readings", text(&format!("/routes/{name}")));
    }
    counts(&mut out, status, "/dropped", "dropped");
    for name in names(status, "/brokers") {
        let at = |key: &str| text(&format!("/brokers/{name}/{key}"));
        let state = if at("connected") == "true" { "connected" } else { "not connected" };
        let _ = writeln!(
            out,
            "broker   {name}: {state}, {} published, {} acknowledged, {} waiting",
            at("published"),
            at("acknowledged"),
            text(&format!("/store/pending/{name}"))
        );
        counts(&mut out, status, &format!("/brokers/{name}/refused"), "refused");
        counts(&mut out, status, &format!("/brokers/{name}/disconnects"), "disconnected");
    }
    out
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
