//! One request per report over a connection (RFC 8323), with a SenML pack in it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use bytes::{Buf as _, Bytes};
use proto::coap::{
    Code, RequestId, Response, StreamConfig, StreamEndpoint, StreamEvent, StreamOutput,
};
use proto::{Instant, Reading};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::coap::{is_taken, report};
use super::reconnect::Reconnect;
use super::{PATIENCE, Surroundings};
use crate::Via;
use crate::device::Device;
use crate::payload::Payload;

/// Bytes read at a time: a response that says that a report was taken has four.
const READ_BYTES: usize = 4096;

/// Requests over a connection.
#[derive(Clone, Debug)]
pub struct CoapTcpUplink {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// The resource that takes reports.
    pub path: String,
    /// What is in them.
    pub payload: Payload,
}

impl CoapTcpUplink {
    /// Connects again whenever the connection is gone. What was not answered then is not sent
    /// again: the device forgets it, and the gateway owes nothing.
    pub(super) async fn run(
        self,
        mut device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) {
        let mut reconnect = Reconnect::new(self.gateway);
        while let Some(stream) = reconnect.next(device.id(), &surroundings, &stop).await {
            let endpoint = StreamEndpoint::new(surroundings.now(), StreamConfig::default());
            let mut connection = Connection {
                uplink: &self,
                device: &mut device,
                surroundings: &surroundings,
                endpoint,
                is_ready: false,
                outgoing: Bytes::new(),
                open: BTreeMap::new(),
            };
            if let Err(error) = connection.serve(stream, &stop).await {
                tracing::debug!(device = connection.device.id(), %error, "no connection");
            }
            let open = connection.open.values();
            open.for_each(|readings| surroundings.ledger.handle_unanswered(readings));
        }
    }
}

/// A device while it is connected. The endpoint's `max_requests` bounds what is open.
struct Connection<'a> {
    uplink: &'a CoapTcpUplink,
    device: &'a mut Device,
    surroundings: &'a Surroundings,
    endpoint: StreamEndpoint,
    /// Whether the gateway said what it takes.
    is_ready: bool,
    /// What the endpoint wants written.
    outgoing: Bytes,
    open: BTreeMap<RequestId, Vec<Reading>>,
}

impl Connection<'_> {
    /// Until the connection ends, the device goes away, or `stop` and the last response.
    async fn serve(&mut self, mut stream: TcpStream, stop: &CancellationToken) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let clock = self.surroundings.clock;
        let (mut reader, mut writer) = stream.split();
        let mut buffer = vec![0; READ_BYTES];
        let mut leave_at = Instant::FAR_FUTURE;
        let mut has_sent = false;
        loop {
            let wait = self.drain()?.unwrap_or(Instant::FAR_FUTURE);
            let stopping = stop.is_cancelled();
            if stopping && (self.open.is_empty() || clock.now() >= leave_at) {
                return Ok(());
            }
            let may_report = self.is_ready && !stopping;
            tokio::select! {
                () = stop.cancelled(), if !stopping => leave_at = clock.now() + PATIENCE,
                () = clock.sleep_until(leave_at), if stopping => {}
                () = clock.sleep_until(self.device.poll_timeout()), if may_report => {
                    if self.device.is_back() && has_sent {
                        return Ok(());
                    }
                    has_sent = true;
                    self.report();
                }
                () = clock.sleep_until(wait) => self.endpoint.handle_timeout(clock.now()),
                written = writer.write(&self.outgoing), if !self.outgoing.is_empty() => {
                    self.outgoing.advance(written?);
                    if self.outgoing.is_empty() {
                        self.endpoint.handle_transmitted(clock.now());
                    }
                }
                read = reader.read(&mut buffer), if self.endpoint.wants_bytes() => match read? {
                    0 => self.endpoint.handle_end(clock.now()),
                    count => {
                        let bytes = buffer.get(..count).unwrap_or_default();
                        self.endpoint.handle_bytes(clock.now(), bytes);
                    }
                },
            }
        }
    }

    /// Makes a request of each report that is due.
    fn report(&mut self) {
        while let Some(readings) = self.surroundings.take_due(self.device, Via::CoapTcp) {
            let request = report(&self.uplink.path, &self.uplink.payload, &readings);
            match self.endpoint.request(self.surroundings.now(), &request) {
                Ok(id) => drop(self.open.insert(id, readings)),
                Err(error) => {
                    tracing::debug!(device = self.device.id(), %error, "cannot send");
                    self.surroundings.ledger.handle_unanswered(&readings);
                }
            }
        }
    }

    /// Takes what the endpoint has to write and handles its events; the time until which it waits.
    fn drain(&mut self) -> io::Result<Option<Instant>> {
        loop {
            match self.endpoint.poll_output() {
                StreamOutput::Transmit(bytes) => self.outgoing = bytes.into(),
                StreamOutput::Event(StreamEvent::Closed(why)) => return Err(io::Error::other(why)),
                StreamOutput::Event(event) => self.handle_event(&event),
                StreamOutput::Wait(until) => return Ok(until),
            }
        }
    }

    fn handle_event(&mut self, event: &StreamEvent) {
        let (id, answer) = match event {
            StreamEvent::Response { id, response } => {
                (id, Some(is_taken(self.device.id(), response)))
            }
            StreamEvent::Failed { id, reason } => {
                tracing::debug!(device = self.device.id(), %reason, "no answer");
                (id, None)
            }
            StreamEvent::Capabilities(_) => {
                self.is_ready = true;
                return;
            }
            // RFC 8323 §3.3: one side that is no server says so.
            StreamEvent::Request { exchange, .. } => {
                let response = Response::new(Code::NOT_IMPLEMENTED);
                return self.endpoint.respond(self.surroundings.now(), *exchange, &response);
            }
            // It observes nothing.
            StreamEvent::Notification { .. }
            | StreamEvent::Released(_)
            | StreamEvent::Closed(_) => return,
        };
        let Some(readings) = self.open.remove(id) else { return };
        let ledger = &self.surroundings.ledger;
        match answer {
            Some(true) => ledger.handle_acknowledged(&readings),
            Some(false) => ledger.handle_refused(&readings),
            None => ledger.handle_unanswered(&readings),
        }
    }
}
