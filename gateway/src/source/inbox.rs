//! The orders of a source that it has not begun.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;

use crate::commands::{Order, Orders};

/// Orders that are kept while their devices cannot be told; the next ones wait with the desk.
const MAX_HELD: usize = 1024;

/// Orders that come, and those that wait.
#[derive(Debug)]
pub(super) struct Inbox {
    orders: Option<Orders>,
    held: VecDeque<Order>,
}

impl Inbox {
    /// Those of a source, if any are for it.
    pub(super) const fn new(orders: Option<Orders>) -> Self {
        Self { orders, held: VecDeque::new() }
    }

    /// Whether any can come.
    pub(super) const fn is_open(&self) -> bool {
        self.orders.is_some()
    }

    /// The next one that stands, in the order in which they came; waits for ever where none comes. Nothing
    /// is lost when it is not waited for any more.
    pub(super) async fn next(&mut self) -> Order {
        while let Some(order) = self.held.pop_front() {
            if !order.is_withdrawn() {
                return order;
            }
        }
        self.arrival().await
    }

    /// The next one that comes.
    pub(super) async fn arrival(&mut self) -> Order {
        match &mut self.orders {
            Some(orders) => match orders.recv().await {
                Some(order) => order,
                // No commands are taken, or the gateway is stopping.
                None => pending().await,
            },
            None => pending().await,
        }
    }

    /// One that was taken and could not be begun goes first.
    pub(super) fn put_back(&mut self, order: Order) {
        self.held.push_front(order);
    }

    /// Keeps one for later.
    pub(super) fn keep(&mut self, order: Order) {
        self.held.push_back(order);
    }

    /// Whether no more can be kept; those that do not stand any more make room.
    pub(super) fn is_full(&mut self) -> bool {
        if self.held.len() >= MAX_HELD {
            self.held.retain(|order| !order.is_withdrawn());
        }
        self.held.len() >= MAX_HELD
    }

    /// All that are kept.
    pub(super) fn take_held(&mut self) -> VecDeque<Order> {
        std::mem::take(&mut self.held)
    }

    /// Keeps what comes, and says of all why they wait. It never ends, and nothing is lost when it is not
    /// waited for any more.
    pub(super) async fn hold(&mut self, code: &str, why: &str) -> Infallible {
        self.held.retain(|order| !order.is_withdrawn());
        for order in &self.held {
            order.waiting(code, why).await;
        }
        loop {
            if self.is_full() {
                // What waits with the desk expires there.
                pending::<()>().await;
            }
            let order = self.arrival().await;
            self.held.push_back(order);
            if let Some(order) = self.held.back() {
                order.waiting(code, why).await;
            }
        }
    }

    /// Takes no more, and gives away all that is there.
    pub(super) fn close(&mut self) -> VecDeque<Order> {
        if let Some(orders) = &mut self.orders {
            orders.close();
            while let Ok(order) = orders.try_recv() {
                self.held.push_back(order);
            }
        }
        self.take_held()
    }
}
