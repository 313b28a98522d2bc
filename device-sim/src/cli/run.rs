//! `device-sim run` and `device-sim merge`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use device_sim::report::{MergeError, ReadError, Report, Shard, text};
use device_sim::run::{self, RunError, RunOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::scenario::load;
use super::{CommandError, MISSED};

/// The report within its folder.
const REPORT: &str = "report.json";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The scenario.
    file: PathBuf,
    /// Draws everything from this seed instead of the scenario's.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Plays a part of the devices: 1/3 is the first of three.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Plays this device alone, with the payloads that it would have had among the others.
    #[arg(long, value_name = "DEVICE", conflicts_with = "shard")]
    only: Option<String>,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
    /// Writes the report into this folder.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct MergeOptions {
    /// The report.json of each shard.
    #[arg(required = true)]
    reports: Vec<PathBuf>,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
    /// Writes the report into this folder.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlayError {
    #[error("cannot play the scenario")]
    Run(#[from] RunError),
    #[error("cannot write the report to {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read the report {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read the report {}", path.display())]
    Form { path: PathBuf, source: ReadError },
    #[error("cannot merge the reports")]
    Merge(#[from] MergeError),
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

impl PlayError {
    /// Whether the other side is missing.
    pub(super) const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Run(error) if error.is_unreachable())
    }
}

/// Plays a scenario, and says what became of it.
pub(super) async fn run(options: Options) -> Result<(), CommandError> {
    let mut scenario = load(&options.file)?;
    if let Some(seed) = options.seed {
        scenario.seed = seed;
    }
    let stop = CancellationToken::new();
    let run_options = RunOptions {
        file: options.file.display().to_string(),
        shard: options.shard,
        only: options.only,
    };
    let report = tokio::select! {
        report = run::run(&scenario, &run_options, stop.clone()) => report,
        error = async {
            match stop_on_signal(&stop).await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        } => return Err(PlayError::Signals(error).into()),
    };
    let report = report.map_err(PlayError::Run)?;
    conclude(&report, options.json, options.report.as_deref())
}

/// Makes the report of the whole from those of its shards.
pub(super) fn merge(options: &MergeOptions) -> Result<(), CommandError> {
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path)
            .map_err(|source| PlayError::Read { path: path.clone(), source })?;
        Report::from_json(&text).map_err(|source| PlayError::Form { path: path.clone(), source })
    };
    let reports = options.reports.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let report = Report::merge(reports).map_err(PlayError::Merge)?;
    conclude(&report, options.json, options.report.as_deref())
}

/// Writes the report where it is wanted; a threshold that was missed is told by the exit code.
fn conclude(report: &Report, json: bool, folder: Option<&Path>) -> Result<(), CommandError> {
    let form = report.to_json().map_err(|error| CommandError::Print(error.into()))?;
    if let Some(folder) = folder {
        let path = folder.join(REPORT);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, &form))
            .map_err(|source| PlayError::Write { path, source })?;
    }
    let shown = if json { form } else { summary(report) };
    io::stdout().lock().write_all(shown.as_bytes()).map_err(CommandError::Print)?;
    if report.passed { Ok(()) } else { Err(CommandError::Told(MISSED)) }
}

/// The fleets, the thresholds and the first example of each failure, as text.
fn summary(report: &Report) -> String {
    let mut out = String::new();
    for (name, fleet) in &report.fleets {
        let numbers = [
            ("devices", fleet.devices),
            ("sent", fleet.sent),
            ("acknowledged", fleet.acknowledged),
            ("refused", fleet.refused),
            ("unanswered", fleet.unanswered),
            ("arrived", fleet.arrived),
            ("lost", fleet.lost),
            ("duplicates", fleet.duplicates),
            ("wrong value", fleet.wrong_value),
            ("out of order", fleet.out_of_order),
        ];
        let numbers: Vec<_> = numbers
            .into_iter()
            .filter(|(what, number)| *number > 0 || matches!(*what, "sent" | "arrived" | "lost"))
            .map(|(what, number)| format!("{} {what}", text::count(number)))
            .collect();
        out.push_str(&format!("{name}: {}\n", numbers.join(", ")));
    }
    if report.unknown > 0 {
        out.push_str(&format!("unknown: {} that nobody has sent\n", text::count(report.unknown)));
    }
    for outcome in &report.outcomes {
        let verdict = if outcome.passed { "ok    " } else { "MISSED" };
        let measured = outcome.measured.as_deref().unwrap_or("not measured");
        let (name, limit, reason) = (&outcome.name, &outcome.limit, &outcome.reason);
        out.push_str(&format!("{verdict} {name} {limit}: {measured} ({reason})\n"));
    }
    if !report.passed {
        for (failure, example) in &report.examples {
            let kind = serde_json::to_value(failure).unwrap_or_default();
            let kind = kind.as_str().unwrap_or_default().to_owned();
            let (device, name) = (&example.device, &example.name);
            out.push_str(&format!("first {kind}: {device}/{name}; again: {}\n", example.replay));
        }
    }
    out
}

/// Ends the run in order on SIGINT or SIGTERM: what is on its way is waited for.
async fn stop_on_signal(stop: &CancellationToken) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
    Ok(())
}
