//! The command line.
//!
//! A command is one file in `cli/` with its arguments and a `run`, one variant of [`Command`] and
//! one arm in [`Cli::run`]. Data goes to standard output, everything else to standard error.

mod check;
mod config;
mod dead_letters;
mod demo;
mod devices;
mod explain;
mod output;
mod rehearse;
mod replay;
mod run;
mod send;
mod status;
mod store;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{
    Assignment, CREDENTIALS_DIRECTORY, LoadOptions, Loaded, PREFIX, Report, STATE_DIRECTORY, load,
};
use crate::exit::Exit;

pub(crate) use output::{Output, complain, complain_of, complain_usage};

/// The file that is read where none is named.
const DEFAULT_FILE: &str = "/etc/gateway/gateway.toml";

/// Reads sensors, keeps every acknowledged reading on disk until every broker has it.
#[derive(Parser)]
#[command(version, after_help = Exit::help())]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Subcommand)]
enum Command {
    /// Run the gateway until it is told to stop
    Run(Box<run::Arguments>),
    /// Tell where a running gateway stands
    Status(status::Arguments),
    /// List the devices that were heard of last or have registered
    Devices(devices::Arguments),
    /// Send a command to a device and wait for its outcome, which is the exit code: 0 done, 1 failed, 69 expired
    Send(send::SendArguments),
    /// Cancel a command that was not sent to its device yet
    Cancel(send::CancelArguments),
    /// List commands and what became of them, the newest first
    Commands(send::CommandsArguments),
    /// Look into the store: where it stands, whether it is sound, what is in it; forget a broker
    #[command(subcommand)]
    Store(store::Command),
    /// Readings that a broker did not take: show them, send them again, delete them
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Send a broker once more what was received in a time and is still on disk
    Replay(replay::Arguments),
    /// Show every packet between the gateway and a broker, until it is interrupted
    Wire(wire::Arguments),
    /// Show it at work: simulated devices, the gateway and a broker, all in one
    Demo(demo::Arguments),
    /// Tell every mistake in the configuration
    Check(check::Arguments),
    /// Show what one sample of a device becomes: frames, readings, topics and payloads, or why not
    Explain(explain::Arguments),
    /// Play this configuration with the fleets and faults of a scenario, in virtual time
    Rehearse(rehearse::Arguments),
    /// Show the effective configuration, its schema or its manual
    #[command(subcommand)]
    Config(config::Command),
}

/// Where the configuration comes from; every command takes these.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    /// Configuration file; a later one overrides keys of an earlier one
    /// [default: /etc/gateway/gateway.toml, where it exists]
    #[arg(short = 'c', long = "config", value_name = "FILE", global = true, action = clap::ArgAction::Append)]
    files: Vec<PathBuf>,
    /// Override one key: brokers.cloud.url=mqtt://localhost
    #[arg(long, value_name = "KEY=VALUE", global = true, action = clap::ArgAction::Append)]
    set: Vec<Assignment>,
}

/// Runs the command that the arguments name.
pub(crate) fn run() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => {
            // Help and version are no errors; a closed standard error leaves nothing to say.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    };
    exit.into()
}

impl Cli {
    fn run(self) -> Exit {
        match self.command {
            Command::Run(arguments) => run::run(&arguments, &self.config),
            Command::Status(arguments) => status::run(&arguments, &self.config),
            Command::Devices(arguments) => devices::run(&arguments, &self.config),
            Command::Send(arguments) => send::send(&arguments, &self.config),
            Command::Cancel(arguments) => send::cancel(&arguments, &self.config),
            Command::Commands(arguments) => send::commands(&arguments, &self.config),
            Command::Store(command) => store::run(&command, &self.config),
            Command::DeadLetters(command) => dead_letters::run(&command, &self.config),
            Command::Replay(arguments) => replay::run(&arguments, &self.config),
            Command::Wire(arguments) => wire::run(&arguments, &self.config),
            Command::Demo(arguments) => demo::run(&arguments, &self.config),
            Command::Check(arguments) => check::run(&arguments, &self.config),
            Command::Explain(arguments) => explain::run(&arguments, &self.config),
            Command::Rehearse(arguments) => rehearse::run(&arguments, &self.config),
            Command::Config(command) => config::run(&command, &self.config),
        }
    }
}

impl ConfigArgs {
    /// Reads the configuration for a command that runs a gateway, or looks at one that could run.
    ///
    /// # Errors
    ///
    /// Every problem in any layer, or a part that a gateway needs and that is not there.
    pub(crate) fn load(&self) -> Result<Loaded, Report> {
        load(&LoadOptions { to_run: true, ..self.options() })
    }

    /// Reads the configuration where parts of it may be missing.
    ///
    /// # Errors
    ///
    /// Every problem in any layer.
    pub(crate) fn load_partly(&self) -> Result<Loaded, Report> {
        load(&self.options())
    }

    /// The words of a command line that name the same files. What `--set` says may be secret.
    fn file_words(&self) -> impl Iterator<Item = String> {
        self.files.iter().flat_map(|file| ["-c".to_owned(), file.display().to_string()])
    }

    /// Whether the command line names a configuration.
    pub(crate) const fn is_given(&self) -> bool {
        !self.files.is_empty() || !self.set.is_empty()
    }

    fn options(&self) -> LoadOptions {
        let mut files = self.files.clone();
        if files.is_empty() && Path::new(DEFAULT_FILE).exists() {
            files.push(DEFAULT_FILE.into());
        }
        let ours = |name: &str| {
            name.starts_with(PREFIX) || [STATE_DIRECTORY, CREDENTIALS_DIRECTORY].contains(&name)
        };
        let env = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            ours(&name).then_some((name, value))
        });
        LoadOptions { files, env: env.collect(), set: self.set.clone(), to_run: false }
    }
}
