//! Tests of the endpoint from outside: datagrams and calls in, outputs out.

mod client;
mod limits;
mod mutation;
mod observe;
mod pairs;
mod reactions;
mod server;

pub(in crate::coap) use limits::assert_is_empty;
pub(in crate::coap) use pairs::LOSSY;

use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::coap::{
    Code, ExchangeId, Message, Method, OptionNumber, Options, Request, RequestId, Response, Token,
    golden,
};

const SECOND: Duration = Duration::from_secs(1);
const PEER: u16 = 7;

/// An endpoint, its clock, and the checks that hold after every call.
struct Bench {
    endpoint: Endpoint<u16>,
    now: Instant,
    wait: Option<Instant>,
    transmitted: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(EndpointConfig::default())
    }

    fn with(config: EndpointConfig) -> Self {
        Self {
            endpoint: Endpoint::new(config, 1),
            now: Instant::ZERO + 1000 * SECOND,
            wait: None,
            transmitted: 0,
        }
    }

    fn receive(&mut self, datagram: &[u8]) -> Vec<Output<u16>> {
        self.receive_from(PEER, datagram)
    }

    fn receive_from(&mut self, from: u16, datagram: &[u8]) -> Vec<Output<u16>> {
        self.endpoint.handle_datagram(self.now, from, datagram, Delivery::Unicast);
        self.drain()
    }

    fn receive_for_group(&mut self, datagram: &[u8]) -> Vec<Output<u16>> {
        self.endpoint.handle_datagram(self.now, PEER, datagram, Delivery::Multicast);
        self.drain()
    }

    fn respond(&mut self, exchange: ExchangeId, response: Response) -> Vec<Output<u16>> {
        self.endpoint.respond(self.now, exchange, response);
        self.drain()
    }

    fn request(&mut self, request: Request) -> (RequestId, Vec<Output<u16>>) {
        let id = self.endpoint.request(self.now, PEER, request).unwrap();
        (id, self.drain())
    }

    /// Lets time pass, and handles every timeout at its time.
    fn sleep(&mut self, duration: Duration) -> Vec<(Instant, Output<u16>)> {
        let end = self.now + duration;
        let mut outputs = Vec::new();
        while let Some(at) = self.wait.filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            let drained = self.drain();
            outputs.extend(drained.into_iter().map(|output| (self.now, output)));
        }
        self.now = end;
        outputs
    }

    fn drain(&mut self) -> Vec<Output<u16>> {
        let mut outputs = Vec::new();
        loop {
            match self.endpoint.poll_output() {
                Output::Wait(wait) => {
                    self.wait = wait;
                    break;
                }
                output @ (Output::Transmit { .. } | Output::Event(_)) => outputs.push(output),
            }
        }
        self.transmitted += transmitted(&outputs).count() as u64;
        assert_eq!(self.stats().sent, self.transmitted);
        assert_eq!(self.stats().received, fates(self.stats()), "{:?}", self.stats());
        outputs
    }

    fn stats(&self) -> &Stats {
        self.endpoint.stats()
    }
}

fn transmitted<P>(outputs: &[Output<P>]) -> impl Iterator<Item = &[u8]> {
    outputs.iter().filter_map(|output| match output {
        Output::Transmit { datagram, .. } => Some(datagram.as_slice()),
        Output::Event(_) | Output::Wait(_) => None,
    })
}

/// What became of the received datagrams: one counter for each.
fn fates(stats: &Stats) -> u64 {
    stats.requests
        + stats.responses
        + stats.acknowledgements
        + stats.resets
        + stats.duplicates
        + stats.malformed
        + stats.pings
        + stats.refused
        + stats.refused_busy
        + stats.rejected
        + stats.unmatched
        + stats.ignored
        + stats.undrained
}

/// The one datagram that was sent to [`PEER`], without events.
#[track_caller]
fn only_datagram(outputs: Vec<Output<u16>>) -> Vec<u8> {
    match <[_; 1]>::try_from(outputs) {
        Ok([Output::Transmit { to: PEER, datagram }]) => datagram,
        other => panic!("expected one datagram: {other:?}"),
    }
}

/// The one event, without datagrams.
#[track_caller]
fn only_event(outputs: Vec<Output<u16>>) -> Event<u16> {
    match <[_; 1]>::try_from(outputs) {
        Ok([Output::Event(event)]) => event,
        other => panic!("expected one event: {other:?}"),
    }
}

/// The one request that is handed over.
#[track_caller]
fn only_request(outputs: Vec<Output<u16>>) -> (ExchangeId, Request) {
    let event = only_event(outputs);
    let Event::Request { exchange, request, .. } = event else {
        panic!("expected a request: {event:?}");
    };
    (exchange, request)
}

fn message(
    kind: MessageType,
    code: Code,
    message_id: u16,
    token: &[u8],
    options: &[(OptionNumber, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let mut list = Options::new();
    options.iter().for_each(|&(number, value)| list.push(number, value));
    let token = Token::new(token).unwrap();
    encode::message(kind, code, message_id, token, &list, payload, 65_507).unwrap()
}

/// A Confirmable POST with these options.
fn post(message_id: u16, options: &[(OptionNumber, &[u8])]) -> Vec<u8> {
    message(MessageType::Confirmable, Method::Post.code(), message_id, b"tk", options, b"1")
}

/// A Non-confirmable POST with these options.
fn non_post(message_id: u16, options: &[(OptionNumber, &[u8])]) -> Vec<u8> {
    message(MessageType::NonConfirmable, Method::Post.code(), message_id, b"tk", options, b"1")
}

fn content(payload: &str) -> Response {
    Response::new(Code::CONTENT).payload(payload)
}

/// Not a check: prints what serving a request costs, from datagram to datagram, with 10,000 peers
/// and full tables. Run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs the real clock")]
fn serving_cost() {
    extern crate std;
    let mut endpoint = Endpoint::new(EndpointConfig::default(), 1);
    let mut datagram = golden::DISCOVERY.to_vec();
    let mut start = std::time::Instant::now();
    let (warm_up, rounds) = (200_000_u32, 1_000_000);
    for round in 0..warm_up + rounds {
        if round == warm_up {
            start = std::time::Instant::now();
        }
        let [.., high, low] = (round / 10_000).to_be_bytes();
        encode::set_message_id(&mut datagram, u16::from_be_bytes([high, low]));
        let now = Instant::from_micros(u64::from(round) * 10);
        endpoint.handle_datagram(now, round % 10_000, &datagram, Delivery::Unicast);
        let Output::Event(Event::Request { exchange, .. }) = endpoint.poll_output() else {
            panic!("not a request");
        };
        endpoint.respond(now, exchange, Response::new(Code::CHANGED));
        assert!(matches!(endpoint.poll_output(), Output::Transmit { .. }));
    }
    let nanos = start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds);
    std::println!("{nanos:.0} ns a request, {:?}", endpoint.dedup.usage());
}
