//! What a run of a scenario tells people and machines.
//!
//! ```text
//!  ledger ── events ──► Recorder ──► Report ──► report.json, JUnit, HTML, plain text
//!                          │                      ▲
//!                          └─ snapshots ─► live   └─ merge ◄── reports of other shards
//! ```
//!
//! # Numbers
//!
//! Durations are microseconds, instants are microseconds since the run began, and both say so in
//! their name. Everything counts *readings*, as the [ledger](crate::ledger) does.
//!
//! # Shards
//!
//! Reports of shards merge into exactly the report that one process would have written: counts add
//! up, histograms and seconds have the same buckets everywhere, of examples the earliest stays. So a
//! report keeps what was counted, and derives percentiles and outcomes from it
//! ([`Report::conclude`]).
//!
//! # Comparison
//!
//! What depends on the machine is in [`Report::wall`]. Without it two runs with the same seed on a
//! virtual clock give the same bytes.

mod commands;
pub mod example;
pub mod fleet;
mod html;
mod junit;
mod markup;
mod merge;
pub mod phase;
pub mod plain;
pub mod recorder;
pub mod recovery;
mod rehearsal;
pub mod series;
pub mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use commands::{Commands, Example as CommandExample, Miss as CommandMiss};
pub use example::{Example, Failure};
pub use fleet::Fleet;
pub use merge::MergeError;
pub use phase::{Mix, Phase, QUIET, Span};
pub use plain::Colour;
pub use recorder::{Plan, Recorder, SharedRecorder};
pub use recovery::Recovery;
pub use rehearsal::{Drained, Rehearsal};
pub use series::Series;

use crate::histogram::Histogram;
use crate::threshold::{Outcome, Thresholds};

/// The version of `report.json`; another one means something else by its names.
pub const VERSION: u32 = 1;

// The forms of a report within its folder.
const JSON: &str = "report.json";
const JUNIT: &str = "junit.xml";
const PAGE: &str = "report.html";

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// See [`VERSION`].
    pub version: u32,
    /// The name of the scenario.
    pub scenario: String,
    /// Its file, as it was given.
    pub file: String,
    /// What values and faults were drawn from.
    pub seed: u64,
    /// Which part of the devices; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// How long devices sent.
    pub duration_us: u64,
    /// Whether every threshold was kept.
    pub passed: bool,
    /// Each threshold with what was measured, in the order of their names.
    pub outcomes: Vec<Outcome>,
    /// What was asked for.
    pub thresholds: Thresholds,
    /// What became of the readings of each fleet, by its name.
    pub fleets: BTreeMap<String, Fleet>,
    /// Arrivals that no device of the scenario has sent.
    pub unknown: u64,
    /// Latency while nothing was injected ("quiet"), and during each fault.
    pub phases: Vec<Phase>,
    /// The latencies behind it, by the faults that were active together.
    pub latency: Vec<Mix>,
    /// How long it took to be well again, after each fault.
    pub recoveries: Vec<Recovery>,
    /// The run second by second.
    pub series: Series,
    /// Of each kind of failure the first.
    pub examples: BTreeMap<Failure, Example>,
    /// What became of commands, where the run asked for some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Commands>,
    /// What was seen within the gateway, where it was played in virtual time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Rehearsal>,
    /// What differs from run to run and from machine to machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall: Option<Wall>,
}

/// Part `index` of `count`, from 1 on; `2/4` in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    index: u32,
    count: u32,
}

/// Where and when it ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wall {
    /// When it began, RFC 3339.
    pub started: String,
    /// The program and its version.
    pub program: String,
    /// The system.
    pub system: String,
    /// Processors that it may use.
    pub processors: u64,
    /// What the gateway took, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Resources>,
}

/// What a process took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Memory at its most.
    pub max_rss_bytes: u64,
    /// Time of processors, in its code and in the kernel's.
    pub cpu_us: u64,
}

/// A report cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is none.
    #[error("this is no report of a run; `device-sim run FILE --report DIR` writes one")]
    Syntax(#[from] serde_json::Error),
    /// Another program wrote it.
    #[error(
        "it has version {0}, this program reads version {VERSION}; use the program that wrote it"
    )]
    Version(u32),
}

impl Report {
    /// Computes what follows from what was counted: percentiles and outcomes.
    pub fn conclude(&mut self) {
        for phase in &mut self.phases {
            phase.latency = phase::latency_of(&self.latency, &phase.name).summary();
        }
        self.series.conclude();
        self.outcomes = self.thresholds.evaluate(self);
        self.passed = self.outcomes.iter().all(|outcome| outcome.passed);
    }

    /// All fleets together.
    pub fn total(&self) -> Fleet {
        self.fleets.values().fold(Fleet::default(), |mut total, fleet| {
            total += fleet;
            total
        })
    }

    /// The latencies of all readings but those that were meant to be sent during `except`.
    pub fn latency_except(&self, except: &[String]) -> Histogram {
        let counts = |mix: &&Mix| !except.iter().any(|name| mix.is_of(name));
        self.latency.iter().filter(counts).map(|mix| &mix.latency).sum()
    }

    /// As `report.json`.
    ///
    /// # Errors
    /// Never in practice: everything in it has a form in JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Writes it into a folder, which is made: as JSON, as JUnit XML and as a page.
    ///
    /// # Errors
    /// The path that cannot be written, and why.
    pub fn write_into(&self, folder: &Path) -> Result<(), (PathBuf, io::Error)> {
        let form = self.to_json().map_err(|error| (folder.to_owned(), error.into()))?;
        let files = [(JSON, form), (JUNIT, self.to_junit()), (PAGE, self.to_html())];
        for (name, content) in files {
            let path = folder.join(name);
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, content));
            written.map_err(|error| (path, error))?;
        }
        Ok(())
    }

    /// Reads a `report.json`.
    ///
    /// # Errors
    /// When it is none, or one of another version.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        match serde_json::from_str(text)? {
            Head { version: VERSION } => Ok(serde_json::from_str(text)?),
            Head { version } => Err(ReadError::Version(version)),
        }
    }
}

impl Shard {
    /// Part `index` of `count`; `None` if there is no such part.
    pub const fn new(index: u32, count: u32) -> Option<Self> {
        if index >= 1 && index <= count { Some(Self { index, count }) } else { None }
    }

    /// Whether the device of this index, from 0 on, belongs to it.
    pub fn has(self, device: u64) -> bool {
        device % u64::from(self.count.max(1)) == u64::from(self.index.saturating_sub(1))
    }
}

/// A text names no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a part and how many there are, such as `1/4`")]
pub struct ShardError;

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (index, count) = text.split_once('/').ok_or(ShardError)?;
        let number = |text: &str| text.parse().map_err(|_| ShardError);
        Self::new(number(index)?, number(count)?).ok_or(ShardError)
    }
}

impl Serialize for Shard {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shard {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
