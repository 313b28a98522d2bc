//! A small MQTT broker for tests and demos: it records what arrives and can misbehave on purpose.
//!
//! It speaks MQTT 3.1.1 and 5, also with each other: QoS 0, 1 and 2, retained messages, wills, kept
//! sessions, takeover of a client id, keep-alive, shared subscriptions; of MQTT 5 also session
//! expiry, will delay, message expiry, properties, topic aliases from the client, subscription
//! options and identifiers, receive maximum and maximum packet size both ways, and reason codes
//! everywhere. It sends no topic aliases, and an enhanced authentication is refused. A client that
//! breaks the protocol is disconnected; a CONNECT of another version is refused with code 1. Nothing
//! is stored on disk and there is no TLS: it is no broker for production.
//!
//! [`Faults`] makes it misbehave, while it runs; each of its methods is a switch that
//! `device-sim broker` also takes as a line of text ([`Switch`]).
//!
//! One task, the hub, owns the protocol state: a pure core that knows no socket and no clock. Each
//! connection is a task that decodes what it reads into batches of packets for the hub, and that
//! writes what the hub put into its mailbox, all of one turn at once. The listener owns those
//! tasks, the [`Broker`] owns hub and listener, and dropping it ends them all.
//!
//! ```text
//! socket ─► connection ─ decode ─► events ─► hub: core ─► withhold ─► encode ─► mailbox ─► connection ─► socket
//!                                                  └────► recorder
//! ```
//!
//! [`UnpluggedBroker`] is the same without tasks, sockets and a clock, for who plays in virtual time.
//!
//! What is acknowledged is recorded: the answers of a turn leave only after its messages are in the
//! record. Every queue and map has its limit in [`Limits`] or beside its definition.
//!
//! ```
//! # use std::time::Duration;
//! # use device_sim::broker::{Broker, BrokerConfig, QoS};
//! # use rumqttc::{AsyncClient, MqttOptions};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::start(BrokerConfig::default()).await?;
//! # let address = broker.address();
//! # let options = MqttOptions::new("a", address.ip().to_string(), address.port());
//! # let (client, mut events) = AsyncClient::new(options, 10);
//! # let mut tasks = tokio::task::JoinSet::new();
//! # tasks.spawn(async move { while events.poll().await.is_ok() {} });
//! # client.publish("greeting", QoS::AtLeastOnce, false, "hello").await?;
//! // Whatever publishes to broker.url() …
//! broker.wait_for(Duration::from_secs(5), |counts| counts.publishes == 1).await?;
//! assert_eq!(broker.recorded()[0].payload, "hello");
//! broker.shutdown().await;
//! # Ok(()) }
//! ```

mod announced;
mod config;
mod connection;
mod core;
mod counts;
mod faults;
mod fuse;
mod hub;
mod listener;
mod mailbox;
mod message;
mod outbound;
mod properties;
mod reason;
mod record;
mod retained;
mod session;
mod subscriptions;
pub mod topic;
mod unplugged;
mod wire;
mod withhold;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

pub use announced::Announced;
pub use config::{BrokerConfig, Limits, Login};
pub use counts::Counts;
pub use faults::{CutAfter, Faults, Matching, Switch, SwitchError, Which};
pub use properties::Properties;
pub use reason::{Reason, UnknownReason};
pub use record::{Recorded, Recording};
pub use rumqttc::mqttbytes::QoS;
pub use unplugged::{Line, UnpluggedBroker};

use self::core::Core;
use self::hub::Hub;
use self::listener::{Command, Listener};
use self::record::{Kept, Recorder};
use crate::door::Door;

/// A running broker. Dropping it ends it at once.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    faults: Faults,
    kept: Kept,
    counts: watch::Receiver<Counts>,
    commands: mpsc::Sender<Command>,
    tasks: JoinSet<()>,
}

/// A condition did not come true in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the broker did not get there within {within:?}: {counts:?}")]
pub struct NotReached {
    /// How long was waited.
    pub within: Duration,
    /// How far it got.
    pub counts: Counts,
}

impl Broker {
    /// Binds and starts to accept.
    ///
    /// # Errors
    /// When the address does not resolve or cannot be bound.
    pub async fn start(config: BrokerConfig) -> io::Result<Self> {
        let BrokerConfig { bind, login, recording, limits, clock } = config;
        let door = Door::bind(&bind).await?;
        let address = door.address();
        let faults = Faults::new();
        let recorder = Recorder::new(recording);
        let kept = recorder.kept();
        let (events, inbox) = mpsc::channel(hub::MAX_EVENTS);
        let (commands, orders) = mpsc::channel(1);
        let (totals, counts) = watch::channel(Counts::default());
        let core = Core::new(limits, login);
        let hub = Hub::new(core, recorder, faults.watch(), totals, &limits);
        let listener = Listener::new(door, events, faults.clone(), limits, clock);
        let mut tasks = JoinSet::new();
        tasks.spawn(hub.run(inbox, clock));
        tasks.spawn(listener.run(orders));
        Ok(Self { address, faults, kept, counts, commands, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as `mqtt://address:port`.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// The switches of its misbehaviour.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What was counted until now.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// A copy of the record, in the order of arrival; empty unless it records with
    /// [`Recording::Keep`]. What [`Broker::counts`] has counted is in it.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.kept.copy()
    }

    /// The record; it begins empty again, with room for as many messages as before.
    pub fn take_recorded(&self) -> Vec<Recorded> {
        self.kept.take()
    }

    /// Waits until `condition` holds.
    ///
    /// # Errors
    /// When it does not within that time, or the broker has ended.
    pub async fn wait_for(
        &self,
        within: Duration,
        condition: impl FnMut(&Counts) -> bool,
    ) -> Result<Counts, NotReached> {
        let mut counts = self.counts.clone();
        let mut condition = condition;
        match tokio::time::timeout(within, counts.wait_for(|counts| condition(counts))).await {
            Ok(Ok(reached)) => Ok(*reached),
            Ok(Err(_)) | Err(_) => Err(NotReached { within, counts: self.counts() }),
        }
    }

    /// Closes the port and every connection, as if the broker was stopped: no will is published.
    /// Kept sessions and retained messages are there again after [`Broker::up`]. The port stays
    /// reserved meanwhile.
    ///
    /// # Errors
    /// When the system does not close the port.
    pub async fn down(&self) -> io::Result<()> {
        self.command(Command::Down).await
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// When the port cannot be listened on any more.
    pub async fn up(&self) -> io::Result<()> {
        self.command(Command::Up).await
    }

    /// Ends every task of the broker and waits for that. Returns what was counted.
    pub async fn shutdown(mut self) -> Counts {
        self.tasks.shutdown().await;
        self.counts()
    }

    async fn command(
        &self,
        command: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Command,
    ) -> io::Result<()> {
        let ended = || io::Error::other("the broker has ended");
        let (done, answer) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}
