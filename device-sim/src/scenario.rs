//! Scenarios: fleets, what they measure and where it has to arrive, in a file of TOML.
//!
//! ```text
//! file ─ settings ─► ScenarioConfig ─ check ─► Scenario ─ devices(shard) ─► Planned ─► run
//! ```
//!
//! A file is read as strictly as the gateway's configuration, with every mistake told in one run
//! ([`crate::settings`]), and with variables of the environment in its texts. A [`Scenario`] that
//! exists can be played. Everything that a device does follows from the scenario's seed, the name of
//! its fleet and its number within it: neither the shard nor the other fleets change a payload.

mod check;
mod fleet;
pub mod model;
mod recorded;
pub mod values;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use proto::Timestamp;

pub use self::fleet::{Fleet, Planned};
use self::model::{ScenarioConfig, TargetConfig, VerifyConfig};
use crate::settings::findings::Findings;
use crate::settings::interpolate::{Environment, interpolate};
use crate::settings::layer::Layers;
use crate::settings::report::Report;
use crate::settings::shape::{self, Shape};
use crate::settings::{fit, toml_file};

/// The seed of a scenario that has none.
const DEFAULT_SEED: u64 = 1;

/// A scenario that can be played.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What all that is random is drawn from.
    pub seed: u64,
    /// How long devices send.
    pub duration: Duration,
    /// What the clocks of devices show at the start; `None` for the real time.
    pub start: Option<Timestamp>,
    /// Where everything listens.
    pub target: TargetConfig,
    /// Devices of one kind, in the order of their names.
    pub fleets: Vec<Fleet>,
    /// What is looked at on the far end.
    pub verify: Option<VerifyConfig>,
    /// What files that it names are relative to.
    pub folder: PathBuf,
}

/// A part of the devices of a scenario: `2/3` is the second of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    of: u32,
}

/// Why a text is no shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected I/N with I from 1 to N, such as 1/3")]
pub struct ShardError;

impl Scenario {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, Report> {
        let shape = Shape::of::<ScenarioConfig>();
        let mut findings = Findings::new("scenario");
        let mut layers = Layers::default();
        layers.extend(toml_file::read(path, layers.next_position(), &shape, &mut findings));
        let mut tree = layers.merge().unwrap_or_default();
        interpolate(&mut tree, environment, &layers, &shape, &mut findings);
        let config = match layers.is_empty() {
            true => None,
            false => fit(tree, &layers, &shape, &mut findings),
        };
        let scenario = config.map(|config| check::check(config, path, &layers, &mut findings));
        match (findings.into_report(), scenario) {
            (None, Some(scenario)) => Ok(scenario),
            (Some(report), _) => Err(report),
            // Not reached: what cannot be read is told.
            (None, None) => Err(Report::new("scenario")),
        }
    }

    /// How many devices there are, in all shards.
    pub fn devices(&self) -> u64 {
        self.fleets.iter().map(|fleet| u64::from(fleet.count())).sum()
    }

    /// The devices of a shard, with clocks that show `origin` at the start where the scenario does
    /// not say another time.
    pub fn planned(&self, shard: Shard, origin: Timestamp) -> impl Iterator<Item = Planned> {
        let origin = self.start.unwrap_or(origin);
        self.fleets.iter().flat_map(move |fleet| {
            fleet.indices(shard).map(move |index| fleet.device(self.seed, index, origin))
        })
    }
}

/// The JSON Schema of scenarios, for editors.
pub fn schema() -> serde_json::Value {
    shape::schema::<ScenarioConfig>("Scenario of device-sim")
}

impl Shard {
    /// All devices.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Which of `count` devices are in it: neighbours stay together.
    fn indices(self, count: u32) -> Range<u32> {
        let edge = |part: u32| {
            let edge = u64::from(count) * u64::from(part) / u64::from(self.of.max(1));
            u32::try_from(edge).unwrap_or(count)
        };
        edge(self.number.saturating_sub(1))..edge(self.number)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (number, of) = text.split_once('/').ok_or(ShardError)?;
        let (number, of) =
            (number.parse().map_err(|_| ShardError)?, of.parse().map_err(|_| ShardError)?);
        match (1..=of).contains(&number) {
            true => Ok(Self { number, of }),
            false => Err(ShardError),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests;
