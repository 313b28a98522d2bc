//! One ledger of commands for all tasks of a run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::ledger::CommandLedger;
use crate::report::Commands;

/// A handle to a [`CommandLedger`]; clones share it. Each call is one short turn under its lock.
#[derive(Clone, Debug, Default)]
pub struct SharedCommandLedger(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ledger: Mutex<CommandLedger>,
    settled: Notify,
}

impl SharedCommandLedger {
    /// See [`CommandLedger::handle_sent`].
    pub fn handle_sent(&self, device: &str, id: &str) {
        self.lock().handle_sent(device, id);
    }

    /// See [`CommandLedger::handle_response`].
    ///
    /// # Errors
    /// When it is no response.
    pub fn handle_response(&self, payload: &[u8]) -> Result<(), serde_json::Error> {
        let mut ledger = self.lock();
        let handled = ledger.handle_response(payload);
        let is_settled = ledger.is_settled();
        drop(ledger);
        if is_settled {
            self.0.settled.notify_waiters();
        }
        handled
    }

    /// See [`CommandLedger::handle_carried_out`].
    pub fn handle_carried_out(&self, device: &str, id: &str) {
        self.lock().handle_carried_out(device, id);
    }

    /// See [`CommandLedger::carried_out`].
    pub fn carried_out(&self, device: &str, id: &str) -> u64 {
        self.lock().carried_out(device, id)
    }

    /// See [`CommandLedger::verdict`].
    pub fn verdict(&self) -> Commands {
        self.lock().verdict()
    }

    /// Waits until every command that was sent has a last state.
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

    fn lock(&self) -> MutexGuard<'_, CommandLedger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
