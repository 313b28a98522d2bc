//! The loop around a session: connects, feeds it, and begins again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Buf as _, BytesMut};
use proto::Instant;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::feed::{Feed, Step};
use super::session::{Session, SessionError, SessionOptions};
use crate::causes::chain;
use crate::clock;
use crate::config::{Broker, BrokerUrl, Id};
use crate::pipeline::{Publish, Routes};
use crate::store::{BrokerCursor, Spool, StoreError};
use crate::tally::{Count, Tally};

/// Bytes to send that are gathered before they are written.
const WRITE_AHEAD: usize = 64 * 1024;
/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;

/// One broker's task.
pub(crate) struct BrokerTask {
    name: Id,
    url: BrokerUrl,
    options: SessionOptions,
    cursor: BrokerCursor,
    head: watch::Receiver<u64>,
    feed: Feed,
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
    #[error("the broker closed the connection")]
    Closed,
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
            Self::Closed => "closed",
            Self::Session(error) => error.reason(),
            Self::Store(_) => "store",
        }
    }
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
        let max_packet = usize::try_from(config.max_packet.bytes()).unwrap_or(usize::MAX);
        let username = config.username.clone();
        let password = config.password.as_ref().map(|p| p.expose().to_owned());
        Some(Self {
            name: name.clone(),
            url: config.url.clone(),
            options: SessionOptions {
                client_id: config.client_id_for(gateway),
                login: username.map(|name| (name, password.unwrap_or_default())),
                keep_alive: config.keep_alive.duration(),
                ack_timeout: config.ack_timeout.duration(),
                window: config.window,
                status_topic,
            },
            cursor: spool.cursor(name.as_str())?,
            head: spool.head(),
            feed: Feed::new(spool, routes, name.to_string(), max_packet),
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
                Ok(()) => return Ok(()),
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
    ) -> Result<(), ConnectionError> {
        let address = (self.url.host(), self.url.port());
        let stream = timeout(self.options.ack_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| ConnectionError::Connect(io::ErrorKind::TimedOut.into()))?
            .map_err(ConnectionError::Connect)?;
        stream.set_nodelay(true).map_err(ConnectionError::Connect)?;
        let mut session = Session::new(self.options.clone(), self.cursor.next());
        self.feed.seek(self.cursor.next());
        session.handle_connected(clock::now())?;
        let end = self.serve(stream, &mut session, drain, connected).await;
        // Acknowledgements that came before the end count.
        self.release(&mut session);
        end
    }

    async fn serve(
        &mut self,
        mut stream: TcpStream,
        session: &mut Session,
        drain: &CancellationToken,
        connected: &mut Option<Instant>,
    ) -> Result<(), ConnectionError> {
        let (mut reader, mut writer) = stream.split();
        let mut incoming = BytesMut::with_capacity(READ_BYTES);
        let mut work = Vec::new();
        let mut leaving = false;
        let mut write_since: Option<Instant> = None;
        loop {
            let now = clock::now();
            session.handle_timeout(now)?;
            if session.is_connected() && connected.is_none() {
                *connected = Some(now);
                self.handle_accepted();
            }
            self.release(session);
            self.publish(session, &mut work, now).await?;
            if drain.is_cancelled() && self.is_done() && session.is_idle() && work.is_empty() {
                if leaving {
                    session.disconnect()?;
                    writer
                        .write_all_buf(session.outgoing())
                        .await
                        .map_err(ConnectionError::Broken)?;
                    info!(broker = %self.name, "disconnected, everything is acknowledged");
                    return Ok(());
                }
                if session.is_connected() {
                    leaving = true;
                    session.publish_status(now, "offline")?;
                }
            }
            let sending = session.outgoing().has_remaining();
            write_since = if sending { write_since.or(Some(now)) } else { None };
            let mut deadline = session.deadline();
            if let Some(since) = write_since {
                let stalled = since + self.options.ack_timeout;
                if now >= stalled {
                    return Err(ConnectionError::Broken(io::ErrorKind::TimedOut.into()));
                }
                deadline = deadline.min(stalled);
            }
            let waits_for_records = session.has_room() && work.is_empty();
            tokio::select! {
                read = reader.read_buf(&mut incoming) => {
                    if read.map_err(ConnectionError::Broken)? == 0 {
                        return Err(ConnectionError::Closed);
                    }
                    let taken = session.handle_bytes(clock::now(), &incoming);
                    incoming.clear();
                    taken?;
                }
                written = writer.write_buf(session.outgoing()), if sending => {
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

    fn handle_accepted(&self) {
        self.status.connected.store(true, Ordering::Relaxed);
        self.status.connections.fetch_add(1, Ordering::Relaxed);
        let pending = *self.head.borrow() - self.cursor.next();
        info!(broker = %self.name, url = %self.url, pending, "connected");
    }

    /// Publishes as long as there is room, and records, and the crash window allows it.
    async fn publish(
        &mut self,
        session: &mut Session,
        work: &mut Vec<(u64, Publish)>,
        now: Instant,
    ) -> Result<(), ConnectionError> {
        while session.has_room() && session.outgoing().len() < WRITE_AHEAD {
            if let Some((n, publish)) = work.pop() {
                let again = n < self.published;
                session.publish(now, n, publish, again)?;
                if work.is_empty() {
                    self.published = self.published.max(n + 1);
                }
                continue;
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
            let Some(Step { n, publishes, refused }) = self.feed.next() else { continue };
            for refused in refused {
                debug!(broker = %self.name, n, reason = refused.reason, "not published");
                self.status.refused.count(refused.reason, || refused.example);
            }
            let acknowledged = publishes.iter().filter(|p| p.is_acknowledged()).count();
            session.begin(n, u32::try_from(acknowledged).unwrap_or(u32::MAX), now);
            work.extend(publishes.into_iter().rev().map(|publish| (n, publish)));
        }
        Ok(())
    }

    /// Whether one more record may be published: at most `window` of them are repeated after a
    /// crash, so no more than that may lie above the cursor that is on disk.
    fn may_publish(&self) -> bool {
        let window = u64::from(self.options.window);
        let exposed = self.feed.position().saturating_sub(self.cursor.saved().max(1));
        if exposed >= window / 2 && self.cursor.next() > self.cursor.saved() {
            self.cursor.request_save();
        }
        exposed < window
    }

    fn release(&self, session: &mut Session) {
        let (published, acknowledged) = session.take_counts();
        self.status.published.fetch_add(published, Ordering::Relaxed);
        self.status.acknowledged.fetch_add(acknowledged, Ordering::Relaxed);
        if session.released() > self.cursor.next() {
            self.cursor.release(session.released());
        }
    }

    fn is_done(&self) -> bool {
        self.cursor.next() >= *self.head.borrow()
    }
}
