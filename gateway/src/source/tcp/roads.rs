//! Which client leads to which device: the one on whose connection readings of the device came last.
//!
//! Orders for a device without a connection wait until there is one, those of a connection that ends go
//! back to wait, unless they were begun.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::Reading;
use tokio::sync::{Notify, mpsc};

use crate::commands::{Order, OrderSender, Orders};
use crate::source::inbox::Inbox;
use crate::source::recent::Recent;

/// Orders that wait for one client; a further one waits with the others.
const MAX_QUEUED: usize = 64;
/// Orders that come back from clients that are gone, until they are taken.
const MAX_RETURNED: usize = 1024;

/// The clients that lead to devices.
#[derive(Debug)]
pub(super) struct Roads {
    devices: Mutex<Recent<Road>>,
    changed: Notify,
    returns: mpsc::Sender<Order>,
    /// Whether any order can come.
    is_used: bool,
}

/// The way to a client.
#[derive(Clone, Debug)]
pub(super) struct Road {
    orders: OrderSender,
}

/// Hands orders to clients.
#[derive(Debug)]
pub(super) struct Dispatcher {
    inbox: Inbox,
    returned: mpsc::Receiver<Order>,
}

impl Roads {
    /// No clients yet, and who hands them their orders.
    pub(super) fn new(orders: Option<Orders>) -> (Self, Dispatcher) {
        let (returns, returned) = mpsc::channel(MAX_RETURNED);
        let inbox = Inbox::new(orders);
        let is_used = inbox.is_open();
        let (devices, changed) = (Mutex::default(), Notify::new());
        (Self { devices, changed, returns, is_used }, Dispatcher { inbox, returned })
    }

    /// A new client.
    pub(super) fn open() -> (Road, Orders) {
        let (orders, received) = mpsc::channel(MAX_QUEUED);
        (Road { orders }, received)
    }

    /// Readings came from a client.
    pub(super) fn note(&self, readings: &[Reading], road: &Road) {
        if !self.is_used {
            return;
        }
        let mut is_new = false;
        let mut devices = self.lock();
        for of_one in readings.chunk_by(|one, next| one.device == next.device) {
            let Some(reading) = of_one.first() else { continue };
            let Some(known) = devices.hear(&reading.device, || {
                is_new = true;
                road.clone()
            }) else {
                continue;
            };
            if !known.orders.same_channel(&road.orders) {
                *known = road.clone();
                is_new = true;
            }
        }
        drop(devices);
        if is_new {
            self.changed.notify_one();
        }
    }

    /// An order that its client could not begin.
    pub(super) async fn give_back(&self, order: Order) {
        if let Err(full) = self.returns.try_send(order) {
            full.into_inner().unreachable("disconnected", "the connection has ended").await;
        }
    }

    fn road(&self, device: &str) -> Option<Road> {
        self.lock().get(device).filter(|road| !road.orders.is_closed()).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Recent<Road>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dispatcher {
    /// Hands out orders; it never ends.
    pub(super) async fn run(mut self, roads: &Roads) -> Infallible {
        loop {
            let is_full = self.inbox.is_full();
            tokio::select! {
                order = self.inbox.arrival(), if !is_full => self.place(order, roads).await,
                Some(order) = self.returned.recv() => self.place(order, roads).await,
                () = roads.changed.notified() => {
                    for order in self.inbox.take_held() {
                        if roads.road(order.device()).is_some() {
                            self.place(order, roads).await;
                        } else {
                            self.inbox.keep(order);
                        }
                    }
                }
            }
        }
    }

    async fn place(&mut self, order: Order, roads: &Roads) {
        if order.is_withdrawn() {
            return;
        }
        let order = match roads.road(order.device()) {
            Some(road) => match road.orders.try_send(order) {
                Ok(()) => return,
                Err(full) => full.into_inner(),
            },
            None => order,
        };
        order.waiting("not_connected", "it has not sent a reading on any open connection").await;
        self.inbox.keep(order);
    }
}
