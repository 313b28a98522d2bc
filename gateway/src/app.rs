//! The gateway put together: the only file that knows every part.
//!
//! Start: store, brokers, pipeline, sources, so that nothing is accepted before it can be kept.
//! Stop: the other way round. Sources end when their receipts are settled, the pipeline when it is
//! empty, brokers when they have everything or the deadline has come; the store says what stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::broker::{BrokerTask, CommandEarsTask, WatchTask, live_key, windows_key};
use crate::clock_watch::ClockWatch;
use crate::commands::{
    CommandTask, CommandTopics, DeskRules, HEARD, Journal, JournalError, Roster, order_queue,
};
use crate::config::{Broker, Config, Id, Interval, Link, PubSub};
use crate::control;
use crate::nodes::Nodes;
use crate::pipeline::{Intake, Routes};
use crate::source::{Source, SourceError, SourceStatus, Surroundings};
use crate::status::Status;
use crate::store::{Lane, Limits, Policy, Spool, StoreError};
use crate::supervisor::{Ended, Supervisor};

/// How often the store does what is due without readings that arrive: it saves the cursors, drops
/// what is too old, and looks at the disk.
const STORE_TICK: Duration = Duration::from_secs(1);
/// How long sources and pipeline may take to settle what they have accepted.
const SETTLE: Duration = Duration::from_secs(10);

/// Why the gateway ended by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the system has no random numbers")]
    Random(#[source] getrandom::Error),
    #[error("the task `{0}` ended, which it must not")]
    Task(String),
}

/// A gateway that is running.
pub(crate) struct App {
    sources: Supervisor<()>,
    pipeline: Supervisor<()>,
    brokers: Supervisor<Result<(), StoreError>>,
    stop_sources: CancellationToken,
    stop_commands: CancellationToken,
    drain_brokers: CancellationToken,
    drain: Duration,
    spool: Spool,
    store: JoinHandle<Result<(), StoreError>>,
    status: Arc<Status>,
}

impl App {
    /// Opens the store and every link.
    pub(crate) async fn start(config: &Config) -> Result<Self, AppError> {
        let gateway = &config.gateway;
        let routes = Arc::new(Routes::new(config));
        let lanes: Vec<Lane> =
            config.brokers.iter().flat_map(|(id, b)| lanes(&routes, id, b)).collect();
        let policy = Policy {
            quota: config.store.quota.bytes(),
            min_free: config.store.min_free.bytes(),
            when_full: config.store.when_full,
            keep: config.store.keep.duration(),
        };
        let (spool, store) = Spool::open(gateway.state_dir.clone(), policy, &lanes)?;
        let mut clock_watch = ClockWatch::new(gateway, spool.clone());
        // Before anything arrives that it could be wrong about.
        clock_watch.look().await;
        let waiting = spool.status().pending;
        info!(gateway = %gateway.id, state_dir = %gateway.state_dir.display(), ?waiting, "starting");

        let drain_brokers = CancellationToken::new();
        let mut brokers = Supervisor::new();
        let mut broker_handles = BTreeMap::new();
        let mut broker_topics = BTreeMap::new();
        let status_topic = format!("{}/{}/status", gateway.topic_prefix, gateway.id);
        let (heard, requests) = mpsc::channel(HEARD);
        for (id, broker) in &config.brokers {
            let (topic, spool) = (status_topic.clone(), spool.clone());
            let task = BrokerTask::new(id, broker, topic, &gateway.id, spool, &routes, seed()?);
            // Every broker was named when the store was opened.
            let Some((task, handle)) = task else { return Err(AppError::Task(id.to_string())) };
            let is_read = |ps: &&PubSub| ps.broker == *id && !ps.subscribe.is_empty();
            let (handle, board) = match config.bridges().find(is_read) {
                None => (handle, None),
                Some(_) => {
                    let (task, subscriber, board) =
                        WatchTask::new(id, broker, &gateway.id, seed()?);
                    let stop = drain_brokers.clone();
                    brokers.start(format!("subscriber {id}"), async move {
                        task.run(stop).await;
                        Ok(())
                    });
                    (handle.with_subscriber(subscriber), Some(board))
                }
            };
            let handle = match config.commands.as_ref().filter(|it| it.from.contains(id)) {
                None => handle,
                Some(_) => {
                    let topics = CommandTopics::new(&gateway.topic_prefix, &gateway.id);
                    let (task, ears) = CommandEarsTask::new(
                        id,
                        broker,
                        &gateway.id,
                        seed()?,
                        &topics,
                        heard.clone(),
                    );
                    let stop = drain_brokers.clone();
                    brokers.start(format!("commands {id}"), async move {
                        task.run(stop).await;
                        Ok(())
                    });
                    handle.with_ears(ears)
                }
            };
            broker_topics.insert(id.clone(), (broker.max_packet.bytes(), board));
            broker_handles.insert(id.clone(), handle);
            brokers.start(format!("broker {id}"), task.run(drain_brokers.clone()));
        }

        let commit_interval = config.store.commit_interval.duration();
        let (intake, inlet, intake_status) = Intake::new(
            Arc::clone(&routes),
            spool.clone(),
            gateway.device_clock(),
            commit_interval,
        );
        let mut pipeline = Supervisor::new();
        pipeline.start("pipeline".to_owned(), intake.run());
        let stop_commands = CancellationToken::new();

        let stop_sources = CancellationToken::new();
        let mut sources = Supervisor::new();
        sources.start("clock".to_owned(), clock_watch.run(stop_sources.clone()));
        let mut source_status = BTreeMap::new();
        let mut directories = BTreeMap::new();
        for (id, source) in &config.sources {
            if matches!(&source.link, Link::Coap(link) if link.directory) {
                directories.insert(id.clone(), seed()?);
            }
        }
        let nodes = Nodes::new(directories.into_iter());
        let surroundings = Surroundings {
            state_dir: gateway.state_dir.clone(),
            spool: spool.clone(),
            nodes: Arc::clone(&nodes),
            brokers: broker_topics,
            statuses: Arc::default(),
            fetched: config.fetched(),
        };
        let (mut orders, order_senders): (BTreeMap<_, _>, BTreeMap<_, _>) = config
            .sources
            .keys()
            .filter(|id| config.operations.values().any(|operation| operation.source == **id))
            .map(|id| {
                let (sender, orders) = order_queue();
                ((id.clone(), orders), (id.clone(), sender))
            })
            .unzip();
        for (id, source) in &config.sources {
            let orders = orders.remove(id);
            let source = Source::open(id, source, &inlet, &surroundings, orders, seed()?).await?;
            source_status.insert(id.clone(), source.status());
            sources.start(format!("source {id}"), source.run(stop_sources.clone()));
        }
        // Nobody else sets it.
        let _ = surroundings.statuses.set(source_status.clone());
        let commands = match DeskRules::of(config) {
            None => None,
            Some(rules) => {
                let (statuses, of_nodes) = (source_status.clone(), Arc::clone(&nodes));
                let roster = Box::new(move || roster(&statuses, &of_nodes));
                let journal = Journal::open(&gateway.state_dir)?;
                let inlet = inlet.for_source("commands");
                let (task, handle) =
                    CommandTask::new(rules, journal, requests, order_senders, inlet, roster)?;
                pipeline.start("commands".to_owned(), task.run(stop_commands.clone()));
                Some(handle)
            }
        };

        let status = Arc::new(Status {
            gateway: gateway.id.clone(),
            spool: spool.clone(),
            routes,
            intake: intake_status,
            sources: source_status,
            nodes,
            brokers: broker_handles,
            commands,
        });
        Ok(Self {
            sources,
            pipeline,
            brokers,
            stop_sources,
            stop_commands,
            drain_brokers,
            drain: gateway.drain.duration(),
            spool,
            store,
            status,
        })
    }

    /// What can be seen from outside.
    pub(crate) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Runs until `stop` is cancelled, then hands over what it can; or until a part fails.
    pub(crate) async fn run(
        mut self,
        config: &Config,
        stop: CancellationToken,
    ) -> Result<(), AppError> {
        let mut control = Supervisor::new();
        let socket = config.gateway.state_dir.join(control::SOCKET);
        control.start("control".to_owned(), control::serve(socket, self.status()));
        let mut tick = interval(STORE_TICK);
        let failed = loop {
            tokio::select! {
                () = stop.cancelled() => break None,
                _ = tick.tick() => self.spool.tick(),
                Some(end) = self.sources.next_end() => break Some(unexpected(end)),
                Some(end) = self.pipeline.next_end() => break Some(unexpected(end)),
                Some(end) = self.brokers.next_end() => break Some(unexpected(end)),
            }
        };
        let failed = failed.inspect(|task| error!(%task, "ended, which it must not"));
        self.stop(control).await?;
        failed.map_or(Ok(()), |task| Err(AppError::Task(task)))
    }

    async fn stop(mut self, control: Supervisor<()>) -> Result<(), AppError> {
        info!("stopping");
        self.stop_sources.cancel();
        // Sources wait for their receipts, and those of a full store could wait for ever.
        self.spool.stop_waiting();
        let settled = timeout(SETTLE, async {
            while self.sources.next_end().await.is_some() {}
            self.stop_commands.cancel();
            // The sources held the inlets, so the pipeline ends when it is empty.
            while self.pipeline.next_end().await.is_some() {}
        });
        if settled.await.is_err() {
            warn!(after = ?SETTLE, "sources did not end; what they have not acknowledged is lost to them");
        }
        self.drain_brokers.cancel();
        let drained =
            timeout(self.drain, async { while self.brokers.next_end().await.is_some() {} });
        let late = drained.await.is_err();
        let pending = self.spool.status().pending;
        let left: u64 = pending.values().sum();
        if late || left > 0 {
            warn!(?pending, "stopped; these stay on disk and are sent after the next start");
        } else {
            info!("stopped, every broker has everything");
        }
        // The storage thread ends when the last handle is gone; the control socket has one too.
        let Self { sources, pipeline, brokers, spool, store, status, .. } = self;
        drop((sources, pipeline, brokers, spool, status, control));
        tokio::task::spawn_blocking(|| store.join())
            .await
            .map_err(|_| StoreError::Ended)?
            .map_err(|_| StoreError::Ended)??;
        Ok(())
    }
}

fn unexpected<T>(end: Ended<T>) -> String {
    match end.outcome {
        Ok(_) => end.name,
        Err(panic) => format!("{}: {panic}", end.name),
    }
}

/// The lanes in which a broker reads the store.
pub(crate) fn lanes(routes: &Routes, id: &Id, broker: &Broker) -> Vec<Lane> {
    let limits =
        Limits { max_lag: broker.max_lag, max_age: broker.max_age.map(Interval::duration) };
    let (live, windows) = (routes.live_first(id.as_str()), routes.windows(id.as_str()));
    // Each lane depends on what the others leave to it.
    let shared = live.unwrap_or(0) | windows.unwrap_or(0) << 32;
    let ordered = Lane { routes: shared, ..Lane::only(id.as_str(), limits) };
    let live = live.map(|_| Lane { key: live_key(id.as_str()), ..ordered.clone() });
    let windows = windows.map(|_| Lane { key: windows_key(id.as_str()), ..ordered.clone() });
    [Some(ordered), live, windows].into_iter().flatten().collect()
}

/// The devices that are known now.
fn roster(sources: &BTreeMap<Id, Arc<SourceStatus>>, nodes: &Nodes) -> Roster {
    let mut roster = Roster::default();
    for (source, status) in sources {
        let names = status.heard().into_iter().map(|(name, _)| name);
        roster.devices.entry(source.clone()).or_default().extend(names);
    }
    for node in nodes.registered() {
        roster.devices.entry(node.source).or_default().insert(node.name.clone());
        roster.attributes.entry(node.name).or_default().extend(node.attributes);
    }
    roster
}

fn seed() -> Result<u64, AppError> {
    getrandom::u64().map_err(AppError::Random)
}
