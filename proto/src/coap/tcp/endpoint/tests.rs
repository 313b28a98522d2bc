//! Tests of the endpoint from outside: bytes and calls in, bytes and events out.

mod client;
mod limits;
mod pairs;
mod server;
mod signals;

use alloc::string::String;
use core::time::Duration;

use super::super::frame::Frame;
use super::super::golden;
use super::*;
use crate::coap::{Fault, MessageOptions, Method, OptionNumber};

const SECOND: Duration = Duration::from_secs(1);

/// A message that the endpoint sent.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    code: Code,
    token: Vec<u8>,
    options: Vec<(u16, Vec<u8>)>,
    payload: String,
}

/// What came of a call.
#[derive(Debug, Default)]
struct Outcome {
    sent: Vec<Sent>,
    events: Vec<StreamEvent>,
}

/// An endpoint, its clock, and the checks that hold after every call.
struct Bench {
    endpoint: StreamEndpoint,
    now: Instant,
    wait: Option<Instant>,
    /// Whether the transport writes what it is given.
    writes: bool,
    closed: Option<CloseReason>,
}

impl Bench {
    /// One that has sent its CSM.
    fn new(config: StreamConfig) -> Self {
        let now = Instant::ZERO + 1000 * SECOND;
        let endpoint = StreamEndpoint::new(now, config);
        let mut bench = Self { endpoint, now, wait: None, writes: true, closed: None };
        let outcome = bench.drain();
        assert_eq!(only(outcome.sent).code, Code::CSM);
        bench
    }

    /// One whose peer has sent its CSM too.
    fn open() -> Self {
        Self::open_with(StreamConfig::default())
    }

    fn open_with(config: StreamConfig) -> Self {
        let mut bench = Self::new(config);
        let capabilities = StreamEvent::Capabilities(Capabilities::default());
        assert_eq!(bench.receive(golden::CSM).events, [capabilities]);
        bench
    }

    fn receive(&mut self, bytes: &[u8]) -> Outcome {
        self.endpoint.handle_bytes(self.now, bytes);
        self.drain()
    }

    /// Receives a request that reaches the caller.
    fn receive_request(&mut self, bytes: &[u8]) -> ExchangeId {
        let outcome = self.receive(bytes);
        assert!(outcome.sent.is_empty(), "{outcome:?}");
        exchange(&only(outcome.events))
    }

    fn respond(&mut self, exchange: ExchangeId, payload: &str) -> Outcome {
        let response = Response::new(Code::CONTENT).payload(payload);
        self.endpoint.respond(self.now, exchange, &response);
        self.drain()
    }

    fn request(&mut self, request: &Request) -> (RequestId, Sent) {
        let id = self.endpoint.request(self.now, request).unwrap();
        let outcome = self.drain();
        assert!(outcome.events.is_empty(), "{outcome:?}");
        (id, only(outcome.sent))
    }

    fn end(&mut self) -> Outcome {
        self.endpoint.handle_end(self.now);
        self.drain()
    }

    /// Lets time pass, and handles every timeout at its time.
    fn sleep(&mut self, duration: Duration) -> Outcome {
        let end = self.now + duration;
        let mut all = Outcome::default();
        while let Some(at) = self.wait.filter(|&at| at <= end) {
            assert!(at > self.now, "it waits for what has passed");
            self.now = at;
            self.endpoint.handle_timeout(self.now);
            let outcome = self.drain();
            all.sent.extend(outcome.sent);
            all.events.extend(outcome.events);
        }
        self.now = end;
        all
    }

    fn drain(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            match self.endpoint.poll_output() {
                StreamOutput::Transmit(bytes) => {
                    outcome.sent.extend(messages(&bytes));
                    if self.writes {
                        self.endpoint.handle_transmitted(self.now);
                    }
                }
                StreamOutput::Event(event) => {
                    assert_eq!(self.closed, None, "after the last event: {event:?}");
                    if let StreamEvent::Closed(reason) = &event {
                        self.closed = Some(reason.clone());
                    }
                    outcome.events.push(event);
                }
                StreamOutput::Wait(wait) => {
                    self.wait = wait;
                    break;
                }
            }
        }
        assert_eq!(self.stats().received, fates(self.stats()), "{:?}", self.stats());
        assert!(self.closed.is_none() || self.wait.is_none(), "nothing is due after the end");
        outcome
    }

    fn stats(&self) -> &StreamStats {
        self.endpoint.stats()
    }
}

/// What became of the received messages: one counter for each.
fn fates(stats: &StreamStats) -> u64 {
    stats.requests
        + stats.responses
        + stats.signals
        + stats.empty
        + stats.refused
        + stats.rejected
        + stats.unmatched
        + stats.ignored
        + stats.malformed
}

/// All messages of a stream, which must be whole.
fn messages(mut bytes: &[u8]) -> Vec<Sent> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (Frame { code, token, body }, rest) = frame::split(bytes, u32::MAX).unwrap().unwrap();
        bytes = rest;
        let (options, payload) = MessageOptions::parse(body).unwrap();
        messages.push(Sent {
            code,
            token: token.to_vec(),
            options: options.map(|(number, value)| (number.0, value.to_vec())).collect(),
            payload: String::from_utf8(payload.to_vec()).unwrap(),
        });
    }
    messages
}

/// A message to hand in.
fn message(code: Code, token: &[u8], options: &[(u16, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut list = Options::new();
    options.iter().for_each(|(number, value)| list.push(OptionNumber(*number), value));
    let (mut bytes, token) = (Vec::new(), Token::new(token).unwrap());
    frame::append(&mut bytes, code, token, &list, payload, usize::MAX).unwrap();
    bytes
}

/// The exchange of a request.
fn exchange(event: &StreamEvent) -> ExchangeId {
    let StreamEvent::Request { exchange, .. } = event else { panic!("{event:?}") };
    *exchange
}

fn only<T: core::fmt::Debug>(mut list: Vec<T>) -> T {
    assert_eq!(list.len(), 1, "{list:?}");
    list.remove(0)
}

/// Checks that the endpoint aborted the connection, and returns the message.
fn aborted(bench: &Bench, mut outcome: Outcome, fault: StreamFault) -> Sent {
    let expected = CloseReason::Aborted(fault);
    assert_eq!(bench.closed.as_ref(), Some(&expected), "{outcome:?}");
    assert_eq!(outcome.events.last(), Some(&StreamEvent::Closed(expected)));
    let sent = outcome.sent.pop().unwrap();
    assert_eq!((sent.code, sent.payload.as_str()), (Code::ABORT, fault.to_string().as_str()));
    sent
}
