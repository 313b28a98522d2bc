//! A CoAP server (RFC 7252, RFC 8323): nodes post readings, and are answered when they are on disk.
//!
//! [`resources`] says what a request means, [`submissions`] answers it when its readings are on
//! disk; this is the loop around the endpoint, one for each UDP address, and [`stream`] the one
//! for each TCP connection.

mod resources;
mod stream;
mod submissions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::coap::{Delivery, Endpoint, EndpointConfig, Event, Output};
use proto::{Instant, Timestamp};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::resources::accepted;
use self::stream::Connection;
use self::submissions::Submissions;
use super::clients::{Clients, listen};
use super::udp::bind_udp;
use super::{Context, SourceError};
use crate::clock;
use crate::config::CoapLink;
use crate::store::{KEEP, Origin, Spool, StoreError};
use crate::supervisor::Supervisor;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams taken before other tasks get a turn.
const TURN: usize = 64;
/// Messages that are remembered over a restart: as many as the endpoint can hold.
const REMEMBERED: u64 = 65_536;
/// The kernel's receive buffer: what a burst of nodes sends at once.
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;

/// A CoAP server on one or more addresses.
pub(crate) struct CoapSource {
    context: Arc<Context>,
    sockets: Vec<UdpSocket>,
    clients: Option<Clients>,
    separate_after: Duration,
    spool: Spool,
    seed: u64,
}

impl CoapSource {
    pub(super) fn open(
        context: Context,
        link: &CoapLink,
        spool: Spool,
        seed: u64,
    ) -> Result<Self, SourceError> {
        let mut sockets = Vec::new();
        let mut addresses = Vec::new();
        for &bind in &link.bind {
            let socket = bind_udp(bind, RECEIVE_BUFFER);
            let socket = socket.map_err(|source| context.bind_error("link.bind", bind, source))?;
            let address = socket.local_addr().unwrap_or(bind);
            info!(source = %context.name, %address, "listening for CoAP");
            addresses.push(address);
            sockets.push(socket);
        }
        context.status.set_listening(addresses);
        let clients = match link.tcp.as_slice() {
            [] => None,
            tcp => Some(Clients::new(listen_all(&context, tcp)?, link.max_clients)),
        };
        let separate_after = link.separate_after.duration();
        Ok(Self { context: context.into(), sockets, clients, separate_after, spool, seed })
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) async fn run(self, stop: CancellationToken) {
        let known = match answered(&self.spool, self.context.name.as_str()).await {
            Ok(known) => known,
            Err(error) => {
                warn!(source = %self.context.name, %error, "cannot tell which messages were answered before the start");
                Vec::new()
            }
        };
        // The servers do not need the store; holding it would keep its thread from ending.
        drop(self.spool);
        let mut servers: Supervisor<()> = Supervisor::new();
        for (socket, seed) in self.sockets.into_iter().zip(self.seed..) {
            let config = EndpointConfig { ack_delay: self.separate_after, ..Default::default() };
            let mut endpoint = Endpoint::new(config, seed);
            for (origin, age) in &known {
                let token = &origin.token;
                endpoint.remember(
                    clock::now(),
                    origin.peer,
                    origin.message_id,
                    token,
                    *age,
                    accepted(),
                );
            }
            let server = Server {
                context: Arc::clone(&self.context),
                socket,
                endpoint,
                submissions: Submissions::new(Arc::clone(&self.context)),
            };
            servers.start(format!("coap {}", self.context.name), server.run(stop.clone()));
        }
        if let Some(clients) = self.clients {
            let context = self.context;
            servers.start(format!("coap+tcp {}", context.name), async move {
                let serve = |stream, peer| {
                    Connection::new(Arc::clone(&context), peer).run(stream, stop.clone())
                };
                clients.run(&context, &stop, serve).await;
            });
        }
        while servers.next_end().await.is_some() {}
    }
}

/// Sockets for clients that connect.
fn listen_all(context: &Context, tcp: &[SocketAddr]) -> Result<Vec<TcpListener>, SourceError> {
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for &bind in tcp {
        let listener = listen(bind);
        let listener = listener.map_err(|source| context.bind_error("link.tcp", bind, source))?;
        let address = listener.local_addr().unwrap_or(bind);
        info!(source = %context.name, %address, "listening for CoAP over TCP");
        addresses.push(address);
        listeners.push(listener);
    }
    context.status.set_listening_for_tcp(addresses);
    Ok(listeners)
}

/// The messages whose readings are on disk and that may still be retransmitted.
async fn answered(spool: &Spool, source: &str) -> Result<Vec<(Origin, Duration)>, StoreError> {
    let now = clock::wall();
    let keep = i64::try_from(KEEP.as_nanos()).unwrap_or(i64::MAX);
    let since = Timestamp::from_nanos(now.as_nanos().saturating_sub(keep));
    let mut from = spool.first_since(since, REMEMBERED).await?;
    let mut answered = Vec::new();
    loop {
        let chunks = spool.read(from).await?;
        let Some(last) = chunks.last() else { return Ok(answered) };
        from = last.end;
        let records = chunks.iter().flat_map(|chunk| &chunk.records);
        for record in records.filter(|record| *record.source == *source) {
            if let Some(origin) = &record.origin {
                let age = now.as_nanos().saturating_sub(record.received.as_nanos());
                let age = Duration::from_nanos(u64::try_from(age).unwrap_or(0));
                answered.push((origin.clone(), age));
            }
        }
    }
}

/// One socket.
struct Server {
    context: Arc<Context>,
    socket: UdpSocket,
    endpoint: Endpoint<SocketAddr>,
    submissions: Submissions,
}

impl Server {
    async fn run(mut self, stop: CancellationToken) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let wait = self.drain().await;
            let stopping = stop.is_cancelled();
            if stopping && self.submissions.is_empty() {
                return;
            }
            tokio::select! {
                () = stop.cancelled(), if !stopping => {}
                settled = self.submissions.settled(), if !self.submissions.is_empty() => {
                    for (exchange, response) in settled {
                        self.endpoint.respond(clock::now(), exchange, response);
                    }
                }
                // An error is one of an earlier datagram (ICMP), which reading takes away.
                _ = self.socket.readable(), if !stopping => self.receive(&mut buffer),
                () = sleep_until(clock::deadline(wait.unwrap_or(Instant::FAR_FUTURE))),
                    if wait.is_some() => self.endpoint.handle_timeout(clock::now()),
            }
        }
    }

    /// Sends what the endpoint has to send and handles its events; the time until which it waits.
    async fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit { to, datagram } => {
                    if let Err(error) = self.socket.send_to(&datagram, to).await {
                        debug!(source = %self.context.name, peer = %to, %error, "cannot send");
                    }
                }
                Output::Event(event) => self.handle_event(event),
                Output::Wait(until) => return until,
            }
        }
    }

    /// Takes what has arrived, for one turn.
    fn receive(&mut self, buffer: &mut [u8]) {
        let now = clock::now();
        for _ in 0..TURN {
            match self.socket.try_recv_from(buffer) {
                Ok((len, peer)) => {
                    let datagram = buffer.get(..len).unwrap_or_default();
                    self.endpoint.handle_datagram(now, peer, datagram, Delivery::Unicast);
                }
                // An ICMP error of an earlier datagram, or nothing more to read.
                Err(_) => return,
            }
        }
    }

    fn handle_event(&mut self, event: Event<SocketAddr>) {
        let now = clock::now();
        match event {
            Event::Request { exchange, from, message_id, token, request, .. } => {
                let origin = Origin { peer: from, message_id, token: token.to_vec() };
                let origin = Some(origin);
                let answer = self.submissions.handle_request(exchange, from, &request, origin);
                if let Some(response) = answer {
                    self.endpoint.respond(now, exchange, response);
                }
            }
            Event::Malformed { from, fault } => {
                self.context.refuse("malformed", from, fault, b"");
            }
            // This endpoint makes no requests and sends no notifications.
            Event::Response { .. }
            | Event::Failed { .. }
            | Event::Notification { .. }
            | Event::Delivered { .. }
            | Event::Undelivered { .. } => {}
        }
    }
}
