//! One connection of CoAP over TCP (RFC 8323).
//!
//! Reading and writing go on side by side, as far as the node wants bytes: a client that does
//! not read its answers is not read either, and is disconnected in the end. Nothing is recognised
//! as sent twice, as over UDP: TCP delivers a request once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::FutureExt as _;
use proto::Instant;
use proto::coap::{
    CloseReason, Release, StreamFault, StreamNode, StreamNodeEvent, StreamNodeOutput,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::resources::{Resources, Sender, Way, not_found};
use super::serving::Serving;
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
    node: StreamNode,
    serving: Serving<()>,
    /// What the node wants written.
    outgoing: Bytes,
    /// Until when nothing is due, as of the last [`step`](Self::step).
    wait: Option<Instant>,
}

/// What came of a step.
#[derive(Default)]
pub(super) struct Step {
    /// To be written.
    pub(super) bytes: Vec<u8>,
    /// Whether the connection is to be closed.
    pub(super) is_over: bool,
    /// Whether there was something to do.
    pub(super) has_moved: bool,
}

impl Connection {
    pub(super) fn new(resources: Arc<Resources>, peer: SocketAddr, node: StreamNode) -> Self {
        Self {
            serving: Serving::new(Arc::clone(&resources)),
            outgoing: Bytes::new(),
            wait: None,
            node,
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
                    self.node.release(clock::now(), &release);
                }
                news = self.serving.next() => self.serving.tell(&mut self.node, news),
                written = writer.write(&self.outgoing), if !self.outgoing.is_empty() => match written {
                    Ok(count) if count > 0 => {
                        self.outgoing.advance(count);
                        if self.outgoing.is_empty() {
                            self.node.handle_transmitted(clock::now());
                        }
                    }
                    Ok(_) | Err(_) => self.node.handle_lost(clock::now()),
                },
                read = reader.read(&mut buffer), if self.node.wants_bytes() => match read {
                    Ok(0) => self.node.handle_end(clock::now()),
                    Ok(count) => {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        self.node.handle_bytes(clock::now(), bytes);
                    }
                    Err(_) => self.node.handle_lost(clock::now()),
                },
                () = sleep_until(clock::deadline(wait.unwrap_or(Instant::FAR_FUTURE))),
                    if wait.is_some() => self.node.handle_timeout(clock::now()),
            }
        }
    }

    /// Bytes arrive, for who plays it by the step.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        self.node.handle_bytes(clock::now(), bytes);
    }

    /// The client is gone.
    pub(super) fn handle_lost(&mut self) {
        self.node.handle_lost(clock::now());
    }

    /// Does what there is to do, where it takes no time to write.
    pub(super) fn step(&mut self) -> Step {
        let mut step = Step::default();
        if self.wait.is_some_and(|wait| wait <= clock::now()) {
            self.node.handle_timeout(clock::now());
            step.has_moved = true;
        }
        loop {
            match self.drain() {
                Ok(wait) => self.wait = wait,
                Err(reason) => {
                    self.count(&reason);
                    step.is_over = true;
                }
            }
            if !self.outgoing.is_empty() {
                step.bytes.extend_from_slice(&std::mem::take(&mut self.outgoing));
                self.node.handle_transmitted(clock::now());
            } else if !step.is_over
                && let Some(news) = self.serving.next().now_or_never()
            {
                self.serving.tell(&mut self.node, news);
            } else {
                return step;
            }
            step.has_moved = true;
        }
    }

    /// Whether it takes more bytes.
    pub(super) fn wants_bytes(&self) -> bool {
        self.node.wants_bytes()
    }

    /// When the next step is due.
    pub(super) const fn wait(&self) -> Option<Instant> {
        self.wait
    }

    /// Takes what the node has to write and handles its events; the time until which it waits, or
    /// why the connection is over.
    fn drain(&mut self) -> Result<Option<Instant>, CloseReason> {
        loop {
            match self.node.poll_output() {
                StreamNodeOutput::Transmit(bytes) => self.outgoing = bytes.into(),
                StreamNodeOutput::Event(StreamNodeEvent::Closed(reason)) => return Err(reason),
                StreamNodeOutput::Event(StreamNodeEvent::Request { ask, request }) => {
                    let sender = Sender { peer: self.peer, way: Way::Stream, socket: 0 };
                    let node = &mut self.node;
                    let fetch = self.serving.handle_request(node, ask, sender, None, &request);
                    // A client over TCP has no address to ask (RFC 9176 §5.1).
                    if let Some(fetch) = fetch {
                        self.node.respond(clock::now(), fetch.ask, not_found());
                    }
                }
                StreamNodeOutput::Event(StreamNodeEvent::Unobserved { resource }) => {
                    self.serving.handle_unobserved(resource);
                }
                // This node makes no requests, and answers as far as a client takes it.
                StreamNodeOutput::Event(
                    StreamNodeEvent::Capabilities(_)
                    | StreamNodeEvent::Released(_)
                    | StreamNodeEvent::Call(_),
                ) => {}
                StreamNodeOutput::Wait(until) => return Ok(until),
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
        if self.node.stats().truncated > 0 {
            refuse("malformed", &"the connection ended within a message");
        }
    }
}
