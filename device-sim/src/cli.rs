//! The command line.

mod broker;
mod print;

use std::io;

use clap::{Parser, Subcommand};

/// Simulated devices and a recording MQTT broker, for tests and demos.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a small MQTT broker that counts or prints what it receives, and misbehaves on request.
    ///
    /// It speaks MQTT 3.1.1 and 5 and is meant for tests and demos: nothing is stored on disk and
    /// there is no TLS.
    #[command(after_long_help = broker::manual())]
    Broker(broker::Options),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Broker(#[from] broker::BrokerError),
}

impl CommandError {
    /// What the user can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Runtime(_) => None,
            Self::Broker(error) => error.hint(),
        }
    }
}

impl Cli {
    /// Runs the command to its end.
    pub(crate) fn run(self) -> Result<(), CommandError> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().map_err(CommandError::Runtime)?;
        match self.command {
            Command::Broker(options) => runtime.block_on(broker::run(options))?,
        }
        Ok(())
    }
}
