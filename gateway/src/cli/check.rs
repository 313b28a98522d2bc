//! `gateway check`

use clap::Args;
use serde_json::json;

use super::{ConfigArgs, Output, complain};
use crate::config::Config;
use crate::exit::Exit;

#[derive(Args)]
pub(super) struct Arguments {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    match (config.load(), arguments.json) {
        (Ok(loaded), false) => {
            Output::lock().finish(&format!("ok: {}\n", summary(&loaded.config)), Exit::Ok)
        }
        (Ok(loaded), true) => {
            let Config { sources, brokers, routes, .. } = &loaded.config;
            let result = json!({
                "ok": true,
                "sources": sources.len(),
                "brokers": brokers.len(),
                "routes": routes.len(),
            });
            Output::lock().finish_json(&result, Exit::Ok)
        }
        (Err(report), false) => complain(&report),
        (Err(report), true) => {
            let result = json!({ "ok": false, "problems": report.to_json() });
            Output::lock().finish_json(&result, Exit::Config)
        }
    }
}

/// "3 sources, 1 broker, 2 routes".
fn summary(config: &Config) -> String {
    let count =
        |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    [
        count(config.sources.len(), "source"),
        count(config.brokers.len(), "broker"),
        count(config.routes.len(), "route"),
    ]
    .join(", ")
}
