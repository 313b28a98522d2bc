//! The loop around a listener: a connection of its own to a broker, for what comes from there.
//!
//! It is another connection than the one that publishes, with another client identifier: its session
//! can have another lifetime, a flood of messages stalls no acknowledgement of a publish, and a
//! connection that ends because of a reading takes no subscription with it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use proto::Instant;
use tokio::io::{self as async_io, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::board::Board;
use super::connection::{ConnectionError, READ_BYTES};
use super::handle::{SubscriberHandle, TAPS};
use super::listener::{Listener, ListenerEvent, ListenerOptions};
use super::session::SessionError;
use super::status::SubscriberStatus;
use super::taps::Taps;
use super::topics::{Refusal, TopicMessage};
use super::transport::{Transport, send};
use super::wire::{Reason, Received, code};
use super::wire_log::WireEntry;
use crate::causes::chain;
use crate::clock;
use crate::config::{Broker, Id};

/// What is put behind the client identifier of the connection that publishes.
const CLIENT_ID_SUFFIX: &str = "-sub";

/// One broker's task that subscribes.
pub(crate) struct SubscriberTask {
    name: Id,
    transport: Transport,
    /// Longest wait for a write.
    patience: Duration,
    listener: Listener,
    board: Board,
    /// Since when the broker has accepted the connection.
    connected: Option<Instant>,
    watchers: mpsc::Receiver<mpsc::Sender<WireEntry>>,
    taps: Taps,
    status: Arc<SubscriberStatus>,
}

impl SubscriberTask {
    /// Prepares the task, what is seen of it, and the topics that it brings.
    pub(crate) fn new(
        name: &Id,
        config: &Broker,
        gateway: &Id,
        seed: u64,
    ) -> (Self, SubscriberHandle, Board) {
        let board = Board::new();
        let status = Arc::new(SubscriberStatus::new(board.clone()));
        let username = config.username.clone();
        let password = config.password.as_ref().map(|p| p.expose().to_owned());
        let listener = Listener::new(ListenerOptions {
            protocol: config.protocol,
            client_id: config.client_id_for(gateway) + CLIENT_ID_SUFFIX,
            login: username.map(|name| (name, password.unwrap_or_default())),
            keep_alive: config.keep_alive.duration(),
            ack_timeout: config.ack_timeout.duration(),
            keeps: false,
        });
        let (tap, watchers) = mpsc::channel(TAPS);
        let handle = SubscriberHandle::new(Arc::clone(&status), tap);
        let task = Self {
            name: name.clone(),
            transport: Transport::new(name, config, seed),
            patience: config.ack_timeout.duration(),
            listener,
            board: board.clone(),
            connected: None,
            watchers,
            taps: Taps::default(),
            status,
        };
        (task, handle, board)
    }

    /// Runs until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let end = self.connect_and_serve(&stop).await;
            self.status.handle_end();
            self.board.change(|topics| topics.handle_end());
            let pause = self.transport.handle_end(self.connected.take(), clock::now());
            let Err(error) = end else { return };
            let (reason, text) = (error.reason(), chain(&error));
            warn!(broker = %self.name, retry_in = ?pause, "no subscriptions: {text}");
            self.status.disconnects.count(reason, || text);
            self.wait(pause, &stop).await;
        }
    }

    /// Waits before the next connection. What nobody watches any more goes meanwhile too.
    async fn wait(&mut self, pause: Duration, stop: &CancellationToken) {
        let over = sleep(pause);
        tokio::pin!(over);
        loop {
            let due = self.board.lock().deadline();
            tokio::select! {
                () = &mut over => return,
                () = stop.cancelled() => return,
                Some(tap) = self.watchers.recv() => self.taps.add(tap),
                () = self.board.work() => {}
                () = sleep_until(clock::deadline(due.unwrap_or(Instant::FAR_FUTURE))),
                    if due.is_some() => self.board.lock().handle_timeout(clock::now()),
            }
        }
    }

    async fn connect_and_serve(&mut self, stop: &CancellationToken) -> Result<(), ConnectionError> {
        let stream = tokio::select! {
            stream = self.transport.connect() => stream?,
            () = stop.cancelled() => return Ok(()),
        };
        self.listener.handle_connected(clock::now())?;
        self.serve(stream, stop).await
    }

    async fn serve(
        &mut self,
        stream: impl AsyncRead + AsyncWrite,
        stop: &CancellationToken,
    ) -> Result<(), ConnectionError> {
        let (mut reader, mut writer) = async_io::split(stream);
        let mut incoming = BytesMut::with_capacity(READ_BYTES);
        let mut unflushed = false;
        let mut write_since: Option<Instant> = None;
        loop {
            let now = clock::now();
            let turned = self.turn(now);
            self.taps.serve(self.name.as_str(), self.listener.wire_log());
            turned?;
            if stop.is_cancelled() && !self.listener.is_closing() {
                self.listener.disconnect(now)?;
            }
            let sending = self.listener.outgoing().has_remaining() || unflushed;
            if self.listener.is_closing() && !sending {
                // The broker may have closed the connection already, as it must.
                let _ = writer.shutdown().await;
                return Ok(());
            }
            write_since = if sending { write_since.or(Some(now)) } else { None };
            let stalled = write_since.map(|since| since + self.patience);
            if stalled.is_some_and(|stalled| now >= stalled) {
                return Err(ConnectionError::Broken(io::ErrorKind::TimedOut.into()));
            }
            let waits = [stalled, self.board.lock().deadline()];
            let deadline = waits.into_iter().flatten().fold(self.listener.deadline(), Instant::min);
            tokio::select! {
                read = reader.read_buf(&mut incoming), if self.listener.wants_bytes() => {
                    if read.map_err(ConnectionError::Broken)? == 0 {
                        return Err(self.listener.closed().into());
                    }
                    let taken = self.listener.handle_bytes(clock::now(), &incoming);
                    incoming.clear();
                    taken?;
                }
                sent = send(&mut writer, self.listener.outgoing(), &mut unflushed), if sending => {
                    sent.map_err(ConnectionError::Broken)?;
                    write_since = None;
                }
                () = self.board.work() => {}
                Some(tap) = self.watchers.recv() => self.taps.add(tap),
                () = stop.cancelled(), if !stop.is_cancelled() => {}
                () = sleep_until(clock::deadline(deadline)) => {}
            }
        }
    }

    /// Does what there is to do `now`: takes what has come, subscribes and ends subscriptions.
    fn turn(&mut self, now: Instant) -> Result<(), SessionError> {
        self.listener.handle_timeout(now)?;
        while let Some(event) = self.listener.poll_event() {
            self.handle_event(now, event)?;
        }
        if !self.listener.is_connected() {
            return Ok(());
        }
        let mut topics = self.board.lock();
        topics.handle_timeout(now);
        while self.listener.has_room() {
            if let Some(topic) = topics.poll_unsubscribe() {
                self.listener.unsubscribe(now, &topic)?;
            } else if let Some(topic) = topics.poll_subscribe() {
                self.listener.subscribe(now, topic)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn handle_event(&mut self, now: Instant, event: ListenerEvent) -> Result<(), SessionError> {
        match event {
            ListenerEvent::Connected { .. } => {
                info!(broker = %self.name, url = %self.transport.url(), "ready to subscribe");
                self.connected = Some(now);
                self.status.handle_connected();
                self.board.change(|topics| topics.handle_connected(now));
            }
            ListenerEvent::Granted(topic) => {
                debug!(broker = %self.name, %topic, "subscribed");
                self.board.change(|topics| topics.handle_granted(&topic, now));
            }
            ListenerEvent::Refused(topic, reason) => {
                debug!(broker = %self.name, %topic, %reason, "not subscribed");
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
                    self.listener.acknowledge(now, receipt)?;
                }
            }
            ListenerEvent::Oversize(topic) => {
                self.board.change(|topics| topics.handle_oversize(&topic));
                self.status.refused.count("too_large", || topic);
            }
        }
        Ok(())
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
