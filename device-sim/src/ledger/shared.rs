//! One ledger for all tasks of a process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::{Instant, Reading};
use tokio::sync::Notify;

use super::{Arrival, Ledger, Limits, Observer, Verdict};
use crate::clock::Clock;
use crate::via::Via;

/// A handle to a [`Ledger`]; clones share it. Each call is one short turn under its lock, in which
/// the ledger is told the time by the handle's clock.
#[derive(Clone, Debug)]
pub struct SharedLedger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    ledger: Mutex<Ledger>,
    settled: Notify,
}

impl SharedLedger {
    /// An empty one.
    pub fn new(limits: Limits, clock: Clock) -> Self {
        let ledger = Mutex::new(Ledger::new(limits));
        Self(Arc::new(Shared { clock, ledger, settled: Notify::new() }))
    }

    /// See [`Ledger::observe`].
    pub fn observe(&self, observer: Box<dyn Observer>) {
        self.lock().observe(observer);
    }

    /// See [`Ledger::handle_unsent`].
    pub fn handle_unsent(&self, due: Instant, readings: &[Reading]) {
        self.turn(|ledger, now| ledger.handle_unsent(now, due, readings));
    }

    /// See [`Ledger::handle_sent`].
    pub fn handle_sent(&self, due: Instant, via: Via, readings: &[Reading]) {
        self.turn(|ledger, now| ledger.handle_sent(now, due, via, readings));
    }

    /// See [`Ledger::handle_acknowledged`].
    pub fn handle_acknowledged(&self, readings: &[Reading]) {
        self.turn(|ledger, now| ledger.handle_acknowledged(now, readings));
    }

    /// See [`Ledger::handle_refused`].
    pub fn handle_refused(&self, readings: &[Reading]) {
        self.turn(|ledger, now| ledger.handle_refused(now, readings));
    }

    /// See [`Ledger::handle_unanswered`].
    pub fn handle_unanswered(&self, readings: &[Reading]) {
        self.turn(|ledger, now| ledger.handle_unanswered(now, readings));
    }

    /// See [`Ledger::handle_injured`].
    pub fn handle_injured(&self, readings: &[Reading]) {
        self.turn(|ledger, now| ledger.handle_injured(now, readings));
    }

    /// See [`Ledger::handle_arrived`]. It was seen `at`, by the clock of this ledger; it may have
    /// waited since.
    pub fn handle_arrived(&self, at: Instant, arrival: &Arrival) {
        self.turn(|ledger, _| ledger.handle_arrived(at, arrival));
    }

    /// See [`Ledger::finish`].
    pub fn finish(&self) -> Verdict {
        let now = self.0.clock.now();
        self.lock().finish(now)
    }

    /// See [`Ledger::progress`].
    pub fn progress(&self, now: Instant) -> Verdict {
        self.lock().progress(now)
    }

    /// See [`Ledger::verdict`].
    pub fn verdict(&self) -> Verdict {
        self.lock().verdict()
    }

    /// Waits until nothing is on its way; see [`Ledger::is_settled`].
    pub async fn settled(&self) {
        loop {
            // Made before the look, so that a notice after it is not missed.
            let notified = self.0.settled.notified();
            if self.lock().is_settled() {
                return;
            }
            notified.await;
        }
    }

    fn turn(&self, change: impl FnOnce(&mut Ledger, Instant)) {
        let mut ledger = self.lock();
        change(&mut ledger, self.0.clock.now());
        let is_settled = ledger.is_settled();
        drop(ledger);
        if is_settled {
            self.0.settled.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
