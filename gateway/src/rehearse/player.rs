//! One simulated device on stage: the pure device, what it speaks, and the way of its datagrams.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use device_sim::Via;
use device_sim::device::{Device, Report};
use device_sim::fault::{Impaired, Impairment};
use device_sim::ledger::Ledger;
use device_sim::payload::Payload;
use device_sim::transport::coap_report;
use proto::coap::{Delivery, Endpoint, EndpointConfig, Event, Output, RequestId};
use proto::{Instant, Reading};

use crate::config::Id;

/// How long a device waits before it connects again.
const PAUSE: Duration = Duration::from_secs(1);
/// Lines without a reply; then nothing more is written until one comes.
const MAX_OPEN: usize = 256;
/// The reply that means that the readings of a line were taken.
const TAKEN: &str = "ok";

/// What a device is played with.
pub(super) struct Part {
    pub(super) device: Device,
    pub(super) fleet: String,
    pub(super) via: Via,
    pub(super) payload: Payload,
    /// Where it sends from, and the source that it sends to.
    pub(super) peer: SocketAddr,
    pub(super) source: Id,
    /// The resource that takes reports over CoAP.
    pub(super) path: String,
    pub(super) seed: u64,
    /// What accidents are drawn from, where the way of its datagrams has any.
    pub(super) accidents: Option<u64>,
}

/// A device.
pub(super) struct Player {
    part: Part,
    speech: Speech,
    way: Option<Box<Way>>,
    /// What it has written and nobody has taken.
    outgoing: VecDeque<Vec<u8>>,
    is_over: bool,
}

/// Both directions of datagrams with faults on them.
struct Way {
    up: Impaired<u8>,
    down: Impaired<u8>,
}

enum Speech {
    /// Nobody answers.
    Plain,
    Coap(Box<Coap>),
    Lines(Lines),
}

struct Coap {
    endpoint: Endpoint<SocketAddr>,
    wait: Instant,
    open: BTreeMap<RequestId, Vec<Reading>>,
}

#[derive(Default)]
struct Lines {
    is_connected: bool,
    /// When it may try to connect again.
    retry_at: Instant,
    /// Lines without a reply.
    open: VecDeque<Vec<Reading>>,
    /// The begin of a reply.
    reply: Vec<u8>,
}

impl Player {
    pub(super) fn new(part: Part) -> Self {
        let speech = match part.via {
            Via::Coap => Speech::Coap(Box::new(Coap {
                endpoint: Endpoint::new(EndpointConfig::default(), part.seed),
                wait: Instant::FAR_FUTURE,
                open: BTreeMap::new(),
            })),
            Via::Tcp => Speech::Lines(Lines::default()),
            // What is not played was refused before.
            Via::Udp | Via::Serial | Via::CoapTcp | Via::Http | Via::Mqtt => Speech::Plain,
            Via::LinkSerial | Via::LinkTcp | Via::LinkUdp | Via::Modbus => Speech::Plain,
        };
        let way = part.accidents.map(|seed| {
            Box::new(Way { up: Impaired::new(seed), down: Impaired::new(seed.rotate_left(32)) })
        });
        Self { part, speech, way, outgoing: VecDeque::new(), is_over: false }
    }

    /// Its fleet.
    pub(super) fn fleet(&self) -> &str {
        &self.part.fleet
    }

    /// Where it sends from.
    pub(super) const fn peer(&self) -> SocketAddr {
        self.part.peer
    }

    /// Where it sends to.
    pub(super) const fn source(&self) -> &Id {
        &self.part.source
    }

    /// Makes the way of its datagrams better or worse.
    pub(super) fn set_impairment(&mut self, impairment: Impairment) {
        if let Some(way) = &mut self.way {
            way.up.set_impairment(impairment);
            way.down.set_impairment(impairment);
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        let due = match (&self.speech, self.is_over) {
            (_, true) => Instant::FAR_FUTURE,
            (Speech::Lines(lines), false) if lines.open.len() >= MAX_OPEN => Instant::FAR_FUTURE,
            (Speech::Lines(lines), false) => self.part.device.poll_timeout().max(lines.retry_at),
            (Speech::Plain | Speech::Coap(_), false) => self.part.device.poll_timeout(),
        };
        let wait = match &self.speech {
            Speech::Coap(coap) => coap.wait,
            Speech::Plain | Speech::Lines(_) => Instant::FAR_FUTURE,
        };
        let way = self.way.as_ref();
        let on_the_way = way.map(|way| way.up.poll_timeout().min(way.down.poll_timeout()));
        due.min(wait).min(on_the_way.unwrap_or(Instant::FAR_FUTURE))
    }

    /// Does what is due; `is_there` says whether the gateway is.
    pub(super) fn handle_timeout(&mut self, now: Instant, ledger: &mut Ledger, is_there: bool) {
        if let Speech::Lines(lines) = &mut self.speech {
            if !is_there && !self.is_over && self.part.device.poll_timeout() <= now {
                lines.retry_at = now + PAUSE;
                return;
            }
            lines.is_connected = is_there;
        }
        while !self.is_over && self.has_room() {
            let Some(Report { due, readings }) = self.part.device.poll_report(now) else { break };
            ledger.handle_sent(now, due, self.part.via, &readings);
            self.send(now, readings, ledger, is_there);
        }
        if let Speech::Coap(coap) = &mut self.speech
            && coap.wait <= now
        {
            coap.endpoint.handle_timeout(now);
        }
        self.drain(now, ledger);
        if let Some(way) = &mut self.way {
            while let Some(datagram) = way.up.poll_delivery(now) {
                self.outgoing.push_back(datagram.bytes);
            }
            let mut arrived = Vec::new();
            while let Some(datagram) = way.down.poll_delivery(now) {
                arrived.push(datagram.bytes);
            }
            for datagram in arrived {
                self.take(now, &datagram, ledger);
            }
        }
    }

    /// What it has written.
    pub(super) fn poll_bytes(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// The source has answered.
    pub(super) fn handle_answer(&mut self, now: Instant, bytes: &[u8], ledger: &mut Ledger) {
        match &mut self.way {
            Some(way) => {
                way.down.handle_datagram(now, 1, 0, bytes);
                while let Some(datagram) = self.way.as_mut().and_then(|w| w.down.poll_delivery(now))
                {
                    self.take(now, &datagram.bytes, ledger);
                }
            }
            None => self.take(now, bytes, ledger),
        }
    }

    /// The gateway is dead, and connections to it with it.
    pub(super) fn handle_gone(&mut self, now: Instant, ledger: &mut Ledger) {
        if let Speech::Lines(lines) = &mut self.speech {
            for readings in lines.open.drain(..) {
                ledger.handle_unanswered(now, &readings);
            }
            *lines = Lines { retry_at: now + PAUSE, ..Lines::default() };
        }
        self.outgoing.clear();
    }

    /// It sends nothing more.
    pub(super) const fn stop(&mut self) {
        self.is_over = true;
    }

    /// It does not wait for answers any more.
    pub(super) fn give_up(&mut self, now: Instant, ledger: &mut Ledger) {
        match &mut self.speech {
            Speech::Plain => {}
            Speech::Coap(coap) => {
                for readings in std::mem::take(&mut coap.open).into_values() {
                    ledger.handle_unanswered(now, &readings);
                }
            }
            Speech::Lines(lines) => {
                for readings in lines.open.drain(..) {
                    ledger.handle_unanswered(now, &readings);
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        match &self.speech {
            Speech::Lines(lines) => lines.open.len() < MAX_OPEN,
            Speech::Plain | Speech::Coap(_) => true,
        }
    }

    fn send(&mut self, now: Instant, readings: Vec<Reading>, ledger: &mut Ledger, is_there: bool) {
        let Part { via, payload, path, peer, .. } = &self.part;
        match &mut self.speech {
            Speech::Plain if *via == Via::Udp => {
                let datagram = payload.encode(&readings);
                let is_whole = match &mut self.way {
                    Some(way) => way.up.handle_datagram(now, 0, 1, &datagram),
                    None => {
                        self.outgoing.push_back(datagram);
                        true
                    }
                };
                // What nobody is there to receive is the fault of who killed it.
                if !is_whole || !is_there {
                    ledger.handle_injured(now, &readings);
                }
            }
            Speech::Plain => {
                self.outgoing.push_back(payload.encode_line(&readings));
                if !is_there {
                    ledger.handle_injured(now, &readings);
                }
            }
            Speech::Coap(coap) => {
                let request = coap_report(path, payload, &readings);
                match coap.endpoint.request(now, *peer, request) {
                    Ok(id) => drop(coap.open.insert(id, readings)),
                    Err(_) => ledger.handle_unanswered(now, &readings),
                }
            }
            Speech::Lines(lines) => {
                self.outgoing.push_back(payload.encode_line(&readings));
                lines.open.push_back(readings);
            }
        }
    }

    /// Takes what a datagram or the bytes of a connection say.
    fn take(&mut self, now: Instant, bytes: &[u8], ledger: &mut Ledger) {
        match &mut self.speech {
            Speech::Plain => {}
            Speech::Coap(coap) => {
                coap.endpoint.handle_datagram(now, self.part.peer, bytes, Delivery::Unicast);
                self.drain(now, ledger);
            }
            Speech::Lines(lines) => lines.take(now, bytes, ledger),
        }
    }

    /// Sends what the endpoint has to send, and takes the answers to requests.
    fn drain(&mut self, now: Instant, ledger: &mut Ledger) {
        let Speech::Coap(coap) = &mut self.speech else { return };
        loop {
            match coap.endpoint.poll_output() {
                Output::Transmit { datagram, .. } => match &mut self.way {
                    Some(way) => drop(way.up.handle_datagram(now, 0, 1, &datagram)),
                    None => self.outgoing.push_back(datagram.to_vec()),
                },
                Output::Event(Event::Response { id, response, .. }) => {
                    let Some(readings) = coap.open.remove(&id) else { continue };
                    match response.code.is_success() {
                        true => ledger.handle_acknowledged(now, &readings),
                        false => ledger.handle_refused(now, &readings),
                    }
                }
                Output::Event(Event::Failed { id, .. }) => {
                    if let Some(readings) = coap.open.remove(&id) {
                        ledger.handle_unanswered(now, &readings);
                    }
                }
                // A device serves nothing and observes nothing.
                Output::Event(_) => {}
                Output::Wait(until) => {
                    coap.wait = until.unwrap_or(Instant::FAR_FUTURE);
                    break;
                }
            }
        }
        if let Some(way) = &mut self.way {
            while let Some(datagram) = way.up.poll_delivery(now) {
                self.outgoing.push_back(datagram.bytes);
            }
        }
    }
}

impl Lines {
    fn take(&mut self, now: Instant, bytes: &[u8], ledger: &mut Ledger) {
        self.reply.extend_from_slice(bytes);
        while let Some(end) = self.reply.iter().position(|byte| *byte == b'\n') {
            let line: Vec<_> = self.reply.drain(..=end).collect();
            let Some(readings) = self.open.pop_front() else { continue };
            match line.strip_suffix(b"\n") == Some(TAKEN.as_bytes()) {
                true => ledger.handle_acknowledged(now, &readings),
                false => ledger.handle_refused(now, &readings),
            }
        }
    }
}
