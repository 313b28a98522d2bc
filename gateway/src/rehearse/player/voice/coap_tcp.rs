//! A request for each report, over a connection (RFC 8323).

use std::collections::BTreeMap;

use device_sim::payload::Payload;
use device_sim::transport::coap_report;
use proto::coap::{
    Code, RequestId, Response, StreamConfig, StreamEndpoint, StreamEvent, StreamOutput,
};
use proto::{Instant, Reading};

use super::Turn;

/// Requests over a connection. The endpoint's `max_requests` bounds what is open.
pub(in crate::rehearse::player) struct CoapTcp {
    payload: Payload,
    path: String,
    /// Of the connection, where there is one.
    endpoint: Option<StreamEndpoint>,
    /// Whether the gateway said what it takes.
    is_ready: bool,
    is_closed: bool,
    wait: Instant,
    open: BTreeMap<RequestId, Vec<Reading>>,
}

impl CoapTcp {
    pub(super) fn new(payload: &Payload, path: &str) -> Self {
        Self {
            payload: payload.clone(),
            path: path.to_owned(),
            endpoint: None,
            is_ready: false,
            is_closed: false,
            wait: Instant::FAR_FUTURE,
            open: BTreeMap::new(),
        }
    }

    pub(super) const fn has_room(&self) -> bool {
        self.is_ready
    }

    pub(super) const fn poll_timeout(&self) -> Instant {
        self.wait
    }

    pub(super) const fn wants_end(&self) -> bool {
        self.is_closed
    }

    pub(super) fn handle_connected(&mut self, turn: &mut Turn<'_>) {
        self.endpoint = Some(StreamEndpoint::new(turn.now, StreamConfig::default()));
        (self.is_ready, self.is_closed) = (false, false);
        self.drain(turn);
    }

    pub(super) fn handle_lost(&mut self, turn: &mut Turn<'_>) {
        self.endpoint = None;
        (self.is_ready, self.wait) = (false, Instant::FAR_FUTURE);
        for readings in std::mem::take(&mut self.open).into_values() {
            turn.ledger.handle_unanswered(turn.now, &readings);
        }
    }

    pub(super) fn handle_report(&mut self, turn: &mut Turn<'_>, readings: Vec<Reading>) {
        let request = coap_report(&self.path, &self.payload, &readings);
        let asked = self.endpoint.as_mut().map(|endpoint| endpoint.request(turn.now, &request));
        match asked {
            Some(Ok(id)) => drop(self.open.insert(id, readings)),
            Some(Err(_)) | None => turn.ledger.handle_unanswered(turn.now, &readings),
        }
        self.drain(turn);
    }

    pub(super) fn handle_bytes(&mut self, turn: &mut Turn<'_>, bytes: &[u8]) {
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.handle_bytes(turn.now, bytes);
        }
        self.drain(turn);
    }

    pub(super) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.handle_timeout(turn.now);
        }
        self.drain(turn);
    }

    fn drain(&mut self, turn: &mut Turn<'_>) {
        while let Some(endpoint) = &mut self.endpoint {
            match endpoint.poll_output() {
                StreamOutput::Transmit(bytes) => {
                    turn.said.push_back(bytes);
                    endpoint.handle_transmitted(turn.now);
                }
                StreamOutput::Event(StreamEvent::Response { id, response }) => {
                    let Some(readings) = self.open.remove(&id) else { continue };
                    match response.code.is_success() {
                        true => turn.ledger.handle_acknowledged(turn.now, &readings),
                        false => turn.ledger.handle_refused(turn.now, &readings),
                    }
                }
                StreamOutput::Event(StreamEvent::Failed { id, .. }) => {
                    if let Some(readings) = self.open.remove(&id) {
                        turn.ledger.handle_unanswered(turn.now, &readings);
                    }
                }
                StreamOutput::Event(StreamEvent::Capabilities(_)) => self.is_ready = true,
                // RFC 8323 §3.3: one side that is no server says so.
                StreamOutput::Event(StreamEvent::Request { exchange, .. }) => {
                    let response = Response::new(Code::NOT_IMPLEMENTED);
                    endpoint.respond(turn.now, exchange, &response);
                }
                StreamOutput::Event(StreamEvent::Closed(_)) => {
                    (self.is_closed, self.is_ready) = (true, false);
                    self.endpoint = None;
                    self.wait = Instant::FAR_FUTURE;
                }
                // It observes nothing.
                StreamOutput::Event(
                    StreamEvent::Notification { .. } | StreamEvent::Released(_),
                ) => {}
                StreamOutput::Wait(until) => {
                    self.wait = until.unwrap_or(Instant::FAR_FUTURE);
                    return;
                }
            }
        }
    }
}
