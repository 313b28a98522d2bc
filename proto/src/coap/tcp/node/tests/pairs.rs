//! A client and a server over a connection that carries any pieces and may break anywhere.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;

use super::*;
use crate::coap::CallError;

/// What came of a call.
#[derive(Default)]
struct Wanted {
    sent: Vec<u8>,
    outcomes: Vec<Result<Response, CallError>>,
    states: Vec<Vec<u8>>,
}

/// An end, and what is on its way to the other one.
struct End {
    node: StreamNode,
    wire: VecDeque<u8>,
    /// Not all of it is carried, so the transport has not said that it is.
    transmitting: bool,
    is_closed: bool,
}

struct World {
    seed: u64,
    now: Instant,
    rng: Rng,
    client: End,
    server: End,
    state: Vec<u8>,
    calls: BTreeMap<CallId, Wanted>,
    executed: Vec<Vec<u8>>,
    /// Bytes that were carried.
    carried: usize,
}

impl World {
    fn new(seed: u64, max_message: u32) -> Self {
        let mut rng = Rng::new(seed);
        let now = Instant::ZERO;
        let mut end = |max_message| {
            let stream = StreamConfig { max_message, max_outgoing: 4096, ..Default::default() };
            let config = StreamNodeConfig { stream, ..Default::default() };
            let node = StreamNode::new(now, config, rng.next_u64());
            End { node, wire: VecDeque::new(), transmitting: false, is_closed: false }
        };
        let (client, server) = (end(max_message), end(8192));
        let (calls, state) = (BTreeMap::new(), b"0000".to_vec());
        Self { seed, now, rng, client, server, state, calls, executed: Vec::new(), carried: 0 }
    }

    fn call(&mut self, request: Request) -> Option<CallId> {
        let sent = request.payload.clone();
        let call = self.client.node.request(self.now, request).ok()?;
        self.calls.insert(call, Wanted { sent, ..Default::default() });
        Some(call)
    }

    fn change(&mut self, state: Vec<u8>) {
        self.state = state;
        self.server.node.notify(self.now, STATE, content(self.state.clone()));
    }

    /// Lets both ends work, and carries a piece in each direction; whether anything happened.
    fn step(&mut self) -> bool {
        let mut moved = self.drain_client() | self.drain_server();
        for is_client in [true, false] {
            let (from, to) = match is_client {
                true => (&mut self.client, &mut self.server),
                false => (&mut self.server, &mut self.client),
            };
            if to.node.wants_bytes() && !from.wire.is_empty() {
                let count = 1 + usize::try_from(self.rng.below(1500)).unwrap();
                let bytes: Vec<_> = from.wire.drain(..count.min(from.wire.len())).collect();
                self.carried += bytes.len();
                to.node.handle_bytes(self.now, &bytes);
                moved = true;
            }
            if from.transmitting && from.wire.is_empty() {
                from.transmitting = false;
                from.node.handle_transmitted(self.now);
                moved = true;
            }
        }
        moved
    }

    fn run(&mut self) {
        while self.step() {}
    }

    fn cut(&mut self) {
        self.client.node.handle_lost(self.now);
        self.server.node.handle_lost(self.now);
        self.drain_client();
        self.drain_server();
        assert!(self.client.is_closed && self.server.is_closed, "seed {}", self.seed);
    }

    fn drain_client(&mut self) -> bool {
        let mut moved = false;
        loop {
            match self.client.node.poll_output() {
                StreamNodeOutput::Wait(_) => return moved,
                StreamNodeOutput::Transmit(bytes) => {
                    self.client.wire.extend(bytes);
                    self.client.transmitting = true;
                }
                StreamNodeOutput::Event(StreamNodeEvent::Call(event)) => self.note(event),
                StreamNodeOutput::Event(StreamNodeEvent::Closed(_)) => {
                    self.client.is_closed = true;
                }
                StreamNodeOutput::Event(StreamNodeEvent::Capabilities(_)) => {}
                StreamNodeOutput::Event(event) => panic!("seed {}: {event:?}", self.seed),
            }
            moved = true;
        }
    }

    fn drain_server(&mut self) -> bool {
        let mut moved = false;
        loop {
            let node = &mut self.server.node;
            match node.poll_output() {
                StreamNodeOutput::Wait(_) => return moved,
                StreamNodeOutput::Transmit(bytes) => {
                    self.server.wire.extend(bytes);
                    self.server.transmitting = true;
                }
                StreamNodeOutput::Event(StreamNodeEvent::Request { ask, request }) => {
                    if request.method == Method::Get {
                        node.respond_observed(self.now, ask, STATE, content(self.state.clone()));
                    } else {
                        self.executed.push(request.payload.clone());
                        let response = Response::new(Code::CHANGED).payload(request.payload);
                        node.respond(self.now, ask, response);
                    }
                }
                StreamNodeOutput::Event(StreamNodeEvent::Closed(_)) => {
                    self.server.is_closed = true;
                }
                StreamNodeOutput::Event(_) => {}
            }
            moved = true;
        }
    }

    fn note(&mut self, event: CallEvent<()>) {
        assert!(!self.client.is_closed, "seed {}: after the last event", self.seed);
        let (call, outcome) = match event {
            CallEvent::Notification { call, response, .. } => {
                let wanted = self.calls.get_mut(&call).unwrap();
                assert!(wanted.outcomes.is_empty(), "seed {}: after the end", self.seed);
                return wanted.states.push(response.payload);
            }
            CallEvent::Acknowledged { .. } => {
                panic!("seed {}: there are no acknowledgements on a connection", self.seed)
            }
            CallEvent::Response { call, response, .. } => (call, Ok(response)),
            CallEvent::Failed { call, error } => (call, Err(error)),
        };
        self.calls.get_mut(&call).unwrap().outcomes.push(outcome);
    }

    /// Every call ended once, nothing was executed twice, every response is that of its request:
    /// how many have one.
    fn assert_exactly_once(&self) -> usize {
        let mut executed = self.executed.clone();
        executed.sort();
        executed.dedup();
        assert_eq!(executed.len(), self.executed.len(), "seed {}: executed twice", self.seed);
        let mut answered = 0;
        for Wanted { sent, outcomes, .. } in self.calls.values() {
            assert_eq!(outcomes.len(), 1, "seed {}: {outcomes:?}", self.seed);
            if let Ok(response) = &outcomes[0]
                && response.code == Code::CHANGED
            {
                assert!(response.payload == *sent, "seed {}: another body", self.seed);
                assert!(executed.contains(sent), "seed {}: not executed", self.seed);
                answered += 1;
            }
        }
        answered
    }
}

fn post(label: &str, len: usize) -> Request {
    Request::new(Method::Post).path("echo").payload(unique(label, len))
}

fn observe() -> Request {
    with(get(), OptionNumber::OBSERVE, 0)
}

#[test]
fn a_transfer_of_100_kb_is_exact_both_ways_with_bert_and_without() {
    // RFC 8323 §6; with a Max-Message-Size of 1152 there is none.
    for (max_message, most) in [(8192, 60), (1152, 260)] {
        for seed in 0..20 {
            let mut world = World::new(seed, max_message);
            world.run();
            world.call(post("large", 100_000)).unwrap();
            world.run();
            world.cut();
            assert_eq!(world.assert_exactly_once(), 1, "seed {seed}");
            let messages = world.client.node.stats().sent;
            assert!(messages < most, "{messages} messages");
        }
    }
}

#[test]
fn requests_and_an_observation_share_a_connection() {
    for seed in 0..500 {
        let mut world = World::new(seed, 8192);
        world.run();
        let observation = world.call(observe()).unwrap();
        for n in 0..10_u32 {
            let len = usize::try_from(world.rng.below(30_000)).unwrap();
            let request = post(&format!("{n}/"), len);
            // Not while the server does not read.
            while world.call(request.clone()).is_none() {
                assert!(world.step(), "seed {seed}");
            }
            let state = usize::try_from(world.rng.below(20_000)).unwrap();
            world.change(unique(&format!("{n:04}"), state));
            for _ in 0..world.rng.below(20) {
                world.step();
            }
        }
        world.run();
        let wanted = &world.calls[&observation];
        assert!(wanted.outcomes.is_empty(), "seed {seed}");
        assert!(wanted.states.is_sorted(), "seed {seed}: out of order");
        assert!(wanted.states.last() == Some(&world.state), "seed {seed}: not the last state");
        world.client.node.deregister(world.now, observation);
        world.run();
        assert!(!world.server.node.is_observed(STATE), "seed {seed}");
        assert_eq!(world.assert_exactly_once(), 10, "seed {seed}");
    }
}

#[test]
fn a_connection_that_breaks_anywhere_leaves_no_call_without_an_outcome() {
    for seed in 0..1000 {
        let mut world = World::new(seed, 8192);
        world.call(observe());
        for n in 0..5_u32 {
            let len = usize::try_from(world.rng.below(20_000)).unwrap();
            world.call(post(&format!("{n}/"), len));
        }
        let end = usize::try_from(world.rng.below(120_000)).unwrap();
        let mut n = 0;
        while world.carried < end && world.step() {
            n += 1;
            if n % 5 == 0 {
                world.change(unique(&format!("{n:04}"), 3000));
            }
        }
        world.cut();
        world.assert_exactly_once();
    }
}
