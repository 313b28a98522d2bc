//! The client against nodes over the lossy network, in virtual time. A failing run names its seed.
//!
//! `COAP_SEEDS=n` runs n times as many seeds.

mod orders;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proto::coap::content_format::{LINK_FORMAT, TEXT_PLAIN};
use proto::coap::{
    Ask, Code, ETag, EchoConfig, Method, OptionNumber, Request, ResourceId, Response, ServerConfig,
};
use proto::impair::{Network, Profile};

use super::*;
use crate::config::CoapPollLink;
use crate::source::coap_orders::{Requests, Watched, Watching};

const SECOND: Duration = Duration::from_secs(1);
const LOSSY: Profile = Profile {
    loss: 0.2,
    duplicate: 0.1,
    corrupt: 0.0,
    truncate: 0.0,
    delay_min: Duration::from_millis(5),
    delay_max: Duration::from_millis(400),
};
const FAST: Profile = Profile {
    delay_min: Duration::from_millis(5),
    delay_max: Duration::from_millis(20),
    ..Profile::PERFECT
};
const CLIENT: SocketAddr =
    SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 40_000));
const STATE: ResourceId = ResourceId(1);

/// What a device is like.
#[derive(Clone, Debug)]
struct Traits {
    /// Whether `/state` can be observed.
    observable: bool,
    /// Max-Age of `/state`.
    max_age: u32,
    /// What `/.well-known/core` says.
    links: &'static str,
    /// The answer to everything, if it is not what was asked for.
    always: Option<Response>,
    /// Whether `/value` stays what it is.
    constant: bool,
}

impl Default for Traits {
    fn default() -> Self {
        Self { observable: true, max_age: 30, links: "", always: None, constant: false }
    }
}

/// A device: a server in its own right.
struct Device {
    coap: Node<SocketAddr>,
    traits: Traits,
    alive: bool,
    state: u32,
    reads: u32,
    /// Requests that reached it: when, and for what.
    log: Vec<(Instant, Request)>,
    wake: Option<Instant>,
}

/// What the client said of an outcome.
#[derive(Clone, PartialEq, Debug)]
struct Taken {
    at: Instant,
    device: String,
    name: String,
    text: String,
}

struct World {
    seed: u64,
    now: Instant,
    network: Network<SocketAddr>,
    poller: Poller,
    wake: Option<Instant>,
    devices: BTreeMap<SocketAddr, Device>,
    /// When devices have something to do.
    wakes: BTreeSet<(Instant, SocketAddr)>,
    taken: Vec<Taken>,
    failed: Vec<(Instant, String, &'static str)>,
    resolve: Vec<Lookup>,
    /// Datagrams that the client sent: when, and to whom.
    sent: Vec<(Instant, SocketAddr)>,
    /// What came of wishes to observe.
    watched: Vec<(u64, Ended)>,
    /// What came of other requests than the poller's, and of those that it has given up.
    of_orders: Vec<CallEvent<SocketAddr>>,
}

fn address(number: usize) -> SocketAddr {
    let [_, _, high, low] = u32::try_from(number).unwrap().to_be_bytes();
    (Ipv4Addr::new(10, 1, high, low), 5683).into()
}

fn coap(seed: u64) -> Node<SocketAddr> {
    let echo = EchoConfig { amplification: Some(3), ..Default::default() };
    let server = ServerConfig { echo, ..Default::default() };
    Node::new(NodeConfig { server, ..Default::default() }, seed)
}

fn device(seed: u64, traits: Traits) -> Device {
    let (log, wake) = (Vec::new(), None);
    Device { coap: coap(seed), traits, alive: true, state: 0, reads: 0, log, wake }
}

impl World {
    /// Nodes `n0`, `n1`, … that are asked for these resources.
    fn new(seed: u64, profile: Profile, count: usize, traits: &Traits, resources: &str) -> Self {
        let link: CoapPollLink = toml::from_str(resources).unwrap();
        let config = PollConfig {
            max_backoff: link.max_backoff.duration(),
            max_body: 65_536,
            interval: link.interval.duration(),
        };
        let mut rng = Rng::new(seed);
        let mut world = Self {
            seed,
            now: Instant::ZERO,
            network: Network::new(profile, rng.next_u64()),
            poller: Poller::new(&config, Wanted::all(&link), rng.next_u64()),
            wake: None,
            devices: (0..count)
                .map(|n| (address(n), device(rng.next_u64(), traits.clone())))
                .collect(),
            wakes: BTreeSet::new(),
            taken: Vec::new(),
            failed: Vec::new(),
            resolve: Vec::new(),
            sent: Vec::new(),
            watched: Vec::new(),
            of_orders: Vec::new(),
        };
        for n in 0..count {
            world.add(n);
        }
        world
    }

    fn add(&mut self, n: usize) {
        let url = format!("coap://{}", address(n)).parse().unwrap();
        self.poller.handle_node_added(self.now, &format!("n{n}"), url).unwrap();
        self.drain();
    }

    fn watch(&mut self, n: usize, number: u64, begins: bool) -> Watched {
        let (device, path) = (format!("n{n}"), "/state".parse().unwrap());
        let watched = self.poller.watch(self.now, Watching { number, device, path, begins });
        self.drain();
        watched
    }

    fn device(&mut self, n: usize) -> &mut Device {
        self.devices.get_mut(&address(n)).unwrap()
    }

    /// A device that has lost everything but what it is like.
    fn reboot(&mut self, n: usize) {
        let seed = self.seed + 1000;
        let device = self.device(n);
        (device.coap, device.alive) = (coap(seed), true);
        self.drain_device(address(n));
    }

    fn change(&mut self, n: usize) {
        let now = self.now;
        let device = self.device(n);
        device.state += 1;
        let response = state(device);
        device.coap.notify(now, STATE, response);
        self.drain_device(address(n));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let wake = self.wakes.first().map(|&(at, _)| at);
            let next = wake.into_iter().chain(self.wake).chain(self.network.next_at()).min();
            let Some(at) = next.filter(|&at| at <= end) else { break };
            self.now = self.now.max(at);
            while let Some(datagram) = self.network.poll_delivery(self.now) {
                if datagram.to == CLIENT {
                    self.poller.handle_datagram(self.now, datagram.from, &datagram.bytes);
                    self.drain();
                } else if let Some(device) = self.devices.get_mut(&datagram.to)
                    && device.alive
                {
                    let (from, bytes) = (datagram.from, datagram.bytes);
                    device.coap.handle_datagram(self.now, from, &bytes, Delivery::Unicast);
                    self.drain_device(datagram.to);
                }
            }
            while let Some(&(at, device)) = self.wakes.first()
                && at <= self.now
            {
                self.devices.get_mut(&device).unwrap().coap.handle_timeout(self.now);
                self.drain_device(device);
            }
            if self.wake.is_some_and(|at| at <= self.now) {
                self.poller.handle_timeout(self.now);
                self.drain();
            }
        }
        self.now = end;
    }

    fn drain(&mut self) {
        loop {
            match self.poller.poll_output() {
                Output::Transmit { to, datagram } => {
                    self.sent.push((self.now, to));
                    self.network.handle_send(self.now, CLIENT, to, &datagram);
                }
                Output::Resolve(lookup) => self.resolve.push(lookup),
                Output::Content(content) => self.taken.push(Taken {
                    at: self.now,
                    device: content.device.to_string(),
                    name: content.name,
                    text: String::from_utf8(content.representation.payload).unwrap(),
                }),
                Output::OfOrder(event) => self.of_orders.push(event),
                Output::Watched(number, ended) => self.watched.push((number, ended)),
                Output::Failed { node, reason, .. } => {
                    self.failed.push((self.now, node.to_string(), reason));
                }
                Output::Wait(at) => {
                    self.wake = at;
                    return;
                }
            }
        }
    }

    fn drain_device(&mut self, at: SocketAddr) {
        loop {
            let device = self.devices.get_mut(&at).unwrap();
            match device.coap.poll_output() {
                NodeOutput::Transmit { to, datagram } if device.alive => {
                    self.network.handle_send(self.now, at, to, &datagram);
                }
                NodeOutput::Event(proto::coap::NodeEvent::Request { ask, request, .. }) => {
                    device.log.push((self.now, request.clone()));
                    answer(device, self.now, ask, &request);
                }
                NodeOutput::Wait(wake) => {
                    let wake = wake.filter(|_| device.alive);
                    if let Some(before) = std::mem::replace(&mut device.wake, wake) {
                        self.wakes.remove(&(before, at));
                    }
                    self.wakes.extend(wake.map(|wake| (wake, at)));
                    return;
                }
                NodeOutput::Transmit { .. } | NodeOutput::Event(_) => {}
            }
        }
    }

    /// What was taken of a resource of a node.
    fn texts(&self, n: usize, name: &str) -> Vec<&str> {
        let node = format!("n{n}");
        let of_it = self.taken.iter().filter(|taken| taken.device == node && taken.name == name);
        of_it.map(|taken| taken.text.as_str()).collect()
    }

    fn reasons(&self) -> BTreeSet<&'static str> {
        self.failed.iter().map(|(_, _, reason)| *reason).collect()
    }

    /// Every request has had one outcome, or is under way.
    fn assert_one_outcome_each(&self) {
        let PollStats { asked, answered, failed, .. } = *self.poller.stats();
        let is_asked = |node: &&PolledNode| matches!(node.busy, Busy::Asked(_));
        let under_way = self.poller.nodes.values().filter(is_asked).count() as u64;
        assert_eq!(asked, answered + failed + under_way, "seed {}", self.seed);
        let watched = self.poller.nodes.values().flat_map(|node| &node.resources);
        let watched = watched.filter(|resource| resource.is_observed()).count() as u64;
        assert_eq!(self.poller.calls.len() as u64, under_way + watched, "seed {}", self.seed);
    }
}

fn state(device: &Device) -> Response {
    let response = Response::new(Code::CONTENT).content_format(TEXT_PLAIN);
    response.max_age(device.traits.max_age).payload(device.state.to_string())
}

fn answer(device: &mut Device, now: Instant, ask: Ask<SocketAddr>, request: &Request) {
    let path: Vec<_> = request.segments().collect();
    let text = |text: String| Response::new(Code::CONTENT).payload(text);
    let response = match (&device.traits.always, path.as_slice()) {
        (Some(always), _) => always.clone(),
        (None, ["state"]) => {
            let response = state(device);
            if device.traits.observable {
                return device.coap.respond_observed(now, ask, STATE, response);
            }
            response
        }
        (None, ["value"]) => {
            device.reads += 1;
            let number = if device.traits.constant { 7 } else { device.reads };
            let response = text(number.to_string());
            let etag = ETag::of(None, &response.payload);
            match request.options.etag() == Some(etag) {
                true => Response::new(Code::VALID).etag(etag),
                false => response.etag(etag),
            }
        }
        (None, ["big"]) => text("x".repeat(5000)),
        (None, [".well-known", "core"]) => {
            text(device.traits.links.to_owned()).content_format(LINK_FORMAT)
        }
        (None, _) => Response::new(Code::NOT_FOUND),
    };
    device.coap.respond(now, ask, response);
}

/// So many seeds, times what the environment says.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let factor = std::env::var("COAP_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    0..count * factor
}

const VALUE: &str = "resources.value = { path = '/value', interval = '10s' }";
const STATE_OBSERVED: &str =
    "resources.state = { path = '/state', interval = '10s', observe = true }";

#[test]
fn every_request_ends_in_exactly_one_outcome() {
    let resources = format!(
        "{VALUE}\n{STATE_OBSERVED}\n\
         resources.big = {{ path = '/big', interval = '60s' }}\n\
         resources.gone = {{ path = '/gone', interval = '30s' }}\n"
    );
    let (mut answered, mut failed) = (0, 0);
    for seed in seeds(40) {
        let mut world = World::new(seed, LOSSY, 3, &Traits::default(), &resources);
        for step in 0..20_u32 {
            world.run(15 * SECOND);
            world.assert_one_outcome_each();
            world.change(usize::try_from(step % 3).unwrap());
            match step {
                5 => world.device(1).alive = false,
                12 => world.reboot(1),
                _ => {}
            }
        }
        assert!(!world.texts(0, "value").is_empty(), "seed {seed}");
        // It stays the last state of each node, whatever was lost on the way.
        world.network.set_profile(FAST);
        world.run(900 * SECOND);
        for n in 0..3 {
            let state = world.device(n).state.to_string();
            assert_eq!(world.texts(n, "state").last(), Some(&&*state), "seed {seed}");
        }
        for n in 0..3 {
            world.poller.handle_node_removed(world.now, &format!("n{n}"));
            world.drain();
        }
        assert_eq!((world.poller.calls.len(), world.poller.agenda.len()), (0, 0));
        let stats = world.poller.stats();
        (answered, failed) = (answered + stats.answered, failed + stats.failed);
    }
    assert!(answered > 1000 && failed > 50, "{answered} answered, {failed} failed");
}

#[test]
fn a_resource_is_read_at_its_interval_and_named_by_its_path() {
    let mut world = World::new(1, FAST, 1, &Traits::default(), VALUE);
    world.run(101 * SECOND);
    let texts = world.texts(0, "value");
    assert!((10..=11).contains(&texts.len()), "{texts:?}");
    assert_eq!(texts[..3], ["1", "2", "3"]);
    assert!(world.taken[0].at < Instant::ZERO + SECOND, "the first one is read at once");
    let regular: Vec<_> = world.device(0).log.iter().map(|(at, _)| *at).collect();
    for pair in regular[1..].windows(2) {
        let gap = pair[1] - pair[0];
        assert!(gap > Duration::from_millis(9_900) && gap < Duration::from_millis(10_100));
    }
}

#[test]
fn a_representation_that_is_still_valid_is_a_reading_again() {
    // RFC 7252 §5.9.1.3
    let traits = Traits { constant: true, ..Traits::default() };
    let mut world = World::new(1, FAST, 1, &traits, VALUE);
    world.run(60 * SECOND);
    let log = &world.device(0).log;
    assert!(log[0].1.options.etag().is_none());
    assert!(log[1..].iter().all(|(_, request)| request.options.etag().is_some()));
    let texts = world.texts(0, "value");
    assert!(texts.len() >= 6 && texts.iter().all(|text| *text == "7"), "{texts:?}");
    assert_eq!(world.failed, []);
}

#[test]
fn an_observed_resource_is_asked_for_once_and_then_tells() {
    // RFC 7641 §1.2
    let traits = Traits { max_age: 3600, ..Traits::default() };
    let mut world = World::new(1, FAST, 1, &traits, STATE_OBSERVED);
    world.run(100 * SECOND);
    for _ in 0..3 {
        world.change(0);
        world.run(10 * SECOND);
    }
    assert_eq!(world.texts(0, "state"), ["0", "1", "2", "3"]);
    assert_eq!(world.device(0).log.len(), 1);
    assert_eq!(world.poller.stats().notified, 3);
}

#[test]
fn what_cannot_be_observed_is_read_at_its_interval() {
    // RFC 7641 §4.1
    let traits = Traits { observable: false, ..Traits::default() };
    let mut world = World::new(1, FAST, 1, &traits, STATE_OBSERVED);
    world.run(100 * SECOND);
    let log = &world.device(0).log;
    assert!(log.len() >= 10, "{}", log.len());
    let observe = |request: &Request| request.options.first_uint(OptionNumber::OBSERVE);
    assert_eq!(observe(&log[0].1), Some(0));
    assert!(log[1..].iter().all(|(_, request)| observe(request).is_none()));
    // It is tried again now and then: the device may have learned it.
    world.device(0).traits.observable = true;
    world.run(3600 * SECOND);
    world.change(0);
    world.run(Duration::from_millis(100));
    assert_eq!(world.texts(0, "state").last(), Some(&"1"));
    assert!(world.poller.stats().notified > 0);
}

#[test]
fn an_observation_is_registered_anew_after_the_node_has_restarted() {
    // RFC 7641 §3.3.1: Max-Age is 30 s, and 5 to 15 s later the client asks.
    let mut world = World::new(1, FAST, 1, &Traits::default(), STATE_OBSERVED);
    world.run(10 * SECOND);
    world.reboot(0);
    world.change(0);
    world.run(SECOND);
    assert_eq!(world.texts(0, "state"), ["0"], "the node does not know its observer");
    world.run(50 * SECOND);
    world.change(0);
    world.run(SECOND);
    assert_eq!(world.texts(0, "state"), ["0", "1", "2"]);
}

#[test]
fn a_node_that_is_heard_of_again_is_observed_again_whatever_its_max_age() {
    let traits = Traits { max_age: 86_400, ..Traits::default() };
    let mut world = World::new(1, FAST, 1, &traits, &format!("{VALUE}\n{STATE_OBSERVED}"));
    world.run(30 * SECOND);
    world.device(0).alive = false;
    world.run(200 * SECOND);
    assert!(world.reasons().contains("timeout"), "{:?}", world.reasons());
    world.reboot(0);
    world.device(0).state = 5;
    world.run(700 * SECOND);
    assert_eq!(world.texts(0, "state").last(), Some(&"5"));
    world.change(0);
    world.run(SECOND);
    assert_eq!(world.texts(0, "state").last(), Some(&"6"));
}

#[test]
fn a_dead_node_is_asked_less_and_less_and_does_not_delay_others() {
    let mut world = World::new(1, FAST, 100, &Traits::default(), VALUE);
    for n in 50..100 {
        world.device(n).alive = false;
    }
    world.run(3600 * SECOND);
    for n in 0..50 {
        let times: Vec<_> = world.device(n).log.iter().map(|(at, _)| *at).collect();
        assert!(times.len() >= 360, "node {n}: {}", times.len());
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] < 11 * SECOND), "node {n}");
    }
    for n in 50..100 {
        // After 10, 20, 40, … s the pause is 10 min at most; each attempt is five messages.
        let sent = world.sent.iter().filter(|(_, to)| *to == address(n)).count();
        assert!((40..=90).contains(&sent), "node {n}: {sent} messages");
        let report = world.poller.reports(world.now).remove(&format!("n{n}")).unwrap();
        let report = serde_json::to_value(&report).unwrap();
        assert!(report["failures_in_a_row"].as_u64() >= Some(8), "{report}");
        assert!(report["heard_seconds"].is_null(), "{report}");
        let why = "/value: the peer did not acknowledge the request";
        assert_eq!(report["last_failure"], why);
    }
    // It is heard of within the longest pause, and then read as before.
    world.reboot(99);
    world.run(720 * SECOND);
    assert!(world.texts(99, "value").len() > 5);
}

#[test]
fn a_busy_node_is_left_alone_for_as_long_as_it_says() {
    // RFC 8516 §3, RFC 7252 §5.9.3.4
    for code in [Code::TOO_MANY_REQUESTS, Code::SERVICE_UNAVAILABLE] {
        let always = Some(Response::new(code).max_age(120));
        let resources = format!("{VALUE}\nresources.big = {{ path = '/big' }}");
        let mut world = World::new(1, FAST, 1, &Traits { always, ..Traits::default() }, &resources);
        world.run(1000 * SECOND);
        let times: Vec<_> = world.device(0).log.iter().map(|(at, _)| *at).collect();
        assert!((8..=9).contains(&times.len()), "{times:?}");
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 120 * SECOND), "{times:?}");
        assert_eq!(world.reasons(), BTreeSet::from(["node_busy"]));
    }
}

#[test]
fn errors_are_counted_by_what_they_are_and_the_resource_is_asked_for_again() {
    let always = Some(Response::new(Code::UNAUTHORIZED).diagnostic("who are you?"));
    let mut world = World::new(1, FAST, 1, &Traits { always, ..Traits::default() }, VALUE);
    world.run(60 * SECOND);
    assert_eq!(world.reasons(), BTreeSet::from(["error_response"]));
    let report = serde_json::to_value(&world.poller.reports(world.now)["n0"]).unwrap();
    assert_eq!(report["last_failure"], "/value: 4.01: who are you?");
    assert_eq!(report["failures_in_a_row"], 0, "it answers");
    world.device(0).traits.always = None;
    world.run(11 * SECOND);
    assert_eq!(world.texts(0, "value"), ["1"]);
}

#[test]
fn a_large_representation_comes_in_blocks_and_after_an_echo() {
    // RFC 7959 §2.4, RFC 9175 §2.3: 5000 bytes are more than three times the request.
    let big = "resources.big = { path = '/big', name = 'b', interval = '10s' }";
    let mut world = World::new(1, FAST, 1, &Traits::default(), big);
    world.run(SECOND);
    assert_eq!(world.texts(0, "b"), ["x".repeat(5000)]);
    assert_eq!(world.failed, []);
}

#[test]
fn resources_are_found_by_their_links() {
    // RFC 6690 §4, §5
    let traits = Traits {
        links: "</value>;rt=\"x temperature-c\";ct=0,</state>;rt=temperature-c;obs,</gone>;rt=y,\
                <coap://other/value>;rt=temperature-c,</a>;anchor=\"/b\";rt=temperature-c",
        ..Traits::default()
    };
    let resources =
        "resources.all = { discover = ['rt=temperature*'], interval = '10s', observe = true }";
    let mut world = World::new(1, FAST, 2, &traits, resources);
    world.run(60 * SECOND);
    for n in 0..2 {
        assert!(world.texts(n, "value").len() >= 6);
        assert_eq!(world.texts(n, "state"), ["0", "0"], "observed, and renewed once");
    }
    assert_eq!(world.failed, []);
    // A resource that is not there any more has the links read again.
    world.device(0).traits.links = "</value2>;rt=temperature-new";
    world.device(0).traits.always = Some(Response::new(Code::NOT_FOUND));
    world.run(20 * SECOND);
    world.device(0).traits.always = None;
    world.run(700 * SECOND);
    let asked = |request: &Request| request.segments().next().map(str::to_owned);
    let last = world.device(0).log.iter().rev().take(5).filter_map(|(_, r)| asked(r));
    let last: BTreeSet<_> = last.filter(|path| path != ".well-known").collect();
    assert_eq!(last, BTreeSet::from(["value2".to_owned()]));
}

#[test]
fn links_that_no_one_wants_and_too_many_are_told() {
    let resources = "resources.all = { discover = ['rt=temperature'], interval = '10s' }";
    let traits = Traits { links: "</a>;rt=light", ..Traits::default() };
    let mut world = World::new(1, FAST, 1, &traits, resources);
    world.run(60 * SECOND);
    assert_eq!(world.reasons(), BTreeSet::from(["nothing_found"]));
    let traits = Traits { links: "this is no link", ..Traits::default() };
    let mut world = World::new(1, FAST, 1, &traits, resources);
    world.run(60 * SECOND);
    assert_eq!(world.reasons(), BTreeSet::from(["links"]));
    assert_eq!(world.device(0).log.len(), 1);
    let many: Vec<_> = (0..100).map(|n| format!("</v{n}>;rt=temperature")).collect();
    let traits = Traits { links: many.join(",").leak(), ..Traits::default() };
    let mut world = World::new(1, FAST, 1, &traits, resources);
    world.run(5 * SECOND);
    let paths: BTreeSet<_> =
        world.device(0).log.iter().flat_map(|(_, r)| r.segments().map(str::to_owned)).collect();
    assert_eq!(paths.len(), super::super::node::MAX_FOUND + 2, "and .well-known/core");
    assert!(world.reasons().contains("too_many_resources"));
}

#[test]
fn thousands_of_nodes_are_asked_evenly_over_the_interval() {
    let resources = "resources.value = { path = '/value', interval = '60s' }";
    let count = 5000;
    let mut world = World::new(1, FAST, count, &Traits::default(), resources);
    world.run(400 * SECOND);
    let mut per_second: BTreeMap<u64, u32> = BTreeMap::new();
    for (at, _) in &world.sent {
        *per_second.entry(at.as_micros() / 1_000_000).or_default() += 1;
    }
    // 83 a second on average; the first requests come in half a minute.
    let most = per_second.iter().filter(|(second, _)| **second > 60).map(|(_, count)| *count).max();
    assert!(most < Some(140), "{most:?}");
    assert!(per_second.values().all(|count| *count < 1500), "{per_second:?}");
    let per_node = world.devices.values().map(|device| device.log.len());
    assert!(per_node.clone().min() >= Some(6) && per_node.max() <= Some(8));
    assert_eq!(world.failed, []);
}

#[test]
fn nothing_is_asked_while_there_is_no_room() {
    let mut world = World::new(1, FAST, 10, &Traits::default(), VALUE);
    world.run(30 * SECOND);
    let before = world.sent.len();
    world.poller.handle_no_room(world.now, 100 * SECOND);
    world.run(99 * SECOND);
    assert_eq!(world.sent.len(), before);
    let paused = world.failed.iter().filter(|(_, _, reason)| *reason == "paused").count();
    assert_eq!(paused, 10, "each node once");
    world.run(15 * SECOND);
    assert!((0..10).all(|n| world.texts(n, "value").len() >= 4));
}

#[test]
fn nodes_come_and_go() {
    let mut world =
        World::new(1, FAST, 2, &Traits::default(), &format!("{VALUE}\n{STATE_OBSERVED}"));
    let taken =
        world.poller.handle_node_added(world.now, "n1", "coap://192.0.2.1".parse().unwrap());
    assert_eq!(taken, Err(AddError::NameTaken));
    world.run(30 * SECOND);
    assert!(world.poller.handle_node_removed(world.now, "n0"));
    assert!(!world.poller.handle_node_removed(world.now, "n0"));
    world.drain();
    let before = world.device(0).log.len();
    world.change(0);
    world.run(60 * SECOND);
    assert_eq!(world.device(0).log.len(), before);
    assert_eq!(world.texts(0, "state"), ["0"], "a notification is rejected");
    assert!(world.texts(1, "value").len() >= 9);
    world.add(0);
    world.run(5 * SECOND);
    assert_eq!(world.texts(0, "state").last(), Some(&"1"));
    world.assert_one_outcome_each();
}

#[test]
fn a_host_name_is_told_to_the_node_and_resolved_again_after_a_failure() {
    let mut world = World::new(1, FAST, 1, &Traits::default(), VALUE);
    world.poller.handle_node_added(world.now, "roof", "coap://roof.lan".parse().unwrap()).unwrap();
    world.drain();
    world.run(SECOND);
    let Lookup { node: id, host, port, turn } = world.resolve.pop().unwrap();
    assert_eq!((host.as_str(), port, turn), ("roof.lan", 5683, 0));
    world.poller.handle_resolved(world.now, id, Err("no such host".to_owned()));
    world.drain();
    assert_eq!(world.resolve, []);
    world.run(11 * SECOND);
    assert_eq!(world.resolve.pop().map(|lookup| (lookup.node, lookup.turn)), Some((id, 1)));
    world.poller.handle_resolved(world.now, id, Ok(address(0)));
    world.drain();
    world.run(15 * SECOND);
    // RFC 7252 §6.4
    let hosts = world
        .device(0)
        .log
        .iter()
        .map(|(_, r)| r.options.first(OptionNumber::URI_HOST).map(<[u8]>::to_vec));
    assert_eq!(hosts.collect::<BTreeSet<_>>(), BTreeSet::from([None, Some(b"roof.lan".to_vec())]));
    world.device(0).alive = false;
    world.run(200 * SECOND);
    assert!(world.resolve.iter().any(|lookup| lookup.node == id));
    assert!(world.reasons().contains("unresolved"));
}

#[test]
fn requests_of_others_are_answered_with_nothing() {
    let mut world = World::new(1, FAST, 1, &Traits::default(), VALUE);
    let now = world.now;
    let call = world.device(0).coap.request(now, CLIENT, Request::new(Method::Get).path("x"));
    assert!(call.is_ok());
    world.drain_device(address(0));
    world.run(SECOND);
    world.poller.handle_datagram(world.now, address(0), b"\x40");
    world.drain();
    assert_eq!(world.reasons(), BTreeSet::from(["malformed"]));
}

/// What a node costs: run each alone, with `--ignored --nocapture`.
#[test]
#[ignore = "measures memory"]
fn memory_of_a_node_that_is_read() {
    measure(VALUE);
}

#[test]
#[ignore = "measures memory"]
fn memory_of_a_node_that_is_observed() {
    measure(STATE_OBSERVED);
}

fn measure(resources: &str) {
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let before = resident();
    let count = 10_000;
    let traits = Traits { max_age: 86_400, ..Traits::default() };
    let link: CoapPollLink = toml::from_str(resources).unwrap();
    let config = PollConfig {
        max_backoff: link.max_backoff.duration(),
        max_body: 65_536,
        interval: link.interval.duration(),
    };
    let mut poller = Poller::new(&config, Wanted::all(&link), 1);
    for n in 0..count {
        let url = format!("coap://{}", address(n)).parse().unwrap();
        poller.handle_node_added(Instant::ZERO, &format!("node-{n:05}"), url).unwrap();
    }
    let added = resident();
    let mut server = device(1, traits);
    let mut now = Instant::ZERO;
    while now < Instant::ZERO + 120 * SECOND {
        match poller.poll_output() {
            Output::Transmit { to, datagram } => {
                // One server plays all of them: only its answer matters.
                server.coap.handle_datagram(now, to, &datagram, Delivery::Unicast);
                loop {
                    match server.coap.poll_output() {
                        NodeOutput::Event(proto::coap::NodeEvent::Request {
                            ask, request, ..
                        }) => {
                            answer(&mut server, now, ask, &request);
                        }
                        NodeOutput::Transmit { to, datagram } => {
                            poller.handle_datagram(now, to, &datagram);
                        }
                        NodeOutput::Event(_) => {}
                        NodeOutput::Wait(_) => break,
                    }
                }
            }
            Output::Wait(Some(at)) => {
                now = now.max(at);
                poller.handle_timeout(now);
            }
            Output::Wait(None) => break,
            Output::Resolve(_)
            | Output::Content(_)
            | Output::OfOrder(_)
            | Output::Watched(..)
            | Output::Failed { .. } => {}
        }
    }
    let asked = poller.stats().answered;
    let served = resident();
    println!(
        "{} bytes a node when added, {} after {asked} answers, with the test's server",
        (added - before) / count,
        (served - before) / count,
    );
}
