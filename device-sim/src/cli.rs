//! The command line.

mod broker;
mod plugtest;
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

    /// Runs a CoAP server with the resources of the ETSI and IPSO CoAP plugtests, to try clients and
    /// gateways with.
    ///
    /// It speaks CoAP over UDP with observation and block-wise transfers. Nothing is stored on disk,
    /// and every sender gets an answer of any size: keep it away from open networks.
    #[command(after_long_help = plugtest::MANUAL)]
    Plugtest(plugtest::Options),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Broker(#[from] broker::BrokerError),
    #[error(transparent)]
    Plugtest(#[from] plugtest::PlugtestError),
}

impl CommandError {
    /// What the user can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Runtime(_) => None,
            Self::Broker(error) => error.hint(),
            Self::Plugtest(error) => error.hint(),
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
            Command::Plugtest(options) => runtime.block_on(plugtest::run(options))?,
        }
        Ok(())
    }
}
