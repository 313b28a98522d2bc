//! The command line.

mod broker;
mod check;
mod expect;
mod plugtest;
mod print;
mod run;
mod scenario;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The exit code when the other side is missing: the test itself could not be run (`EX_UNAVAILABLE`
/// of sysexits.h).
const UNREACHABLE: u8 = 69;
/// The exit code of a scenario with mistakes (`EX_CONFIG`).
const BAD_SCENARIO: u8 = 78;
/// The exit code when a threshold was missed, or nothing came in time.
const MISSED: u8 = 99;

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

    /// Says whether a scenario can be played, or every mistake in it.
    ///
    /// Exit codes: 0 when it can, 78 when not.
    Check(check::Options),

    /// Plays a scenario: devices send, and what they sent is looked for at the far end.
    ///
    /// Exit codes: 0 when every threshold was kept, 99 when one was missed, 69 when the gateway or the
    /// broker cannot be reached, 78 when the scenario has mistakes.
    Run(run::Options),

    /// Makes the report of a whole run from those of its shards.
    Merge(run::MergeOptions),

    /// Waits for an MQTT message.
    ///
    /// Exit codes: 0 when it came, 99 when not, 69 when the broker cannot be reached.
    Expect(expect::Options),

    /// Prints the JSON Schema of scenarios, for editors.
    Schema,

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
    #[error(transparent)]
    Scenario(#[from] scenario::BadScenario),
    #[error(transparent)]
    Play(#[from] run::PlayError),
    #[error(transparent)]
    Expect(#[from] expect::ExpectError),
    #[error("cannot print")]
    Print(#[source] io::Error),
    /// The command did its work and said what it found; the exit code says it to programs.
    #[error("exit code {0}")]
    Told(u8),
}

impl CommandError {
    /// What the user can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Runtime(_) => None,
            Self::Broker(error) => error.hint(),
            Self::Plugtest(error) => error.hint(),
            Self::Scenario(_) | Self::Play(_) | Self::Expect(_) => None,
            Self::Print(_) | Self::Told(_) => None,
        }
    }

    /// Shows it, and what it tells to programs.
    pub(crate) fn conclude(&self) -> ExitCode {
        match self {
            Self::Told(code) => return ExitCode::from(*code),
            Self::Scenario(error) => {
                error.show();
                return ExitCode::from(BAD_SCENARIO);
            }
            Self::Runtime(_) | Self::Broker(_) | Self::Plugtest(_) => {}
            Self::Play(_) | Self::Expect(_) | Self::Print(_) => {}
        }
        crate::render(self);
        let is_unreachable = match self {
            Self::Play(error) => error.is_unreachable(),
            Self::Expect(error) => error.is_unreachable(),
            Self::Runtime(_) | Self::Broker(_) | Self::Plugtest(_) | Self::Scenario(_) => false,
            Self::Print(_) | Self::Told(_) => false,
        };
        if is_unreachable { ExitCode::from(UNREACHABLE) } else { ExitCode::FAILURE }
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
            Command::Check(options) => check::run(&options)?,
            Command::Run(options) => runtime.block_on(Box::pin(run::run(options)))?,
            Command::Merge(options) => run::merge(&options)?,
            Command::Expect(options) => runtime.block_on(Box::pin(expect::run(options)))?,
            Command::Schema => check::schema()?,
        }
        Ok(())
    }
}
