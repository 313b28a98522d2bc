//! `gateway config show`, `schema` and `docs`

use clap::{Args, Subcommand};

use super::{ConfigArgs, Output, complain};
use crate::config::{manual, schema};
use crate::exit::Exit;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print the effective configuration, secrets hidden
    Show(Show),
    /// Print the JSON Schema of configuration files, for editors
    Schema,
    /// Print the manual of the configuration in Markdown
    Docs,
}

#[derive(Args)]
pub(super) struct Show {
    /// Say where each value comes from
    #[arg(long)]
    origin: bool,
    /// Print JSON instead of TOML
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command, config: &ConfigArgs) -> Exit {
    match command {
        Command::Show(Show { origin, json }) => match config.load_partly() {
            Ok(loaded) if *json => Output::lock().finish_json(&loaded.to_json(*origin), Exit::Ok),
            Ok(loaded) => Output::lock().finish(&loaded.to_toml(*origin), Exit::Ok),
            Err(report) => complain(&report),
        },
        Command::Schema => Output::lock().finish_json(&schema(), Exit::Ok),
        Command::Docs => Output::lock().finish(&manual(), Exit::Ok),
    }
}
