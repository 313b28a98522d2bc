//! One connection of CoAP over TCP (RFC 8323).
//!
//! Reading and writing go on side by side, as far as the endpoint wants bytes: a client that does
//! not read its answers is not read either, and is disconnected in the end. Nothing is recognised
//! as sent twice, as over UDP: TCP delivers a request once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use proto::Instant;
use proto::coap::{
    CloseReason, ExchangeId, Release, StreamConfig, StreamEndpoint, StreamEvent, StreamFault,
    StreamOutput,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::pending::Pending;
use super::resources::{Action, Resources, Sender, Way, not_found};
use crate::clock;

/// Bytes read at a time.
const READ_BYTES: usize = 8192;
/// How long a client may take to close its side. Closing before it has would throw away what it
/// was sent last, where it is still sending.
const LINGER: Duration = Duration::from_secs(3);

/// A client.
pub(super) struct Connection {
    resources: Arc<Resources>,
    peer: SocketAddr,
    endpoint: StreamEndpoint,
    pending: Pending<ExchangeId>,
    /// What the endpoint wants written.
    outgoing: Bytes,
}

impl Connection {
    pub(super) fn new(resources: Arc<Resources>, peer: SocketAddr) -> Self {
        Self {
            endpoint: StreamEndpoint::new(clock::now(), StreamConfig::default()),
            pending: Pending::new(Arc::clone(&resources)),
            outgoing: Bytes::new(),
            resources,
            peer,
        }
    }

    /// Runs until the connection is closed. After `stop` the client is asked to close it.
    pub(super) async fn run(mut self, mut stream: TcpStream, stop: CancellationToken) {
        debug!(source = %self.resources.context.name, peer = %self.peer, "connected");
        let reason = self.serve(&mut stream, stop).await;
        debug!(source = %self.resources.context.name, peer = %self.peer, %reason, "disconnected");
        self.count(&reason);
        let _ = stream.shutdown().await;
        let mut rest = [0; 1024];
        let drain = async { while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
        let _ = timeout(LINGER, drain).await;
    }

    async fn serve(&mut self, stream: &mut TcpStream, stop: CancellationToken) -> CloseReason {
        let (mut reader, mut writer) = stream.split();
        let mut buffer = vec![0; READ_BYTES];
        let mut stopping = false;
        loop {
            let wait = match self.drain() {
                Ok(wait) => wait,
                Err(reason) => return reason,
            };
            tokio::select! {
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    let diagnostic = "the gateway is stopping".to_owned();
                    let release = Release { diagnostic, ..Release::default() };
                    self.endpoint.release(clock::now(), &release);
                }
                settled = self.pending.settled(), if !self.pending.is_empty() => {
                    let now = clock::now();
                    for (exchange, response) in settled {
                        self.endpoint.respond(now, exchange, &response);
                    }
                }
                written = writer.write(&self.outgoing), if !self.outgoing.is_empty() => match written {
                    Ok(count) if count > 0 => {
                        self.outgoing.advance(count);
                        if self.outgoing.is_empty() {
                            self.endpoint.handle_transmitted(clock::now());
                        }
                    }
                    Ok(_) | Err(_) => self.endpoint.handle_lost(clock::now()),
                },
                read = reader.read(&mut buffer), if self.endpoint.wants_bytes() => match read {
                    Ok(0) => self.endpoint.handle_end(clock::now()),
                    Ok(count) => {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        self.endpoint.handle_bytes(clock::now(), bytes);
                    }
                    Err(_) => self.endpoint.handle_lost(clock::now()),
                },
                () = sleep_until(clock::deadline(wait.unwrap_or(Instant::FAR_FUTURE))),
                    if wait.is_some() => self.endpoint.handle_timeout(clock::now()),
            }
        }
    }

    /// Takes what the endpoint has to write and handles its events; the time until which it waits,
    /// or why the connection is over.
    fn drain(&mut self) -> Result<Option<Instant>, CloseReason> {
        loop {
            match self.endpoint.poll_output() {
                StreamOutput::Transmit(bytes) => self.outgoing = bytes.into(),
                StreamOutput::Event(StreamEvent::Closed(reason)) => return Err(reason),
                StreamOutput::Event(StreamEvent::Request { exchange, request, .. }) => {
                    let (peer, now) = (self.peer, clock::now());
                    let sender = Sender { peer, way: Way::Stream };
                    let answer = match self.resources.handle(sender, &request) {
                        Action::Respond(response) => Some((exchange, response)),
                        // Without Observe, which a server may leave out (RFC 7641 §4.1).
                        Action::Show(view) => Some((exchange, view.show(&self.resources.latest))),
                        Action::Look(look) => Some((exchange, self.resources.look(&look))),
                        // A client over TCP has no address to ask (RFC 9176 §5.1).
                        Action::Fetch(_) => Some((exchange, not_found())),
                        Action::Await(work) => self.pending.start(exchange, peer, work, None),
                    };
                    if let Some((exchange, response)) = answer {
                        self.endpoint.respond(now, exchange, &response);
                    }
                }
                // This endpoint makes no requests, and answers as far as a client takes it.
                StreamOutput::Event(
                    StreamEvent::Capabilities(_)
                    | StreamEvent::Released(_)
                    | StreamEvent::Response { .. }
                    | StreamEvent::Failed { .. },
                ) => {}
                StreamOutput::Wait(until) => return Ok(until),
            }
        }
    }

    /// Counts an end that is the client's fault.
    fn count(&self, reason: &CloseReason) {
        let refuse = |word, why: &dyn std::fmt::Display| {
            self.resources.context.refuse(word, self.peer, why, b"");
        };
        match reason {
            CloseReason::Aborted(StreamFault::LateCsm | StreamFault::Silent) => {
                refuse("silent_client", reason);
            }
            CloseReason::Aborted(_) => refuse("malformed", reason),
            CloseReason::Stalled => refuse("slow_client", reason),
            CloseReason::Released
            | CloseReason::Ended
            | CloseReason::Lost
            | CloseReason::PeerAborted { .. } => {}
        }
        if self.endpoint.stats().truncated > 0 {
            refuse("malformed", &"the connection ended within a message");
        }
    }
}
