//! `gateway store`

mod export;
mod forget;
pub(super) mod place;
mod status;
pub(super) mod time;
mod verify;

use clap::Subcommand;

use super::ConfigArgs;
use crate::exit::Exit;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Tell what is in the store, how far the brokers are, and what was damaged
    Status(status::Arguments),
    /// Look whether the store is sound: exit code 1 where it is not
    Verify(verify::Arguments),
    /// Print readings, one JSON object a line
    Export(export::Arguments),
    /// Delete what a running gateway keeps of a broker that is not configured any more
    Forget(forget::Arguments),
}

pub(super) fn run(command: &Command, config: &ConfigArgs) -> Exit {
    let ended = match command {
        Command::Status(arguments) => status::run(arguments, config),
        Command::Verify(arguments) => verify::run(arguments, config),
        Command::Export(arguments) => export::run(arguments, config),
        Command::Forget(arguments) => forget::run(arguments, config),
    };
    // Data may end early in two ways: it is all there, or it is not wanted any more.
    ended.unwrap_or_else(|exit| exit)
}
