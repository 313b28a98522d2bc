//! A CoAP server with the resources of the ETSI and IPSO CoAP plugtests, for trying clients and
//! gateways against it.
//!
//! | Part | What it is |
//! |---|---|
//! | `site` | the resources: a request in, a reply out, changes of what is observed by time |
//! | `core` | the site behind a [`Node`](proto::coap::Node): datagrams in and out, replies that come late |
//! | [`PlugtestServer`] | a UDP socket and a clock around the core |
//!
//! The first two are pure; they take `now` and tell when they want to be called again. All bodies
//! live in memory, a fixed number of them and each of at most [`MAX_BODY`] bytes, and a DELETE or a
//! restart brings them back. The server answers every sender at full length, without the proof of
//! RFC 9175 that its address is its own: it is for a test bench, not for an open network.

mod core;
mod links;
mod observable;
mod representation;
mod site;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use proto::Instant;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::core::{Core, Output};
pub use self::site::MAX_BODY;
use crate::clock::Clock;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams that are taken before they are answered.
const TURN: usize = 64;

/// How a plugtest server behaves.
#[derive(Clone, Debug)]
pub struct PlugtestConfig {
    /// Where to listen, as `address:port`; port 0 takes a free one.
    pub bind: String,
    /// How often the observable resources change; `/obs-pumping` does ten times as often.
    pub interval: Duration,
    /// How long the response of `/separate` takes after its empty Acknowledgement.
    pub separate_after: Duration,
    /// ACK_TIMEOUT (RFC 7252 §4.8): the first wait before a retransmission.
    pub ack_timeout: Duration,
}

impl Default for PlugtestConfig {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:0".to_owned(),
            interval: Duration::from_secs(5),
            separate_after: Duration::from_secs(1),
            ack_timeout: Duration::from_secs(2),
        }
    }
}

/// A running server. Dropping it ends it at once.
#[derive(Debug)]
pub struct PlugtestServer {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl PlugtestServer {
    /// Binds and starts to answer.
    ///
    /// # Errors
    /// When the address does not resolve or cannot be bound, or the system has no random numbers.
    pub async fn start(config: PlugtestConfig) -> io::Result<Self> {
        let socket = UdpSocket::bind(&config.bind).await?;
        let address = socket.local_addr()?;
        let seed = getrandom::u64().map_err(io::Error::other)?;
        let core = Core::new(&config, seed);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(run(socket, core, stop.clone()));
        Ok(Self { address, stop, tasks })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URI.
    pub fn url(&self) -> String {
        format!("coap://{}", self.address)
    }

    /// Stops, and returns when the socket is closed.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "the task of the server failed");
            }
        }
    }
}

async fn run(socket: UdpSocket, mut core: Core<SocketAddr>, stop: CancellationToken) {
    let clock = Clock::start();
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let wait = drain(&socket, &mut core).await.unwrap_or(Instant::FAR_FUTURE);
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep_until(wait) => core.handle_timeout(clock.now()),
            // An error is the ICMP answer to an earlier datagram; retransmission covers it.
            _ = socket.readable() => receive(&socket, &mut core, clock.now(), &mut buffer),
        }
    }
}

/// Takes what has arrived, for one turn.
fn receive(socket: &UdpSocket, core: &mut Core<SocketAddr>, now: Instant, buffer: &mut [u8]) {
    for _ in 0..TURN {
        let Ok((len, from)) = socket.try_recv_from(buffer) else { return };
        core.handle_datagram(now, from, buffer.get(..len).unwrap_or_default());
    }
}

/// Sends what there is to send; the time until which the core waits.
async fn drain(socket: &UdpSocket, core: &mut Core<SocketAddr>) -> Option<Instant> {
    loop {
        match core.poll_output() {
            Output::Transmit { to, datagram } => {
                if let Err(error) = socket.send_to(&datagram, to).await {
                    tracing::debug!(%to, %error, "cannot send");
                }
            }
            Output::Wait(until) => return until,
        }
    }
}
