//! A simulated broker and the connection to it.

use device_sim::broker::{Faults, Limits, Line, Recorded, UnpluggedBroker};
use device_sim::fault::{ImpairedStream, Impairment};
use device_sim::report::Drained;
use proto::{Instant, Rng};

use super::RehearseError;
use crate::broker::SteppedBroker;
use crate::store::Spool;

/// Times at which a broker was back that are told; those after them are not.
const MAX_DRAINED: usize = 1000;

/// Rounds of a talk before what has arrived is taken.
const ROUNDS: u32 = 64;

/// The other end of one broker's connection.
pub(super) struct FarEnd {
    broker: UnpluggedBroker,
    line: Option<Line>,
    /// Whether new connections are refused.
    pub(super) refuses: bool,
    impairment: Impairment,
    seeds: Rng,
    up: ImpairedStream,
    down: ImpairedStream,
    was_accepted: bool,
    drained: Vec<Drained>,
}

impl FarEnd {
    /// A broker that nobody is connected to; what the network does is drawn from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            broker: UnpluggedBroker::new(Limits::default()),
            line: None,
            refuses: false,
            impairment: Impairment::default(),
            seeds: Rng::new(seed),
            up: ImpairedStream::new(seed),
            down: ImpairedStream::new(seed),
            was_accepted: false,
            drained: Vec::new(),
        }
    }

    /// The switches of its misbehaviour.
    pub(super) const fn faults(&self) -> &Faults {
        self.broker.faults()
    }

    /// Makes the way better or worse.
    pub(super) const fn set_impairment(&mut self, impairment: Impairment) {
        self.impairment = impairment;
        self.up.set_impairment(impairment);
        self.down.set_impairment(impairment);
    }

    /// What has arrived since the last call.
    pub(super) fn take_recorded(&mut self) -> Vec<Recorded> {
        self.broker.take_recorded()
    }

    /// How long each backlog took, in order; what still waits never came.
    pub(super) fn into_drained(self, broker: &str) -> Vec<Drained> {
        let named = |drained| Drained { broker: broker.to_owned(), ..drained };
        self.drained.into_iter().map(named).collect()
    }

    /// When something is due, besides what is due in the gateway.
    pub(super) fn poll_timeout(&self) -> Instant {
        let on_the_way = self.up.poll_timeout().min(self.down.poll_timeout());
        self.broker.poll_timeout().min(on_the_way)
    }

    /// The gateway is gone, or the way to it is cut.
    pub(super) async fn handle_gone(&mut self, now: Instant) {
        self.was_accepted = false;
        let mut way = || {
            let mut way = ImpairedStream::new(self.seeds.next_u64());
            way.set_impairment(self.impairment);
            way
        };
        (self.up, self.down) = (way(), way());
        if let Some(line) = self.line.take() {
            self.broker.handle_closed(now, line).await;
        }
    }

    /// Does what is due without a gateway.
    pub(super) async fn handle_timeout(&mut self, now: Instant) {
        self.broker.handle_timeout(now).await;
    }

    /// Lets both ends talk until neither has anything to say, or for a while: what has arrived is to be
    /// taken before it is much. Whether anything was said.
    pub(super) async fn exchange(
        &mut self,
        now: Instant,
        near: &mut SteppedBroker,
        spool: &Spool,
    ) -> Result<bool, RehearseError> {
        let mut has_moved = false;
        self.broker.handle_timeout(now).await;
        for _ in 0..ROUNDS {
            if self.exchange_once(now, near).await? {
                has_moved = true;
                continue;
            }
            if !spool.is_save_requested() && (!self.was_accepted || near.pending() == 0) {
                return Ok(has_moved);
            }
            // What is acknowledged but not saved may hold publishes back.
            spool.settle().await?;
            if !self.exchange_once(now, near).await? {
                return Ok(has_moved);
            }
            has_moved = true;
        }
        Ok(has_moved)
    }

    async fn exchange_once(
        &mut self,
        now: Instant,
        near: &mut SteppedBroker,
    ) -> Result<bool, RehearseError> {
        let mut has_moved = false;
        if near.connects() {
            self.handle_gone(now).await;
            self.connect(now, near).await?;
            has_moved = true;
        }
        let bytes = near.turn().await?;
        has_moved |= !bytes.is_empty();
        if !bytes.is_empty() {
            self.up.handle_bytes(now, bytes.freeze());
        }
        let Some(line) = self.line else { return Ok(has_moved) };
        while let Some(bytes) = self.up.poll_delivery(now) {
            self.broker.handle_bytes(now, line, &bytes).await;
            has_moved = true;
        }
        let is_open = loop {
            match self.broker.poll_bytes(now, line).await {
                Some(bytes) if bytes.is_empty() => break true,
                Some(bytes) => self.down.handle_bytes(now, bytes.freeze()),
                None => break false,
            }
        };
        while let Some(bytes) = self.down.poll_delivery(now) {
            near.handle_bytes(&bytes).await?;
            has_moved = true;
        }
        self.note(now, near);
        if !is_open && near.is_connected() {
            near.handle_closed().await?;
            has_moved = true;
        }
        if !is_open || !near.is_connected() {
            self.handle_gone(now).await;
        }
        Ok(has_moved)
    }

    async fn connect(
        &mut self,
        now: Instant,
        near: &mut SteppedBroker,
    ) -> Result<(), RehearseError> {
        if self.impairment.partition {
            return Ok(near.handle_silence().await?);
        }
        if self.refuses {
            return Ok(near.handle_refused().await?);
        }
        self.line = self.broker.open(now).await;
        near.handle_connected().await?;
        if self.line.is_none() {
            near.handle_closed().await?;
        }
        Ok(())
    }

    /// Takes down when a broker that was away is there again, and when nothing waits any more.
    fn note(&mut self, now: Instant, near: &mut SteppedBroker) {
        let is_accepted = near.is_accepted();
        let backlog = near.pending();
        if is_accepted && !self.was_accepted && backlog > 0 && self.drained.len() < MAX_DRAINED {
            let back_us = now.as_micros();
            self.drained.push(Drained { broker: String::new(), backlog, back_us, took_us: None });
        }
        self.was_accepted = is_accepted;
        if backlog == 0
            && let Some(last) = self.drained.last_mut()
        {
            last.took_us.get_or_insert(now.as_micros() - last.back_us);
        }
    }
}
