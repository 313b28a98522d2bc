//! `gateway demo`: the whole way from device to broker in one process, on loopback.
//!
//! ```text
//! simulated devices ─ coap, udp, tcp, serial, link ─► gateway ─ mqtt ─► recording broker ─► display
//!         └──────────── sent, acknowledged ──► ledger ◄── arrived ───────────────┘
//! ```
//!
//! The gateway is the real one, with a configuration that went through the normal loader; all that is
//! special are its ports, which the system chooses, and its folder, which is removed at the end.
//!
//! The end has an order, so that what is missing then is lost: devices stop and wait for their
//! answers; what is on its way arrives; the gateway drains and stops; the broker ends, and with it
//! its record; the display ends with the last of it. Only then the ledger is counted.

mod board;
mod display;
mod fleet;
mod folder;
mod screen;
mod settings;
mod summary;

use std::io;
use std::path::Path;
use std::time::Duration;

use device_sim::broker::{Broker, BrokerConfig, Recording};
use device_sim::clock::Clock;
use device_sim::ledger::Limits;
use device_sim::transport::{SerialPort, Surroundings, TransportError};
use device_sim::{SharedLedger, Via};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::board::Board;
use self::fleet::{Fleet, Plan, Ports};
use crate::app::{App, AppError};
use crate::config::Loaded;
use crate::supervisor::Supervisor;

pub(crate) use display::Show;
pub(crate) use folder::Folder;
pub(crate) use summary::Summary;

/// Messages that wait for the display; then the broker waits.
const MAX_INBOX: usize = 1024;
/// How long the end waits for what is on its way.
const SETTLE: Duration = Duration::from_secs(10);

/// What a user chooses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// How many devices.
    pub(crate) devices: u16,
    /// How often each reports.
    pub(crate) every: Duration,
    /// What their values are drawn from.
    pub(crate) seed: u64,
    /// When it ends by itself.
    pub(crate) duration: Option<Duration>,
    /// What is shown meanwhile.
    pub(crate) show: Show,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("cannot make a private folder in {0}; set TMPDIR to a folder that can be written")]
    Folder(String, #[source] io::Error),
    #[error("cannot start the demo's broker on 127.0.0.1")]
    Broker(#[source] io::Error),
    #[error(transparent)]
    Device(#[from] TransportError),
    #[error("a simulated device ended, which it must not")]
    DeviceEnded,
    #[error("the demo's own configuration is wrong, which it must not be:\n{0}")]
    Config(String),
    #[error(transparent)]
    App(#[from] AppError),
    #[error("the gateway does not listen for {0}, which it must")]
    NoAddress(&'static str),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("cannot draw on the terminal; try --plain")]
    Terminal(#[source] io::Error),
}

/// Runs it to its end; what became of every reading.
pub(crate) async fn run(options: &Options) -> Result<Summary, DemoError> {
    let folder = Folder::make("gateway-demo")
        .map_err(|(parent, source)| DemoError::Folder(parent.display().to_string(), source))?;
    let clock = Clock::start();
    let (recorder, inbox) = mpsc::channel(MAX_INBOX);
    let recording = Recording::Send(recorder);
    let config = BrokerConfig { recording, clock, ..BrokerConfig::default() };
    let broker = Broker::start(config).await.map_err(DemoError::Broker)?;

    let plan = Plan::new(options, clock.civil_origin());
    let ports = plug_in(&plan, folder.path())?;
    let loaded = settings::load_settings(&folder, &broker.url(), &plan.keys(), &ports)?;
    let app = Box::pin(App::start(&loaded.config)).await?;

    let surroundings = Surroundings { ledger: SharedLedger::new(Limits::default(), clock), clock };
    let board = Board::new(&loaded.config.gateway.id, &broker.url(), &plan);
    let stop = CancellationToken::new();
    let display = display::Display {
        board,
        ledger: surroundings.ledger.clone(),
        clock,
        inbox,
        stop: stop.clone(),
    };
    let fleet = Fleet::start(plan, ports, &app.status().report(), &surroundings)?;
    let stage = Stage { fleet, surroundings, stop, duration: options.duration };

    let (played, shown) = tokio::join!(
        async {
            let played = Box::pin(stage.play(app, &loaded)).await;
            broker.shutdown().await;
            played
        },
        Box::pin(display.run(options.show)),
    );
    let ledger = played?;
    shown.map_err(DemoError::Terminal)?;
    Ok(Summary::new(options, clock.now(), ledger.verdict()))
}

/// A port for each device that speaks over one.
fn plug_in(plan: &Plan, folder: &Path) -> Result<Ports, TransportError> {
    let plug_in = |via, name| {
        let paths = (1..=plan.count(via)).map(|number| folder.join(format!("{name}{number}")));
        paths.map(|path| SerialPort::plug_in(&path)).collect::<Result<Vec<_>, _>>()
    };
    Ok(Ports { lines: plug_in(Via::Serial, "tty")?, links: plug_in(Via::LinkSerial, "link")? })
}

/// Devices and gateway while the demo lasts.
struct Stage {
    fleet: Fleet,
    surroundings: Surroundings,
    stop: CancellationToken,
    duration: Option<Duration>,
}

impl Stage {
    /// Until it is stopped, the time is over or a part fails; then to an orderly end.
    async fn play(self, app: App, loaded: &Loaded) -> Result<SharedLedger, DemoError> {
        let Self { mut fleet, surroundings, stop, duration } = self;
        let mut signals = Supervisor::new();
        signals.start("signals".to_owned(), stop_on_signal(stop.clone()));
        let (gateway_stop, gateway_ended) = (CancellationToken::new(), CancellationToken::new());
        let ledger = &surroundings.ledger;

        let gateway = async {
            let ended = app.run(&loaded.config, gateway_stop.clone()).await;
            gateway_ended.cancel();
            ended
        };
        let devices = async {
            let failed = tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = gateway_ended.cancelled() => Ok(()),
                () = after(duration) => Ok(()),
                Some(end) = signals.next_end() => match end.outcome {
                    Ok(Err(error)) => Err(DemoError::Signals(error)),
                    Ok(Ok(())) | Err(_) => Ok(()),
                },
                failed = fleet.failed() => Err(failed),
            };
            // For whoever looks on: the end has begun.
            stop.cancel();
            let ports = fleet.stop().await;
            tokio::select! {
                () = ledger.settled() => {}
                () = gateway_ended.cancelled() => {}
                () = sleep(SETTLE) => {}
            }
            gateway_stop.cancel();
            // The ports stay plugged in until the gateway has ended.
            failed.and(ports)
        };
        let (ended, ports) = tokio::join!(gateway, devices);
        ended?;
        ports?;
        Ok(surroundings.ledger)
    }
}

async fn after(duration: Option<Duration>) {
    match duration {
        Some(duration) => sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Ends on SIGINT or SIGTERM, or when the terminal is closed.
async fn stop_on_signal(stop: CancellationToken) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    stop.cancel();
    Ok(())
}
