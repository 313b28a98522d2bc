//! One confirmable request per report (RFC 7252), with a SenML pack in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proto::coap::{
    Delivery, Endpoint, EndpointConfig, Event, Method, Output, Request, RequestId, Response,
};
use proto::{Instant, Reading};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::udp::connect;
use super::{PATIENCE, Surroundings, TransportError};
use crate::Via;
use crate::device::Device;
use crate::payload::Payload;

/// The largest datagram that is received: an answer to a report has a few bytes, or a diagnostic
/// payload. There may be ten thousand such buffers.
const MAX_DATAGRAM: usize = 1280;
// Content-Formats: RFC 7252 §12.3, RFC 8428 §12.3.
const OCTET_STREAM: u16 = 42;
const JSON: u16 = 50;
const SENML_JSON: u16 = 110;
const SENML_CBOR: u16 = 112;

/// Confirmable requests.
#[derive(Clone, Debug)]
pub struct CoapUplink {
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// The resource that takes reports.
    pub path: String,
    /// What is in them.
    pub payload: Payload,
    /// What message ids and tokens are drawn from.
    pub seed: u64,
}

impl CoapUplink {
    pub(super) async fn run(
        self,
        device: Device,
        surroundings: Surroundings,
        stop: CancellationToken,
    ) -> Result<(), TransportError> {
        let socket = connect(self.gateway).await?;
        let endpoint = Endpoint::new(EndpointConfig::default(), self.seed);
        let open = BTreeMap::new();
        Node { uplink: self, device, surroundings, socket, endpoint, open }.run(stop).await;
        Ok(())
    }
}

/// A device with its socket. The endpoint's `max_queue` bounds what is open.
struct Node {
    uplink: CoapUplink,
    device: Device,
    surroundings: Surroundings,
    socket: UdpSocket,
    endpoint: Endpoint<SocketAddr>,
    open: BTreeMap<RequestId, Vec<Reading>>,
}

impl Node {
    async fn run(mut self, stop: CancellationToken) {
        let clock = self.surroundings.clock;
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut leave_at = Instant::FAR_FUTURE;
        loop {
            let wait = self.drain().await.unwrap_or(Instant::FAR_FUTURE);
            let stopping = stop.is_cancelled();
            if stopping && (self.open.is_empty() || clock.now() >= leave_at) {
                let ledger = &self.surroundings.ledger;
                self.open.values().for_each(|open| ledger.handle_unanswered(open));
                return;
            }
            tokio::select! {
                () = stop.cancelled(), if !stopping => leave_at = clock.now() + PATIENCE,
                () = clock.sleep_until(leave_at), if stopping => {}
                () = clock.sleep_until(self.device.poll_timeout()), if !stopping => self.report(),
                () = clock.sleep_until(wait) => self.endpoint.handle_timeout(clock.now()),
                received = self.socket.recv(&mut buffer) => {
                    // An error is the ICMP answer to an earlier datagram; retransmission covers it.
                    if let Ok(len) = received {
                        let datagram = buffer.get(..len).unwrap_or_default();
                        let from = self.uplink.gateway;
                        let now = clock.now();
                        self.endpoint.handle_datagram(now, from, datagram, Delivery::Unicast);
                    }
                }
            }
        }
    }

    /// Makes a request of each report that is due.
    fn report(&mut self) {
        while let Some(readings) = self.surroundings.take_due(&mut self.device, Via::Coap) {
            let request = report(&self.uplink.path, &self.uplink.payload, &readings);
            let now = self.surroundings.now();
            match self.endpoint.request(now, self.uplink.gateway, request) {
                Ok(id) => drop(self.open.insert(id, readings)),
                Err(error) => {
                    tracing::debug!(device = self.device.id(), %error, "cannot send");
                    self.surroundings.ledger.handle_unanswered(&readings);
                }
            }
        }
    }

    /// Sends what the endpoint has to send and handles its events; the time until which it waits.
    async fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit { datagram, .. } => {
                    if let Err(error) = self.socket.send(&datagram).await {
                        tracing::debug!(device = self.device.id(), %error, "cannot send");
                    }
                }
                Output::Event(event) => self.handle_event(&event),
                Output::Wait(until) => return until,
            }
        }
    }

    fn handle_event(&mut self, event: &Event<SocketAddr>) {
        let (id, answer) = match event {
            Event::Response { id, response, .. } => {
                (id, Some(is_taken(self.device.id(), response)))
            }
            Event::Failed { id, reason } => {
                tracing::debug!(device = self.device.id(), %reason, "no answer");
                (id, None)
            }
            // A device serves nothing and observes nothing.
            Event::Request { .. }
            | Event::Malformed { .. }
            | Event::Notification { .. }
            | Event::Acknowledged { .. }
            | Event::Delivered { .. }
            | Event::Undelivered { .. } => return,
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

/// The request that hands in readings, over UDP and TCP alike.
pub fn report(path: &str, payload: &Payload, readings: &[Reading]) -> Request {
    let request = Request::new(Method::Post).path(path);
    let request = match payload {
        Payload::SenmlJson => request.content_format(SENML_JSON),
        Payload::SenmlCbor => request.content_format(SENML_CBOR),
        Payload::Json => request.content_format(JSON),
        Payload::Binary(_) => request.content_format(OCTET_STREAM),
        // Text without a number of its own is what a payload is by default.
        Payload::Keyvalue
        | Payload::Csv
        | Payload::Text(_)
        | Payload::Nmea(_)
        | Payload::Dsmr(_) => request,
    };
    request.payload(payload.encode(readings))
}

/// Whether a response says that the readings were taken.
pub(super) fn is_taken(device: &str, response: &Response) -> bool {
    let is_taken = response.code.is_success();
    if !is_taken {
        let why = String::from_utf8_lossy(&response.payload);
        tracing::debug!(device, code = ?response.code, %why, "refused");
    }
    is_taken
}
