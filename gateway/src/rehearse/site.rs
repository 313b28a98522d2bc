//! The gateway on stage: the parts of [`App`](crate::app::App) without sockets and tasks, opened and
//! killed on order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use device_sim::report::Rehearsal;
use proto::{Instant, Rng};

use super::RehearseError;
use crate::app::lanes;
use crate::broker::SteppedBroker;
use crate::config::{Config, Id};
use crate::pipeline::{Intake, IntakeStatus, Routes, SteppedIntake};
use crate::source::{SteppedSource, SteppedSurroundings};
use crate::store::{Policy, Spool, StoreError};
use crate::tally::Tally;

/// A gateway that runs, or not.
pub(super) struct Site<'a> {
    config: &'a Config,
    state: PathBuf,
    routes: Arc<Routes>,
    seeds: Rng,
    running: Option<Running>,
    pub(super) figures: Rehearsal,
}

/// What there is while it runs.
pub(super) struct Running {
    pub(super) spool: Spool,
    store: JoinHandle<Result<(), StoreError>>,
    pub(super) intake: SteppedIntake,
    intake_status: Arc<IntakeStatus>,
    pub(super) sources: BTreeMap<Id, SteppedSource>,
    pub(super) brokers: BTreeMap<Id, SteppedBroker>,
}

impl<'a> Site<'a> {
    /// One that does not run yet, with its store in a folder.
    pub(super) fn new(config: &'a Config, folder: &Path, seed: u64) -> Self {
        Self {
            config,
            state: folder.join("state"),
            routes: Arc::new(Routes::new(config)),
            seeds: Rng::new(seed),
            running: None,
            figures: Rehearsal::default(),
        }
    }

    /// What runs, if it does.
    pub(super) const fn running(&mut self) -> Option<&mut Running> {
        self.running.as_mut()
    }

    /// Starts it, on what is on disk.
    pub(super) async fn start(&mut self) -> Result<(), RehearseError> {
        let config = self.config;
        let gateway = &config.gateway;
        let lanes: Vec<_> =
            config.brokers.iter().flat_map(|(id, b)| lanes(&self.routes, id, b)).collect();
        let policy = Policy {
            quota: config.store.quota.bytes(),
            // The room on this machine's disk has nothing to do with that of the gateway's.
            min_free: 0,
            when_full: config.store.when_full,
            keep: config.store.keep.duration(),
        };
        let (spool, store) = Spool::open(self.state.clone(), policy, &lanes)?;
        spool.set_stepped();
        spool.settle().await?;
        let mut brokers = BTreeMap::new();
        let topic = format!("{}/{}/status", gateway.topic_prefix, gateway.id);
        for (id, broker) in &config.brokers {
            let (topic, spool, seed) = (topic.clone(), spool.clone(), self.seeds.next_u64());
            let broker =
                SteppedBroker::new(id, broker, topic, &gateway.id, spool, &self.routes, seed);
            // Every broker was named when the store was opened.
            brokers.insert(id.clone(), broker.ok_or(StoreError::Ended)?);
        }
        let (intake, inlet, intake_status) = Intake::new(
            Arc::clone(&self.routes),
            spool.clone(),
            gateway.device_clock(),
            config.store.commit_interval.duration(),
        );
        let mut sources = BTreeMap::new();
        for (id, source) in &config.sources {
            let seed = self.seeds.next_u64();
            let surroundings =
                SteppedSurroundings { inlet: &inlet, spool: &spool, state_dir: &self.state };
            let source = SteppedSource::open(id, source, &surroundings, seed).await?;
            sources.extend(source.map(|source| (id.clone(), source)));
        }
        let intake = SteppedIntake::new(intake);
        self.running = Some(Running { spool, store, intake, intake_status, sources, brokers });
        self.figures.starts += 1;
        Ok(())
    }

    /// Kills it: what is not on disk is lost.
    pub(super) async fn kill(&mut self) -> Result<(), RehearseError> {
        if let Some(mut running) = self.running.take() {
            running.save().await;
            running.count(&mut self.figures);
            running.spool.halt().await;
            running.join()?;
        }
        Ok(())
    }

    /// Commits what was taken, so that it can be answered.
    pub(super) async fn finish(&mut self) -> Result<(), RehearseError> {
        if let Some(running) = &mut self.running {
            running.intake.finish().await?;
        }
        Ok(())
    }

    /// Stops it in order.
    pub(super) async fn stop(&mut self) -> Result<(), RehearseError> {
        self.finish().await?;
        if let Some(mut running) = self.running.take() {
            running.save().await;
            running.count(&mut self.figures);
            running.join()?;
        }
        Ok(())
    }

    /// Takes down how far the store and what waits have grown.
    pub(super) fn observe(&mut self) {
        let Some(running) = &self.running else { return };
        let figures = &mut self.figures;
        figures.largest_store_bytes = figures.largest_store_bytes.max(running.spool.used_bytes());
        for (id, broker) in &running.brokers {
            match figures.largest_backlog.get_mut(id.as_str()) {
                Some(largest) => *largest = broker.pending().max(*largest),
                None => drop(figures.largest_backlog.insert(id.to_string(), broker.pending())),
            }
        }
    }
}

impl Running {
    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Instant {
        let sources = self.sources.values().map(SteppedSource::poll_timeout);
        let brokers = self.brokers.values().map(SteppedBroker::poll_timeout);
        sources.chain(brokers).fold(self.intake.poll_timeout(), Instant::min)
    }

    /// Writes down what sources know besides the store. A running gateway does so all the time.
    async fn save(&mut self) {
        for source in self.sources.values_mut() {
            source.save().await;
        }
    }

    /// Adds what was counted since the start.
    fn count(&self, figures: &mut Rehearsal) {
        add(&mut figures.not_stored, &self.intake_status.dropped);
        for (id, source) in &self.sources {
            add_of(&mut figures.refused, id, source.status().refused());
        }
        for (id, broker) in &self.brokers {
            add_of(&mut figures.unpublished, id, broker.refused());
        }
        let status = self.spool.status();
        figures.commits += status.commits;
        figures.committed_bytes += status.committed_bytes;
        figures.left = status.pending;
        // These are kept with the cursors, over every start.
        figures.dropped.clear();
        for (broker, dropped) in status.dropped {
            let reasons =
                [("max_lag", dropped.lag), ("max_age", dropped.age), ("store_full", dropped.full)];
            let reasons = reasons.into_iter().filter(|(_, number)| *number > 0);
            let reasons: BTreeMap<_, _> =
                reasons.map(|(reason, number)| (reason.to_owned(), number)).collect();
            if !reasons.is_empty() {
                figures.dropped.insert(broker, reasons);
            }
        }
    }

    /// Drops every handle of the store, and waits for its thread.
    fn join(self) -> Result<(), StoreError> {
        let Self { spool, store, intake, sources, brokers, .. } = self;
        drop((spool, intake, sources, brokers));
        store.join().map_err(|_| StoreError::Ended)?
    }
}

fn add(counts: &mut BTreeMap<String, u64>, tally: &Tally) {
    for (reason, count) in tally.snapshot() {
        *counts.entry(reason.to_owned()).or_default() += count.count;
    }
}

fn add_of(counts: &mut BTreeMap<String, BTreeMap<String, u64>>, of: &Id, tally: &Tally) {
    let mut own = counts.remove(of.as_str()).unwrap_or_default();
    add(&mut own, tally);
    if !own.is_empty() {
        counts.insert(of.to_string(), own);
    }
}
