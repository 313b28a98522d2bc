//! Plays a scenario: starts the fleets, watches the far end, and reports what became of everything.
//!
//! ```text
//! Scenario ─► devices ─ transports ─► gateway ─► broker ─► far end
//!                 └── due, sent, acknowledged ──► ledger ◄───┘ arrived
//!                                                   └─► recorder ─► Report
//! ```
//!
//! Sends are open-loop: what is due is sent whatever became of what was sent before, and latency runs
//! from when it was *meant* to be sent, so that a stalled system cannot hide.
//!
//! The run has an order. What is needed is looked for first: without the broker or the gateway
//! nothing starts ([`RunError::is_unreachable`]). The far end listens before the first device sends.
//! At the end devices report no more while the commands of the run come to an end, for `settle` at most; they
//! stop and wait for their answers; then the far end has `settle` of `verify` to see
//! what was accepted, and a moment more in which second copies show themselves.

mod commander;
mod disk;
mod far_end;
mod faults;
mod gateway;
mod reach;
mod subscription;
mod uplinks;

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use proto::{Instant, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::commander::{Commander, Commanding};
use self::disk::Disk;
pub use self::disk::DiskError;
use self::far_end::FarEnd;
pub use self::far_end::FarEndError;
use self::faults::Faults;
use self::gateway::Gateway;
pub use self::gateway::GatewayError;
pub use self::reach::ReachError;
use self::uplinks::Targets;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::device::{Device, DeviceConfig};
use crate::fault::Effect;
use crate::ledger::{Limits, SharedLedger};
use crate::live::{Progress, Stage};
use crate::report::{Recorder, Report, Resources, Shard, SharedRecorder, Span, Wall, recorder};
use crate::scenario::values::BrokerAddress;
use crate::scenario::{Fleet, Planned, Scenario};
use crate::transport::{SerialPort, Surroundings, TransportError, Uplink};

/// How long second copies are waited for when everything has arrived.
const LINGER: Duration = Duration::from_millis(500);
/// How often those who look on see something new.
const TICK: Duration = Duration::from_millis(250);
/// How long a delivered reading keeps its row, so that the value of a second copy is compared.
const GRACE: Duration = Duration::from_secs(10);
/// The most readings that are under way; beyond, the oldest counts as it stands.
const MAX_ROWS: usize = 2_000_000;

/// What whoever runs a scenario chooses.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The file of the scenario, as reports call it.
    pub file: String,
    /// Which part of the devices is played; `None` for all.
    pub shard: Option<Shard>,
    /// The only device that is played.
    pub only: Option<String>,
}

/// Why a scenario could not be played.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The far end is not there.
    #[error(transparent)]
    FarEnd(#[from] FarEndError),
    /// The gateway is not there.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The gateway that the run started does not start, or ended by itself.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The disk of the gateway cannot be filled.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is no relay for the faults.
    #[error("cannot put faults on a way")]
    Way(#[source] io::Error),
    /// A device has not what it needs.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A device ended, which none does by itself.
    #[error("a simulated device ended, which it must not")]
    Ended,
    /// There is no such device.
    #[error("no device is called `{0}`; names are those of `id` in the fleets of the scenario")]
    NoDevice(String),
    /// The shard has no device.
    #[error("there are fewer devices than shards: {0} has none")]
    EmptyShard(Shard),
    /// There are too few files for so many sockets.
    #[error(
        "{needed} devices need {needed} sockets, and this process may have {limit}; raise it with \
         `ulimit -n {needed}`, or play a part of the devices with --shard"
    )]
    Files {
        /// How many are needed.
        needed: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The system does not say how many files there may be, or does not run.
    #[error("cannot start")]
    System(#[source] io::Error),
}

impl RunError {
    /// Whether the other side is missing: the test itself could not be run.
    pub const fn is_unreachable(&self) -> bool {
        match self {
            Self::FarEnd(_) | Self::Reach(_) => true,
            Self::Gateway(error) => error.is_unreachable(),
            Self::Disk(error) => error.is_unreachable(),
            Self::Way(_) => false,
            Self::Transport(_) | Self::Ended | Self::NoDevice(_) | Self::EmptyShard(_) => false,
            Self::Files { .. } | Self::System(_) => false,
        }
    }
}

/// Plays `scenario` to its end, or until `stop`.
///
/// # Errors
/// When it cannot be played: something that it needs is not there.
pub async fn run(
    scenario: &Scenario,
    options: &RunOptions,
    progress: watch::Sender<Progress>,
    stop: CancellationToken,
) -> Result<Report, RunError> {
    let mut far_end = FarEnd::connect(scenario).await?;
    let mut faults = Faults::new(scenario, far_end.broker().map(|broker| broker.faults().clone()));
    let url = before_broker(scenario, far_end.broker(), &mut faults).await?;
    let mut gateway = match &scenario.gateway {
        Some(config) => {
            let has =
                |what: fn(&Effect) -> bool| scenario.faults.iter().any(|fault| what(&fault.effect));
            if has(|effect| effect.leaves().is_some()) {
                let folder = gateway::state_dir(config, &scenario.folder).await?;
                faults.fill(Disk::of(&folder)?);
            }
            let has_clock = has(|effect| matches!(effect, Effect::ClockStep(_)));
            let gateway = Gateway::start(config, &scenario.folder, url, has_clock).await?;
            faults.command(gateway.orders());
            Some(gateway)
        }
        None => None,
    };
    let targets = Targets::resolve(scenario, far_end.broker()).await?;
    targets.reach(scenario).await?;
    let commander = Commander::connect(scenario, far_end.broker()).await?;
    let attendance = targets.attendance().clone();
    let recorder = SharedRecorder::new(Recorder::new(plan(scenario, options, faults.spans())));
    let prepared = prepare(scenario, options, &targets, &mut faults, &recorder).await?;
    let others = others(scenario, options.shard, &prepared);
    let ours: BTreeSet<_> = prepared.iter().map(|(_, device)| device.id.clone()).collect();

    // The run begins: what has taken time until now is none of the devices' time.
    let clock = Clock::start();
    let ledger = SharedLedger::new(Limits { grace: GRACE, max_rows: MAX_ROWS }, clock);
    ledger.observe(Box::new(recorder.clone()));
    far_end.watch(ledger.clone(), clock, others);
    let surroundings = Surroundings { ledger: ledger.clone(), clock };
    let commanding = |commander: Commander| {
        commander.begin(scenario.seed, ours, attendance.ledger.clone(), clock)
    };
    let mut commanding = commander.map(commanding);
    let mut devices = Devices::start(prepared, &surroundings, scenario.start.is_none());
    let settle = scenario.settle();
    let window = Window { progress, recorder: recorder.clone(), clock };
    let sending = async {
        tokio::select! {
            () = stop.cancelled() => None,
            () = clock.sleep_until(Instant::ZERO + scenario.duration) => None,
            error = devices.failed() => Some(error),
            error = far_end.failed() => Some(error.into()),
            error = failed(&mut gateway) => Some(error.into()),
            error = faults.run(&clock) => Some(error),
            () = asked(&mut commanding) => None,
        }
    };
    let mut failure = window.over(Stage::Sending, sending).await;
    faults.end().await?;
    devices.silence();
    if let (None, Some(commanding)) = (&failure, &commanding) {
        let settling = async {
            tokio::select! {
                () = commanding.settled() => Ok(()),
                () = sleep(settle) => Ok(()),
                error = failed(&mut gateway) => Err(RunError::from(error)),
            }
        };
        failure = window.over(Stage::Settling, settling).await.err();
    }
    attendance.until.cancel();
    let ports = window.over(Stage::Settling, devices.stop()).await;
    if let Some(failure) = failure {
        return Err(failure);
    }
    if scenario.verify.is_some() {
        let settling = async {
            tokio::select! {
                () = async { ledger.settled().await; sleep(LINGER).await; } => Ok(()),
                () = sleep(settle) => Ok(()),
                error = far_end.failed() => Err(error.into()),
                error = failed(&mut gateway) => Err(RunError::from(error)),
            }
        };
        window.over(Stage::Settling, settling).await?;
    }
    // It ends when nobody can give it orders any more.
    drop(faults);
    let took = match gateway {
        Some(gateway) => Some(gateway.finish().await?),
        None => None,
    };
    let commands = match commanding {
        Some(commanding) => Some(commanding.finish().await),
        None => None,
    };
    far_end.stop().await;
    // The ports stay plugged in until everything has been read from them.
    drop(ports);
    if scenario.verify.is_some() {
        ledger.finish();
    }
    let report = recorder.with(|recorder| recorder.report(Some(wall(&clock, took))));
    let mut report = Report { commands, ..report };
    report.conclude();
    Ok(report)
}

fn plan(scenario: &Scenario, options: &RunOptions, spans: Vec<Span>) -> recorder::Plan {
    recorder::Plan {
        scenario: scenario.name.clone(),
        file: options.file.clone(),
        command: ["device-sim", "run", &options.file].map(str::to_owned).into(),
        seed: scenario.seed,
        shard: options.shard,
        duration: scenario.duration,
        spans,
        late_after: scenario.settle(),
        thresholds: scenario.thresholds.clone(),
    }
}

fn wall(clock: &Clock, gateway: Option<Resources>) -> Wall {
    let started = jiff::Timestamp::from_millisecond(clock.civil_origin().as_millis());
    Wall {
        started: started.map(|started| started.to_string()).unwrap_or_default(),
        program: concat!("device-sim ", env!("CARGO_PKG_VERSION")).to_owned(),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        processors: std::thread::available_parallelism()
            .map_or(0, |count| u64::try_from(count.get()).unwrap_or(u64::MAX)),
        gateway,
    }
}

/// What those see who look on.
struct Window {
    progress: watch::Sender<Progress>,
    recorder: SharedRecorder,
    clock: Clock,
}

impl Window {
    /// Shows how it stands until `work` is done.
    async fn over<T>(&self, stage: Stage, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            let now = self.clock.now();
            self.progress.send_replace(self.recorder.with(|seen| seen.progress(now, stage)));
            tokio::select! {
                done = &mut work => return done,
                () = sleep(TICK) => {}
            }
        }
    }
}

/// The devices while they send.
struct Devices {
    tasks: JoinSet<Result<Option<SerialPort>, TransportError>>,
    stop: CancellationToken,
}

/// Asks for commands, where there are some.
async fn asked(commanding: &mut Option<Commanding>) {
    match commanding {
        Some(commanding) => commanding.ask().await,
        None => std::future::pending().await,
    }
}

/// Waits until a gateway of this run fails.
async fn failed(gateway: &mut Option<Gateway>) -> GatewayError {
    match gateway {
        Some(gateway) => gateway.failed().await,
        None => std::future::pending().await,
    }
}

/// Puts something in front of the broker where faults need it; the URL for the gateway.
async fn before_broker(
    scenario: &Scenario,
    built_in: Option<&Broker>,
    faults: &mut Faults,
) -> Result<Option<String>, RunError> {
    let (broker, bind) = match (&scenario.target.mqtt, built_in) {
        (Some(BrokerAddress::At(address)), _) => {
            (uplinks::address_of("mqtt", address).await?, "127.0.0.1:0".to_owned())
        }
        (Some(BrokerAddress::BuiltIn(port)), Some(broker)) => {
            (broker.address(), format!("127.0.0.1:{port}"))
        }
        (Some(BrokerAddress::BuiltIn(_)) | None, _) => return Ok(None),
    };
    if !faults::is_before_broker(scenario) {
        return Ok(Some(format!("mqtt://{broker}")));
    }
    let bind = match &scenario.target.mqtt_relay {
        Some(address) => uplinks::address_of("mqtt-relay", address).await?.to_string(),
        None => bind,
    };
    let relay = faults.stand_before_broker(&bind, broker).await.map_err(RunError::Way)?;
    Ok(Some(format!("mqtt://{relay}")))
}

/// The ways of the devices that are asked for, and their names in the report.
async fn prepare(
    scenario: &Scenario,
    options: &RunOptions,
    targets: &Targets,
    faults: &mut Faults,
    recorder: &SharedRecorder,
) -> Result<Vec<(Uplink, DeviceConfig)>, RunError> {
    let is_asked = |id: &str| options.only.as_ref().is_none_or(|only| only == id);
    let planned = scenario.planned(options.shard, Timestamp::from_nanos(0));
    let planned: Vec<_> = planned.filter(|planned| is_asked(&planned.device.id)).collect();
    if planned.is_empty() {
        return Err(match (&options.only, options.shard) {
            (Some(only), _) => RunError::NoDevice(only.clone()),
            (None, Some(shard)) => RunError::EmptyShard(shard),
            (None, None) => RunError::Ended,
        });
    }
    let sockets = |planned: &Planned| 1 + faults::sockets_on_the_way(scenario, &planned.fleet);
    reach::make_room(planned.iter().map(sockets).sum())?;
    let mut prepared = Vec::new();
    for planned in planned {
        let enrol = |recorder: &mut Recorder| {
            recorder.enrol(&planned.device.id, &planned.fleet, planned.via);
        };
        recorder.with(enrol);
        let path = targets.port(&planned, &scenario.folder);
        let target = targets.address(planned.via);
        let detour = faults.detour(scenario, &planned, target, path.as_deref()).await;
        let detour = detour.map_err(RunError::Way)?;
        prepared.push(targets.uplink(planned, &scenario.folder, detour)?);
    }
    Ok(prepared)
}

/// The devices of the other shards, whose readings are none of this one.
fn others(
    scenario: &Scenario,
    shard: Option<Shard>,
    prepared: &[(Uplink, DeviceConfig)],
) -> BTreeSet<String> {
    let ids = |fleet| (1..=Fleet::count(fleet)).map(move |number| fleet.id(number));
    let all = scenario.fleets.iter().filter(|_| shard.is_some()).flat_map(ids);
    let mut others: BTreeSet<_> = all.collect();
    for (_, ours) in prepared {
        others.remove(&ours.id);
    }
    others
}

impl Devices {
    /// Starts them. Their clocks show the real time, unless the scenario says another one.
    fn start(
        prepared: Vec<(Uplink, DeviceConfig)>,
        surroundings: &Surroundings,
        in_real_time: bool,
    ) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let origin = surroundings.clock.civil_origin().as_nanos();
        for (uplink, mut config) in prepared {
            if in_real_time {
                let skew = config.clock.origin.as_nanos();
                config.clock.origin = Timestamp::from_nanos(origin.saturating_add(skew));
            }
            tasks.spawn(uplink.run(Device::new(config), surroundings.clone(), stop.clone()));
        }
        Self { tasks, stop }
    }

    /// Waits for a device to end, which none does by itself.
    async fn failed(&mut self) -> RunError {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error.into(),
            Some(Ok(Ok(_)) | Err(_)) | None => RunError::Ended,
        }
    }

    /// Lets them report no more; who has a duty is still there.
    fn silence(&self) {
        self.stop.cancel();
    }

    /// Stops all of them and waits for their answers; their serial ports stay plugged in.
    async fn stop(mut self) -> Vec<SerialPort> {
        self.stop.cancel();
        let mut ports = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(Ok(port)) => ports.extend(port),
                Ok(Err(error)) => tracing::warn!(%error, "a device failed at its end"),
                Err(error) => tracing::error!(%error, "the task of a device failed"),
            }
        }
        ports
    }
}
