//! Nodes of connections against messages, and against each other over a connection in pieces.

mod pairs;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::frame;
use super::*;
use crate::coap::{Block, BlockSize, Code, MessageOptions, Method, Options};

const SECOND: Duration = Duration::from_secs(1);
/// A CSM with Block-Wise-Transfer and a Max-Message-Size of 64 KiB.
const LARGE: u32 = 65_536;
const STATE: ResourceId = ResourceId(1);

struct Bench {
    node: StreamNode,
    now: Instant,
    /// Whether the transport writes what it is given.
    writes: bool,
}

#[derive(Debug, PartialEq)]
struct Sent {
    code: Code,
    token: Vec<u8>,
    options: Options,
    payload: Vec<u8>,
}

impl Sent {
    /// Number, M and SZX.
    fn block(&self, number: OptionNumber) -> Option<(u32, bool, u32)> {
        let block = Block::of(&self.options, number, BlockSize::BERT).unwrap()?;
        Some((block.number, block.more, block.encode() & 7))
    }

    fn observe(&self) -> Option<u32> {
        self.options.first_uint(OptionNumber::OBSERVE)
    }
}

impl Bench {
    /// One whose peer said this in its CSM.
    fn new(max_message: Option<u32>, block_wise: bool) -> Self {
        let now = Instant::ZERO + 1000 * SECOND;
        let node = StreamNode::new(now, StreamNodeConfig::default(), 1);
        let mut bench = Self { node, now, writes: true };
        let mut csm = Options::new();
        max_message.into_iter().for_each(|size| csm.push_uint(OptionNumber(2), size));
        if block_wise {
            csm.push(OptionNumber(4), &[]);
        }
        let (sent, events) = bench.receive(Code::CSM, b"", &csm, b"");
        assert_eq!(only(sent).code, Code::CSM);
        assert!(matches!(only(events), StreamNodeEvent::Capabilities(_)));
        bench
    }

    fn receive(
        &mut self,
        code: Code,
        token: &[u8],
        options: &Options,
        payload: &[u8],
    ) -> (Vec<Sent>, Vec<StreamNodeEvent>) {
        let mut bytes = Vec::new();
        let token = Token::new(token).unwrap();
        frame::append(&mut bytes, code, token, options, payload, usize::MAX).unwrap();
        self.node.handle_bytes(self.now, &bytes);
        self.drain()
    }

    fn ask(&mut self, token: &[u8], request: &Request) -> (Vec<Sent>, Vec<StreamNodeEvent>) {
        self.receive(request.method.code(), token, &request.options, &request.payload)
    }

    /// Receives a request that the caller is asked for.
    #[track_caller]
    fn asked(&mut self, token: &[u8], request: &Request) -> (Ask<()>, Request) {
        let (sent, events) = self.ask(token, request);
        assert_eq!(sent, []);
        match events.into_iter().next() {
            Some(StreamNodeEvent::Request { ask, request }) => (ask, request),
            other => panic!("{other:?}"),
        }
    }

    /// Receives a request that is answered without the caller.
    #[track_caller]
    fn answered(&mut self, token: &[u8], request: &Request) -> Sent {
        let (sent, events) = self.ask(token, request);
        assert_eq!(events, []);
        only(sent)
    }

    #[track_caller]
    fn respond(&mut self, ask: Ask<()>, response: Response) -> Sent {
        self.node.respond(self.now, ask, response);
        only(self.drain().0)
    }

    fn observe(&mut self, token: &[u8]) -> Sent {
        let (ask, _) = self.asked(token, &with(get(), OptionNumber::OBSERVE, 0));
        assert!(ask.observes());
        self.node.respond_observed(self.now, ask, STATE, content("first"));
        only(self.drain().0)
    }

    fn change(&mut self, state: impl Into<Vec<u8>>) -> Vec<Sent> {
        self.node.notify(self.now, STATE, content(state));
        self.drain().0
    }

    fn drain(&mut self) -> (Vec<Sent>, Vec<StreamNodeEvent>) {
        let (mut sent, mut events) = (Vec::new(), Vec::new());
        loop {
            match self.node.poll_output() {
                StreamNodeOutput::Wait(_) => return (sent, events),
                StreamNodeOutput::Event(event) => events.push(event),
                StreamNodeOutput::Transmit(bytes) => {
                    sent.extend(messages(&bytes));
                    if self.writes {
                        self.node.handle_transmitted(self.now);
                    }
                }
            }
        }
    }
}

fn messages(mut bytes: &[u8]) -> Vec<Sent> {
    let mut messages = Vec::new();
    while let Some((frame, rest)) = frame::split(bytes, u32::MAX).unwrap() {
        bytes = rest;
        let (options, payload) = MessageOptions::parse(frame.body).unwrap();
        let mut list = Options::new();
        options.for_each(|(number, value)| list.push(number, value));
        let (token, payload) = (frame.token.to_vec(), payload.to_vec());
        messages.push(Sent { code: frame.code, token, options: list, payload });
    }
    assert!(bytes.is_empty());
    messages
}

#[track_caller]
fn only<T: core::fmt::Debug>(items: Vec<T>) -> T {
    match <[T; 1]>::try_from(items) {
        Ok([item]) => item,
        Err(items) => panic!("expected one: {items:?}"),
    }
}

fn get() -> Request {
    Request::new(Method::Get).path("state")
}

fn put(value: u32, payload: &[u8]) -> Request {
    with(Request::new(Method::Put).path("options").payload(payload), OptionNumber::BLOCK1, value)
}

fn content(payload: impl Into<Vec<u8>>) -> Response {
    Response::new(Code::CONTENT).payload(payload)
}

fn with(mut request: Request, number: OptionNumber, value: u32) -> Request {
    request.options.push_uint(number, value);
    request
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// The value of a Block option.
const fn block(number: u32, more: bool, szx: u32) -> u32 {
    number << 4 | (more as u32) << 3 | szx
}

#[test]
fn both_ends_that_want_it_send_several_blocks_at_once() {
    // RFC 8323 §6, figure 16: 2:0/1/BERT, and the number counts blocks of 1024.
    let mut bench = Bench::new(Some(LARGE), true);
    let (ask, _) = bench.asked(b"a", &get());
    let first = bench.respond(ask, content(body(100_000)));
    assert_eq!(first.block(OptionNumber::BLOCK2), Some((0, true, 7)));
    assert_eq!(first.payload.len(), 63 * 1024, "as much as fits into 64 KiB");
    assert_eq!(first.options.first_uint(OptionNumber::SIZE2), Some(100_000));
    let next = with(get(), OptionNumber::BLOCK2, block(63, false, 7));
    let last = bench.answered(b"b", &next);
    assert_eq!(last.block(OptionNumber::BLOCK2), Some((63, false, 7)));
    assert_eq!([first.payload, last.payload].concat(), body(100_000));
    assert_eq!(last.options.etag(), first.options.etag());
    // A client may want smaller ones.
    let (ask, _) = bench.asked(b"c", &with(get(), OptionNumber::BLOCK2, block(0, false, 6)));
    let small = bench.respond(ask, content(body(100_000)));
    assert_eq!(
        (small.block(OptionNumber::BLOCK2), small.payload.len()),
        (Some((0, true, 6)), 1024)
    );
}

#[test]
fn without_both_csms_there_is_no_bert() {
    // RFC 8323 §5.3.2, §6: Block-Wise-Transfer, and a Max-Message-Size above 1152.
    for (max_message, block_wise) in [(Some(LARGE), false), (None, true), (Some(1152), true)] {
        let mut bench = Bench::new(max_message, block_wise);
        let reserved = bench.answered(b"a", &with(get(), OptionNumber::BLOCK2, block(0, false, 7)));
        assert_eq!(reserved.code, Code::BAD_REQUEST, "SZX 7 is reserved without it");
        assert_eq!(
            bench.answered(b"b", &put(block(0, true, 7), &[0; 1024])).code,
            Code::BAD_REQUEST
        );
        let (ask, _) = bench.asked(b"c", &with(get(), OptionNumber::BLOCK2, block(0, false, 6)));
        let first = bench.respond(ask, content(body(100_000)));
        assert_eq!(first.block(OptionNumber::BLOCK2), Some((0, true, 6)), "{max_message:?}");
    }
}

#[test]
fn who_does_not_know_blocks_gets_all_or_an_error() {
    // RFC 8323 §5.3.2
    let mut bench = Bench::new(Some(200_000), false);
    let (ask, _) = bench.asked(b"a", &get());
    let whole = bench.respond(ask, content(body(100_000)));
    assert_eq!((whole.block(OptionNumber::BLOCK2), whole.payload.len()), (None, 100_000));
    let mut bench = Bench::new(None, false);
    let (ask, _) = bench.asked(b"a", &get());
    assert_eq!(bench.respond(ask, content(body(2000))).code, Code::INTERNAL_SERVER_ERROR);
}

#[test]
fn a_body_comes_in_bert_blocks() {
    // RFC 8323 §6, figure 17: 1:0/1/BERT with 8192 bytes, then 1:8/…
    let mut bench = Bench::new(Some(LARGE), true);
    let all = body(30_000);
    let first = bench.answered(b"a", &put(block(0, true, 7), &all[..8192]));
    assert_eq!(
        (first.code, first.block(OptionNumber::BLOCK1)),
        (Code::CONTINUE, Some((0, true, 7)))
    );
    let second = bench.answered(b"b", &put(block(8, true, 7), &all[8192..24_576]));
    assert_eq!(
        (second.code, second.block(OptionNumber::BLOCK1)),
        (Code::CONTINUE, Some((8, true, 7)))
    );
    let (ask, request) = bench.asked(b"c", &put(block(24, false, 7), &all[24_576..]));
    assert!(request.payload == all);
    let changed = bench.respond(ask, Response::new(Code::CHANGED));
    assert_eq!(changed.block(OptionNumber::BLOCK1), Some((24, false, 7)));
    for (wrong, payload) in
        [(block(0, true, 7), 1000), (block(0, true, 7), 0), (block(0, true, 6), 2048)]
    {
        let refused = bench.answered(b"d", &put(wrong, &all[..payload]));
        assert_eq!(refused.code, Code::BAD_REQUEST, "{payload} bytes");
    }
    assert_eq!(
        bench.answered(b"e", &put(block(9, true, 7), &all[..1024])).code,
        Code::REQUEST_ENTITY_INCOMPLETE
    );
}

#[test]
fn connections_share_what_bodies_may_take() {
    let budget = Some(Budget::new(3 * 1024));
    let config = StreamNodeConfig { budget, ..Default::default() };
    let bench = || {
        let mut bench = Bench::new(Some(LARGE), true);
        bench.node = StreamNode::new(bench.now, config.clone(), 1);
        let mut csm = Options::new();
        csm.push(OptionNumber(4), &[]);
        bench.receive(Code::CSM, b"", &csm, b"");
        bench
    };
    let start = |bench: &mut Bench| bench.answered(b"a", &put(block(0, true, 6), &[0; 1024])).code;
    let mut three = [bench(), bench(), bench()];
    assert!(three.iter_mut().all(|bench| start(bench) == Code::CONTINUE));
    let mut fourth = bench();
    assert_eq!(start(&mut fourth), Code::SERVICE_UNAVAILABLE);
    drop(three);
    assert_eq!(start(&mut fourth), Code::CONTINUE);
}

#[test]
fn an_observer_is_told_over_the_stream_until_it_ends_that() {
    // RFC 8323 §7
    let mut bench = Bench::new(None, false);
    let first = bench.observe(b"o");
    assert!(first.observe().is_some() && first.payload == b"first");
    let told = only(bench.change("second"));
    assert_eq!(
        (told.code, told.token.as_slice(), told.payload.as_slice()),
        (Code::CONTENT, &b"o"[..], &b"second"[..])
    );
    assert!(told.observe().is_some());
    // §7.4: explicitly, with the same token.
    let (ask, _) = bench.asked(b"o", &with(get(), OptionNumber::OBSERVE, 1));
    assert_eq!(bench.respond(ask, content("third")).observe(), None);
    assert_eq!(bench.change("fourth"), []);
    assert!(!bench.node.is_observed(STATE));
    // An error is the last that an observer hears (RFC 7641 §4.2).
    bench.observe(b"p");
    bench.node.notify(bench.now, STATE, Response::new(Code::NOT_FOUND));
    let last = only(bench.drain().0);
    assert_eq!((last.code, last.observe()), (Code::NOT_FOUND, None));
    assert!(!bench.node.is_observed(STATE));
}

#[test]
fn an_observer_that_does_not_read_gets_the_latest_state_only() {
    let mut bench = Bench::new(Some(LARGE), true);
    bench.observe(b"o");
    bench.writes = false;
    let mut sent = 0;
    for n in 0..100_000_u32 {
        let state = [&n.to_be_bytes()[..], &[0; 1000]].concat();
        sent += bench.change(state).len();
    }
    assert_eq!(sent, 1, "one message is with the transport, and nothing behind it");
    bench.writes = true;
    bench.node.handle_transmitted(bench.now);
    let (told, _) = bench.drain();
    assert!(told.len() < 70, "{}: 64 KiB and the latest", told.len());
    let last = told.last().unwrap();
    assert_eq!(last.payload[..4], 99_999_u32.to_be_bytes());
}

#[test]
fn a_large_state_is_told_by_its_first_blocks() {
    // RFC 7959 §3.4
    let mut bench = Bench::new(Some(LARGE), true);
    bench.observe(b"o");
    let told = only(bench.change(body(70_000)));
    assert_eq!(
        (told.block(OptionNumber::BLOCK2), told.payload.len()),
        (Some((0, true, 7)), 63 * 1024)
    );
    let rest = bench.answered(b"x", &with(get(), OptionNumber::BLOCK2, block(63, false, 7)));
    assert_eq!([told.payload, rest.payload].concat(), body(70_000));
}

#[test]
fn what_is_not_wanted_is_not_sent() {
    // RFC 7967 §2
    let mut bench = Bench::new(None, false);
    let quiet = with(Request::new(Method::Post).path("r"), OptionNumber::NO_RESPONSE, 2);
    let (ask, _) = bench.asked(b"a", &quiet);
    bench.node.respond(bench.now, ask, Response::new(Code::CHANGED));
    assert_eq!(bench.drain().0, []);
    let (ask, _) = bench.asked(b"a", &quiet);
    assert_eq!(bench.respond(ask, Response::new(Code::NOT_FOUND)).code, Code::NOT_FOUND);
}

#[test]
fn a_client_that_gives_up_an_observation_tells_the_server() {
    // RFC 8323 §7.4
    let mut bench = Bench::new(None, false);
    for is_established in [false, true] {
        let call = bench.node.observe(bench.now, get()).unwrap();
        let asked = only(bench.drain().0);
        assert_eq!(asked.observe(), Some(0));
        let mut state = Options::new();
        state.push_uint(OptionNumber::OBSERVE, 0);
        if is_established {
            let (_, events) = bench.receive(Code::CONTENT, &asked.token, &state, b"1");
            assert!(matches!(only(events), StreamNodeEvent::Call(CallEvent::Notification { .. })));
        }
        bench.node.cancel(bench.now, call);
        let (sent, events) = bench.drain();
        let last = only(sent);
        assert_eq!(
            (last.code, last.token, last.options.first_uint(OptionNumber::OBSERVE)),
            (Code::new(0, 1), asked.token.clone(), Some(1))
        );
        assert!(matches!(only(events), StreamNodeEvent::Call(CallEvent::Failed { .. })));
        let late = bench.receive(Code::CONTENT, &asked.token, &Options::new(), b"2");
        assert_eq!(late, (Vec::new(), Vec::new()), "the answer to that concerns nobody");
    }
}

#[test]
fn notifications_are_newer_in_the_order_of_the_stream_whatever_their_number() {
    // RFC 8323 §7.1: the value is ignored, and may be empty.
    let mut bench = Bench::new(None, false);
    bench.node.observe(bench.now, get()).unwrap();
    let token = only(bench.drain().0).token;
    for number in [9, 0, 5, 5] {
        let mut options = Options::new();
        options.push_uint(OptionNumber::OBSERVE, number);
        let (_, events) = bench.receive(Code::CONTENT, &token, &options, &[1]);
        assert!(matches!(only(events), StreamNodeEvent::Call(CallEvent::Notification { .. })));
    }
    // §7.3: no registration anew; the endpoint's Ping asks whether the server is there.
    let wait = bench.node.poll_output();
    assert_eq!(wait, StreamNodeOutput::Wait(Some(bench.now + 300 * SECOND)));
}

/// A name that no other body has.
fn unique(label: &str, len: usize) -> Vec<u8> {
    let mut bytes = String::from(label).into_bytes();
    bytes.extend(body(len));
    bytes
}
