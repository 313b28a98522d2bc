//! `gateway replay`

use clap::Args;
use serde_json::Value;

use super::ConfigArgs;
use super::dead_letters::print;
use super::store::time::Time;
use crate::control::Request;
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct Arguments {
    /// The broker that gets the readings once more
    #[arg(long, value_name = "BROKER")]
    broker: String,
    /// What was received at this time or later: 2026-11-20T22:39:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    from: Time,
    /// What was received before this time; now, where it is left out
    #[arg(long, value_name = "TIME")]
    to: Option<Time>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    let request = Request::Replay {
        broker: arguments.broker.clone(),
        from_ns: Some(arguments.from.as_nanos()),
        to_ns: arguments.to.map(Time::as_nanos),
    };
    let show = |line: &str| match serde_json::from_str::<Value>(line) {
        Ok(outcome) if !arguments.json => words(&outcome),
        _ => line.to_owned(),
    };
    print(config, &request, show).unwrap_or_else(|exit| exit)
}

fn words(outcome: &Value) -> String {
    let acknowledged = outcome.get("acknowledged").and_then(Value::as_u64).unwrap_or(0);
    let refused = outcome.get("refused").and_then(Value::as_array).map_or(0, Vec::len);
    match refused {
        0 => format!("{acknowledged} readings were acknowledged once more\n"),
        refused => format!(
            "{acknowledged} readings were acknowledged once more, {refused} were refused: see \
             `gateway dead-letters list`\n"
        ),
    }
}
