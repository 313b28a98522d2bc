//! The loop of a rehearsal: from one thing that is due to the next, and what happens at one instant
//! until nothing moves any more.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use device_sim::broker::topic;
use device_sim::fault::FaultPlan;
use device_sim::ledger::{Arrival, Ledger};
use device_sim::report::Rehearsal;
use device_sim::scenario::Scenario;
use device_sim::transport::PATIENCE;
use proto::Instant;

use super::RehearseError;
use super::far_end::FarEnd;
use super::player::Player;
use super::site::Site;
use crate::clock::Metronome;
use crate::config::Id;
use crate::source::Signal;

/// How long second copies are waited for when everything has arrived.
const LINGER: Duration = Duration::from_millis(500);
/// How often the store does what is due without readings that arrive.
const STORE_TICK: Duration = Duration::from_secs(1);
/// The shortest step where what is due does not say that it is over.
const STEP: Duration = Duration::from_millis(1);

/// Who takes part.
pub(super) struct Cast<'a> {
    pub(super) site: Site<'a>,
    pub(super) far_ends: BTreeMap<Id, FarEnd>,
    /// The broker that is looked at.
    pub(super) watched: Id,
    pub(super) players: Vec<Player>,
    pub(super) ledger: Ledger,
}

/// Where it is played.
pub(super) struct Stage<'a> {
    scenario: &'a Scenario,
    metronome: Metronome,
    plan: FaultPlan,
    cast: Cast<'a>,
    /// Who sends to which source, from where.
    peers: BTreeMap<Id, BTreeMap<SocketAddr, usize>>,
    /// When which device has something to do.
    agenda: BTreeSet<(Instant, usize)>,
    /// Whether the gateway stands still.
    is_frozen: bool,
    ticked: Instant,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        metronome: Metronome,
        plan: FaultPlan,
        cast: Cast<'a>,
    ) -> Self {
        let mut peers = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (index, player) in cast.players.iter().enumerate() {
            peers.entry(player.source().clone()).or_default().insert(player.peer(), index);
        }
        let (agenda, ticked) = (BTreeSet::new(), Instant::ZERO);
        let mut stage =
            Self { scenario, metronome, plan, cast, peers, agenda, is_frozen: false, ticked };
        stage.reschedule_all();
        stage
    }

    /// Goes from one thing that is due to the next, to the end.
    pub(super) async fn play(mut self) -> Result<Rehearsal, RehearseError> {
        self.cast.site.start().await?;
        // The brokers are connected before the first device sends.
        self.settle(Instant::ZERO).await?;
        let end = Instant::ZERO + self.scenario.duration;
        let give_up = end + PATIENCE;
        let (mut stop, mut is_lingering) = (give_up + self.scenario.settle(), false);
        let (mut now, mut is_sending, mut is_waiting) = (Instant::ZERO, true, true);
        loop {
            self.metronome.advance(now);
            self.tick(now).await?;
            if is_sending && now >= end {
                is_sending = false;
                self.cast.players.iter_mut().for_each(Player::stop);
                self.end_faults(now).await?;
            } else if is_sending {
                self.change(now).await?;
            }
            if is_waiting && now >= give_up {
                is_waiting = false;
                for player in &mut self.cast.players {
                    player.give_up(now, &mut self.cast.ledger);
                }
            }
            self.handle_devices(now);
            self.settle(now).await?;
            if self.cast.ledger.is_full() {
                return Err(RehearseError::TooMany);
            }
            if now >= end && !is_lingering && self.cast.ledger.is_settled() {
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
            let next = self.poll_timeout(is_sending).min(border).min(stop);
            now = if next > now { next } else { now + STEP };
        }
        self.finish(now).await
    }

    async fn finish(mut self, now: Instant) -> Result<Rehearsal, RehearseError> {
        self.cast.site.stop().await?;
        if self.scenario.verify.is_some() {
            self.cast.ledger.finish(now);
        }
        let mut figures = self.cast.site.figures;
        for (id, far_end) in self.cast.far_ends {
            figures.drained.extend(far_end.into_drained(id.as_str()));
        }
        Ok(figures)
    }

    fn poll_timeout(&mut self, is_sending: bool) -> Instant {
        let device = self.agenda.first().map_or(Instant::FAR_FUTURE, |(at, _)| *at);
        let far_ends = self.cast.far_ends.values().map(FarEnd::poll_timeout).min();
        let gateway = match (self.is_frozen, self.cast.site.running()) {
            (false, Some(running)) => running.poll_timeout(),
            _ => Instant::FAR_FUTURE,
        };
        let change = if is_sending { self.plan.poll_timeout() } else { Instant::FAR_FUTURE };
        device.min(far_ends.unwrap_or(Instant::FAR_FUTURE)).min(gateway).min(change)
    }

    /// Lets the store do what it does every second.
    async fn tick(&mut self, now: Instant) -> Result<(), RehearseError> {
        if now.saturating_since(self.ticked) < STORE_TICK || self.is_frozen {
            return Ok(());
        }
        self.ticked = now;
        if let Some(running) = self.cast.site.running() {
            running.spool.tick();
            running.spool.settle().await?;
        }
        Ok(())
    }

    fn reschedule_all(&mut self) {
        let players = self.cast.players.iter().enumerate();
        self.agenda = players.map(|(index, player)| (player.poll_timeout(), index)).collect();
    }

    /// Lets devices send what is due.
    fn handle_devices(&mut self, now: Instant) {
        while let Some((_, index)) = self.agenda.pop_first_if_due(now) {
            let Cast { site, players, ledger, .. } = &mut self.cast;
            let Some(player) = players.get_mut(index) else { continue };
            let source = site.running().and_then(|r| r.sources.get_mut(player.source()));
            if source.as_ref().is_some_and(|source| source.has_read_all()) {
                player.handle_read();
            }
            player.handle_timeout(now, ledger, source.is_some());
            self.agenda.insert((player.poll_timeout(), index));
            self.hand_over(now, index);
        }
    }

    /// Tells a source what a device has for it.
    fn hand_over(&mut self, now: Instant, index: usize) {
        let Cast { site, players, ledger, .. } = &mut self.cast;
        let Some(player) = players.get_mut(index) else { return };
        let before = player.poll_timeout();
        while let Some(signal) = player.poll_signal(now) {
            let Some(running) = site.running() else { continue };
            let Some(source) = running.sources.get_mut(player.source()) else { continue };
            let connects = signal == Signal::Connected;
            match source.handle_signal(player.peer(), signal) {
                true if connects => player.handle_accepted(),
                true => {}
                false => player.handle_gone(now, ledger),
            }
        }
        self.agenda.remove(&(before, index));
        self.agenda.insert((player.poll_timeout(), index));
    }

    /// Lets the gateway, its devices and its brokers go on until nothing moves any more.
    async fn settle(&mut self, now: Instant) -> Result<(), RehearseError> {
        loop {
            let mut has_moved = false;
            match (self.is_frozen, self.cast.site.running()) {
                (false, Some(running)) => {
                    for source in running.sources.values_mut() {
                        has_moved |= source.step();
                    }
                    has_moved |= running.intake.step().await?;
                    for (id, near) in &mut running.brokers {
                        if let Some(far_end) = self.cast.far_ends.get_mut(id) {
                            has_moved |= far_end.exchange(now, near, &running.spool).await?;
                        }
                    }
                    has_moved |= self.answer(now);
                }
                _ => {
                    for far_end in self.cast.far_ends.values_mut() {
                        far_end.handle_timeout(now).await;
                    }
                }
            }
            self.cast.site.observe();
            self.watch(now);
            if !has_moved {
                return Ok(());
            }
        }
    }

    /// Tells devices what their sources have for them; whether there was anything.
    fn answer(&mut self, now: Instant) -> bool {
        let Some(running) = self.cast.site.running() else { return false };
        let mut answers = Vec::new();
        let mut has_moved = false;
        for (id, source) in &mut running.sources {
            has_moved |= source.step();
            let peers = self.peers.get(id);
            let index = |(peer, signal)| Some((*peers?.get(&peer)?, signal));
            answers.extend(source.poll_answers().into_iter().filter_map(index));
        }
        for (index, signal) in answers {
            has_moved = true;
            let Some(player) = self.cast.players.get_mut(index) else { continue };
            self.agenda.remove(&(player.poll_timeout(), index));
            player.handle_signal(now, signal, &mut self.cast.ledger, true);
            self.agenda.insert((player.poll_timeout(), index));
            self.hand_over(now, index);
        }
        has_moved
    }

    /// Tells the ledger what has arrived at the broker that is looked at.
    fn watch(&mut self, now: Instant) {
        let filter = self.scenario.verify.as_ref().map(|verify| verify.topic.as_str());
        for (id, far_end) in &mut self.cast.far_ends {
            let recorded = far_end.take_recorded();
            if *id != self.cast.watched {
                continue;
            }
            for message in recorded {
                if filter.is_some_and(|filter| topic::matches(filter, &message.topic))
                    && let Ok(arrival) = Arrival::from_json(&message.payload)
                {
                    self.cast.ledger.handle_arrived(now, &arrival);
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
