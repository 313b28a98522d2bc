//! The gateway: sensors in, every acknowledged reading on disk until every broker has it.

mod cli;
mod config;
mod exit;
mod pipeline;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
