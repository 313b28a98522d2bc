//! The command line.

use std::path::PathBuf;

use clap::Parser;

use super::cases::Case;

/// Runs of each case.
const RUNS: usize = 3;

/// Measures the built gateway and, in the same run, the limits of the machine.
#[derive(Parser)]
#[command(name = "throughput")]
pub(crate) struct Options {
    /// A tenth of the readings, one run of each case: to see that it works
    #[arg(long)]
    pub(crate) quick: bool,
    /// Also how much is written to the disk: 60 s for each of six cases, once a round
    #[arg(long)]
    wear: bool,
    /// Only cases with this in their name; may be repeated
    #[arg(long, value_name = "NAME")]
    filter: Vec<String>,
    /// A filter is a whole name
    #[arg(long, requires = "filter")]
    exact: bool,
    /// Runs of each case
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    runs: Option<u8>,
    /// Wait up to a minute until others use less of the machine than this before each run, and
    /// repeat a run, up to ten times, during which they used more
    #[arg(long, value_name = "PERCENT")]
    pub(crate) calm: Option<f64>,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Folder for the stores, on the disk that is to be measured
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub(crate) dir: PathBuf,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Reads the command line; a wrong one ends the program with a message.
    pub(crate) fn read() -> Self {
        Self::parse()
    }

    /// Whether a case was asked for.
    pub(crate) fn wants(&self, case: &Case) -> bool {
        if self.filter.is_empty() {
            return self.wear || !case.is_wear;
        }
        self.filter.iter().any(|part| match self.exact {
            true => case.name == part,
            false => case.name.contains(part.as_str()),
        })
    }

    /// Whether a run counts during which others used so much of the machine, in percent.
    pub(crate) fn is_calm(&self, others: f64) -> bool {
        self.calm.is_none_or(|limit| others <= limit)
    }

    /// How often each case runs.
    pub(crate) fn runs(&self) -> usize {
        let default = if self.quick { 1 } else { RUNS };
        self.runs.map_or(default, usize::from)
    }
}
