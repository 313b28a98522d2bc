//! `gateway wire`

use clap::Args;
use serde_json::Value;

use super::ConfigArgs;
use super::dead_letters::print;
use crate::control::Request;
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct Arguments {
    /// The broker
    broker: String,
    /// Print each packet as a JSON object on a line of its own
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    let request = Request::Wire { broker: arguments.broker.clone() };
    let show = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(packet) if !arguments.json => words(&packet),
        _ => line.to_owned(),
    };
    print(config, &request, show).unwrap_or_else(|exit| exit)
}

fn words(packet: &Value) -> String {
    let text = |key: &str| packet.get(key).and_then(Value::as_str).unwrap_or("-");
    format!("{} {}\n", text("time"), text("text"))
}
