//! Listening for commands: the broker keeps them while the gateway is away, and one is acknowledged when
//! it is on disk.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proto::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::board::Board;
use super::handle::SubscriberHandle;
use super::listener::{Listener, ListenerEvent, MAX_UNACKNOWLEDGED, Receipt};
use super::session::SessionError;
use super::status::SubscriberStatus;
use super::subscriber::{Audience, SubscriberTask};
use super::wire::Received;
use crate::commands::{Arrived, CommandTopics};
use crate::config::{Broker, Id};

/// How long after a refusal a filter is subscribed again.
const REFUSED_WAIT: Duration = Duration::from_secs(30);

/// A message that may be a request.
#[derive(Debug)]
pub(crate) struct HeardCommand {
    pub(crate) broker: Id,
    pub(crate) arrived: Arrived,
    /// To be sent when it is on disk.
    pub(crate) heard: HeardReceipt,
}

/// Lets the broker forget a message.
#[derive(Debug)]
pub(crate) struct HeardReceipt {
    receipt: Option<Receipt>,
    acknowledge: mpsc::Sender<Receipt>,
}

impl HeardReceipt {
    /// The message is taken care of: PUBACK.
    pub(crate) fn acknowledge(self) {
        if let Some(receipt) = self.receipt {
            // There is room for as many as can be open; one of a connection that has ended means nothing.
            let _ = self.acknowledge.try_send(receipt);
        }
    }
}

/// Who takes commands of a broker.
struct CommandEars {
    broker: Id,
    filters: Vec<Arc<str>>,
    /// Still to be subscribed.
    wanted: VecDeque<Arc<str>>,
    /// When what was refused is tried again.
    again_at: Option<Instant>,
    heard: mpsc::Sender<HeardCommand>,
    acknowledge: mpsc::Sender<Receipt>,
    acknowledged: mpsc::Receiver<Receipt>,
    /// Taken from there, and not yet sent.
    settled: Vec<Receipt>,
    status: Arc<SubscriberStatus>,
}

/// The task that listens for commands.
pub(crate) struct CommandEarsTask(SubscriberTask<CommandEars>);

impl CommandEarsTask {
    /// Prepares the task and what is seen of it; requests go to `heard`.
    pub(crate) fn new(
        name: &Id,
        config: &Broker,
        gateway: &Id,
        seed: u64,
        topics: &CommandTopics,
        heard: mpsc::Sender<HeardCommand>,
    ) -> (Self, SubscriberHandle) {
        let status = Arc::new(SubscriberStatus::new(Board::new()));
        let (acknowledge, acknowledged) = mpsc::channel(2 * usize::from(MAX_UNACKNOWLEDGED));
        let audience = CommandEars {
            broker: name.clone(),
            filters: topics.filters().map(Arc::from).to_vec(),
            wanted: VecDeque::new(),
            again_at: None,
            heard,
            acknowledge,
            acknowledged,
            settled: Vec::new(),
            status: Arc::clone(&status),
        };
        let (task, tap) = SubscriberTask::prepare(name, config, gateway, seed, audience);
        (Self(task), SubscriberHandle::new(status, tap))
    }

    /// Runs until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        self.0.listen(stop).await;
    }
}

impl Audience for CommandEars {
    const SUFFIX: &'static str = "-cmd";
    const KEEPS: bool = true;

    fn status(&self) -> &SubscriberStatus {
        &self.status
    }

    fn deadline(&self) -> Option<Instant> {
        self.again_at
    }

    async fn work(&mut self) {
        if let Some(receipt) = self.acknowledged.recv().await {
            self.settled.push(receipt);
        }
    }

    fn handle_idle(&mut self, _: Instant) {
        self.again_at = None;
    }

    fn turn(&mut self, now: Instant, listener: &mut Listener) -> Result<(), SessionError> {
        while let Ok(receipt) = self.acknowledged.try_recv() {
            self.settled.push(receipt);
        }
        for receipt in self.settled.drain(..) {
            listener.acknowledge(now, receipt)?;
        }
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            self.wanted = self.filters.iter().cloned().collect();
        }
        while listener.has_room()
            && let Some(filter) = self.wanted.pop_front()
        {
            listener.subscribe(now, filter)?;
        }
        Ok(())
    }

    fn handle_event(
        &mut self,
        now: Instant,
        event: ListenerEvent,
        _: &mut Listener,
    ) -> Result<(), SessionError> {
        match event {
            ListenerEvent::Connected { .. } => {
                // Also where the session was kept: its subscriptions may be those of another configuration.
                self.wanted = self.filters.iter().cloned().collect();
                self.again_at = None;
            }
            ListenerEvent::Granted(topic) => info!(broker = %self.broker, %topic, "takes commands"),
            ListenerEvent::Refused(topic, reason) => {
                warn!(broker = %self.broker, %topic, %reason, "the broker does not let the gateway take commands");
                self.status.refused.count("refused", || format!("{topic}: {reason}"));
                self.again_at = Some(now + REFUSED_WAIT);
            }
            ListenerEvent::Message(message, receipt) => {
                self.status.handle_message();
                let Received {
                    topic,
                    retain,
                    payload,
                    response_topic,
                    correlation,
                    expiry_seconds,
                    ..
                } = *message;
                let arrived = Arrived {
                    topic,
                    payload: payload.to_vec(),
                    retain,
                    response_topic,
                    correlation: correlation.map(|data| data.to_vec()),
                    expiry: expiry_seconds.map(|seconds| Duration::from_secs(seconds.into())),
                };
                let heard = HeardReceipt { receipt, acknowledge: self.acknowledge.clone() };
                let command = HeardCommand { broker: self.broker.clone(), arrived, heard };
                // There is room for as many as may be open at quality of service 1.
                if let Err(mpsc::error::TrySendError::Full(command)) = self.heard.try_send(command)
                {
                    self.status.refused.count("no_room", || command.arrived.topic);
                }
            }
            ListenerEvent::Oversize(topic) => {
                warn!(broker = %self.broker, %topic, "a request is too large, and is left out");
                self.status.refused.count("too_large", || topic);
            }
        }
        Ok(())
    }

    fn handle_end(&mut self) {
        self.settled.clear();
        self.wanted.clear();
    }
}
