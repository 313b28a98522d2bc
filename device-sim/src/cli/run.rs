//! `device-sim run` and `device-sim merge`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use device_sim::live::{self, Progress, Show};
use device_sim::report::{Colour, MergeError, ReadError, Report, Shard};
use device_sim::run::{self, RunError, RunOptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::scenario::load;
use super::{CommandError, MISSED};

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
    /// Writes the report into this folder, as JSON, as JUnit XML and as a page.
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
    /// Writes the report into this folder, as JSON, as JUnit XML and as a page.
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
    #[error("cannot show the run")]
    Show(#[source] io::Error),
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
    let run_options = RunOptions {
        file: options.file.display().to_string(),
        shard: options.shard,
        only: options.only,
    };
    let stop = CancellationToken::new();
    let (progress, watched) = watch::channel(Progress::default());
    let show = if options.json { Show::Nothing } else { Show::for_stdout() };
    let (report, shown) = tokio::join!(
        run::run(&scenario, &run_options, progress, stop.clone()),
        live::show(watched, show, stop.clone()),
    );
    let report = report.map_err(PlayError::Run)?;
    shown.map_err(PlayError::Show)?;
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
        let written = report.write_into(folder);
        written.map_err(|(path, source)| PlayError::Write { path, source })?;
    }
    let shown = if json { form } else { report.to_text(Colour::for_stdout()) };
    io::stdout().lock().write_all(shown.as_bytes()).map_err(CommandError::Print)?;
    if report.passed { Ok(()) } else { Err(CommandError::Told(MISSED)) }
}
