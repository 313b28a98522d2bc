//! Listening for the topics that somebody watches: only the latest state of each counts.

use std::sync::Arc;

use proto::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::board::Board;
use super::handle::SubscriberHandle;
use super::listener::{Listener, ListenerEvent};
use super::session::SessionError;
use super::status::SubscriberStatus;
use super::subscriber::{Audience, SubscriberTask};
use super::topics::{Refusal, TopicMessage};
use super::wire::{Reason, Received, code};
use crate::config::{Broker, Id};

/// Those who watch topics of a broker.
struct Watched {
    broker: Id,
    board: Board,
    status: Arc<SubscriberStatus>,
}

/// The task that listens for them.
pub(crate) struct WatchTask(SubscriberTask<Watched>);

impl WatchTask {
    /// Prepares the task, what is seen of it, and the topics that it brings.
    pub(crate) fn new(
        name: &Id,
        config: &Broker,
        gateway: &Id,
        seed: u64,
    ) -> (Self, SubscriberHandle, Board) {
        let board = Board::new();
        let status = Arc::new(SubscriberStatus::new(board.clone()));
        let audience =
            Watched { broker: name.clone(), board: board.clone(), status: Arc::clone(&status) };
        let (task, tap) = SubscriberTask::prepare(name, config, gateway, seed, audience);
        (Self(task), SubscriberHandle::new(status, tap), board)
    }

    /// Runs until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        self.0.listen(stop).await;
    }
}

impl Audience for Watched {
    const SUFFIX: &'static str = "-sub";
    const KEEPS: bool = false;

    fn status(&self) -> &SubscriberStatus {
        &self.status
    }

    fn deadline(&self) -> Option<Instant> {
        self.board.lock().deadline()
    }

    async fn work(&mut self) {
        self.board.work().await;
    }

    fn handle_idle(&mut self, now: Instant) {
        self.board.lock().handle_timeout(now);
    }

    fn turn(&mut self, now: Instant, listener: &mut Listener) -> Result<(), SessionError> {
        let mut topics = self.board.lock();
        topics.handle_timeout(now);
        while listener.has_room() {
            if let Some(topic) = topics.poll_unsubscribe() {
                listener.unsubscribe(now, &topic)?;
            } else if let Some(topic) = topics.poll_subscribe() {
                listener.subscribe(now, topic)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn handle_event(
        &mut self,
        now: Instant,
        event: ListenerEvent,
        listener: &mut Listener,
    ) -> Result<(), SessionError> {
        match event {
            ListenerEvent::Connected { .. } => {
                self.board.change(|topics| topics.handle_connected(now));
            }
            ListenerEvent::Granted(topic) => {
                debug!(broker = %self.broker, %topic, "subscribed");
                self.board.change(|topics| topics.handle_granted(&topic, now));
            }
            ListenerEvent::Refused(topic, reason) => {
                debug!(broker = %self.broker, %topic, %reason, "not subscribed");
                self.status.refused.count("refused", || format!("{topic}: {reason}"));
                let refusal = refusal(&reason);
                self.board.change(|topics| topics.handle_refused(&topic, refusal, now));
            }
            ListenerEvent::Message(message, receipt) => {
                self.status.handle_message();
                let Received { topic, retain, payload, content_type, .. } = *message;
                let message = TopicMessage { payload, content_type };
                if !self.board.change(|topics| topics.handle_message(&topic, message, retain)) {
                    self.status.refused.count("no_room", || topic);
                }
                // Only the latest state counts, and it is where it is wanted.
                if let Some(receipt) = receipt {
                    listener.acknowledge(now, receipt)?;
                }
            }
            ListenerEvent::Oversize(topic) => {
                self.board.change(|topics| topics.handle_oversize(&topic));
                self.status.refused.count("too_large", || topic);
            }
        }
        Ok(())
    }

    fn handle_end(&mut self) {
        self.board.change(|topics| topics.handle_end());
    }
}

fn refusal(reason: &Reason) -> Refusal {
    let is_forbidden = matches!(
        reason.code,
        code::NOT_AUTHORIZED | code::TOPIC_FILTER_INVALID | code::PACKET_TOO_LARGE
    );
    Refusal { is_forbidden, detail: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_matter_of_permission_is_forbidden() {
        // MQTT 5 §3.9.3; 0x80 is all that MQTT 3.1.1 has.
        for (code, expected) in [(0x80, false), (0x87, true), (0x8f, true), (0x97, false)] {
            assert_eq!(refusal(&Reason::of(code)).is_forbidden, expected, "{code:#x}");
        }
    }
}
