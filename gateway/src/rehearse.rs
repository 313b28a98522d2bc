//! `gateway rehearse`: an operator's own configuration, the fleets and faults of a scenario and a
//! simulated broker in one process and in virtual time.
//!
//! ```text
//! devices ─ impaired ways ─► sources ─► intake ─► store ─► deliveries ─ pipes ─► simulated brokers
//!    └───────── sent, acknowledged ──► ledger ◄───────────────────── recorded ─────┘
//! ```
//!
//! Everything that decides is the gateway's own: framers, decoders, the CoAP node, routes, the store
//! with its file and its thread, deliveries and sessions. Without sockets and tasks, they go on by the
//! step, in a [loop](Stage::play) that goes from one thing that is due to the next. What happens at one
//! instant is settled before time goes on: a batch is committed, its readings published, and what
//! acknowledges them acknowledged. So the network and the disk take no time, unless a fault says so.
//!
//! # The same seed, the same bytes
//!
//! Time is that of the loop ([`clock::rehearse`]). The storage thread is waited for at each step. What
//! is random comes from the seed of the scenario. Nothing iterates in an order that changes.
//!
//! # What a kill is
//!
//! Everything but the files is dropped, nothing is saved, and the store is opened again.

mod far_end;
mod pipe;
mod player;
mod site;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use device_sim::Via;
use device_sim::broker::topic;
use device_sim::device::Device;
use device_sim::fault::{Change, Effect, Fault, FaultPlan, Place};
use device_sim::ledger::{Arrival, Ledger, Limits};
use device_sim::report::{Plan, Recorder, Report, SharedRecorder};
use device_sim::scenario::{Planned, Scenario};
use proto::{Instant, Rng, Timestamp};

use self::far_end::FarEnd;
use self::player::{Part, Player};
use self::site::Site;
use self::ways::Ways;
use crate::clock::{self, Metronome};
use crate::config::{Config, Id};
use crate::demo::Folder;
use crate::source::LINE;
use crate::store::StoreError;

/// What the clocks show at the start of a scenario that does not say it: 2026-01-01T00:00:00Z.
const START: Timestamp = Timestamp::from_nanos(1_767_225_600_000_000_000);
/// How long devices wait for answers at the end.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long second copies are waited for when everything has arrived.
const LINGER: Duration = Duration::from_millis(500);
/// How often the store does what is due without readings that arrive.
const STORE_TICK: Duration = Duration::from_secs(1);
/// The shortest step where what is due does not say that it is over.
const STEP: Duration = Duration::from_millis(1);
/// The part of a run for which a delivered reading keeps its row in the ledger.
const GRACE_SHARE: u32 = 16;
const SHORTEST_GRACE: Duration = Duration::from_secs(10);
/// Readings that are on their way at a time, of some 200 bytes each.
const MAX_ROWS: usize = 8_000_000;
/// The port that devices send from.
const PORT: u16 = 40_000;
/// The first address of a device, where the source does not say whom it listens to.
const FIRST_ADDRESS: u32 = u32::from_be_bytes([10, 0, 0, 1]);

/// Why there is no rehearsal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RehearseError {
    #[error("the scenario and the configuration do not fit together:\n  {}", .0.join("\n  "))]
    Unplayable(Vec<String>),
    #[error("cannot make a private folder in {0}; set TMPDIR to a folder that can be written")]
    Folder(String, #[source] io::Error),
    #[error("the clock of this process is taken")]
    Clock,
    #[error("no device is called `{0}`; names are those of `id` in the fleets of the scenario")]
    NoDevice(String),
    #[error(
        "more than {MAX_ROWS} readings are on their way at a time, which a rehearsal cannot follow: \
         play fewer devices, or a shorter outage"
    )]
    TooMany,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RehearseError {
    /// Whether the scenario or the configuration has to be changed.
    pub(crate) const fn is_of_config(&self) -> bool {
        matches!(self, Self::Unplayable(_) | Self::NoDevice(_) | Self::TooMany)
    }
}

/// What whoever rehearses chooses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The file of the scenario, as the report calls it.
    pub(crate) file: String,
    /// The words of the command that plays it, but for its seed.
    pub(crate) command: Vec<String>,
    /// The only device that is played.
    pub(crate) only: Option<String>,
}

/// Plays `scenario`.
///
/// # Errors
/// When it cannot be played with this configuration, or the store fails.
pub(crate) async fn rehearse(
    config: &Config,
    scenario: &Scenario,
    options: Options,
) -> Result<Report, RehearseError> {
    let ways = Ways::find(config, scenario).map_err(RehearseError::Unplayable)?;
    let start = scenario.start.unwrap_or(START);
    let metronome = clock::rehearse(start).ok_or(RehearseError::Clock)?;
    let folder = Folder::make("gateway-rehearsal")
        .map_err(|(parent, source)| RehearseError::Folder(parent.display().to_string(), source))?;
    let mut seeds = Rng::new(scenario.seed);
    let plan = FaultPlan::new(scenario.faults.clone(), seeds.next_u64(), scenario.duration);
    let recorder = SharedRecorder::new(Recorder::new(Plan {
        scenario: scenario.name.clone(),
        file: options.file,
        command: options.command,
        seed: scenario.seed,
        shard: None,
        duration: scenario.duration,
        spans: plan.spans(),
        late_after: scenario.settle(),
        thresholds: scenario.thresholds.clone(),
    }));
    let grace = (scenario.duration / GRACE_SHARE).max(SHORTEST_GRACE);
    let mut ledger = Ledger::new(Limits { grace, max_rows: MAX_ROWS });
    ledger.observe(Box::new(recorder.clone()));
    let mut players = Vec::new();
    let is_asked = |id: &str| options.only.as_ref().is_none_or(|only| only == id);
    for planned in scenario.planned(None, start).filter(|planned| is_asked(&planned.device.id)) {
        recorder.with(|seen| seen.enrol(&planned.device.id, &planned.fleet, planned.via));
        players.extend(player(config, scenario, &ways, &plan, players.len(), planned));
    }
    if let (Some(only), true) = (options.only, players.is_empty()) {
        return Err(RehearseError::NoDevice(only));
    }
    let mut site = Site::new(config, folder.path(), seeds.next_u64());
    site.figures.sources = ways.by_fleet();
    let far_ends =
        config.brokers.keys().map(|id| (id.clone(), FarEnd::new(seeds.next_u64()))).collect();
    let peers = players.iter().enumerate().map(|(index, player)| (player.peer(), index)).collect();
    let agenda =
        players.iter().enumerate().map(|(index, player)| (player.poll_timeout(), index)).collect();
    let stage = Stage {
        scenario,
        watched: ways.far_end,
        metronome,
        plan,
        site,
        far_ends,
        players,
        peers,
        agenda,
        ledger,
        is_frozen: false,
        ticked: Instant::ZERO,
    };
    let rehearsal = stage.play().await?;
    let mut report = recorder.with(|recorder| recorder.report(None));
    report.rehearsal = Some(rehearsal);
    Ok(report)
}

/// A device with its way, if there is a source for it.
fn player(
    config: &Config,
    scenario: &Scenario,
    ways: &Ways,
    plan: &FaultPlan,
    index: usize,
    planned: Planned,
) -> Option<Player> {
    let Planned { fleet, number, via, device, payload, seed, .. } = planned;
    let source = ways.source_of(&fleet, number)?.clone();
    let place = Place::Fleet(fleet.parse().ok()?);
    let is_impaired = scenario.faults.iter().any(|fault| fault.on == place);
    let path = scenario.target.address_of(via).1.map(|address| address.path());
    let path = path.filter(|path| !path.is_empty()).unwrap_or("r");
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let address = match config.sources.get(&source)?.link.allow().first() {
        Some(network) => network.host(index),
        None => IpAddr::V4(Ipv4Addr::from(FIRST_ADDRESS.wrapping_add(index))),
    };
    // Beyond what a network has room for, devices share addresses.
    let port = PORT.wrapping_add(u16::try_from(index % 20_000).unwrap_or(0));
    let peer = if via == Via::Serial { LINE } else { (address, port).into() };
    Some(Player::new(Part {
        device: Device::new(device),
        via,
        payload,
        peer,
        source,
        path: path.to_owned(),
        seed,
        accidents: is_impaired.then(|| plan.seed_of(&place, number)),
        fleet,
    }))
}

/// Everything that takes part.
struct Stage<'a> {
    scenario: &'a Scenario,
    /// The broker that is looked at.
    watched: Id,
    metronome: Metronome,
    plan: FaultPlan,
    site: Site<'a>,
    far_ends: BTreeMap<Id, FarEnd>,
    players: Vec<Player>,
    peers: BTreeMap<SocketAddr, usize>,
    /// When which device has something to do.
    agenda: BTreeSet<(Instant, usize)>,
    ledger: Ledger,
    /// Whether the gateway stands still.
    is_frozen: bool,
    ticked: Instant,
}

impl Stage<'_> {
    /// Goes from one thing that is due to the next, to the end.
    async fn play(mut self) -> Result<device_sim::report::Rehearsal, RehearseError> {
        self.site.start().await?;
        // The brokers are connected before the first device sends.
        self.settle(Instant::ZERO).await?;
        let end = Instant::ZERO + self.scenario.duration;
        let give_up = end + PATIENCE;
        let (mut stop, mut is_lingering) = (give_up + self.scenario.settle(), false);
        let (mut now, mut is_sending, mut is_waiting) = (Instant::ZERO, true, true);
        loop {
            self.metronome.advance(now);
            self.tick(now).await?;
            self.change(now).await?;
            if is_sending && now >= end {
                is_sending = false;
                self.players.iter_mut().for_each(Player::stop);
                self.reschedule_all();
            }
            if is_waiting && now >= give_up {
                is_waiting = false;
                for player in &mut self.players {
                    player.give_up(now, &mut self.ledger);
                }
            }
            self.handle_devices(now);
            self.settle(now).await?;
            if self.ledger.is_full() {
                return Err(RehearseError::TooMany);
            }
            if now >= end && !is_lingering && self.ledger.is_settled() {
                (stop, is_lingering) = (stop.min(now + LINGER), true);
            }
            let border = if now < end {
                end
            } else if now < give_up {
                give_up
            } else {
                stop
            };
            if now >= stop {
                break;
            }
            let next = self.poll_timeout().min(border).min(stop);
            now = if next > now { next } else { now + STEP };
        }
        self.finish(now).await
    }

    async fn finish(
        mut self,
        now: Instant,
    ) -> Result<device_sim::report::Rehearsal, RehearseError> {
        // What a gateway that is dead at the end has on disk counts all the same.
        if self.site.running().is_none() {
            self.site.start().await?;
            self.site.figures.starts -= 1;
        }
        self.site.stop().await?;
        if self.scenario.verify.is_some() {
            self.ledger.finish(now);
        }
        let mut figures = self.site.figures;
        for (id, far_end) in self.far_ends {
            figures.drained.extend(far_end.into_drained(id.as_str()));
        }
        Ok(figures)
    }

    fn poll_timeout(&mut self) -> Instant {
        let device = self.agenda.first().map_or(Instant::FAR_FUTURE, |(at, _)| *at);
        let far_ends = self.far_ends.values().map(FarEnd::poll_timeout).min();
        let gateway = match (self.is_frozen, self.site.running()) {
            (false, Some(running)) => running.poll_timeout(),
            _ => Instant::FAR_FUTURE,
        };
        device
            .min(far_ends.unwrap_or(Instant::FAR_FUTURE))
            .min(gateway)
            .min(self.plan.poll_timeout())
    }

    /// Lets the store do what it does every second.
    async fn tick(&mut self, now: Instant) -> Result<(), RehearseError> {
        if now.saturating_since(self.ticked) < STORE_TICK || self.is_frozen {
            return Ok(());
        }
        self.ticked = now;
        if let Some(running) = self.site.running() {
            running.spool.tick();
            running.spool.settle().await?;
        }
        Ok(())
    }

    /// Begins and ends the faults that are due.
    async fn change(&mut self, now: Instant) -> Result<(), RehearseError> {
        let mut changes = Vec::new();
        while let Some(Change { begins, fault, .. }) = self.plan.poll_change(now) {
            changes.push((begins, fault.clone()));
        }
        for (begins, fault) in changes {
            self.apply(now, begins, &fault).await?;
        }
        Ok(())
    }

    async fn apply(
        &mut self,
        now: Instant,
        begins: bool,
        fault: &Fault,
    ) -> Result<(), RehearseError> {
        match (&fault.effect, begins) {
            (Effect::Network(_), _) => {
                let impairment = self.plan.impairment(now, &fault.on);
                match &fault.on {
                    Place::Fleet(name) => {
                        let of_fleet =
                            self.players.iter_mut().filter(|p| p.fleet() == name.as_str());
                        of_fleet.for_each(|player| player.set_impairment(impairment));
                    }
                    Place::Broker => {
                        if let Some(far_end) = self.far_ends.get_mut(&self.watched) {
                            far_end.set_impairment(impairment);
                        }
                    }
                    Place::Gateway | Place::Serial(_) => {}
                }
            }
            (Effect::Refuse, begins) => {
                if let Some(far_end) = self.far_ends.get_mut(&self.watched) {
                    far_end.refuses = begins;
                }
            }
            (Effect::Cut, _) => {
                let running = self.site.running();
                let near = running.and_then(|running| running.brokers.get_mut(&self.watched));
                if let (Some(far_end), Some(near)) = (self.far_ends.get_mut(&self.watched), near) {
                    far_end.handle_gone(now).await;
                    if near.is_connected() {
                        near.handle_closed().await?;
                    }
                }
            }
            (Effect::Broker(switch), begins) => {
                if let Some(far_end) = self.far_ends.get_mut(&self.watched) {
                    let switch = if begins { Some(&switch.on) } else { switch.off.as_ref() };
                    switch.into_iter().for_each(|switch| switch.apply(far_end.faults()));
                    far_end.handle_timeout(now).await;
                }
            }
            (Effect::Kill, true) => {
                self.site.kill().await?;
                self.part(now).await;
            }
            (Effect::Kill, false) => self.site.start().await?,
            (Effect::Restart, _) => {
                self.site.stop().await?;
                self.part(now).await;
                self.site.start().await?;
            }
            (Effect::Stop, begins) => self.is_frozen = begins,
            (Effect::ClockStep(skew), _) => self.metronome.step(skew.nanos()),
            // Refused before.
            (Effect::Unplug | Effect::DiskFull { .. }, _) => {}
        }
        Ok(())
    }

    /// The gateway is gone, and every connection with it.
    async fn part(&mut self, now: Instant) {
        for far_end in self.far_ends.values_mut() {
            far_end.handle_gone(now).await;
        }
        for player in &mut self.players {
            player.handle_gone(now, &mut self.ledger);
        }
        self.reschedule_all();
    }

    fn reschedule_all(&mut self) {
        let players = self.players.iter().enumerate();
        self.agenda = players.map(|(index, player)| (player.poll_timeout(), index)).collect();
    }

    /// Lets devices send what is due.
    fn handle_devices(&mut self, now: Instant) {
        while let Some((_, index)) = self.agenda.pop_first_if_due(now) {
            let is_there = self.site.running().is_some();
            if let Some(player) = self.players.get_mut(index) {
                player.handle_timeout(now, &mut self.ledger, is_there);
                self.agenda.insert((player.poll_timeout(), index));
            }
            self.hand_over(index);
        }
    }

    /// Gives what a device has written to its source.
    fn hand_over(&mut self, index: usize) {
        let Some(player) = self.players.get_mut(index) else { return };
        while let Some(bytes) = player.poll_bytes() {
            let running = self.site.running();
            let source = running.and_then(|running| running.sources.get_mut(player.source()));
            if let Some(source) = source {
                source.handle_bytes(player.peer(), bytes);
            }
        }
    }

    /// Lets the gateway, its devices and its brokers go on until nothing moves any more.
    async fn settle(&mut self, now: Instant) -> Result<(), RehearseError> {
        loop {
            let mut has_moved = false;
            let mut answers = Vec::new();
            match (self.is_frozen, self.site.running()) {
                (false, Some(running)) => {
                    for source in running.sources.values_mut() {
                        has_moved |= source.step();
                    }
                    has_moved |= running.intake.step().await?;
                    for source in running.sources.values_mut() {
                        has_moved |= source.step();
                        answers.extend(source.poll_answers());
                    }
                    for (id, near) in &mut running.brokers {
                        if let Some(far_end) = self.far_ends.get_mut(id) {
                            has_moved |= far_end.exchange(now, near, &running.spool).await?;
                        }
                    }
                }
                _ => {
                    for far_end in self.far_ends.values_mut() {
                        far_end.handle_timeout(now).await;
                    }
                }
            }
            self.site.observe();
            for (peer, bytes) in answers {
                let Some(&index) = self.peers.get(&peer) else { continue };
                let Some(player) = self.players.get_mut(index) else { continue };
                self.agenda.remove(&(player.poll_timeout(), index));
                player.handle_answer(now, &bytes, &mut self.ledger);
                self.agenda.insert((player.poll_timeout(), index));
                self.hand_over(index);
                has_moved = true;
            }
            self.watch(now);
            if !has_moved {
                return Ok(());
            }
        }
    }

    /// Tells the ledger what has arrived at the broker that is looked at.
    fn watch(&mut self, now: Instant) {
        let filter = self.scenario.verify.as_ref().map(|verify| verify.topic.as_str());
        for (id, far_end) in &mut self.far_ends {
            let recorded = far_end.take_recorded();
            if *id != self.watched {
                continue;
            }
            for message in recorded {
                if filter.is_some_and(|filter| topic::matches(filter, &message.topic))
                    && let Ok(arrival) = Arrival::from_json(&message.payload)
                {
                    self.ledger.handle_arrived(now, &arrival);
                }
            }
        }
    }
}

/// What is due first.
trait Due {
    fn pop_first_if_due(&mut self, now: Instant) -> Option<(Instant, usize)>;
}

impl Due for BTreeSet<(Instant, usize)> {
    fn pop_first_if_due(&mut self, now: Instant) -> Option<(Instant, usize)> {
        self.first().filter(|(at, _)| *at <= now)?;
        self.pop_first()
    }
}
