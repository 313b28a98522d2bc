//! `gateway rehearse`: an operator's own configuration, the fleets and faults of a scenario and a
//! simulated broker in one process and in virtual time.
//!
//! ```text
//! devices ─ impaired ways ─► sources ─► intake ─► store ─► deliveries ─ pipes ─► simulated brokers
//!    └───────── sent, acknowledged ──► ledger ◄───────────────────── recorded ─────┘
//! ```
//!
//! Everything that decides is the gateway's own: framers, decoders, the CoAP node, routes, the store
//! with its file and its thread, deliveries and sessions. Without sockets and tasks, they go on by the
//! step, in a [loop](stage) that goes from one thing that is due to the next. What happens at one
//! instant is settled before time goes on: a batch is committed, its readings published, and what
//! acknowledges them acknowledged. So the network and the disk take no time, unless a fault says so.
//!
//! # The same seed, the same bytes
//!
//! Time is that of the loop ([`clock::rehearse`]). The storage thread is waited for at each step. What
//! is random comes from the seed of the scenario. Nothing iterates in an order that changes.
//!
//! # What a kill is
//!
//! Everything but the files is dropped, nothing is saved, and the store is opened again.

mod far_end;
mod player;
mod site;
mod stage;
mod ways;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use device_sim::Via;
use device_sim::device::Device;
use device_sim::fault::{FaultPlan, Place};
use device_sim::ledger::{Ledger, Limits};
use device_sim::report::{Plan, Recorder, Report, SharedRecorder};
use device_sim::scenario::{Planned, Scenario};
use device_sim::transport::LinkIdentity;
use proto::{Rng, Timestamp};

use self::far_end::FarEnd;
use self::player::{Part, Player};
use self::site::Site;
use self::stage::{Cast, Stage};
use self::ways::Ways;
use crate::clock;
use crate::config::Config;
use crate::demo::Folder;
use crate::source::{LINE, SteppedError};
use crate::store::StoreError;

/// What the clocks show at the start of a scenario that does not say it: 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);
/// The part of a run for which a delivered reading keeps its row in the ledger.
const GRACE_SHARE: u32 = 16;
const SHORTEST_GRACE: Duration = Duration::from_secs(10);
/// Readings that are on their way at a time, of some 300 bytes each.
const MAX_ROWS: usize = 8_000_000;
/// The port that devices send from.
const PORT: u16 = 40_000;
/// The first address of a device, where the source does not say whom it listens to.
const FIRST_ADDRESS: u32 = u32::from_be_bytes([10, 0, 0, 1]);

/// Why there is no rehearsal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RehearseError {
    #[error("the scenario and the configuration do not fit together:\n  {}", .0.join("\n  "))]
    Unplayable(Vec<String>),
    #[error("cannot make a private folder in {0}; set TMPDIR to a folder that can be written")]
    Folder(String, #[source] io::Error),
    #[error("the clock of this process is taken")]
    Clock,
    #[error("no device is called `{0}`; names are those of `id` in the fleets of the scenario")]
    NoDevice(String),
    #[error(
        "more than {MAX_ROWS} readings are on their way at a time, which a rehearsal cannot follow: \
         play fewer devices, or a shorter outage"
    )]
    TooMany,
    #[error(transparent)]
    Source(#[from] SteppedError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RehearseError {
    /// Whether the scenario or the configuration has to be changed.
    pub(crate) const fn is_of_config(&self) -> bool {
        matches!(
            self,
            Self::Unplayable(_)
                | Self::NoDevice(_)
                | Self::TooMany
                | Self::Source(SteppedError::Keys { .. })
        )
    }
}

/// What whoever rehearses chooses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The file of the scenario, as the report calls it.
    pub(crate) file: String,
    /// The words of the command that plays it, but for its seed.
    pub(crate) command: Vec<String>,
    /// The only device that is played.
    pub(crate) only: Option<String>,
}

/// Plays `scenario`.
///
/// # Errors
/// When it cannot be played with this configuration, or the store fails.
pub(crate) async fn rehearse(
    config: &Config,
    scenario: &Scenario,
    options: Options,
) -> Result<Report, RehearseError> {
    let ways = Ways::find(config, scenario).map_err(RehearseError::Unplayable)?;
    let start = scenario.start.unwrap_or(START);
    let metronome = clock::rehearse(start).ok_or(RehearseError::Clock)?;
    let folder = Folder::make("gateway-rehearsal")
        .map_err(|(parent, source)| RehearseError::Folder(parent.display().to_string(), source))?;
    let mut seeds = Rng::new(scenario.seed);
    let plan = FaultPlan::new(scenario.faults.clone(), seeds.next_u64(), scenario.duration);
    let recorder = SharedRecorder::new(Recorder::new(Plan {
        scenario: scenario.name.clone(),
        file: options.file,
        command: options.command,
        seed: scenario.seed,
        shard: None,
        duration: scenario.duration,
        spans: plan.spans(),
        late_after: scenario.settle(),
        thresholds: scenario.thresholds.clone(),
    }));
    let grace = (scenario.duration / GRACE_SHARE).max(SHORTEST_GRACE);
    let mut ledger = Ledger::new(Limits { grace, max_rows: MAX_ROWS });
    ledger.observe(Box::new(recorder.clone()));
    let mut players = Vec::new();
    let is_asked = |id: &str| options.only.as_ref().is_none_or(|only| only == id);
    for planned in scenario.planned(None, start).filter(|planned| is_asked(&planned.device.id)) {
        recorder.with(|seen| seen.enrol(&planned.device.id, &planned.fleet, planned.via));
        players.extend(player(config, scenario, &ways, &plan, players.len(), planned));
    }
    if let (Some(only), true) = (options.only, players.is_empty()) {
        return Err(RehearseError::NoDevice(only));
    }
    let mut site = Site::new(config, folder.path(), seeds.next_u64());
    site.figures.sources = ways.by_fleet();
    let far_ends =
        config.brokers.keys().map(|id| (id.clone(), FarEnd::new(seeds.next_u64()))).collect();
    let cast = Cast { site, far_ends, watched: ways.far_end, players, ledger };
    let stage = Stage::new(scenario, metronome, plan, cast);
    // Tokio would let it yield after so many answers, and when depends on how fast the disk is.
    let rehearsal = tokio::task::unconstrained(stage.play()).await?;
    let mut report = recorder.with(|recorder| recorder.report(None));
    report.rehearsal = Some(rehearsal);
    Ok(report)
}

/// A device with its way, if there is a source for it.
fn player(
    config: &Config,
    scenario: &Scenario,
    ways: &Ways,
    plan: &FaultPlan,
    index: usize,
    planned: Planned,
) -> Option<Player> {
    let Planned { fleet, number, via, device, payload, seed, node, restart_every, .. } = planned;
    let epoch = device.epoch.unwrap_or(1);
    let source = ways.source_of(&fleet, number)?.clone();
    let port =
        scenario.target.port_of(via).map(|port| Place::Serial(port.path("".as_ref(), number)));
    let places = fleet.parse().ok().map(Place::Fleet).into_iter().chain(port);
    let is_concerned = |place: &Place| scenario.faults.iter().any(|fault| fault.on == *place);
    let places: Vec<_> = places.filter(is_concerned).collect();
    let target = scenario.target.address_of(via).1;
    let host = target.map(|address| format!("{}:{}", address.host(), address.port()));
    let path = target.map(|address| address.path());
    let path = path.filter(|path| !path.is_empty()).unwrap_or("r");
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let address = match config.sources.get(&source)?.link.allow().first() {
        Some(network) => network.host(index),
        None => IpAddr::V4(Ipv4Addr::from(FIRST_ADDRESS.wrapping_add(index))),
    };
    // Beyond what a network has room for, devices share addresses.
    let port = PORT.wrapping_add(u16::try_from(index % 20_000).unwrap_or(0));
    let is_line = matches!(via, Via::Serial | Via::LinkSerial);
    let peer = if is_line { LINE } else { (address, port).into() };
    Some(Player::new(Part {
        device: Device::new(device),
        via,
        payload,
        identity: LinkIdentity {
            device: node.0,
            key: node.1,
            epoch,
            restart_every,
            seed,
            duty: None,
        },
        peer,
        source,
        host: host.unwrap_or_default(),
        path: path.to_owned(),
        seed,
        accidents: places.first().map(|place| plan.seed_of(place, number)),
        places,
    }))
}
