//! The loop around a session: connects, feeds it, and begins again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use proto::Instant;
use rumqttc::mqttbytes::QoS;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Level, debug, info, trace, warn};

use super::backoff::Backoff;
use super::feed::{Feed, Step};
use super::session::{Event, Session, SessionError, SessionOptions, Ticket};
use super::track::Track;
use crate::clock;
use crate::config::{Broker, BrokerUrl, Id, Protocol};
use crate::pipeline::{Publish, Recipient, Routes};
use crate::store::{BrokerCursor, Spool, StoreError};
use crate::tally::{Count, Tally};

/// Bytes to send that are gathered before they are written.
const WRITE_AHEAD: usize = 64 * 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;
/// The only queue of publishes that there is.
const LANE: u8 = 0;

/// One broker's task.
pub(crate) struct BrokerTask {
    name: Id,
    url: BrokerUrl,
    /// Longest wait for any answer, and for a write.
    patience: Duration,
    window: u64,
    /// The highest quality of service of any route.
    qos: QoS,
    session: Session,
    cursor: BrokerCursor,
    head: watch::Receiver<u64>,
    feed: Feed,
    track: Track,
    /// Publishes of the record that was begun last, the next one at the end.
    work: Vec<(u64, Publish)>,
    backoff: Backoff,
    status: Arc<BrokerStatus>,
    /// One past the newest record that was ever published here: below it, `DUP` is set.
    published: u64,
}

/// Where a broker's connection stands, for everyone to see.
#[derive(Debug, Default)]
pub(crate) struct BrokerStatus {
    connected: AtomicBool,
    connections: AtomicU64,
    published: AtomicU64,
    acknowledged: AtomicU64,
    refused: Tally,
    disconnects: Tally,
}

/// A copy of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BrokerReport {
    /// Whether the broker has accepted the connection.
    pub(crate) connected: bool,
    /// Connections since the start.
    pub(crate) connections: u64,
    /// Publishes since the start, repeated ones included.
    pub(crate) published: u64,
    /// Acknowledgements since the start.
    pub(crate) acknowledged: u64,
    /// Readings that the broker would not take.
    pub(crate) refused: std::collections::BTreeMap<&'static str, Count>,
    /// Why connections ended or could not be made.
    pub(crate) disconnects: std::collections::BTreeMap<&'static str, Count>,
}

impl BrokerStatus {
    /// A copy.
    pub(crate) fn report(&self) -> BrokerReport {
        BrokerReport {
            connected: self.connected.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
            published: self.published.load(Ordering::Relaxed),
            acknowledged: self.acknowledged.load(Ordering::Relaxed),
            refused: self.refused.snapshot(),
            disconnects: self.disconnects.snapshot(),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ConnectionError {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Broken(_) => "broken",
            Self::Session(error) => error.reason(),
            Self::Store(_) => "store",
        }
    }
}

/// How a connection ended that did not fail.
enum End {
    /// Everything is acknowledged, and the gateway stops.
    Drained,
    /// It was only there to end an earlier session.
    Again,
}

impl BrokerTask {
    /// Prepares the task; `None` if the store does not know the broker.
    pub(crate) fn new(
        name: &Id,
        config: &Broker,
        status_topic: String,
        gateway: &Id,
        spool: Spool,
        routes: Arc<Routes>,
        seed: u64,
    ) -> Option<Self> {
        let username = config.username.clone();
        let password = config.password.as_ref().map(|p| p.expose().to_owned());
        let qos = routes.highest_qos(name.as_str());
        let cursor = spool.cursor(name.as_str())?;
        let recipient = Recipient {
            broker: name.to_string(),
            properties: config.protocol == Protocol::V5,
            user_properties: config.user_properties,
        };
        Some(Self {
            name: name.clone(),
            url: config.url.clone(),
            patience: config.ack_timeout.duration(),
            window: u64::from(config.window),
            qos,
            session: Session::new(SessionOptions {
                protocol: config.protocol,
                client_id: config.client_id_for(gateway),
                login: username.map(|name| (name, password.unwrap_or_default())),
                keep_alive: config.keep_alive.duration(),
                ack_timeout: config.ack_timeout.duration(),
                window: config.window,
                max_packet: usize::try_from(config.max_packet.bytes()).unwrap_or(usize::MAX),
                qos,
                status_topic,
            }),
            head: spool.head(),
            feed: Feed::new(spool, routes, recipient),
            track: Track::new(cursor.next()),
            work: Vec::new(),
            cursor,
            backoff: Backoff::new(config.max_backoff.duration(), seed),
            status: Arc::default(),
            published: 0,
        })
    }

    /// Where the connection stands.
    pub(crate) fn status(&self) -> Arc<BrokerStatus> {
        Arc::clone(&self.status)
    }

    /// Runs until `drain` is cancelled and everything stored is acknowledged.
    pub(crate) async fn run(mut self, drain: CancellationToken) -> Result<(), StoreError> {
        loop {
            let mut connected = None;
            let end = self.connect_and_serve(&drain, &mut connected).await;
            self.status.connected.store(false, Ordering::Relaxed);
            let error = match end {
                Ok(End::Drained) => return Ok(()),
                Ok(End::Again) => continue,
                Err(ConnectionError::Store(error)) => return Err(error),
                Err(error) => error,
            };
            let pause = self.backoff.handle_end(connected, clock::now());
            let text = chain(&error);
            warn!(broker = %self.name, url = %self.url, retry_in = ?pause, "{text}");
            self.status.disconnects.count(error.reason(), || text);
            // While it drains, a broker that cannot be reached is tried on until the deadline.
            if drain.is_cancelled() && self.is_done() {
                return Ok(());
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = drain.cancelled(), if !drain.is_cancelled() => {}
            }
        }
    }

    async fn connect_and_serve(
        &mut self,
        drain: &CancellationToken,
        connected: &mut Option<Instant>,
    ) -> Result<End, ConnectionError> {
        let address = (self.url.host(), self.url.port());
        let stream = timeout(self.patience, TcpStream::connect(address))
            .await
            .map_err(|_| ConnectionError::Connect(io::ErrorKind::TimedOut.into()))?
            .map_err(ConnectionError::Connect)?;
        stream.set_nodelay(true).map_err(ConnectionError::Connect)?;
        self.session.set_wire_log(tracing::enabled!(Level::TRACE));
        self.session.handle_connected(clock::now())?;
        let end = self.serve(stream, drain, connected).await;
        // Acknowledgements that came before the end count.
        self.handle_events(clock::now(), connected);
        end
    }

    async fn serve(
        &mut self,
        mut stream: TcpStream,
        drain: &CancellationToken,
        connected: &mut Option<Instant>,
    ) -> Result<End, ConnectionError> {
        let (mut reader, mut writer) = stream.split();
        let mut incoming = BytesMut::with_capacity(READ_BYTES);
        let mut leaving = false;
        let mut write_since: Option<Instant> = None;
        loop {
            let now = clock::now();
            self.session.handle_timeout(now)?;
            self.handle_events(now, connected);
            self.publish(now).await?;
            if drain.is_cancelled() && self.session.is_connected() && self.is_settled() {
                match leaving {
                    true => self.session.disconnect(now)?,
                    false => self.session.publish_status(now, "offline")?,
                }
                leaving = true;
            }
            let sending = self.session.outgoing().has_remaining();
            if self.session.is_closing() && !sending {
                return Ok(self.handle_left(leaving));
            }
            write_since = if sending { write_since.or(Some(now)) } else { None };
            let mut deadline = self.session.deadline();
            if let Some(since) = write_since {
                let stalled = since + self.patience;
                if now >= stalled {
                    return Err(ConnectionError::Broken(io::ErrorKind::TimedOut.into()));
                }
                deadline = deadline.min(stalled);
            }
            let waits_for_records = self.has_room() && self.work.is_empty();
            tokio::select! {
                read = reader.read_buf(&mut incoming) => {
                    if read.map_err(ConnectionError::Broken)? == 0 {
                        return Err(self.session.closed().into());
                    }
                    let taken = self.session.handle_bytes(clock::now(), &incoming);
                    incoming.clear();
                    taken?;
                }
                written = writer.write_buf(self.session.outgoing()), if sending => {
                    written.map_err(ConnectionError::Broken)?;
                    write_since = None;
                }
                changed = self.head.changed(), if waits_for_records => {
                    changed.map_err(|_| StoreError::Ended)?;
                }
                () = self.cursor.saved_changed(), if waits_for_records => {}
                () = drain.cancelled(), if !drain.is_cancelled() => {}
                () = sleep_until(clock::deadline(deadline)) => {}
            }
        }
    }

    fn handle_left(&self, drained: bool) -> End {
        if !drained {
            debug!(broker = %self.name, "an earlier session is discarded");
            return End::Again;
        }
        info!(broker = %self.name, "disconnected, everything is acknowledged");
        End::Drained
    }

    /// Takes what the session tells, and moves the cursor.
    fn handle_events(&mut self, now: Instant, connected: &mut Option<Instant>) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Connected { resumed } => {
                    *connected = Some(now);
                    if !resumed {
                        let next = self.cursor.next();
                        self.track = Track::new(next);
                        self.work.clear();
                        self.feed.seek(next);
                    }
                    self.handle_accepted(resumed);
                }
                Event::Acknowledged(ticket) => self.settle(ticket),
                Event::Rejected(ticket, rejection) => {
                    let (n, reason) = (ticket.n, rejection.reason);
                    debug!(broker = %self.name, n, reason, detail = rejection.detail, "not taken");
                    self.status.refused.count(reason, || rejection.detail);
                    self.settle(ticket);
                }
                Event::StatusRejected(rejection) => {
                    warn!(broker = %self.name, reason = rejection.detail, "the broker does not take the gateway's status");
                }
            }
        }
        let (published, acknowledged) = self.session.take_counts();
        self.status.published.fetch_add(published, Ordering::Relaxed);
        self.status.acknowledged.fetch_add(acknowledged, Ordering::Relaxed);
        if self.track.released() > self.cursor.next() {
            self.cursor.release(self.track.released());
        }
        while let Some(packet) = self.session.poll_wire() {
            trace!(broker = %self.name, "{packet}");
        }
    }

    fn settle(&mut self, ticket: Ticket) {
        if !self.track.settle(ticket.n) {
            debug!(broker = %self.name, n = ticket.n, "an outcome that nothing waits for");
        }
    }

    fn handle_accepted(&self, resumed: bool) {
        self.status.connected.store(true, Ordering::Relaxed);
        self.status.connections.fetch_add(1, Ordering::Relaxed);
        let pending = *self.head.borrow() - self.cursor.next();
        info!(broker = %self.name, url = %self.url, pending, resumed, "connected");
        let terms = self.session.terms();
        if let Some(client_id) = &terms.client_id {
            info!(broker = %self.name, client_id, "the broker chose another client identifier");
        }
        if terms.max_qos < self.qos {
            let (to, from) = (terms.max_qos as u8, self.qos as u8);
            info!(broker = %self.name, from, to, "the broker wants a lower quality of service");
        }
        if !terms.retain {
            warn!(broker = %self.name, "the broker does not retain messages: `retain` is left off");
        }
    }

    /// Publishes as long as there is room, and records, and the crash window allows it.
    async fn publish(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let wall = clock::wall();
        while self.has_room() && self.session.outgoing().len() < WRITE_AHEAD {
            if let Some((n, publish)) = self.work.pop_if(|(_, p)| self.session.has_room(p.qos)) {
                let again = n < self.published;
                self.session.publish(now, Ticket { lane: LANE, n }, publish, again)?;
                if self.work.is_empty() {
                    self.published = self.published.max(n + 1);
                }
                continue;
            }
            if !self.work.is_empty() {
                break;
            }
            if self.feed.is_empty() {
                if self.feed.position() >= *self.head.borrow_and_update() {
                    break;
                }
                self.feed.refill().await?;
                if self.feed.is_empty() {
                    break;
                }
            }
            if !self.may_publish() {
                break;
            }
            let Some(Step { n, publishes, refused }) = self.feed.next(wall) else { continue };
            for refused in refused {
                debug!(broker = %self.name, n, reason = refused.reason, "not published");
                self.status.refused.count(refused.reason, || refused.example);
            }
            self.track.begin(n, u32::try_from(publishes.len()).unwrap_or(u32::MAX));
            self.work.extend(publishes.into_iter().rev().map(|publish| (n, publish)));
        }
        Ok(())
    }

    /// Whether it is worth looking for records: without room an acknowledgement wakes the task.
    fn has_room(&self) -> bool {
        self.session.has_room(QoS::AtLeastOnce)
    }

    /// Whether one more record may be published: at most `window` of them are repeated after a
    /// crash, so no more than that may lie above the cursor that is on disk.
    fn may_publish(&self) -> bool {
        let exposed = self.feed.position().saturating_sub(self.cursor.saved().max(1));
        if exposed >= self.window / 2 && self.cursor.next() > self.cursor.saved() {
            self.cursor.request_save();
        }
        exposed < self.window
    }

    /// Whether nothing is left to do.
    fn is_settled(&self) -> bool {
        self.is_done() && self.session.is_idle() && self.work.is_empty()
    }

    fn is_done(&self) -> bool {
        self.cursor.next() >= *self.head.borrow()
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
