//! The way to a broker: one of its addresses, TCP, and TLS and a WebSocket where the address says so.
//!
//! [`failover`] decides which address is next and when (pure). An attempt resolves the host and
//! tries each address of it: [`tcp`] opens the socket, [`tls`] secures it, [`websocket`] wraps it,
//! all three within one `connect_timeout`. What comes out is a stream of bytes; [`explained`] puts
//! what goes wrong on it into words that say what to do.
//!
//! The files of TLS are read for each attempt, so that a renewed certificate is used without a
//! restart; where that fails, the last good ones are.

mod explained;
mod failover;
mod tcp;
mod tls;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use proto::Instant;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tracing::debug;

use crate::causes::chain;
use crate::config::{Broker, BrokerUrl, Id};
use explained::{Explained, Layer};
use failover::Failover;
use tls::{Connector, Tls, TlsError};
use websocket::WebSocketError;

pub(crate) use tcp::connect as connect_tcp;
pub(crate) use tls::files as tls_files;

/// A connection: bytes in order, both ways.
pub(super) type Stream = Box<dyn Link>;

/// What a connection can do.
pub(super) trait Link: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Link for T {}

/// Everything that is needed to reach one broker.
pub(super) struct Transport {
    failover: Failover,
    tls: Option<Tls>,
    connect_timeout: Duration,
    /// Longest time for which the broker's machine may leave bytes unconfirmed.
    user_timeout: Duration,
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("cannot find the address of {0}")]
    Resolve(String, #[source] io::Error),
    #[error("cannot connect to {0}")]
    Tcp(SocketAddr, #[source] io::Error),
    #[error("{0} did not take the connection within {1:?} (`connect_timeout`)")]
    Silent(SocketAddr, Duration),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
}

impl TransportError {
    /// A short name to count by.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Resolve(..) | Self::Tcp(..) | Self::Silent(..) => "connect",
            Self::Tls(_) => "tls",
            Self::WebSocket(_) => "websocket",
        }
    }

    /// How far the attempt came.
    const fn progress(&self) -> u8 {
        match self {
            Self::Resolve(..) | Self::Tcp(..) => 0,
            Self::Silent(..) => 1,
            Self::Tls(_) => 2,
            Self::WebSocket(_) => 3,
        }
    }
}

impl Transport {
    /// The way to the broker `name`.
    pub(super) fn new(name: &Id, config: &Broker, seed: u64) -> Self {
        let settings = config.tls.clone().unwrap_or_default();
        Self {
            failover: Failover::new(config.url.clone(), config.max_backoff.duration(), seed),
            tls: config.url.is_secure().then(|| Tls::new(name.clone(), settings)),
            connect_timeout: config.connect_timeout.duration(),
            user_timeout: config.ack_timeout.duration(),
        }
    }

    /// The address that is in use, or tried next.
    pub(super) fn url(&self) -> &BrokerUrl {
        self.failover.url()
    }

    /// Which of the addresses that is.
    pub(super) const fn position(&self) -> usize {
        self.failover.position()
    }

    /// Goes over to the next address after a connection that lasted from `connected` on, if there
    /// was one; returns the pause to make before.
    pub(super) fn handle_end(&mut self, connected: Option<Instant>, now: Instant) -> Duration {
        self.failover.handle_end(connected, now)
    }

    /// Connects to the address in use; of several failures, the one that came furthest is returned.
    pub(super) async fn connect(&mut self) -> Result<Stream, TransportError> {
        let url = self.failover.url();
        let connector = match &mut self.tls {
            Some(tls) => Some(tls.connector(url).await?),
            None => None,
        };
        let addresses = timeout(self.connect_timeout, tcp::resolve(url))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| TransportError::Resolve(url.host().to_owned(), error))?;
        self.connect_to_any(url, addresses, connector.as_ref()).await
    }

    /// Connects to the first of `addresses` that takes the connection.
    async fn connect_to_any(
        &self,
        url: &BrokerUrl,
        addresses: Vec<SocketAddr>,
        connector: Option<&Connector>,
    ) -> Result<Stream, TransportError> {
        let mut furthest: Option<TransportError> = None;
        for address in addresses {
            let attempt = self.open(url, address, connector);
            let error = match timeout(self.connect_timeout, attempt).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => error,
                Err(_) => TransportError::Silent(address, self.connect_timeout),
            };
            debug!(%url, %address, error = %chain(&error), "no connection");
            let is_further = |before: &TransportError| error.progress() >= before.progress();
            if furthest.as_ref().is_none_or(is_further) {
                furthest = Some(error);
            }
        }
        Err(furthest.unwrap_or_else(|| {
            TransportError::Resolve(url.host().to_owned(), io::ErrorKind::NotFound.into())
        }))
    }

    async fn open(
        &self,
        url: &BrokerUrl,
        address: SocketAddr,
        connector: Option<&Connector>,
    ) -> Result<Stream, TransportError> {
        let socket = tcp::connect(address, self.user_timeout)
            .await
            .map_err(|error| TransportError::Tcp(address, error))?;
        let is_websocket = url.scheme().is_websocket();
        Ok(match connector {
            None if is_websocket => Box::new(websocket::connect(socket, url).await?),
            None => Box::new(Explained::new(socket, Layer::Plain)),
            Some(connector) => {
                let stream = connector.connect(socket).await?;
                match is_websocket {
                    true => Box::new(websocket::connect(stream, url).await?),
                    false => Box::new(stream),
                }
            }
        })
    }
}

/// Writes some of `outgoing`; once that is empty, what is written is flushed, because TLS and
/// WebSockets keep some of it back. Dropped in between, it goes on where it was: `unflushed` tells.
pub(super) async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    outgoing: &mut BytesMut,
    unflushed: &mut bool,
) -> io::Result<()> {
    if outgoing.has_remaining() {
        writer.write_buf(outgoing).await?;
        *unflushed = true;
    }
    if !outgoing.has_remaining() {
        writer.flush().await?;
        *unflushed = false;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, BufWriter, duplex};
    use tokio::net::TcpListener;

    use super::*;

    fn transport(url: &str) -> Transport {
        let broker = json!({ "url": url, "connect_timeout": "1s" });
        let broker: Broker = serde_json::from_value(broker).unwrap();
        Transport::new(&"b".parse().unwrap(), &broker, 1)
    }

    /// A socket that nobody answers on, and one that is there.
    async fn dead_and_live() -> (SocketAddr, TcpListener) {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (gone.local_addr().unwrap(), live)
    }

    #[tokio::test]
    async fn every_address_of_a_host_is_tried() {
        let transport = transport("mqtt://h");
        let (dead, live) = dead_and_live().await;
        let addresses = vec![dead, live.local_addr().unwrap()];
        transport.connect_to_any(transport.url(), addresses, None).await.map(drop).unwrap();
        live.accept().await.unwrap();
    }

    #[tokio::test]
    async fn each_address_has_its_own_time_and_the_failure_that_came_furthest_is_told() {
        let transport = transport("ws://h");
        let (dead, silent) = dead_and_live().await;
        let silent = silent.local_addr().unwrap();
        // Nobody accepts on the second one, but the kernel takes the connection.
        let (refused, waits) = (vec![silent, dead], vec![silent, silent]);
        for addresses in [refused, waits] {
            let failed = transport.connect_to_any(transport.url(), addresses, None).await;
            let error = failed.map(drop).unwrap_err();
            assert!(matches!(error, TransportError::Silent(at, _) if at == silent), "{error}");
        }
    }

    /// As TLS does: bytes stay with the writer until it is flushed, and the way out is narrow.
    #[tokio::test]
    async fn what_is_sent_leaves_the_writer_also_if_sending_was_given_up_between() {
        let (near, mut far) = duplex(10);
        let mut writer = BufWriter::new(near);
        let mut outgoing = BytesMut::from(&b"a message of some bytes"[..]);
        let mut unflushed = false;
        let given_up = send(&mut writer, &mut outgoing, &mut unflushed).now_or_never();
        assert!(given_up.is_none() && outgoing.is_empty() && unflushed);
        let mut received = [0; 23];
        let (sent, read) = tokio::join!(
            send(&mut writer, &mut outgoing, &mut unflushed),
            far.read_exact(&mut received),
        );
        assert!(sent.is_ok() && read.is_ok() && !unflushed);
        assert_eq!(&received, b"a message of some bytes");
    }
}
