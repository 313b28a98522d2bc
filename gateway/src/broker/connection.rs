//! The loop around a delivery: connects, moves bytes, and begins again.

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

use super::delivery::{Changes, Delivery, DeliveryError};
use super::handle::{BrokerHandle, Command};
use super::session::{Session, SessionError};
use super::status::BrokerStatus;
use super::taps::Taps;
use super::transport::{Transport, TransportError, send};
use crate::causes::chain;
use crate::clock;
use crate::config::{Broker, Id};
use crate::pipeline::Routes;
use crate::store::{Spool, StoreError};

/// Bytes read at a time.
pub(super) const READ_BYTES: usize = 16 * 1024;

/// One broker's task.
pub(crate) struct BrokerTask {
    name: Id,
    transport: Transport,
    /// Longest wait for a write.
    patience: Duration,
    delivery: Delivery,
    changes: Changes,
    commands: mpsc::Receiver<Command>,
    taps: Taps,
    status: Arc<BrokerStatus>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ConnectionError {
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Transport(error) => error.reason(),
            Self::Broken(_) => "broken",
            Self::Session(error) => error.reason(),
            Self::Store(_) => "store",
        }
    }
}

impl From<DeliveryError> for ConnectionError {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Session(error) => Self::Session(error),
            DeliveryError::Store(error) => Self::Store(error),
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
    /// Prepares the task and the way to talk to it; `None` if the store does not know the broker.
    pub(crate) fn new(
        name: &Id,
        config: &Broker,
        status_topic: String,
        gateway: &Id,
        spool: Spool,
        routes: &Arc<Routes>,
        seed: u64,
    ) -> Option<(Self, BrokerHandle)> {
        let status = Arc::new(BrokerStatus::new(config.url.clone()));
        let shared = Arc::clone(&status);
        let delivery = Delivery::new(name, config, gateway, status_topic, spool, routes, shared)?;
        let (handle, commands) = BrokerHandle::new(Arc::clone(&status));
        let task = Self {
            name: name.clone(),
            transport: Transport::new(name, config, seed),
            patience: config.ack_timeout.duration(),
            changes: delivery.changes(),
            delivery,
            commands,
            taps: Taps::default(),
            status,
        };
        Some((task, handle))
    }

    /// Runs until `drain` is cancelled and everything stored is acknowledged.
    pub(crate) async fn run(mut self, drain: CancellationToken) -> Result<(), StoreError> {
        loop {
            self.status.handle_attempt(self.transport.position());
            let end = self.connect_and_serve(&drain).await;
            self.status.handle_end();
            let connected = self.delivery.handle_end(clock::now(), clock::wall()).await;
            let connected = connected.or_else(|error| tolerate(&self.name, error))?;
            let error = match end {
                Ok(End::Drained) => return Ok(()),
                Ok(End::Again) => continue,
                Err(error) => error,
            };
            let url = self.transport.url().clone();
            let pause = self.transport.handle_end(connected, clock::now());
            let (reason, text) = (error.reason(), chain(&error));
            if let ConnectionError::Store(error) = error
                && !error.is_passing()
            {
                return Err(error);
            }
            warn!(broker = %self.name, %url, retry_in = ?pause, "{text}");
            self.status.disconnects.count(reason, || text);
            // While it drains, a broker that cannot be reached is tried on until the deadline.
            if drain.is_cancelled() && self.delivery.is_done() {
                return Ok(());
            }
            self.wait(pause, &drain).await;
        }
    }

    /// Waits before the next connection; a stop cuts it short.
    async fn wait(&mut self, pause: Duration, drain: &CancellationToken) {
        let over = sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                () = drain.cancelled(), if !drain.is_cancelled() => return,
                Some(command) = self.commands.recv() => self.handle_command(command),
            }
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Resend(resend) => self.delivery.resend(resend),
            Command::Wire(sender) => self.taps.add(sender),
        }
    }

    async fn connect_and_serve(
        &mut self,
        drain: &CancellationToken,
    ) -> Result<End, ConnectionError> {
        let stream = self.transport.connect().await?;
        self.taps.serve(self.name.as_str(), self.delivery.session().wire_log());
        self.delivery.handle_connected(clock::now())?;
        self.serve(stream, drain).await
    }

    async fn serve(
        &mut self,
        stream: impl AsyncRead + AsyncWrite,
        drain: &CancellationToken,
    ) -> Result<End, ConnectionError> {
        let (mut reader, mut writer) = async_io::split(stream);
        let mut incoming = BytesMut::with_capacity(READ_BYTES);
        let mut leaving = false;
        let mut unflushed = false;
        let mut write_since: Option<Instant> = None;
        loop {
            let now = clock::now();
            let turned = self.delivery.turn(now, clock::wall()).await;
            self.taps.serve(self.name.as_str(), self.delivery.session().wire_log());
            turned?;
            if drain.is_cancelled() && self.delivery.is_settled() {
                leaving = leave(self.delivery.session(), leaving, now)?;
            }
            let sending = self.delivery.outgoing().has_remaining() || unflushed;
            if self.delivery.session().is_closing() && !sending {
                // The broker may have closed the connection already, as it must.
                let _ = writer.shutdown().await;
                return Ok(self.handle_left(leaving));
            }
            write_since = if sending { write_since.or(Some(now)) } else { None };
            let mut deadline = self.delivery.deadline();
            if let Some(since) = write_since {
                let stalled = since + self.patience;
                if now >= stalled {
                    return Err(ConnectionError::Broken(io::ErrorKind::TimedOut.into()));
                }
                deadline = deadline.min(stalled);
            }
            let waits_for_more = self.delivery.waits_for_more();
            tokio::select! {
                read = reader.read_buf(&mut incoming) => {
                    if read.map_err(ConnectionError::Broken)? == 0 {
                        return Err(self.delivery.session().closed().into());
                    }
                    let taken = self.delivery.handle_bytes(clock::now(), &incoming);
                    incoming.clear();
                    taken?;
                }
                sent = send(&mut writer, self.delivery.outgoing(), &mut unflushed), if sending => {
                    sent.map_err(ConnectionError::Broken)?;
                    write_since = None;
                }
                changed = self.changes.next(), if waits_for_more => changed?,
                Some(command) = self.commands.recv() => self.handle_command(command),
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
}

/// Says `offline`, and takes leave once that is acknowledged.
fn leave(session: &mut Session, leaving: bool, now: Instant) -> Result<bool, SessionError> {
    if !session.is_connected() {
        return Ok(leaving);
    }
    match leaving {
        true => session.disconnect(now)?,
        false => session.publish_status(now, "offline")?,
    }
    Ok(true)
}

/// Goes on where the store can be used later, as if there had been no connection.
fn tolerate(broker: &Id, error: StoreError) -> Result<Option<Instant>, StoreError> {
    if !error.is_passing() {
        return Err(error);
    }
    warn!(%broker, %error, "a dead letter cannot be kept now");
    Ok(None)
}
