//! Clients and a server over the lossy network in virtual time. A failing run names its seed.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;

use super::limits::assert_is_empty;
use super::*;
use crate::Rng;
use crate::coap::FailReason;
use crate::impair::{Network, Profile};

const SERVER: usize = 0;
const CLIENTS: usize = 2;
const REQUESTS_PER_CLIENT: usize = 4;

pub(in crate::coap) const LOSSY: Profile = Profile {
    loss: 0.2,
    duplicate: 0.1,
    corrupt: 0.0,
    truncate: 0.0,
    delay_min: Duration::from_millis(5),
    delay_max: Duration::from_millis(1500),
};

/// How the server's application and its process behave.
#[derive(Clone, Copy)]
struct Scenario {
    profile: Profile,
    /// The longest time to execute a request.
    slowest: Duration,
    /// Whether the server loses its memory in the middle, and has stored what it executed.
    restart: bool,
}

/// What the application executed, as a durable store would keep it.
struct Executed {
    at: Instant,
    client: usize,
    message_id: u16,
    token: Token,
    response: Response,
}

/// A request that the application is executing.
struct Work {
    exchange: ExchangeId,
    client: usize,
    message_id: u16,
    token: Token,
    payload: Vec<u8>,
}

/// The payload of the response, or why there is none.
type Outcome = Result<Vec<u8>, FailReason>;

struct World {
    seed: u64,
    now: Instant,
    rng: Rng,
    scenario: Scenario,
    network: Network<usize>,
    endpoints: Vec<Endpoint<usize>>,
    work: BTreeMap<(Instant, u64), Work>,
    work_count: u64,
    executed: Vec<Executed>,
    /// By request: the body it was sent with, and its outcomes.
    outcomes: BTreeMap<(usize, RequestId), (String, Vec<Outcome>)>,
    to_send: Vec<(Instant, usize, bool)>,
    restart_at: Option<Instant>,
}

impl World {
    fn new(seed: u64, scenario: Scenario) -> Self {
        let mut rng = Rng::new(seed);
        let mut at = |longest| Instant::ZERO + rng.duration(Duration::ZERO, longest);
        let mut to_send: Vec<_> = (1..=CLIENTS)
            .flat_map(|client| (0..REQUESTS_PER_CLIENT).map(move |n| (client, n > 0)))
            .map(|(client, confirmable)| (at(60 * SECOND), client, confirmable))
            .collect();
        let restart_at = scenario.restart.then(|| at(80 * SECOND));
        to_send.sort();
        to_send.reverse();
        let endpoint = |n| Endpoint::new(EndpointConfig::default(), seed << 8 | n);
        Self {
            seed,
            now: Instant::ZERO,
            network: Network::new(scenario.profile, rng.next_u64()),
            rng,
            scenario,
            endpoints: (0..=CLIENTS as u64).map(endpoint).collect(),
            work: BTreeMap::new(),
            work_count: 0,
            executed: Vec::new(),
            outcomes: BTreeMap::new(),
            to_send,
            restart_at,
        }
    }

    /// Runs until nothing is left to happen.
    fn run(&mut self) {
        while let Some(at) = self.next_at() {
            assert!(at < Instant::ZERO + 2000 * SECOND, "seed {} does not end", self.seed);
            self.now = self.now.max(at);
            while self.to_send.last().is_some_and(|&(at, ..)| at <= self.now) {
                let (_, client, confirmable) = self.to_send.pop().unwrap();
                self.send(client, confirmable);
            }
            if self.restart_at.is_some_and(|at| at <= self.now) {
                self.restart_at = None;
                self.restart_server();
            }
            while let Some(datagram) = self.network.poll_delivery(self.now) {
                let (from, to) = (datagram.from, datagram.to);
                let endpoint = &mut self.endpoints[to];
                endpoint.handle_datagram(self.now, from, &datagram.bytes, Delivery::Unicast);
                self.drain(to);
            }
            while let Some(entry) = self.work.first_entry().filter(|e| e.key().0 <= self.now) {
                let work = entry.remove();
                self.execute(work);
            }
            for node in 0..=CLIENTS {
                if self.endpoints[node].next_wait().is_some_and(|at| at <= self.now) {
                    self.endpoints[node].handle_timeout(self.now);
                    self.drain(node);
                }
            }
        }
    }

    fn next_at(&self) -> Option<Instant> {
        let timers = self.endpoints.iter().filter_map(Endpoint::next_wait);
        let work = self.work.first_key_value().map(|(&(at, _), _)| at);
        let send = self.to_send.last().map(|&(at, ..)| at);
        timers.chain(work).chain(send).chain(self.restart_at).chain(self.network.next_at()).min()
    }

    fn send(&mut self, client: usize, confirmable: bool) {
        let body = format!("{client}/{}", self.outcomes.len());
        let mut request = Request::new(Method::Post).path("r/node/temp").payload(body.as_str());
        request.confirmable = confirmable;
        let id = self.endpoints[client].request(self.now, SERVER, request).unwrap();
        self.outcomes.insert((client, id), (body, vec![]));
        self.drain(client);
    }

    fn drain(&mut self, node: usize) {
        loop {
            match self.endpoints[node].poll_output() {
                Output::Transmit { to, datagram } => {
                    self.network.handle_send(self.now, node, to, &datagram);
                }
                Output::Wait(_) => return,
                Output::Event(Event::Request { exchange, .. }) if node != SERVER => {
                    assert!(self.scenario.profile.corrupt > 0.0, "seed {}", self.seed);
                    let response = Response::new(Code::NOT_FOUND);
                    self.endpoints[node].respond(self.now, exchange, response);
                }
                Output::Event(Event::Request {
                    exchange,
                    from,
                    message_id,
                    token,
                    request,
                    ..
                }) => {
                    let delay = if self.rng.chance(0.5) {
                        self.rng.duration(Duration::ZERO, self.scenario.slowest)
                    } else {
                        Duration::ZERO
                    };
                    let payload = request.payload;
                    let work = Work { exchange, client: from, message_id, token, payload };
                    self.work_count += 1;
                    self.work.insert((self.now + delay, self.work_count), work);
                }
                Output::Event(Event::Response { id, from, response }) => {
                    let damaged = self.scenario.profile.corrupt > 0.0;
                    assert!(damaged || (from, response.code) == (SERVER, Code::CHANGED));
                    self.outcomes.get_mut(&(node, id)).unwrap().1.push(Ok(response.payload));
                }
                Output::Event(Event::Failed { id, reason }) => {
                    self.outcomes.get_mut(&(node, id)).unwrap().1.push(Err(reason));
                }
                Output::Event(Event::Acknowledged { id }) => {
                    let outcomes = &self.outcomes[&(node, id)].1;
                    assert!(outcomes.is_empty(), "seed {}: after the end", self.seed);
                }
                Output::Event(
                    Event::Notification { .. }
                    | Event::Delivered { .. }
                    | Event::Undelivered { .. },
                ) => panic!("seed {}: nobody observes anything", self.seed),
                Output::Event(Event::Malformed { .. }) => {
                    assert!(self.scenario.profile.corrupt > 0.0, "seed {}", self.seed);
                }
            }
        }
    }

    /// Executes a request and answers it: its effect and its identity are durable from here on.
    fn execute(&mut self, work: Work) {
        let Work { exchange, client, message_id, token, payload } = work;
        let response = Response::new(Code::CHANGED).payload(payload);
        let at = self.now;
        self.endpoints[SERVER].respond(at, exchange, response.clone());
        self.executed.push(Executed { at, client, message_id, token, response });
        self.drain(SERVER);
    }

    /// The process is killed and started: only what was executed is known.
    fn restart_server(&mut self) {
        self.work.clear();
        let mut server = Endpoint::new(EndpointConfig::default(), !self.seed);
        for Executed { at, client, message_id, token, response } in &self.executed {
            let (age, response) = (self.now - *at, response.clone());
            server.remember(self.now, *client, *message_id, token, age, response);
        }
        self.endpoints[SERVER] = server;
        self.drain(SERVER);
    }

    /// Every request has exactly one outcome; replies match their requests.
    fn assert_one_outcome_each(&self) {
        let seed = self.seed;
        assert_eq!(self.outcomes.len(), CLIENTS * REQUESTS_PER_CLIENT, "seed {seed}");
        for (body, outcomes) in self.outcomes.values() {
            assert_eq!(outcomes.len(), 1, "seed {seed}: {body} {outcomes:?}");
        }
        for endpoint in &self.endpoints {
            let stats = endpoint.stats();
            assert_eq!(stats.received, fates(stats), "seed {seed}: {stats:?}");
        }
    }

    fn assert_exactly_once(&self) {
        let seed = self.seed;
        let mut bodies: Vec<_> = self.executed.iter().map(|e| &e.response.payload).collect();
        bodies.sort();
        let count = bodies.len();
        bodies.dedup();
        assert_eq!(bodies.len(), count, "seed {seed}: something was executed twice");
        for (body, outcomes) in self.outcomes.values() {
            for reply in outcomes.iter().flatten() {
                assert_eq!(reply, body.as_bytes(), "seed {seed}: a reply of another request");
                assert!(bodies.contains(&reply), "seed {seed}: acknowledged, not executed");
            }
        }
    }

    /// After the lifetimes nothing is left.
    fn assert_forgets_everything(&mut self) {
        for endpoint in &mut self.endpoints {
            for _ in 0..20 {
                endpoint.handle_timeout(self.now + 300 * SECOND);
            }
            assert_is_empty(endpoint);
        }
    }

    fn count(&self, outcome: Result<(), FailReason>) -> usize {
        let outcomes = self.outcomes.values().flat_map(|(_, outcomes)| outcomes);
        outcomes.filter(|o| o.as_ref().map(|_| ()).map_err(|&reason| reason) == outcome).count()
    }
}

/// Runs many worlds: how many requests ended in which way, and the servers' counters.
fn run_all(
    seeds: core::ops::Range<u64>,
    scenario: Scenario,
) -> (BTreeMap<&'static str, usize>, u64) {
    let mut totals = BTreeMap::new();
    let mut separate = 0;
    for seed in seeds {
        let mut world = World::new(seed, scenario);
        world.run();
        world.assert_one_outcome_each();
        world.assert_exactly_once();
        world.assert_forgets_everything();
        for (name, outcome) in [
            ("response", Ok(())),
            ("timeout", Err(FailReason::Timeout)),
            ("no response", Err(FailReason::NoResponse)),
            ("reset", Err(FailReason::Reset)),
        ] {
            *totals.entry(name).or_default() += world.count(outcome);
        }
        separate += world.endpoints[SERVER].stats().separate_responses;
    }
    (totals, separate)
}

#[test]
fn pairs_over_a_lossy_network_execute_each_request_once_and_end_it_once() {
    // RFC 7252 §4.2, §4.5, §5.3
    let scenario = Scenario { profile: LOSSY, slowest: Duration::ZERO, restart: false };
    let (totals, separate) = run_all(0..800, scenario);
    // One request in four is Non-confirmable and gets through with 0.8², the others with
    // 1 - (1 - 0.8²)⁵ = 0.994.
    assert!(totals["response"] > 800 * 8 * 88 / 100, "{totals:?}");
    assert!(totals["timeout"] > 0 && totals["no response"] > 800 * 2 / 4, "{totals:?}");
    assert_eq!((totals["reset"], separate), (0, 0));
}

#[test]
fn slow_servers_answer_separately_and_still_once() {
    // RFC 7252 §5.2.2
    let scenario = Scenario { profile: LOSSY, slowest: 10 * SECOND, restart: false };
    let (totals, separate) = run_all(1000..1800, scenario);
    assert!(totals["response"] > 800 * 8 * 85 / 100, "{totals:?}");
    assert!(separate > 800 * 2, "{separate}");
}

#[test]
fn a_server_that_restarts_and_remembers_executes_nothing_twice() {
    let scenario = Scenario { profile: LOSSY, slowest: 10 * SECOND, restart: true };
    let (totals, _) = run_all(2000..2800, scenario);
    assert!(totals["response"] > 800 * 8 * 75 / 100, "{totals:?}");
}

#[test]
fn a_network_that_damages_messages_breaks_no_promise_but_the_content() {
    let profile = Profile { corrupt: 0.2, truncate: 0.1, ..LOSSY };
    for seed in 3000..3300 {
        let scenario = Scenario { profile, slowest: 3 * SECOND, restart: false };
        let mut world = World::new(seed, scenario);
        world.run();
        world.assert_one_outcome_each();
        world.assert_forgets_everything();
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let scenario = Scenario { profile: LOSSY, slowest: 10 * SECOND, restart: true };
        let mut world = World::new(seed, scenario);
        world.run();
        let stats: Vec<_> = world.endpoints.iter().map(|endpoint| *endpoint.stats()).collect();
        (world.now, stats, *world.network.stats())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
