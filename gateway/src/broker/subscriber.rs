//! The loop around a listener: a connection of its own to a broker, for what comes from there.
//!
//! It is another connection than the one that publishes, with another client identifier: its session
//! can have another lifetime, a flood of messages stalls no acknowledgement of a publish, and a
//! connection that ends because of a reading takes no subscription with it.
//!
//! What comes is for an [`Audience`]: the [topics that are watched](super::board), or
//! [who takes commands](super::command_ears). Each has a connection of its own.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use proto::Instant;
use tokio::io::{self as async_io, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connection::{ConnectionError, READ_BYTES};
use super::handle::TAPS;
use super::listener::{Listener, ListenerEvent, ListenerOptions};
use super::session::SessionError;
use super::status::SubscriberStatus;
use super::taps::Taps;
use super::transport::{Transport, send};
use super::wire_log::WireEntry;
use crate::causes::chain;
use crate::clock;
use crate::config::{Broker, Id};

/// Who listens.
pub(super) trait Audience {
    /// What is put behind the client identifier of the connection that publishes.
    const SUFFIX: &'static str;
    /// Whether the broker keeps the session, and what is published meanwhile, while the gateway is away.
    const KEEPS: bool;

    /// Whose status it is.
    fn status(&self) -> &SubscriberStatus;

    /// When [`turn`](Self::turn) is to be called at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// Waits until there may be more to do. Nothing is lost where it is not waited for to the end.
    async fn work(&mut self);

    /// Does what there is to do while there is no connection.
    fn handle_idle(&mut self, now: Instant);

    /// Subscribes, ends subscriptions and acknowledges.
    fn turn(&mut self, now: Instant, listener: &mut Listener) -> Result<(), SessionError>;

    /// Takes what has come.
    fn handle_event(
        &mut self,
        now: Instant,
        event: ListenerEvent,
        listener: &mut Listener,
    ) -> Result<(), SessionError>;

    /// The connection has ended, or was not made.
    fn handle_end(&mut self);
}

/// One broker's task that subscribes.
pub(super) struct SubscriberTask<A> {
    name: Id,
    transport: Transport,
    /// Longest wait for a write.
    patience: Duration,
    listener: Listener,
    audience: A,
    /// Since when the broker has accepted the connection.
    connected: Option<Instant>,
    watchers: mpsc::Receiver<mpsc::Sender<WireEntry>>,
    taps: Taps,
}

impl<A: Audience> SubscriberTask<A> {
    /// Prepares the task, and where who looks at the wire comes in.
    pub(super) fn prepare(
        name: &Id,
        config: &Broker,
        gateway: &Id,
        seed: u64,
        audience: A,
    ) -> (Self, mpsc::Sender<mpsc::Sender<WireEntry>>) {
        let username = config.username.clone();
        let password = config.password.as_ref().map(|p| p.expose().to_owned());
        let listener = Listener::new(ListenerOptions {
            protocol: config.protocol,
            client_id: config.client_id_for(gateway) + A::SUFFIX,
            login: username.map(|name| (name, password.unwrap_or_default())),
            keep_alive: config.keep_alive.duration(),
            ack_timeout: config.ack_timeout.duration(),
            keeps: A::KEEPS,
        });
        let (tap, watchers) = mpsc::channel(TAPS);
        let task = Self {
            name: name.clone(),
            transport: Transport::new(name, config, seed),
            patience: config.ack_timeout.duration(),
            listener,
            audience,
            connected: None,
            watchers,
            taps: Taps::default(),
        };
        (task, tap)
    }

    /// Listens until `stop` is cancelled.
    pub(super) async fn listen(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let end = self.connect_and_serve(&stop).await;
            self.audience.status().handle_end();
            self.audience.handle_end();
            let pause = self.transport.handle_end(self.connected.take(), clock::now());
            let Err(error) = end else { return };
            let (reason, text) = (error.reason(), chain(&error));
            warn!(broker = %self.name, retry_in = ?pause, "no subscriptions: {text}");
            self.audience.status().disconnects.count(reason, || text);
            self.wait(pause, &stop).await;
        }
    }

    /// Waits before the next connection. What nobody watches any more goes meanwhile too.
    async fn wait(&mut self, pause: Duration, stop: &CancellationToken) {
        let over = sleep(pause);
        tokio::pin!(over);
        loop {
            let due = self.audience.deadline();
            tokio::select! {
                () = &mut over => return,
                () = stop.cancelled() => return,
                Some(tap) = self.watchers.recv() => self.taps.add(tap),
                () = self.audience.work() => {}
                () = sleep_until(clock::deadline(due.unwrap_or(Instant::FAR_FUTURE))),
                    if due.is_some() => self.audience.handle_idle(clock::now()),
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
            let waits = [stalled, self.audience.deadline()];
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
                () = self.audience.work() => {}
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
            if let ListenerEvent::Connected { .. } = event {
                info!(broker = %self.name, url = %self.transport.url(), "ready to subscribe");
                self.connected = Some(now);
                self.audience.status().handle_connected();
            }
            self.audience.handle_event(now, event, &mut self.listener)?;
        }
        if self.listener.is_connected() {
            self.audience.turn(now, &mut self.listener)?;
        }
        Ok(())
    }
}
