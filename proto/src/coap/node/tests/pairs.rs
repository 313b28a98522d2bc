//! Clients and a server over the lossy network in virtual time. A failing run names its seed.
//!
//! `COAP_SEEDS=n` runs n times as many seeds.

extern crate std;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::{format, vec};

use super::*;
use crate::Rng;
use crate::coap::CallError;
use crate::coap::endpoint::tests::{LOSSY, assert_is_empty};
use crate::impair::{Network, Profile};

const SERVER: usize = 0;
const STATE: ResourceId = ResourceId(1);

/// What the server's resources are.
#[derive(Clone, Copy, PartialEq)]
enum Resources {
    /// `/echo` executes each body once and answers with it.
    Echo,
    /// `/state` changes.
    State,
}

/// What a client asks for, and what came of it.
struct Wanted {
    sent: Vec<u8>,
    outcomes: Vec<Result<Response, CallError>>,
    states: Vec<Vec<u8>>,
}

struct World {
    seed: u64,
    now: Instant,
    rng: Rng,
    network: Network<usize>,
    nodes: Vec<Node<usize>>,
    wakes: Vec<Option<Instant>>,
    resources: Resources,
    executed: Vec<Vec<u8>>,
    state: Vec<u8>,
    calls: BTreeMap<(usize, CallId), Wanted>,
    /// Requests that the application takes its time for.
    work: BTreeMap<(Instant, usize), (Ask<usize>, Request)>,
}

impl World {
    fn new(
        seed: u64,
        clients: usize,
        profile: Profile,
        resources: Resources,
        transfer: &TransferConfig,
    ) -> Self {
        let endpoint = EndpointConfig { nstart: 2, ..Default::default() };
        Self::with_endpoint(seed, clients, profile, resources, transfer, endpoint)
    }

    fn with_endpoint(
        seed: u64,
        clients: usize,
        profile: Profile,
        resources: Resources,
        transfer: &TransferConfig,
        endpoint: EndpointConfig,
    ) -> Self {
        let mut rng = Rng::new(seed);
        let server = ServerConfig { transfer: transfer.clone(), ..Default::default() };
        let config = NodeConfig { endpoint, server, client: transfer.clone() };
        Self {
            seed,
            now: Instant::ZERO,
            network: Network::new(profile, rng.next_u64()),
            nodes: (0..=clients).map(|_| Node::new(config.clone(), rng.next_u64())).collect(),
            wakes: vec![None; clients + 1],
            rng,
            resources,
            executed: Vec::new(),
            state: b"0".to_vec(),
            calls: BTreeMap::new(),
            work: BTreeMap::new(),
        }
    }

    fn call(&mut self, client: usize, request: Request) {
        let sent = request.payload.clone();
        let call = self.nodes[client].request(self.now, SERVER, request).unwrap();
        let wanted = Wanted { sent, outcomes: vec![], states: vec![] };
        self.calls.insert((client, call), wanted);
        self.drain(client);
    }

    fn observe(&mut self, client: usize, confirmable: bool) {
        let mut request = Request::new(Method::Get).path("state");
        request.confirmable = confirmable;
        self.call(client, with(request, OptionNumber::OBSERVE, 0));
    }

    fn change(&mut self, state: Vec<u8>) {
        self.state = state;
        let response = content(self.state.clone());
        self.nodes[SERVER].notify(self.now, STATE, response);
        self.drain(SERVER);
    }

    /// Runs until `end`, or until nothing is left to happen.
    fn run_until(&mut self, end: Instant) {
        loop {
            let wakes = self.wakes.iter().flatten().copied();
            let work = self.work.keys().next().map(|&(at, _)| at);
            let next = wakes.chain(self.network.next_at()).chain(work).min();
            let Some(at) = next.filter(|&at| at <= end) else { break };
            self.now = self.now.max(at);
            while let Some(datagram) = self.network.poll_delivery(self.now) {
                let (from, to) = (datagram.from, datagram.to);
                self.nodes[to].handle_datagram(self.now, from, &datagram.bytes, Delivery::Unicast);
                self.drain(to);
            }
            while let Some(entry) = self.work.first_entry().filter(|e| e.key().0 <= self.now) {
                let (ask, request) = entry.remove();
                self.execute(ask, request);
            }
            for node in 0..self.nodes.len() {
                if self.wakes[node].is_some_and(|at| at <= self.now) {
                    self.nodes[node].handle_timeout(self.now);
                    self.drain(node);
                }
            }
        }
        self.now = self.now.max(end);
    }

    fn drain(&mut self, node: usize) {
        loop {
            match self.nodes[node].poll_output() {
                NodeOutput::Transmit { to, datagram } => {
                    self.network.handle_send(self.now, node, to, &datagram);
                }
                NodeOutput::Wait(at) => {
                    self.wakes[node] = at;
                    return;
                }
                NodeOutput::Event(NodeEvent::Request { ask, request, .. }) => {
                    assert_eq!(node, SERVER, "seed {}", self.seed);
                    let slow = self.resources == Resources::Echo && self.rng.chance(0.3);
                    let longest = if slow { 10 * SECOND } else { Duration::ZERO };
                    let at = self.now + self.rng.duration(Duration::ZERO, longest);
                    let number = self.rng.next_u16().into();
                    if slow {
                        self.work.insert((at, number), (ask, request));
                    } else {
                        self.execute(ask, request);
                    }
                }
                NodeOutput::Event(NodeEvent::Call(event)) => self.note(node, event),
                NodeOutput::Event(NodeEvent::Unobserved { resource }) => {
                    assert_eq!((node, resource), (SERVER, STATE));
                }
                NodeOutput::Event(NodeEvent::Malformed { .. }) => {
                    panic!("seed {}: malformed", self.seed)
                }
            }
        }
    }

    fn execute(&mut self, ask: Ask<usize>, request: Request) {
        let server = &mut self.nodes[SERVER];
        match self.resources {
            Resources::Echo => {
                self.executed.push(request.payload.clone());
                let response = Response::new(Code::CHANGED).payload(request.payload);
                server.respond(self.now, ask, response);
            }
            Resources::State => {
                let response = content(self.state.clone()).max_age(30);
                server.respond_observed(self.now, ask, STATE, response);
            }
        }
        self.drain(SERVER);
    }

    fn note(&mut self, client: usize, event: CallEvent<usize>) {
        let (call, outcome) = match event {
            CallEvent::Notification { call, response, .. } => {
                let wanted = self.calls.get_mut(&(client, call)).unwrap();
                assert!(wanted.outcomes.is_empty(), "seed {}: after the end", self.seed);
                wanted.states.push(response.payload);
                return;
            }
            CallEvent::Acknowledged { call } => {
                let wanted = &self.calls[&(client, call)];
                assert!(wanted.outcomes.is_empty(), "seed {}: after the end", self.seed);
                return;
            }
            CallEvent::Response { call, response, .. } => (call, Ok(response)),
            CallEvent::Failed { call, error } => (call, Err(error)),
        };
        self.calls.get_mut(&(client, call)).unwrap().outcomes.push(outcome);
    }

    /// Every request ends once, nothing is executed twice, every response is that of its request:
    /// how many have one.
    fn assert_exactly_once(&self) -> usize {
        let seed = self.seed;
        let mut executed = self.executed.clone();
        executed.sort();
        let count = executed.len();
        executed.dedup();
        assert_eq!(executed.len(), count, "seed {seed}: executed twice");
        let mut answered = 0;
        for Wanted { sent, outcomes, .. } in self.calls.values() {
            assert_eq!(outcomes.len(), 1, "seed {seed}: {outcomes:?}");
            if let Ok(response) = &outcomes[0]
                && response.code == Code::CHANGED
            {
                assert!(response.payload == *sent, "seed {seed}: another body");
                assert!(executed.contains(sent), "seed {seed}: not executed");
                answered += 1;
            }
        }
        answered
    }

    /// After the lifetimes nothing is left.
    fn assert_forgets_everything(&mut self) {
        self.run_until(self.now + 300 * SECOND);
        for node in &mut self.nodes {
            for _ in 0..40 {
                node.handle_timeout(self.now + 300 * SECOND);
            }
            assert_is_empty(&node.endpoint);
            assert_eq!(node.client.usage(), (0, 0, 0));
            assert_eq!(node.server.usage(), [(0, 0), (0, 0)]);
        }
    }
}

/// So many seeds, times what the environment says.
fn seeds(count: u64) -> core::ops::Range<u64> {
    let factor = std::env::var("COAP_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    0..count * factor
}

/// A body that no other request has.
fn unique(label: &str, len: usize) -> Vec<u8> {
    let mut bytes = String::from(label).into_bytes();
    bytes.extend(body(len));
    bytes
}

fn blocks_of(bytes: usize) -> TransferConfig {
    TransferConfig { block_size: BlockSize::fitting(bytes).unwrap(), ..Default::default() }
}

#[test]
fn bodies_of_any_size_are_executed_once_and_come_back_whole() {
    // RFC 7252 §4.2, §4.5; RFC 7959 §2.4, §2.5, §2.7
    let (mut answered, mut all) = (0, 0);
    for seed in seeds(400) {
        let mut world = World::new(seed, 2, LOSSY, Resources::Echo, &blocks_of(64));
        for n in 0..6 {
            let len = usize::try_from(world.rng.below(500)).unwrap();
            let method = if n % 2 == 0 { Method::Post } else { Method::Put };
            let client = 1 + n % 2;
            let request = Request::new(method).path("echo").payload(unique(&format!("{n}/"), len));
            world.call(client, request);
            let pause = world.rng.duration(Duration::ZERO, 20 * SECOND);
            world.run_until(world.now + pause);
        }
        world.run_until(world.now + 3000 * SECOND);
        answered += world.assert_exactly_once();
        all += 6;
        world.assert_forgets_everything();
    }
    // About nine exchanges, of which each gets through with 0.994.
    assert!(answered * 100 > all * 90, "{answered} of {all}");
}

#[test]
fn a_transfer_of_100_kb_is_exact_both_ways() {
    // RFC 7959 §2.7
    let profile = Profile { loss: 0.05, ..LOSSY };
    let mut answered = 0;
    for seed in seeds(6) {
        let mut world = World::new(seed, 1, profile, Resources::Echo, &TransferConfig::default());
        let request = Request::new(Method::Post).path("echo").payload(unique("large", 100_000));
        world.call(1, request);
        world.run_until(world.now + 20_000 * SECOND);
        answered += world.assert_exactly_once();
        world.assert_forgets_everything();
    }
    assert!(answered >= 5, "{answered}");
}

#[test]
fn a_transfer_of_100_kb_is_exact_both_ways_where_a_fifth_is_lost() {
    // 200 exchanges, each of which gets through with 0.994 after 4 retransmissions, and with
    // 0.9999 after 8; messages are remembered for as long as they are retransmitted.
    let lifetime = 2000 * SECOND;
    let endpoint =
        EndpointConfig { max_retransmit: 8, exchange_lifetime: lifetime, ..Default::default() };
    let transfer = TransferConfig { lifetime, ..Default::default() };
    let mut answered = 0;
    for seed in seeds(40) {
        let endpoint = endpoint.clone();
        let mut world = World::with_endpoint(seed, 1, LOSSY, Resources::Echo, &transfer, endpoint);
        let request = Request::new(Method::Put).path("echo").payload(unique("large", 100_000));
        world.call(1, request);
        world.run_until(world.now + 400_000 * SECOND);
        answered += world.assert_exactly_once();
    }
    assert!(answered >= 36, "{answered}");
}

/// Clients observe a state that changes: each one that still observes, when it has been quiet for
/// a while, has the last state, and none saw an earlier one after a later one.
fn observers_converge(seed: u64, state_len: usize, confirmable: bool) -> usize {
    let mut world = World::new(seed, 3, LOSSY, Resources::State, &blocks_of(64));
    for client in 1..=3 {
        world.observe(client, confirmable);
    }
    for n in 1..=20_u32 {
        let pause = world.rng.duration(Duration::ZERO, 8 * SECOND);
        world.run_until(world.now + pause);
        world.change(unique(&format!("{n:04}"), state_len));
    }
    // Max-Age of the responses and of the notifications, and some renewals. Who lost its
    // observation, because a request got no answer, tries again.
    for _ in 0..9 {
        world.run_until(world.now + 100 * SECOND);
        for client in 1..=3 {
            let mut calls = world.calls.iter().filter(|((of, _), _)| *of == client);
            if calls.all(|(_, wanted)| !wanted.outcomes.is_empty()) {
                world.observe(client, confirmable);
            }
        }
    }
    let last = world.state.clone();
    let mut observing = 0;
    for Wanted { outcomes, states, .. } in world.calls.values() {
        assert!(outcomes.len() <= 1, "seed {seed}");
        assert!(states.is_sorted(), "seed {seed}: out of order");
        if outcomes.is_empty() && !states.is_empty() {
            assert!(states.last() == Some(&last), "seed {seed}: not the last state");
            observing += 1;
        }
    }
    let calls: Vec<_> = world.calls.keys().copied().collect();
    for (client, call) in calls {
        world.nodes[client].deregister(world.now, call);
        world.drain(client);
    }
    world.run_until(world.now + 300 * SECOND);
    for wanted in world.calls.values() {
        assert_eq!(wanted.outcomes.len(), 1, "seed {seed}");
    }
    observing
}

#[test]
fn observers_converge_to_the_last_state() {
    // RFC 7641 §1.3: eventual consistency.
    // A registration that is Non-confirmable is lost with 0.36, each time.
    for (state_len, confirmable, at_least) in [(10, true, 250), (10, false, 50), (200, true, 250)] {
        let mut observing = 0;
        for seed in seeds(100) {
            observing += observers_converge(seed, state_len, confirmable);
        }
        assert!(observing > at_least, "{observing}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = World::new(seed, 1, LOSSY, Resources::State, &blocks_of(64));
        world.observe(1, true);
        for n in 0..5 {
            world.change(vec![n; 100]);
            world.run_until(world.now + 20 * SECOND);
        }
        (*world.nodes[SERVER].stats(), *world.nodes[1].stats())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
