//! What the rest of the gateway holds of a broker.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::again::{Resend, Resent, What};
use super::status::{BrokerReport, BrokerStatus, SubscriberStatus};
use super::wire_log::WireEntry;

/// Commands that wait for the broker's task; one more waits at whoever gives it.
const COMMANDS: usize = 4;
/// Packets that wait for whoever looks at the wire; more are left out and counted.
const PACKETS: usize = 1024;
/// Those who want to look at the wire of a subscriber and wait to; one more waits as well.
pub(super) const TAPS: usize = 4;

/// A way to look at a broker and to ask things of it.
#[derive(Clone)]
pub(crate) struct BrokerHandle {
    status: Arc<BrokerStatus>,
    commands: mpsc::Sender<Command>,
    subscriber: Option<SubscriberHandle>,
    ears: Option<SubscriberHandle>,
}

/// What the rest of the gateway holds of a broker's connection that subscribes.
#[derive(Clone)]
pub(crate) struct SubscriberHandle {
    status: Arc<SubscriberStatus>,
    taps: mpsc::Sender<mpsc::Sender<WireEntry>>,
}

/// What a broker's task can be asked for.
pub(super) enum Command {
    /// To send something again.
    Resend(Resend),
    /// To show what goes over the wire.
    Wire(mpsc::Sender<WireEntry>),
}

/// The broker's task has ended: the gateway stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway is stopping")]
pub(crate) struct Stopping;

impl BrokerHandle {
    /// A handle, and where its commands come out.
    pub(super) fn new(status: Arc<BrokerStatus>) -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        (Self { status, commands, subscriber: None, ears: None }, receiver)
    }

    /// The same with the connection that subscribes.
    pub(crate) fn with_subscriber(self, subscriber: SubscriberHandle) -> Self {
        Self { subscriber: Some(subscriber), ..self }
    }

    /// The same with the connection that takes commands.
    pub(crate) fn with_ears(self, ears: SubscriberHandle) -> Self {
        Self { ears: Some(ears), ..self }
    }

    /// Where the connections stand.
    pub(crate) fn report(&self) -> BrokerReport {
        let subscriber = self.subscriber.as_ref().map(|subscriber| subscriber.status.report());
        let commands = self.ears.as_ref().map(|ears| ears.status.report());
        BrokerReport { subscriber, commands, ..self.status.report() }
    }

    /// Sends something again; resolves when everything is acknowledged or refused, and ends what is
    /// left of it if it is dropped.
    pub(crate) async fn resend(&self, what: What) -> Result<Resent, Stopping> {
        let (done, outcome) = oneshot::channel();
        let command = Command::Resend(Resend { what, done });
        self.commands.send(command).await.map_err(|_| Stopping)?;
        outcome.await.map_err(|_| Stopping)
    }

    /// The packets that go over the wire from now on, for as long as the receiver is there.
    pub(crate) async fn wire(&self) -> Result<mpsc::Receiver<WireEntry>, Stopping> {
        let (sender, packets) = mpsc::channel(PACKETS);
        for subscriber in self.subscriber.iter().chain(&self.ears) {
            subscriber.taps.send(sender.clone()).await.map_err(|_| Stopping)?;
        }
        self.commands.send(Command::Wire(sender)).await.map_err(|_| Stopping)?;
        Ok(packets)
    }
}

impl SubscriberHandle {
    pub(super) const fn new(
        status: Arc<SubscriberStatus>,
        taps: mpsc::Sender<mpsc::Sender<WireEntry>>,
    ) -> Self {
        Self { status, taps }
    }
}
