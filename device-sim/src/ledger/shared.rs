//! One ledger for all tasks of a process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::{Instant, Reading};
use tokio::sync::Notify;

use super::{Arrival, Ledger, Limits, Verdict};
use crate::via::Via;

/// A handle to a [`Ledger`]; clones share it. Each call is one short turn under its lock.
#[derive(Clone, Debug, Default)]
pub struct SharedLedger(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    settled: Notify,
}

impl SharedLedger {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        let ledger = Mutex::new(Ledger::new(limits));
        Self(Arc::new(Shared { ledger, settled: Notify::new() }))
    }

    /// See [`Ledger::handle_sent`].
    pub fn handle_sent(&self, now: Instant, via: Via, readings: &[Reading]) {
        self.turn(|ledger| ledger.handle_sent(now, via, readings));
    }

    /// See [`Ledger::handle_acknowledged`].
    pub fn handle_acknowledged(&self, readings: &[Reading]) {
        self.turn(|ledger| ledger.handle_acknowledged(readings));
    }

    /// See [`Ledger::handle_refused`].
    pub fn handle_refused(&self, readings: &[Reading]) {
        self.turn(|ledger| ledger.handle_refused(readings));
    }

    /// See [`Ledger::handle_arrived`].
    pub fn handle_arrived(&self, arrival: &Arrival) {
        self.turn(|ledger| ledger.handle_arrived(arrival));
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

    fn turn(&self, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.lock();
        change(&mut ledger);
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
