//! Nodes and a gateway over a bad network in virtual time, with restarts on both sides and with an
//! attacker who sends again what was sent. A failing run names its seed.

use alloc::collections::BTreeSet;

use super::*;
use crate::Rng;
use crate::impair::{Network, Profile};

const GATEWAY: usize = 0;
const NODES: usize = 3;
const REPORTS: u64 = 30;
/// When nodes have made all reports, and nothing restarts any more.
const CALM: Duration = Duration::from_secs(600);
/// When everything that is still kept has to have arrived.
const END: Duration = Duration::from_secs(3600);

const BAD: Profile = Profile {
    loss: 0.2,
    duplicate: 0.1,
    corrupt: 0.05,
    truncate: 0.0,
    delay_min: Duration::from_millis(5),
    delay_max: Duration::from_millis(4000),
};

#[derive(Clone, Copy)]
struct Scenario {
    profile: Profile,
    authenticated: bool,
    /// Times that a node or the gateway starts again.
    restarts: u64,
    /// Chance that a frame is recorded and sent again much later.
    replay: f64,
    /// Chance that the store has no room.
    full: f64,
}

struct Peer {
    node: Node,
    started: Instant,
    epoch: u32,
    /// The value of each report that is open.
    open: BTreeMap<ReportId, i64>,
}

struct World {
    seed: u64,
    scenario: Scenario,
    now: Instant,
    rng: Rng,
    network: Network<usize>,
    gateway: Gateway<usize>,
    peers: Vec<Peer>,
    /// On disk: what identifies it, and its value.
    stored: Vec<(Ticket, i64)>,
    /// What the gateway keeps over its restarts beside that: it is a little old.
    saved: BTreeMap<u32, Replay>,
    committing: BTreeMap<Instant, Vec<(Ticket, i64)>>,
    acknowledged: BTreeSet<i64>,
    /// What died with a node.
    forgotten: BTreeSet<i64>,
    recorded: Vec<(Instant, usize, usize, Vec<u8>)>,
    plan: BTreeMap<(Instant, u64), Step>,
    lost: u64,
}

enum Step {
    Report(usize),
    RestartNode(usize),
    RestartGateway,
}

impl World {
    fn new(seed: u64, scenario: Scenario) -> Self {
        let mut rng = Rng::new(seed);
        let mut plan = BTreeMap::new();
        let calm = |rng: &mut Rng| Instant::ZERO + rng.duration(Duration::ZERO, CALM);
        for n in 0..REPORTS * NODES as u64 {
            plan.insert((calm(&mut rng), n), Step::Report(1 + n as usize % NODES));
        }
        for n in 0..scenario.restarts {
            let step = match n % 2 {
                0 => Step::RestartGateway,
                _ => Step::RestartNode(1 + rng.below(NODES as u64) as usize),
            };
            plan.insert((calm(&mut rng), 1000 + n), step);
        }
        let mut world = Self {
            seed,
            scenario,
            now: Instant::ZERO,
            network: Network::new(scenario.profile, rng.next_u64()),
            rng,
            gateway: Gateway::new(GatewayConfig::default()),
            peers: Vec::new(),
            stored: Vec::new(),
            saved: BTreeMap::new(),
            committing: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            recorded: Vec::new(),
            plan,
            lost: 0,
        };
        world.gateway = world.new_gateway();
        for at in 1..=NODES {
            let node = world.new_node(at, 1);
            let started = Instant::ZERO;
            world.peers.push(Peer { node, started, epoch: 1, open: BTreeMap::new() });
        }
        world
    }

    fn new_gateway(&self) -> Gateway<usize> {
        match self.scenario.authenticated {
            true => Gateway::with_keys(GatewayConfig::default(), keys(1..=NODES as u32)),
            false => Gateway::new(GatewayConfig::default()),
        }
    }

    fn new_node(&mut self, at: usize, epoch: u32) -> Node {
        let mut config = NodeConfig::new(at as u32, epoch, channels());
        config.key = self.scenario.authenticated.then(|| key(at as u32));
        config.window = 1 + self.rng.below(32) as u16;
        let mut node = Node::new(config, self.rng.next_u64());
        node.handle_timeout(Instant::ZERO);
        node
    }

    /// A node's clock begins when it starts.
    fn local(&self, at: usize) -> Instant {
        Instant::ZERO + (self.now - self.peers[at - 1].started)
    }

    fn run(&mut self) {
        for at in 1..=NODES {
            self.drain_node(at);
        }
        while let Some(at) = self.next_at().filter(|at| *at < Instant::ZERO + END) {
            self.now = self.now.max(at);
            if self.now >= Instant::ZERO + CALM {
                self.network.set_profile(Profile::PERFECT);
            }
            while let Some(entry) =
                self.plan.first_entry().filter(|entry| entry.key().0 <= self.now)
            {
                let step = entry.remove();
                self.step(step);
            }
            while let Some(due) = self.committing.first_entry().filter(|due| *due.key() <= self.now)
            {
                let due = due.remove();
                self.commit(due);
            }
            let due = self.recorded.extract_if(.., |(at, ..)| *at <= self.now);
            for (_, from, to, frame) in due.collect::<Vec<_>>() {
                self.network.handle_send(self.now, from, to, &frame);
            }
            while let Some(datagram) = self.network.poll_delivery(self.now) {
                if datagram.to == GATEWAY {
                    self.gateway.handle_frame(self.now, WALL, datagram.from, &datagram.bytes);
                    self.drain_gateway();
                } else {
                    let local = self.local(datagram.to);
                    self.peers[datagram.to - 1].node.handle_frame(local, &datagram.bytes);
                    self.drain_node(datagram.to);
                }
            }
            for at in 1..=NODES {
                let local = self.local(at);
                self.peers[at - 1].node.handle_timeout(local);
                self.drain_node(at);
            }
        }
    }

    fn next_at(&mut self) -> Option<Instant> {
        let nodes = (1..=NODES).filter_map(|at| {
            let peer = &mut self.peers[at - 1];
            match peer.node.poll_output() {
                NodeOutput::Wait(until) => {
                    until.map(|until| peer.started + (until - Instant::ZERO))
                }
                output => panic!("seed {}: not drained: {output:?}", self.seed),
            }
        });
        let others = [
            self.network.next_at(),
            self.plan.keys().next().map(|(at, _)| *at),
            self.committing.keys().next().copied(),
            self.recorded.iter().map(|(at, ..)| *at).min(),
        ];
        nodes.chain(others.into_iter().flatten()).min()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Report(at) => {
                let value = self.rng.next_u64() as i64 >> 8;
                let local = self.local(at);
                let peer = &mut self.peers[at - 1];
                let id = peer.node.report(local, &[(2, value)]).unwrap();
                peer.open.insert(id, value);
                self.drain_node(at);
            }
            Step::RestartNode(at) => {
                let node = self.new_node(at, self.peers[at - 1].epoch + 1);
                let peer = &mut self.peers[at - 1];
                let open = core::mem::take(&mut peer.open);
                *peer =
                    Peer { node, started: self.now, epoch: peer.epoch + 1, open: BTreeMap::new() };
                self.forgotten.extend(open.into_values());
                self.drain_node(at);
            }
            Step::RestartGateway => {
                // Of what was being committed a part reached the disk, and nobody was told.
                for (ticket, value) in core::mem::take(&mut self.committing).into_values().flatten()
                {
                    if self.rng.chance(0.5) {
                        self.stored.push((ticket, value));
                    }
                }
                let mut replays = self.saved.clone();
                for (ticket, _) in &self.stored {
                    let replay = replays.entry(ticket.device).or_insert(Replay::new(0));
                    replay.add(ticket.epoch, ticket.sequence);
                }
                self.gateway = self.new_gateway();
                for (device, replay) in replays {
                    self.gateway.restore(self.now, device, replay);
                }
            }
        }
    }

    fn commit(&mut self, batch: Vec<(Ticket, i64)>) {
        for (ticket, value) in batch {
            if self.rng.chance(self.scenario.full) {
                self.gateway.handle_refused(ticket, 3 * SECOND);
            } else {
                self.stored.push((ticket, value));
                self.gateway.handle_durable(ticket);
            }
        }
        self.saved = self.gateway.replays().collect();
        self.drain_gateway();
    }

    fn drain_node(&mut self, at: usize) {
        loop {
            let peer = &mut self.peers[at - 1];
            match peer.node.poll_output() {
                NodeOutput::Transmit(frame) => self.send(at, GATEWAY, &frame),
                NodeOutput::Event(NodeEvent::Acknowledged(id)) => {
                    let value = peer.open.remove(&id).expect("once");
                    let copies = self.stored.iter().filter(|(_, stored)| *stored == value).count();
                    assert_eq!(copies, 1, "seed {}: acknowledged", self.seed);
                    self.acknowledged.insert(value);
                }
                NodeOutput::Event(NodeEvent::Epoch(epoch)) => peer.epoch = epoch,
                NodeOutput::Event(NodeEvent::Malformed(_) | NodeEvent::Time { .. }) => {}
                NodeOutput::Event(event) => panic!("seed {}: {event:?}", self.seed),
                NodeOutput::Wait(_) => return,
            }
        }
    }

    fn drain_gateway(&mut self) {
        loop {
            match self.gateway.poll_output() {
                GatewayOutput::Transmit { peer, frame } => self.send(GATEWAY, peer, &frame),
                GatewayOutput::Event(GatewayEvent::Report(report)) => {
                    let value = i64::try_from(report.values[0].value.mantissa()).unwrap();
                    let at = self.now + self.rng.duration(Duration::ZERO, 2 * SECOND);
                    self.committing.entry(at).or_default().push((report.ticket, value));
                }
                GatewayOutput::Event(GatewayEvent::Lost { reports, .. }) => {
                    self.lost += u64::from(reports);
                }
                GatewayOutput::Event(_) => {}
                GatewayOutput::Wait(_) => return,
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, frame: &[u8]) {
        self.network.handle_send(self.now, from, to, frame);
        if self.rng.chance(self.scenario.replay) {
            let at = self.now + self.rng.duration(SECOND, CALM);
            self.recorded.push((at, from, to, frame.to_vec()));
        }
    }

    /// Whatever happened: acknowledged is stored, nothing is stored twice, and all that did not die
    /// with its node has arrived.
    fn check(&self) {
        let seed = self.seed;
        let tickets: BTreeSet<_> = self.stored.iter().map(|(ticket, _)| ticket).collect();
        assert_eq!(tickets.len(), self.stored.len(), "seed {seed}: a ticket twice");
        let values: BTreeSet<_> = self.stored.iter().map(|(_, value)| value).collect();
        assert_eq!(values.len(), self.stored.len(), "seed {seed}: a value twice");
        assert!(self.acknowledged.iter().all(|value| values.contains(value)), "seed {seed}");
        let open: usize = self.peers.iter().map(|peer| peer.open.len()).sum();
        assert_eq!(open, 0, "seed {seed}: not acknowledged at the end");
        let all = self.acknowledged.len() + self.forgotten.len();
        assert_eq!(all as u64, REPORTS * NODES as u64, "seed {seed}");
        assert_eq!(self.lost, 0, "seed {seed}: nobody gave up a report");
    }
}

fn play(seeds: core::ops::Range<u64>, scenario: Scenario) {
    for seed in seeds {
        let mut world = World::new(seed, scenario);
        world.run();
        world.check();
    }
}

const CALM_HANDS: Scenario =
    Scenario { profile: BAD, authenticated: false, restarts: 0, replay: 0.0, full: 0.0 };

#[test]
fn everything_arrives_once_over_a_bad_network() {
    play(0..700, Scenario { full: 0.1, ..CALM_HANDS });
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_doubled_over_restarts_of_both_sides() {
    play(1000..2000, Scenario { restarts: 8, full: 0.1, ..CALM_HANDS });
}

#[test]
fn frames_that_an_attacker_sends_again_change_nothing() {
    let profile = Profile { truncate: 0.05, ..BAD };
    let scenario = Scenario { profile, authenticated: true, restarts: 8, replay: 0.3, full: 0.1 };
    play(3000..3600, scenario);
}
