//! A confirmable request for each report.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use device_sim::payload::Payload;
use device_sim::transport::coap_report;
use proto::coap::{Delivery, Endpoint, EndpointConfig, Event, Output, RequestId};
use proto::{Instant, Reading};

use super::Turn;

/// Requests in datagrams.
pub(in crate::rehearse::player) struct Coap {
    payload: Payload,
    path: String,
    /// What it calls the gateway: its own address will do.
    gateway: SocketAddr,
    endpoint: Endpoint<SocketAddr>,
    wait: Instant,
    open: BTreeMap<RequestId, Vec<Reading>>,
}

impl Coap {
    pub(super) fn new(payload: &Payload, path: &str, gateway: SocketAddr, seed: u64) -> Self {
        Self {
            payload: payload.clone(),
            path: path.to_owned(),
            gateway,
            endpoint: Endpoint::new(EndpointConfig::default(), seed),
            wait: Instant::FAR_FUTURE,
            open: BTreeMap::new(),
        }
    }

    pub(super) const fn poll_timeout(&self) -> Instant {
        self.wait
    }

    pub(super) fn handle_report(&mut self, turn: &mut Turn<'_>, readings: Vec<Reading>) {
        let request = coap_report(&self.path, &self.payload, &readings);
        match self.endpoint.request(turn.now, self.gateway, request) {
            Ok(id) => drop(self.open.insert(id, readings)),
            Err(_) => turn.ledger.handle_unanswered(turn.now, &readings),
        }
        self.drain(turn);
    }

    pub(super) fn handle_datagram(&mut self, turn: &mut Turn<'_>, datagram: &[u8]) {
        self.endpoint.handle_datagram(turn.now, self.gateway, datagram, Delivery::Unicast);
        self.drain(turn);
    }

    pub(super) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        self.endpoint.handle_timeout(turn.now);
        self.drain(turn);
    }

    pub(super) fn give_up(&mut self, turn: &mut Turn<'_>) {
        for readings in std::mem::take(&mut self.open).into_values() {
            turn.ledger.handle_unanswered(turn.now, &readings);
        }
    }

    fn drain(&mut self, turn: &mut Turn<'_>) {
        loop {
            match self.endpoint.poll_output() {
                Output::Transmit { datagram, .. } => turn.said.push_back(datagram.to_vec()),
                Output::Event(Event::Response { id, response, .. }) => {
                    let Some(readings) = self.open.remove(&id) else { continue };
                    match response.code.is_success() {
                        true => turn.ledger.handle_acknowledged(turn.now, &readings),
                        false => turn.ledger.handle_refused(turn.now, &readings),
                    }
                }
                Output::Event(Event::Failed { id, .. }) => {
                    if let Some(readings) = self.open.remove(&id) {
                        turn.ledger.handle_unanswered(turn.now, &readings);
                    }
                }
                // A device serves nothing and observes nothing.
                Output::Event(_) => {}
                Output::Wait(until) => {
                    self.wait = until.unwrap_or(Instant::FAR_FUTURE);
                    return;
                }
            }
        }
    }
}
