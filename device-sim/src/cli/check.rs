//! `device-sim check` and `device-sim schema`.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::CommandError;
use super::scenario::load;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The scenario.
    file: PathBuf,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Says whether a scenario can be played, or every mistake in it.
pub(super) fn run(options: &Options) -> Result<(), CommandError> {
    let scenario = match load(&options.file) {
        Ok(scenario) => scenario,
        Err(error) => {
            if options.json {
                print(&json!({ "ok": false, "problems": error.report.to_json() }))?;
                return Err(CommandError::Told(super::BAD_SCENARIO));
            }
            return Err(error.into());
        }
    };
    let devices = scenario.devices();
    if options.json {
        let fleets = scenario.fleets.len();
        return print(&json!({ "ok": true, "fleets": fleets, "devices": devices }));
    }
    let fleet = |fleet: &device_sim::scenario::Fleet| {
        format!("{} {} over {}", fleet.count(), fleet.name(), fleet.via())
    };
    let fleets: Vec<_> = scenario.fleets.iter().map(fleet).collect();
    let seconds = scenario.duration.as_secs_f64();
    let text = format!("ok: {}: {} for {seconds} s\n", scenario.name, fleets.join(", "));
    io::stdout().lock().write_all(text.as_bytes()).map_err(CommandError::Print)
}

/// Prints the JSON Schema of scenarios.
pub(super) fn schema() -> Result<(), CommandError> {
    print(&device_sim::scenario::schema())
}

fn print(value: &serde_json::Value) -> Result<(), CommandError> {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    io::stdout().lock().write_all(text.as_bytes()).map_err(CommandError::Print)
}
