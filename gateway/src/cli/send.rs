//! `gateway send`, `gateway cancel` and `gateway commands`

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::ConfigArgs;
use super::dead_letters::print;
use crate::commands::Priority;
use crate::config::Interval;
use crate::control::{Request, SendRequest};
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct SendArguments {
    /// A device, a group, or a pattern for names of devices
    device: String,
    /// What it is to do: the name of an operation of the configuration
    operation: String,
    /// The value, where the operation has one
    value: Option<String>,
    /// Identifier: the same command again is answered with its outcome, and not carried out again
    #[arg(long)]
    id: Option<String>,
    /// How long it may take, such as 30s
    #[arg(long, value_name = "TIME")]
    deadline: Option<Interval>,
    /// Which commands of the device go first
    #[arg(long, value_enum, default_value = "normal")]
    priority: PriorityArgument,
    /// Print every state as JSON on a line of its own
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct CancelArguments {
    /// The device or the group
    device: String,
    /// The command's identifier
    id: String,
    /// Print the command as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct CommandsArguments {
    /// Only those of this device or group
    #[arg(long)]
    device: Option<String>,
    /// Most commands, the newest
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Print each as JSON on a line of its own
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PriorityArgument {
    High,
    Normal,
    Low,
}

/// Sends a command and waits for its outcome, which is the exit code.
pub(super) fn send(arguments: &SendArguments, config: &ConfigArgs) -> Exit {
    let request = Request::Send(SendRequest {
        device: arguments.device.clone(),
        operation: arguments.operation.clone(),
        id: arguments.id.clone(),
        value: arguments.value.clone(),
        deadline: arguments.deadline,
        priority: match arguments.priority {
            PriorityArgument::High => Priority::High,
            PriorityArgument::Normal => Priority::Normal,
            PriorityArgument::Low => Priority::Low,
        },
    });
    let outcome = std::cell::Cell::new(Exit::Failure);
    let show = |line: &str| {
        let state: Value = serde_json::from_str(line).unwrap_or_default();
        outcome.set(match state.get("state").and_then(Value::as_str) {
            Some("done") => Exit::Ok,
            Some("expired") => Exit::Unreachable,
            _ => Exit::Failure,
        });
        if arguments.json { line.to_owned() } else { words(&state) }
    };
    match print(config, &request, show) {
        Ok(Exit::Ok) => outcome.get(),
        Ok(exit) | Err(exit) => exit,
    }
}

pub(super) fn cancel(arguments: &CancelArguments, config: &ConfigArgs) -> Exit {
    let (device, id) = (arguments.device.clone(), arguments.id.clone());
    let cancelled = std::cell::Cell::new(Exit::Failure);
    let show = |line: &str| {
        let state: Value = serde_json::from_str(line).unwrap_or_default();
        if state.pointer("/error/code").and_then(Value::as_str) == Some("cancelled") {
            cancelled.set(Exit::Ok);
        }
        if arguments.json { line.to_owned() } else { words(&state) }
    };
    match print(config, &Request::Cancel { device, id }, show) {
        Ok(Exit::Ok) => cancelled.get(),
        Ok(exit) | Err(exit) => exit,
    }
}

pub(super) fn commands(arguments: &CommandsArguments, config: &ConfigArgs) -> Exit {
    let request = Request::Commands { device: arguments.device.clone(), limit: arguments.limit };
    let show = |line: &str| match serde_json::from_str(line) {
        Ok(state) if !arguments.json => words(&state),
        _ => line.to_owned(),
    };
    print(config, &request, show).unwrap_or_else(|exit| exit)
}

/// A state for people.
fn words(state: &Value) -> String {
    let text = |key: &str| state.get(key).and_then(Value::as_str).unwrap_or("-");
    let value = state.get("value").map_or_else(String::new, |value| format!(" = {value}"));
    let mut out = format!(
        "{}  {} {}{value} ({}): {}",
        text("time"),
        text("device"),
        text("operation"),
        text("id"),
        text("state"),
    );
    if let Some(result) = state.get("result") {
        out.push_str(&format!(", {result}"));
    }
    if let Some(detail) = state.pointer("/error/detail").and_then(Value::as_str) {
        let code = state.pointer("/error/code").and_then(Value::as_str).unwrap_or("-");
        out.push_str(&format!(", {code}: {detail}"));
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_a_line_for_people() {
        let state = serde_json::json!({
            "time": "2026-11-21T10:00:00.000Z", "device": "valve-1", "operation": "setpoint", "id": "42",
            "value": 21.5, "state": "failed", "error": {"code": "4.04", "detail": "Not Found"}
        });
        assert_eq!(
            words(&state),
            "2026-11-21T10:00:00.000Z  valve-1 setpoint = 21.5 (42): failed, 4.04: Not Found\n"
        );
    }
}
