//! `gateway status`

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use serde_json::Value;

use super::run::block_on;
use super::{ConfigArgs, Output, complain, complain_of};
use crate::control::{AskError, Request, ask};
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
struct NoGateway(String, #[source] AskError);

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    let loaded = match config.load() {
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
    let _ = writeln!(
        out,
        "store    {} bytes, {} commits, {} readings since the store was made",
        text("/store/used_bytes"),
        text("/store/commits"),
        status.pointer("/store/next").and_then(Value::as_u64).unwrap_or(1) - 1,
    );
    if status.pointer("/store/damaged").is_some_and(|damaged| *damaged != 0) {
        let _ = writeln!(
            out,
            "         {} parts are damaged, with up to {} readings: see the log, and `gateway store verify`",
            text("/store/damaged"),
            text("/store/damaged_numbers"),
        );
    }
    for name in names(status, "/sources") {
        let at = |key: &str| text(&format!("/sources/{name}/{key}"));
        let up = if at("up") == "true" { "up" } else { "down" };
        let addresses = status.pointer(&format!("/sources/{name}/addresses"));
        let addresses: Vec<_> = addresses
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let on = if addresses.is_empty() { "" } else { " on " };
        let _ = writeln!(
            out,
            "source   {name}: {up}{on}{}, {} messages, {} readings, {} reconnects",
            addresses.join(" "),
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
