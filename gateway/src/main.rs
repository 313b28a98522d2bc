//! The gateway: sensors in, every acknowledged reading on disk until every broker has it.

mod app;
mod broker;
mod causes;
mod cbor;
mod cli;
mod clock;
mod clock_watch;
mod commands;
mod config;
mod control;
mod decode;
mod demo;
mod exit;
mod explain;
mod frame;
mod nodes;
mod pipeline;
mod rehearse;
mod source;
mod status;
mod store;
mod supervisor;
mod tally;
mod time_base;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
