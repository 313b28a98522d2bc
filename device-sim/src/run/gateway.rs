//! The gateway as a child of the run: started, watched, and killed, stopped or restarted by faults.
//!
//! A task keeps it. Orders come one after the other; whoever gives them does not wait. That it ends
//! without an order ends the run. What it took is sampled from `/proc` while it runs, over all its lives.

mod fake_clock;
mod tail;
mod usage;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::fake_clock::FakeClock;
use self::tail::Tail;
use self::usage::Usage;
use crate::report::Resources;
use crate::scenario::model::GatewayConfig;
use crate::settings::Id;

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(30);
/// The pause between two looks whether it does.
const LOOK: Duration = Duration::from_millis(50);
/// How long it may take to end in order.
const END: Duration = Duration::from_secs(20);
/// How often its resources are looked at.
const SAMPLE: Duration = Duration::from_millis(500);
/// Orders that wait; then who gives them waits too.
const MAX_ORDERS: usize = 16;

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The program does not start.
    #[error("cannot start the gateway {program}; name it in [gateway]: program = \"…\"")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It runs, and nobody answers.
    #[error("the gateway does not answer after {} s; the end of its log:\n{log}", START.as_secs())]
    Silent {
        /// The end of its log.
        log: String,
    },
    /// It ended by itself.
    #[error("the gateway ended by itself with {status}; the end of its log:\n{log}")]
    Crashed {
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It was told to end, and did not.
    #[error("the gateway did not end within {} s; the end of its log:\n{log}", END.as_secs())]
    Stuck {
        /// The end of its log.
        log: String,
    },
    /// It does not say where it keeps its state.
    #[error("`gateway config show --json` does not say where `gateway.state_dir` is")]
    State,
    /// Its clock cannot be made to jump.
    #[error("cannot set the clock of the gateway")]
    Clock(#[source] io::Error),
    /// The system does not signal it or wait for it.
    #[error("cannot signal the gateway")]
    Signal(#[source] io::Error),
}

impl GatewayError {
    /// Whether it never was there.
    pub(super) const fn is_unreachable(&self) -> bool {
        match self {
            Self::Start { .. } | Self::Silent { .. } | Self::State | Self::Clock(_) => true,
            Self::Crashed { .. } | Self::Stuck { .. } | Self::Signal(_) => false,
        }
    }
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// SIGKILL.
    Kill,
    /// It is started, unless it runs.
    Start,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
    /// SIGTERM, and it is started again.
    Restart,
    /// Its clock jumps by so many nanoseconds.
    StepClock(i64),
}

/// A gateway that runs. Dropping it kills it.
pub(super) struct Gateway {
    orders: mpsc::Sender<Order>,
    usage: watch::Receiver<Resources>,
    tasks: JoinSet<Result<(), GatewayError>>,
}

impl Gateway {
    /// Starts it and waits until it answers `gateway status`. With a clock of its own it can be made to
    /// jump.
    pub(super) async fn start(
        config: &GatewayConfig,
        folder: &Path,
        url: Option<String>,
        has_clock: bool,
    ) -> Result<Self, GatewayError> {
        let (resources, usage) = watch::channel(Resources::default());
        let mut keeper = Keeper {
            program: program(config, folder),
            config: folder.join(&config.config),
            url: config.broker.as_ref().zip(url).map(|(name, url)| (variable(name), url)),
            clock: has_clock.then(FakeClock::new).transpose().map_err(GatewayError::Clock)?,
            child: None,
            tail: Tail::default(),
            usage: Usage::default(),
            resources,
        };
        keeper.launch()?;
        keeper.until_it_answers().await?;
        let (orders, inbox) = mpsc::channel(MAX_ORDERS);
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.run(inbox));
        Ok(Self { orders, usage, tasks })
    }

    /// Who gives it orders.
    pub(super) fn orders(&self) -> mpsc::Sender<Order> {
        self.orders.clone()
    }

    /// Waits until it fails.
    pub(super) async fn failed(&mut self) -> GatewayError {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            // It ends without an error only when nobody can give orders any more.
            Some(Ok(Ok(())) | Err(_)) | None => std::future::pending().await,
        }
    }

    /// Lets it end in order; what it took.
    pub(super) async fn finish(self) -> Result<Resources, GatewayError> {
        let Self { orders, usage, mut tasks } = self;
        drop(orders);
        while let Some(ended) = tasks.join_next().await {
            if let Ok(ended) = ended {
                ended?;
            }
        }
        Ok(*usage.borrow())
    }
}

/// Where the gateway of this configuration keeps its state, as it says itself.
pub(super) async fn state_dir(
    config: &GatewayConfig,
    folder: &Path,
) -> Result<PathBuf, GatewayError> {
    let program = program(config, folder);
    let mut command = Command::new(&program);
    command.args(["config", "show", "--json", "-c"]).arg(folder.join(&config.config));
    let asked = timeout(START, command.stdin(Stdio::null()).kill_on_drop(true).output()).await;
    let asked = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let output = asked.map_err(|source| {
        let program = program.display().to_string();
        GatewayError::Start { program, source }
    })?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(GatewayError::Crashed { status: output.status, log });
    }
    let shown: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|_| GatewayError::State)?;
    let state_dir = shown.pointer("/gateway/state_dir").and_then(serde_json::Value::as_str);
    state_dir.map(PathBuf::from).ok_or(GatewayError::State)
}

/// The program that the scenario names, else `gateway` in the folder of this program, else what the
/// system finds under this name.
fn program(config: &GatewayConfig, folder: &Path) -> PathBuf {
    if let Some(program) = &config.program {
        return folder.join(program);
    }
    let beside = std::env::current_exe().ok().map(|path| path.with_file_name("gateway"));
    beside.filter(|path| path.exists()).unwrap_or_else(|| "gateway".into())
}

/// The variable of the environment that sets the URL of a broker (`docs/configuration.md`).
fn variable(broker: &Id) -> String {
    format!("GATEWAY_BROKERS__{}__URL", broker.as_str().to_uppercase())
}

/// Keeps the process.
struct Keeper {
    program: PathBuf,
    config: PathBuf,
    /// The variable that tells it the URL of the broker, and the URL.
    url: Option<(String, String)>,
    clock: Option<FakeClock>,
    child: Option<Child>,
    tail: Tail,
    usage: Usage,
    resources: watch::Sender<Resources>,
}

impl Keeper {
    /// Until all who give orders are gone; then it ends the gateway.
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<(), GatewayError> {
        let mut sample = tokio::time::interval(SAMPLE);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await?,
                    None => return self.end().await,
                },
                ended = ended(&mut self.child) => return Err(self.crashed(ended).await),
                _ = sample.tick() => self.sample(),
            }
        }
    }

    async fn obey(&mut self, order: Order) -> Result<(), GatewayError> {
        tracing::debug!(?order, "to the gateway");
        match order {
            Order::Kill => {
                self.sample();
                if let Some(mut child) = self.child.take() {
                    // One that ended by itself just before is told all the same.
                    if let Some(status) = child.try_wait().map_err(GatewayError::Signal)? {
                        return Err(self.crashed(Ok(status)).await);
                    }
                    child.kill().await.map_err(GatewayError::Signal)?;
                }
            }
            Order::Start if self.child.is_none() => self.launch()?,
            Order::Start => {}
            Order::Stop => self.signal(Signal::STOP)?,
            Order::Continue => self.signal(Signal::CONT)?,
            Order::Restart => {
                self.end().await?;
                self.launch()?;
            }
            Order::StepClock(by_ns) => {
                let stepped = self.clock.as_mut().map_or(Ok(()), |clock| clock.step(by_ns));
                stepped.map_err(GatewayError::Clock)?;
            }
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<(), GatewayError> {
        let mut command = self.command("run");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| {
            let program = self.program.display().to_string();
            GatewayError::Start { program, source }
        })?;
        if let Some(log) = child.stderr.take() {
            self.tail.follow(log);
        }
        self.usage.begin();
        self.child = Some(child);
        Ok(())
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(name).arg("-c").arg(&self.config).stdin(Stdio::null()).kill_on_drop(true);
        // Ctrl-C is for the run, which then ends the gateway in its order.
        command.process_group(0);
        if let Some((variable, url)) = &self.url {
            command.env(variable, url);
        }
        if let Some(clock) = &self.clock {
            command.envs(clock.environment());
        }
        command
    }

    async fn until_it_answers(&mut self) -> Result<(), GatewayError> {
        let asked = timeout(START, self.ask()).await;
        asked.unwrap_or_else(|_| Err(GatewayError::Silent { log: self.tail.text() }))
    }

    async fn ask(&mut self) -> Result<(), GatewayError> {
        loop {
            let mut status = self.command("status");
            status.stdout(Stdio::null()).stderr(Stdio::null());
            tokio::select! {
                ended = ended(&mut self.child) => return Err(self.crashed(ended).await),
                asked = status.status() => if asked.is_ok_and(|status| status.success()) {
                    return Ok(());
                },
            }
            sleep(LOOK).await;
        }
    }

    /// SIGTERM, and the end that it makes.
    async fn end(&mut self) -> Result<(), GatewayError> {
        self.sample();
        let Some(mut child) = self.child.take() else { return Ok(()) };
        signal(&child, Signal::TERM)?;
        // One that stands still does not see it.
        signal(&child, Signal::CONT)?;
        match timeout(END, child.wait()).await {
            Ok(ended) => ended.map(drop).map_err(GatewayError::Signal),
            Err(_) => Err(GatewayError::Stuck { log: self.tail.text() }),
        }
    }

    fn signal(&self, order: Signal) -> Result<(), GatewayError> {
        self.child.as_ref().map_or(Ok(()), |child| signal(child, order))
    }

    fn sample(&mut self) {
        if let Some(id) = self.child.as_ref().and_then(Child::id) {
            self.usage.sample(id);
            self.resources.send_replace(self.usage.total());
        }
    }

    async fn crashed(&mut self, ended: io::Result<ExitStatus>) -> GatewayError {
        self.child = None;
        match ended {
            Ok(status) => {
                self.tail.end().await;
                GatewayError::Crashed { status, log: self.tail.text() }
            }
            Err(error) => GatewayError::Signal(error),
        }
    }
}

/// Waits until the process ends; for ever where there is none.
async fn ended(child: &mut Option<Child>) -> io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

fn signal(child: &Child, signal: Signal) -> Result<(), GatewayError> {
    let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    // One that has ended already is told by `ended`.
    id.map_or(Ok(()), |id| kill_process(id, signal))
        .map_err(|error| GatewayError::Signal(error.into()))
}
