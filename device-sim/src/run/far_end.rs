//! The far end: a subscription to the broker, or a broker of this run, that tells the ledger what
//! arrives.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use proto::Instant;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::faults;
use crate::broker::{Broker, BrokerConfig, Recorded, Recording, topic};
use crate::clock::Clock;
use crate::ledger::{Arrival, SharedLedger};
use crate::scenario::Scenario;
use crate::scenario::values::{Address, BrokerAddress};

/// How long the broker may take to accept the subscription.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before connecting again.
const PAUSE: Duration = Duration::from_millis(200);
/// Messages that wait to be looked at; then the built-in broker waits.
const MAX_INBOX: usize = 1024;
/// The largest message.
const MAX_PACKET: usize = 1 << 20;

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
    Subscribed(Box<Watcher>),
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
                watched = Watched::Subscribed(Box::new(
                    Watcher::subscribe(address, scenario.target.login(), filter).await?,
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
            Watched::Subscribed(watcher) => {
                self.tasks.spawn(watcher.run(teller, clock, self.stop.clone()));
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

/// A subscription. It keeps its session, so that what is published while it is not connected comes
/// when it is again.
struct Watcher {
    broker: String,
    client: AsyncClient,
    events: EventLoop,
    filter: String,
}

impl Watcher {
    async fn subscribe(
        address: &Address,
        login: Option<(String, String)>,
        filter: String,
    ) -> Result<Self, FarEndError> {
        let seed = getrandom::u64().unwrap_or_default();
        let id = format!("device-sim-{seed:016x}");
        let mut options = MqttOptions::new(id, address.host(), address.port());
        options.set_clean_session(false).set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(MAX_PACKET, MAX_PACKET);
        if let Some((user, password)) = login {
            options.set_credentials(user, password);
        }
        let (client, events) = AsyncClient::new(options, 16);
        let mut watcher = Self { broker: address.to_string(), client, events, filter };
        let unreachable = |why: String| {
            let broker = address.to_string();
            FarEndError::Unreachable { broker, why }
        };
        match tokio::time::timeout(PATIENCE, watcher.until_subscribed()).await {
            Ok(Ok(())) => Ok(watcher),
            Ok(Err(why)) => Err(unreachable(why)),
            Err(_) => Err(unreachable(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    async fn until_subscribed(&mut self) -> Result<(), String> {
        self.ask()?;
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::SubAck(ack))) => {
                    use rumqttc::SubscribeReasonCode as Code;
                    return match ack.return_codes.first() {
                        Some(Code::Success(_)) => Ok(()),
                        Some(Code::Failure) | None => {
                            Err(format!("it refuses the topic `{}`", self.filter))
                        }
                    };
                }
                // Nothing that is published now is of this run.
                Ok(_) => {}
                Err(error) => return Err(chain(&error)),
            }
        }
    }

    fn ask(&self) -> Result<(), String> {
        let asked = self.client.try_subscribe(self.filter.clone(), QoS::AtLeastOnce);
        asked.map_err(|error| error.to_string())
    }

    async fn run(
        mut self: Box<Self>,
        teller: Teller,
        clock: Clock,
        stop: CancellationToken,
    ) -> FarEndError {
        loop {
            let event = tokio::select! {
                event = self.events.poll() => event,
                () = stop.cancelled() => return self.leave().await,
            };
            match event {
                Ok(Event::Incoming(Packet::ConnAck(ack))) if !ack.session_present => {
                    // What came meanwhile is lost to us, as the broker lost the session.
                    if let Err(error) = self.ask() {
                        tracing::warn!(%error, "cannot subscribe again");
                    }
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    teller.tell(clock.now(), &publish.topic, &publish.payload);
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(broker = self.broker, %error, "the far end connects again");
                    let pause = tokio::time::sleep(PAUSE);
                    if stop.run_until_cancelled(pause).await.is_none() {
                        return self.leave().await;
                    }
                }
            }
        }
    }

    /// Leaves no session behind; then waits to be ended.
    async fn leave(mut self: Box<Self>) -> FarEndError {
        self.events.mqtt_options.set_clean_session(true);
        self.events.clean();
        let last = async {
            while let Ok(event) = self.events.poll().await {
                if matches!(event, Event::Incoming(Packet::ConnAck(_))) {
                    return;
                }
            }
        };
        // Without an answer the broker keeps the session as long as it keeps sessions.
        let _ = tokio::time::timeout(PAUSE, last).await;
        std::future::pending().await
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        source = cause.source();
    }
    text
}
