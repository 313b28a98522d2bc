//! `gateway demo`

use std::io::{self, IsTerminal as _};

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::output::is_colour_wanted;
use super::run::{LogArgs, block_on, start_log};
use super::{ConfigArgs, Output, complain_of, complain_usage};
use crate::config::Interval;
use crate::demo::{self, Options, Show, Summary};
use crate::exit::Exit;

/// What is logged where the log does not disturb a live view.
const LOG: &str = "warn";

#[derive(Args)]
pub(super) struct Arguments {
    /// End after this time, such as 10s; without it, on q or Ctrl-C
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Interval>,
    /// How many devices, spread over CoAP (UDP and TCP), UDP, TCP and serial ports
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    devices: u16,
    /// How often each device reports, 10ms or more
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_every)]
    every: Interval,
    /// What the values are drawn from: the same seed, the same values
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Print a line per arrival instead of the live view, as without a terminal
    #[arg(long, conflicts_with = "json")]
    plain: bool,
    /// Print nothing but the summary, as JSON
    #[arg(long)]
    json: bool,
}

/// Below it, a CoAP device would run out of message ids (RFC 7252 §4.4).
const SHORTEST: Interval = Interval::millis(10);

fn parse_every(text: &str) -> Result<Interval, String> {
    let every: Interval = text.parse().map_err(|error| format!("{error}"))?;
    if every < SHORTEST { Err(format!("expected {SHORTEST} or more")) } else { Ok(every) }
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Exit {
    if config.is_given() {
        return complain_usage(
            "the demo brings its own configuration: leave out --config and --set",
        );
    }
    let show = show(arguments);
    if !matches!(show, Show::Live { .. }) {
        start_log(&LogArgs::text(EnvFilter::new(LOG)));
    }
    let options = Options {
        devices: arguments.devices,
        every: arguments.every.duration(),
        seed: arguments.seed,
        duration: arguments.duration.map(Interval::duration),
        show,
    };
    match block_on(demo::run(&options)) {
        Ok(Ok(summary)) => tell(&summary, arguments.json),
        Ok(Err(error)) => {
            complain_of(&error);
            Exit::Failure
        }
        Err(error) => {
            complain_of(&error);
            Exit::Failure
        }
    }
}

/// A live view needs a terminal that can move its cursor.
fn show(arguments: &Arguments) -> Show {
    let is_capable = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    match arguments {
        Arguments { json: true, .. } => Show::Nothing,
        Arguments { plain: false, .. } if is_capable && io::stdout().is_terminal() => {
            Show::Live { colour: is_colour_wanted() }
        }
        _ => Show::Lines,
    }
}

fn tell(summary: &Summary, json: bool) -> Exit {
    let exit = if summary.is_good() { Exit::Ok } else { Exit::Failure };
    match json {
        true => Output::lock().finish_json(&summary.to_json(), exit),
        false => Output::lock().finish(&format!("\n{}", summary.to_text()), exit),
    }
}
