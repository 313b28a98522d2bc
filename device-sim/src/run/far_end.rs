//! The far end: a subscription to the broker, or a broker of this run, that tells the ledger what
//! arrives.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use proto::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::faults;
use super::subscription::Subscription;
use crate::broker::{Broker, BrokerConfig, Recorded, Recording, topic};
use crate::clock::Clock;
use crate::ledger::{Arrival, SharedLedger};
use crate::scenario::Scenario;
use crate::scenario::values::BrokerAddress;

/// Messages that wait to be looked at; then the built-in broker waits.
const MAX_INBOX: usize = 1024;

/// Why nothing can be seen on the far end.
#[derive(Debug, thiserror::Error)]
pub enum FarEndError {
    /// Nobody answers, or not in time.
    #[error("cannot subscribe at {broker}: {why}")]
    Unreachable {
        /// The broker.
        broker: String,
        /// What it says.
        why: String,
    },
    /// The gateway takes no commands.
    #[error(
        "nobody takes commands at `{root}/command/+/+` of {broker}: give the gateway a table [commands] with \
         this broker in `from`; `commands.root` of the scenario is its topic prefix, `/` and its id"
    )]
    NoCommands {
        /// The topics.
        root: String,
        /// The broker.
        broker: String,
    },
    /// The built-in broker does not start.
    #[error("cannot start the built-in broker on port {port}")]
    BuiltIn {
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
}

/// Whatever sees what arrives.
pub(super) struct FarEnd {
    broker: Option<Broker>,
    watched: Watched,
    tasks: JoinSet<FarEndError>,
    stop: CancellationToken,
}

/// Where what arrives can be seen.
enum Watched {
    Nothing,
    BuiltIn { inbox: mpsc::Receiver<Recorded>, clock: Clock, filter: Option<String> },
    Subscribed(Box<Subscription>),
}

impl FarEnd {
    /// Subscribes to the topics of the scenario, or starts the broker.
    pub(super) async fn connect(scenario: &Scenario) -> Result<Self, FarEndError> {
        let (mut broker, mut watched) = (None, Watched::Nothing);
        let clock = Clock::start();
        let filter = scenario.verify.as_ref().map(|verify| verify.topic.clone());
        match (&scenario.target.mqtt, filter) {
            (Some(BrokerAddress::BuiltIn(port)), filter) => {
                // What stands in front of it takes the port.
                let port = if faults::is_before_broker(scenario) { &0 } else { port };
                let (recorder, inbox) = mpsc::channel(MAX_INBOX);
                let config = BrokerConfig {
                    bind: format!("127.0.0.1:{port}"),
                    recording: Recording::Send(recorder),
                    clock,
                    ..BrokerConfig::default()
                };
                let started = Broker::start(config).await;
                let started =
                    started.map_err(|source| FarEndError::BuiltIn { port: *port, source })?;
                tracing::info!(url = started.url(), "the built-in broker listens");
                broker = Some(started);
                watched = Watched::BuiltIn { inbox, clock, filter };
            }
            (Some(BrokerAddress::At(address)), Some(filter)) => {
                let login = scenario.target.login();
                watched = Watched::Subscribed(Box::new(
                    Subscription::new(address, login, vec![filter]).await?,
                ));
            }
            (Some(BrokerAddress::At(_)) | None, _) => {}
        }
        Ok(Self { broker, watched, tasks: JoinSet::new(), stop: CancellationToken::new() })
    }

    /// Tells the ledger what arrives from now on, by its clock, but for what `others` sent.
    pub(super) fn watch(&mut self, ledger: SharedLedger, clock: Clock, others: BTreeSet<String>) {
        let teller = Teller { ledger, others };
        match std::mem::replace(&mut self.watched, Watched::Nothing) {
            Watched::Nothing => {}
            Watched::BuiltIn { inbox, clock: stamps, filter } => {
                self.tasks.spawn(record(inbox, filter, teller, stamps.ahead_of(&clock)));
            }
            Watched::Subscribed(subscription) => {
                self.tasks.spawn(listen(*subscription, teller, clock, self.stop.clone()));
            }
        }
    }

    /// The built-in broker, if there is one.
    pub(super) const fn broker(&self) -> Option<&Broker> {
        self.broker.as_ref()
    }

    /// Waits until it sees nothing more.
    pub(super) async fn failed(&mut self) -> FarEndError {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(error)) => return error,
                Some(Err(error)) => tracing::error!(%error, "the far end failed"),
                None => return std::future::pending().await,
            }
        }
    }

    /// Ends it.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(broker) = self.broker.take() {
            broker.shutdown().await;
        }
        self.tasks.shutdown().await;
    }
}

/// Tells the ledger what the built-in broker receives.
async fn record(
    mut inbox: mpsc::Receiver<Recorded>,
    filter: Option<String>,
    teller: Teller,
    ahead: Duration,
) -> FarEndError {
    while let Some(message) = inbox.recv().await {
        if filter.as_ref().is_some_and(|filter| topic::matches(filter, &message.topic)) {
            let at = Instant::ZERO + message.at.saturating_since(Instant::ZERO + ahead);
            teller.tell(at, &message.topic, &message.payload);
        }
    }
    // The broker ends with the run, which does not wait for this any more.
    std::future::pending().await
}

/// Tells the ledger what is published.
async fn listen(
    mut subscription: Subscription,
    teller: Teller,
    clock: Clock,
    stop: CancellationToken,
) -> FarEndError {
    while let Some(publish) = stop.run_until_cancelled(subscription.next()).await {
        teller.tell(clock.now(), &publish.topic, &publish.payload);
    }
    subscription.leave().await;
    std::future::pending().await
}

/// Tells the ledger what has arrived.
struct Teller {
    ledger: SharedLedger,
    /// Devices of which it knows nothing.
    others: BTreeSet<String>,
}

impl Teller {
    fn tell(&self, at: Instant, topic: &str, payload: &[u8]) {
        match Arrival::from_json(payload) {
            Ok(arrival) if self.others.contains(&arrival.device) => {}
            Ok(arrival) => self.ledger.handle_arrived(at, &arrival),
            Err(error) => tracing::warn!(topic, %error, "not compared"),
        }
    }
}
