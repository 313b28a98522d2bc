//! `gateway rehearse`

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use clap::Args;
use device_sim::report::Colour;
use device_sim::scenario::Scenario;
use tracing_subscriber::EnvFilter;

use super::output::is_colour_wanted;
use super::run::{LogArgs, block_on, start_log};
use super::{ConfigArgs, Output, complain, complain_of};
use crate::exit::Exit;
use crate::rehearse::{Options, rehearse};

/// What is logged unless `RUST_LOG` says something else: the report tells what matters.
const LOG: &str = "off";

#[derive(Args)]
#[command(after_help = "\
The gateway of the configuration, the fleets and faults of the scenario and a simulated broker are \
played in this process, in virtual time, without sockets: the same seed gives the same report to the \
last byte. Nothing outside a temporary folder is touched; TMPDIR says where that is, and it is \
fastest on a tmpfs such as /dev/shm. Fleets may speak anything but mqtt. See docs/rehearse.md.")]
pub(super) struct Arguments {
    /// The scenario, as `device-sim run` takes it
    #[arg(value_name = "SCENARIO")]
    file: PathBuf,
    /// Draw everything from this seed instead of the scenario's
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Play this device alone, with the payloads that it would have had among the others
    #[arg(long, value_name = "DEVICE")]
    only: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the report into this folder, as JSON, as JUnit XML and as a page
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    let mut command = vec!["gateway".to_owned(), "rehearse".to_owned()];
    command.extend(config.file_words());
    let config = match config.load_partly() {
        Ok(loaded) => loaded.config,
        Err(report) => return complain(&report),
    };
    let environment: BTreeMap<String, OsString> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect();
    let mut scenario = match Scenario::load_to_rehearse(&arguments.file, &environment) {
        Ok(scenario) => scenario,
        Err(report) => return complain(&report),
    };
    if let Some(seed) = arguments.seed {
        scenario.seed = seed;
    }
    let log = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG));
    start_log(&LogArgs::text(log));
    let file = arguments.file.display().to_string();
    command.push(file.clone());
    let options = Options { file, command, only: arguments.only.clone() };
    let report = match block_on(Box::pin(rehearse(&config, &scenario, options))) {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => {
            complain_of(&error);
            return if error.is_of_config() { Exit::Config } else { Exit::Failure };
        }
        Err(error) => {
            complain_of(&error);
            return Exit::Failure;
        }
    };
    if let Some(folder) = &arguments.report
        && let Err((path, error)) = report.write_into(folder)
    {
        complain_of(&io::Error::new(
            error.kind(),
            format!("cannot write the report to {}: {error}", path.display()),
        ));
        return Exit::Failure;
    }
    let exit = if report.passed { Exit::Ok } else { Exit::Threshold };
    let colour = match is_colour_wanted() && io::stdout().is_terminal() {
        true => Colour::Always,
        false => Colour::Never,
    };
    match (arguments.json, report.to_json()) {
        (true, Ok(form)) => Output::lock().finish(&form, exit),
        (true, Err(error)) => {
            complain_of(&error);
            Exit::Failure
        }
        (false, _) => Output::lock().finish(&report.to_text(colour), exit),
    }
}
