//! Orders for devices that ask for them, because they sleep or cannot be reached: docs/commands.md.
//!
//! There is one order at a time for a device. It stays until the device has answered it, and is given
//! again as often as the device asks: its identifier tells the device that it has it already.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::command::Failure;
use super::order::Order;
use super::response::value_json;
use crate::clock;

/// Orders that are kept before it is looked which of them stand.
const PURGE_ABOVE: usize = 256;

/// Orders for the devices of a source.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    orders: Mutex<HashMap<String, Arc<Order>>>,
    /// Counts up with everything that somebody may wait for.
    changes: watch::Sender<u64>,
    /// With more orders than this, those are removed that do not stand any more.
    purge_above: AtomicUsize,
}

/// What a device is told of its order.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Pending {
    pub(crate) id: String,
    pub(crate) operation: String,
    pub(crate) value: Option<Json>,
    /// Seconds until it expires.
    pub(crate) seconds: u64,
}

/// What a device says of its order; without a body it is done.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Answered {
    Done(Option<Json>),
    Failed(Failure),
}

/// What a device sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerBody {
    state: AnswerState,
    result: Option<Json>,
    code: Option<String>,
    detail: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AnswerState {
    Done,
    Failed,
}

/// What becomes of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// The outcome is on disk.
    Stored,
    /// There is no such order, or none any more: it was answered, it is cancelled or has expired.
    Gone,
    /// The gateway could not write it down; the device is to answer again.
    Busy,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            orders: Mutex::default(),
            changes: watch::Sender::new(0),
            purge_above: AtomicUsize::new(PURGE_ABOVE),
        }))
    }

    /// Keeps an order until its device asks for it.
    pub(crate) async fn put(&self, order: Order) {
        order.waiting("asleep", "the device has not asked for it yet").await;
        let device = order.device().to_owned();
        let mut orders = self.lock();
        orders.insert(device, Arc::new(order));
        // Devices that never ask leave theirs behind.
        if orders.len() > self.0.purge_above.load(Ordering::Relaxed) {
            orders.retain(|_, order| !order.is_withdrawn());
            self.0.purge_above.store(PURGE_ABOVE.max(2 * orders.len()), Ordering::Relaxed);
        }
        drop(orders);
        self.change();
    }

    fn change(&self) {
        self.0.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Tells when there may be an order that was not there before, or one less.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Whether there is an order for a device: for a hint in the answer to a reading.
    pub(crate) fn has(&self, device: &str) -> bool {
        self.lock().get(device).is_some_and(|order| !order.is_withdrawn())
    }

    /// The identifier of the order for a device, if there is one.
    pub(crate) fn id(&self, device: &str) -> Option<String> {
        let orders = self.lock();
        let order = orders.get(device).filter(|order| !order.is_withdrawn());
        order.map(|order| order.id().to_owned())
    }

    /// A device asks: its order, if there is one. That it was given is on disk when this returns.
    pub(crate) async fn take(&self, device: &str) -> Option<Pending> {
        let order = self.lock().get(device).cloned()?;
        if order.is_withdrawn() || !order.begin().await {
            self.remove(device, &order);
            return None;
        }
        order.delivered().await;
        let left = order.deadline.saturating_since(clock::now());
        Some(Pending {
            id: order.id().to_owned(),
            operation: order.name.to_string(),
            value: order.value.as_ref().map(value_json),
            seconds: left.as_secs(),
        })
    }

    /// A device answers.
    pub(crate) async fn answer(&self, device: &str, id: &str, answered: Answered) -> Taken {
        let found = self.lock().get(device).filter(|order| order.id() == id).cloned();
        let Some(order) = found else { return Taken::Gone };
        let is_stored = match answered {
            Answered::Done(result) => order.settle_durably(Ok(result)).await,
            Answered::Failed(failure) => order.settle_durably(Err(failure)).await,
        };
        match is_stored {
            Some(true) => {
                self.remove(device, &order);
                Taken::Stored
            }
            Some(false) => {
                self.remove(device, &order);
                Taken::Gone
            }
            None => Taken::Busy,
        }
    }

    /// Removes an order, unless another one is there by now.
    fn remove(&self, device: &str, order: &Arc<Order>) {
        let mut orders = self.lock();
        if orders.get(device).is_some_and(|there| Arc::ptr_eq(there, order)) {
            orders.remove(device);
            drop(orders);
            self.change();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Order>>> {
        self.0.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// As JSON.
    pub(crate) fn json(&self) -> Json {
        let Self { id, operation, value, seconds } = self;
        match value {
            Some(value) => {
                json!({"id": id, "operation": operation, "value": value, "seconds": seconds})
            }
            None => json!({"id": id, "operation": operation, "seconds": seconds}),
        }
    }
}

impl Answered {
    /// What a device has sent.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        if body.is_empty() {
            return Ok(Self::Done(None));
        }
        let AnswerBody { state, result, code, detail } = serde_json::from_slice(body)?;
        Ok(match state {
            AnswerState::Done => Self::Done(result),
            AnswerState::Failed => Self::Failed(Failure::new(
                &code.unwrap_or_else(|| "refused".to_owned()),
                detail.unwrap_or_else(|| "the device has refused".to_owned()),
            )),
        })
    }
}
