//! A delivery that goes on when it is told to, without a socket: for who plays a gateway in a time of
//! its own.
//!
//! It connects as the [task](super::connection) does: at once, and after each end when the pause that
//! grows is over. Whoever plays it says what becomes of an attempt.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use proto::Instant;
use tracing::debug;

use super::connection::ConnectionError;
use super::delivery::{Delivery, DeliveryError};
use super::status::BrokerStatus;
use super::transport::Transport;
use crate::causes::chain;
use crate::clock;
use crate::config::{Broker, Id};
use crate::pipeline::Routes;
use crate::store::{Spool, StoreError};
use crate::tally::Tally;

/// One broker.
pub(crate) struct SteppedBroker {
    name: Id,
    delivery: Delivery,
    /// Which address is next, and when.
    transport: Transport,
    connect_timeout: Duration,
    status: Arc<BrokerStatus>,
    state: State,
}

enum State {
    /// The next attempt is then.
    Away(Instant),
    Connected,
}

impl SteppedBroker {
    /// One that connects at once; `None` if the store does not know it.
    pub(crate) fn new(
        name: &Id,
        config: &Broker,
        status_topic: String,
        gateway: &Id,
        spool: Spool,
        routes: &Arc<Routes>,
        seed: u64,
    ) -> Option<Self> {
        let status = Arc::new(BrokerStatus::new(config.url.clone()));
        let shared = Arc::clone(&status);
        Some(Self {
            name: name.clone(),
            delivery: Delivery::new(name, config, gateway, status_topic, spool, routes, shared)?,
            transport: Transport::new(name, config, seed),
            connect_timeout: config.connect_timeout.duration(),
            status,
            state: State::Away(clock::now()),
        })
    }

    /// When something is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        match self.state {
            State::Away(until) => until,
            State::Connected => self.delivery.deadline(),
        }
    }

    /// Whether it connects now: then tell it what becomes of that.
    pub(crate) fn connects(&self) -> bool {
        matches!(self.state, State::Away(until) if until <= clock::now())
    }

    /// Whether there is a connection.
    pub(crate) const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected)
    }

    /// Whether the broker has accepted it.
    pub(crate) fn is_accepted(&mut self) -> bool {
        self.is_connected() && self.delivery.session().is_connected()
    }

    /// How many records it has not acknowledged.
    pub(crate) fn pending(&self) -> u64 {
        self.delivery.pending()
    }

    /// Readings that were not published, or that the broker did not take.
    pub(crate) fn refused(&self) -> &Tally {
        &self.status.refused
    }

    /// Somebody takes the connection.
    pub(crate) async fn handle_connected(&mut self) -> Result<(), StoreError> {
        self.state = State::Connected;
        let begun = self.delivery.handle_connected(clock::now());
        self.handle(begun.map_err(ConnectionError::from)).await
    }

    /// Somebody says no.
    pub(crate) async fn handle_refused(&mut self) -> Result<(), StoreError> {
        self.handle_end(clock::now(), "refused").await
    }

    /// Nobody says anything, until it is given up.
    pub(crate) async fn handle_silence(&mut self) -> Result<(), StoreError> {
        self.handle_end(clock::now() + self.connect_timeout, "silent").await
    }

    /// Bytes arrive.
    pub(crate) async fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let taken = self.delivery.handle_bytes(clock::now(), bytes);
        self.handle(taken.map_err(ConnectionError::from)).await
    }

    /// The other side has ended the connection.
    pub(crate) async fn handle_closed(&mut self) -> Result<(), StoreError> {
        let end = Err(ConnectionError::from(self.delivery.session().closed()));
        self.handle(end).await
    }

    /// Does what there is to do now, and gives what is to be sent; look at
    /// [`is_connected`](Self::is_connected) after it.
    pub(crate) async fn turn(&mut self) -> Result<BytesMut, StoreError> {
        if !self.is_connected() {
            return Ok(BytesMut::new());
        }
        let turned = self.delivery.turn(clock::now(), clock::wall()).await;
        let bytes = self.delivery.outgoing().split();
        self.handle(turned.map_err(|error: DeliveryError| error.into())).await?;
        if self.is_connected() && self.delivery.session().is_closing() {
            // It was only there to end an earlier session; the next one is made at once.
            self.delivery.handle_end(clock::now(), clock::wall()).await?;
            self.status.handle_end();
            self.state = State::Away(clock::now());
        }
        Ok(bytes)
    }

    async fn handle(&mut self, done: Result<(), ConnectionError>) -> Result<(), StoreError> {
        match done {
            Ok(()) => Ok(()),
            Err(ConnectionError::Store(error)) if !error.is_passing() => Err(error),
            Err(error) => {
                debug!(broker = %self.name, error = %chain(&error), "disconnected");
                self.handle_end(clock::now(), error.reason()).await
            }
        }
    }

    /// The connection has ended, or was given up `at` that time.
    async fn handle_end(&mut self, at: Instant, reason: &'static str) -> Result<(), StoreError> {
        let ended = self.delivery.handle_end(clock::now(), clock::wall()).await;
        let connected = match ended {
            Ok(connected) => connected,
            Err(error) if error.is_passing() => None,
            Err(error) => return Err(error),
        };
        self.status.handle_end();
        self.status.disconnects.count(reason, String::new);
        let pause = self.transport.handle_end(connected, at);
        self.state = State::Away(at + pause);
        Ok(())
    }
}
