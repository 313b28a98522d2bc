//! `gateway devices`

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::ConfigArgs;
use super::dead_letters::print;
use crate::control::Request;
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct Arguments {
    /// Print each as a JSON object on a line of its own, with its resources
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    let show = if arguments.json { str::to_owned } else { listed };
    print(config, &Request::Devices, show).unwrap_or_else(|exit| exit)
}

/// The same for people.
fn listed(line: &str) -> String {
    let device: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |key: &str| device.get(key).and_then(Value::as_str).unwrap_or("-");
    let readings = device.get("readings").and_then(Value::as_u64).unwrap_or(0);
    let heard = match device.get("last_heard").and_then(Value::as_str) {
        Some(time) => format!("{readings} readings, the last at {time}"),
        None => "no readings yet".to_owned(),
    };
    let mut out = String::new();
    // Writing to a string cannot fail.
    let at = Some(text("address")).filter(|address| !address.is_empty());
    let at = at.map_or_else(String::new, |address| format!(" at {address}"));
    let _ = writeln!(out, "{}: {}{at}, {heard}", text("name"), text("source"));
    let registrations = device.get("registrations").and_then(Value::as_array);
    for registration in registrations.into_iter().flatten() {
        let text = |key: &str| registration.get(key).and_then(Value::as_str);
        let seconds = registration.get("expires_seconds").and_then(Value::as_u64).unwrap_or(0);
        let sector = text("sector").map_or_else(String::new, |name| format!(" in sector {name}"));
        let _ = writeln!(
            out,
            "  registered as {}{sector} for {seconds} s more, at {}",
            text("location").unwrap_or("-"),
            text("base").unwrap_or("-"),
        );
        let resources = registration.get("resources").and_then(Value::as_array);
        for resource in resources.into_iter().flatten().filter_map(Value::as_str) {
            let _ = writeln!(out, "    {resource}");
        }
    }
    let operations = device.get("operations").and_then(Value::as_array);
    for operation in operations.into_iter().flatten() {
        let text = |key: &str| operation.get(key).and_then(Value::as_str);
        let set = text("set").map_or_else(String::new, |topic| format!(", at {topic}"));
        let (name, value) = (text("name").unwrap_or("-"), text("value").unwrap_or("-"));
        let _ = writeln!(out, "  {name}: {value}{set}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_told_with_its_registrations_and_resources() {
        let line = r#"{"name":"th-1","source":"nodes","address":"coap://10.0.0.1","last_heard":"2026-11-20T22:39:00Z","readings":3,"registrations":[{"location":"/rd/1","base":"coap://10.0.0.1","sector":"s","registered_seconds":5,"expires_seconds":60,"resources":["<coap://10.0.0.1/t>;obs"]}]}"#;
        let expected = "th-1: nodes at coap://10.0.0.1, 3 readings, the last at 2026-11-20T22:39:00Z\n  \
            registered as /rd/1 in sector s for 60 s more, at coap://10.0.0.1\n    \
            <coap://10.0.0.1/t>;obs\n";
        assert_eq!(listed(line), expected);
        let valve = r#"{"name":"v","source":"s","address":"","last_heard":null,"readings":0,"registrations":[],"operations":[{"name":"open","value":"true or false","set":"site/gw/v/open/set"}]}"#;
        assert_eq!(
            listed(valve),
            "v: s, no readings yet\n  open: true or false, at site/gw/v/open/set\n"
        );
        let silent = r#"{"name":"a","source":"s","address":"x","last_heard":null,"readings":0,"registrations":[]}"#;
        assert_eq!(listed(silent), "a: s at x, no readings yet\n");
    }
}
