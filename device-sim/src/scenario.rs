//! Scenarios: fleets, what they measure and where it has to arrive, in a file of TOML.
//!
//! ```text
//! file ─ settings ─► ScenarioConfig ─ check ─► Scenario ─ planned(shard) ─► Planned ─► run
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

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::Timestamp;

use self::check::Play;
pub(crate) use self::fleet::stream_seed;
pub use self::fleet::{Fleet, Planned};
use self::model::{GatewayConfig, ScenarioConfig, TargetConfig, VerifyConfig};
use crate::command::CommandPlan;
use crate::fault::Fault;
use crate::report::Shard;
use crate::settings::findings::Findings;
use crate::settings::interpolate::{Environment, interpolate};
use crate::settings::layer::Layers;
use crate::settings::report::Report;
use crate::settings::shape::{self, Shape};
use crate::settings::tree::Node;
use crate::settings::{Interval, fit, toml_file};
use crate::threshold::Thresholds;

/// How long the far end has where the scenario does not say it.
const SETTLE: Duration = Duration::from_secs(15);
/// The seed of a scenario that has none.
const DEFAULT_SEED: u64 = 1;
/// What messages call it.
pub(crate) const SUBJECT: &str = "scenario";

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
    /// The gateway, where the run starts it.
    pub gateway: Option<GatewayConfig>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What is looked at on the far end.
    pub verify: Option<VerifyConfig>,
    /// Commands that the run asks for.
    pub commands: Option<CommandPlan>,
    /// What a run has to keep.
    pub thresholds: Thresholds,
    /// What files that it names are relative to.
    pub folder: PathBuf,
}

impl Scenario {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, Report> {
        Self::read(path, environment, Play::Real)
    }

    /// The same for a rehearsal, which has a gateway and a broker whatever the scenario says of them.
    ///
    /// # Errors
    /// When it cannot be read, or has mistakes: all of them, with their places.
    pub fn load_to_rehearse(path: &Path, environment: &Environment) -> Result<Self, Report> {
        Self::read(path, environment, Play::Rehearsed)
    }

    fn read(path: &Path, environment: &Environment, play: Play) -> Result<Self, Report> {
        let shape = Shape::of::<ScenarioConfig>();
        let mut findings = Findings::new(SUBJECT);
        let mut layers = Layers::default();
        layers.extend(toml_file::read(path, layers.next_position(), &shape, &mut findings));
        let mut tree = layers.merge().unwrap_or_default();
        interpolate(&mut tree, environment, &layers, &shape, &mut findings);
        Self::of_tree(tree, path, play, &layers, &shape, findings)
    }

    /// What `layers` say together; texts are taken as they are. Files are relative to the folder of
    /// `path`.
    pub(crate) fn of_layers(
        layers: &Layers,
        path: &Path,
        findings: Findings,
    ) -> Result<Self, Report> {
        let tree = layers.merge().unwrap_or_default();
        Self::of_tree(tree, path, Play::Real, layers, &Shape::of::<ScenarioConfig>(), findings)
    }

    fn of_tree(
        tree: Node,
        path: &Path,
        play: Play,
        layers: &Layers,
        shape: &Shape,
        mut findings: Findings,
    ) -> Result<Self, Report> {
        let config = match layers.is_empty() {
            true => None,
            false => fit(tree, layers, shape, &mut findings),
        };
        let scenario = config.map(|config| check::check(config, path, play, layers, &mut findings));
        match (findings.into_report(), scenario) {
            (None, Some(scenario)) => Ok(scenario),
            (Some(report), _) => Err(report),
            // Not reached: what cannot be read is told.
            (None, None) => Err(Report::new(SUBJECT)),
        }
    }

    /// How long the far end has at the end.
    pub fn settle(&self) -> Duration {
        let settle = self.verify.as_ref().and_then(|verify| verify.settle);
        settle.map_or(SETTLE, Interval::duration)
    }

    /// How many devices there are, in all shards.
    pub fn devices(&self) -> u64 {
        self.fleets.iter().map(|fleet| u64::from(fleet.count())).sum()
    }

    /// The devices, all or those of a shard, with clocks that show `origin` at the start where the
    /// scenario does not say another time.
    pub fn planned(
        &self,
        shard: Option<Shard>,
        origin: Timestamp,
    ) -> impl Iterator<Item = Planned> {
        let origin = self.start.unwrap_or(origin);
        let all = self.fleets.iter().flat_map(|fleet| (0..fleet.count()).map(move |i| (fleet, i)));
        let of_shard = (0_u64..)
            .zip(all)
            .filter(move |(device, _)| shard.is_none_or(|shard| shard.has(*device)));
        of_shard.map(move |(_, (fleet, index))| fleet.device(self.seed, index, origin))
    }
}

/// The JSON Schema of scenarios, for editors.
pub fn schema() -> serde_json::Value {
    shape::schema::<ScenarioConfig>("Scenario of device-sim")
}

#[cfg(test)]
mod tests;
