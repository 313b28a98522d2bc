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
//! At the end devices stop and wait for their answers; then the far end has [verify].settle to see
//! what was accepted, and a moment more in which second copies show themselves.

mod far_end;
mod reach;
mod uplinks;

use std::io;
use std::time::Duration;

use proto::{Instant, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::far_end::FarEnd;
pub use self::far_end::FarEndError;
pub use self::reach::ReachError;
use self::uplinks::Targets;
use crate::clock::Clock;
use crate::device::{Device, DeviceConfig};
use crate::ledger::{Limits, SharedLedger};
use crate::live::{Progress, Stage};
use crate::report::{Recorder, Report, Shard, SharedRecorder, Wall, recorder};
use crate::scenario::Scenario;
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
    /// Nothing here can go wrong on purpose.
    #[error(
        "`[[faults]]` are played in virtual time only: `gateway rehearse -c CONFIG SCENARIO` does, or \
         remove them"
    )]
    Faults,
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
            Self::Transport(_) | Self::Ended | Self::NoDevice(_) | Self::EmptyShard(_) => false,
            Self::Files { .. } | Self::Faults | Self::System(_) => false,
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
    if !scenario.faults.is_empty() {
        return Err(RunError::Faults);
    }
    let mut far_end = FarEnd::connect(scenario).await?;
    let targets = Targets::resolve(scenario, far_end.broker()).await?;
    targets.reach(scenario).await?;
    let recorder = SharedRecorder::new(Recorder::new(plan(scenario, options)));
    let prepared = prepare(scenario, options, &targets, &recorder)?;

    // The run begins: what has taken time until now is none of the devices' time.
    let clock = Clock::start();
    let ledger = SharedLedger::new(Limits { grace: GRACE, max_rows: MAX_ROWS }, clock);
    ledger.observe(Box::new(recorder.clone()));
    far_end.watch(ledger.clone(), clock);
    let surroundings = Surroundings { ledger: ledger.clone(), clock };
    let mut devices = Devices::start(prepared, &surroundings, scenario.start.is_none());
    let settle = scenario.settle();
    let window = Window { progress, recorder: recorder.clone(), clock };
    let sending = async {
        tokio::select! {
            () = stop.cancelled() => None,
            () = clock.sleep_until(Instant::ZERO + scenario.duration) => None,
            error = devices.failed() => Some(error),
            error = far_end.failed() => Some(error.into()),
        }
    };
    let failed = window.over(Stage::Sending, sending).await;
    let ports = window.over(Stage::Settling, devices.stop()).await;
    if let Some(failed) = failed {
        return Err(failed);
    }
    if scenario.verify.is_some() {
        let settling = async {
            tokio::select! {
                () = async { ledger.settled().await; sleep(LINGER).await; } => Ok(()),
                () = sleep(settle) => Ok(()),
                error = far_end.failed() => Err(error),
            }
        };
        window.over(Stage::Settling, settling).await?;
    }
    far_end.stop().await;
    // The ports stay plugged in until everything has been read from them.
    drop(ports);
    if scenario.verify.is_some() {
        ledger.finish();
    }
    Ok(recorder.with(|recorder| recorder.report(Some(wall(&clock)))))
}

fn plan(scenario: &Scenario, options: &RunOptions) -> recorder::Plan {
    recorder::Plan {
        scenario: scenario.name.clone(),
        file: options.file.clone(),
        command: ["device-sim", "run", &options.file].map(str::to_owned).into(),
        seed: scenario.seed,
        shard: options.shard,
        duration: scenario.duration,
        spans: Vec::new(),
        late_after: scenario.settle(),
        thresholds: scenario.thresholds.clone(),
    }
}

fn wall(clock: &Clock) -> Wall {
    let started = jiff::Timestamp::from_millisecond(clock.civil_origin().as_millis());
    Wall {
        started: started.map(|started| started.to_string()).unwrap_or_default(),
        program: concat!("device-sim ", env!("CARGO_PKG_VERSION")).to_owned(),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        processors: std::thread::available_parallelism()
            .map_or(0, |count| u64::try_from(count.get()).unwrap_or(u64::MAX)),
        gateway: None,
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

/// The ways of the devices that are asked for, and their names in the report.
fn prepare(
    scenario: &Scenario,
    options: &RunOptions,
    targets: &Targets,
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
    reach::make_room(u64::try_from(planned.len()).unwrap_or(u64::MAX))?;
    let mut prepared = Vec::new();
    for planned in planned {
        let enrol = |recorder: &mut Recorder| {
            recorder.enrol(&planned.device.id, &planned.fleet, planned.via);
        };
        recorder.with(enrol);
        prepared.push(targets.uplink(planned, &scenario.folder)?);
    }
    Ok(prepared)
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
