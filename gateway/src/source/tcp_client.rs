//! A server that the gateway connects to, and again whenever the connection ends.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Context;
use super::conversation::Partner;
use super::speaker::Speaker;
use crate::broker::{Backoff, connect_tcp};
use crate::clock;
use crate::commands::Orders;
use crate::config::{HostPort, TcpClientLink};

/// The longest time that an attempt takes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may not confirm that it is there before the connection is given up.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// The most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 8;

/// A connection to a server.
pub(crate) struct TcpClientSource {
    context: Context,
    server: HostPort,
    max_backoff: Duration,
    mid_stream: bool,
    speaker: Speaker,
    seed: u64,
}

impl TcpClientSource {
    pub(super) fn new(
        context: Context,
        link: &TcpClientLink,
        orders: Option<Orders>,
        seed: u64,
    ) -> Self {
        let (max_backoff, mid_stream) = (link.max_backoff.duration(), link.mid_stream);
        let speaker = Speaker::new(orders, link.poll.clone());
        Self { context, server: link.connect.clone(), max_backoff, mid_stream, speaker, seed }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        // What is read is handed in without waiting for the disk, so that ending early is safe.
        let _ = stop.run_until_cancelled(self.read_forever()).await;
    }

    async fn read_forever(&mut self) {
        let Self { context, server, speaker, .. } = self;
        let server = &*server;
        let name = &context.name;
        let partner = Partner { context, name: server, gone: "closed by it" };
        let mut backoff = Backoff::new(self.max_backoff, self.seed);
        let mut is_known = false;
        loop {
            let connected = tokio::select! {
                connected = connect(server) => connected,
                never = speaker.hold("the connection is being made") => match never {},
            };
            match connected {
                Ok(stream) => {
                    info!(source = %name, %server, "connected");
                    is_known = false;
                    let since = clock::now();
                    context.status.set_up(true);
                    let framer = match self.mid_stream {
                        true => context.cutting.opening_framer(),
                        false => context.cutting.framer(),
                    };
                    let end = partner.converse(stream, framer, speaker).await;
                    context.status.set_up(false);
                    speaker.handle_gone(&format!("the connection ended: {end}")).await;
                    context.status.reconnects.fetch_add(1, Ordering::Relaxed);
                    warn!(source = %name, %server, reason = %end, "the connection ended; connecting again");
                    if Backoff::is_stable(Some(since), clock::now()) {
                        backoff.reset();
                    }
                }
                Err(error) if !is_known => {
                    is_known = true;
                    let why = explain(&error);
                    warn!(source = %name, %server, %error, "cannot connect: {why}; trying again");
                    context.refuse("not_connected", server, format!("{error}: {why}"), b"");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = sleep(backoff.pause()) => {}
                never = speaker.hold("there is no connection") => match never {},
            }
        }
    }
}

/// Tries one address of the server after the other.
pub(super) async fn connect(server: &HostPort) -> io::Result<TcpStream> {
    let attempt = async {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((server.host(), server.port())).await?.take(MAX_ADDRESSES) {
            match connect_tcp(address, USER_TIMEOUT).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    };
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer");
    timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or_else(|_| Err(late()))
}

/// What an operator can do about it.
pub(super) fn explain(error: &io::Error) -> &'static str {
    let kind = error.kind();
    if kind == io::ErrorKind::ConnectionRefused {
        "nothing listens there; is the device on, and the port in `link` right?"
    } else if matches!(
        kind,
        io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    ) {
        "the device does not answer; is it on, and its address in `link` right?"
    } else {
        "is the host in `link` right?"
    }
}
