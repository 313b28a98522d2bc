//! The requests of the peer that are not answered yet, and the Pings that wait for them.

use alloc::collections::VecDeque;

use super::super::super::arena::{Arena, Links, List};
use super::super::super::{ExchangeId, Token};

/// Pings that wait; a further one gets its Pong at once, without Custody.
const MAX_WAITING_PINGS: usize = 16;

#[derive(Debug)]
struct Exchange {
    token: Token,
    /// Counts requests.
    number: u64,
    age: Links,
}

/// Requests by age.
#[derive(Debug)]
pub(super) struct Exchanges {
    open: Arena<Exchange>,
    oldest: List<Exchange>,
    next_number: u64,
    /// Tokens of Pings, each with the number of the request that came after it.
    pings: VecDeque<(Token, u64)>,
}

impl Exchanges {
    pub(super) const fn new() -> Self {
        Self {
            open: Arena::new(),
            oldest: List::new(|exchange| &mut exchange.age),
            next_number: 0,
            pings: VecDeque::new(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A request came.
    pub(super) fn open(&mut self, token: Token) -> ExchangeId {
        let exchange = Exchange { token, number: self.next_number, age: Links::default() };
        self.next_number += 1;
        let key = self.open.insert(exchange);
        self.oldest.push_back(&mut self.open, key);
        ExchangeId(key)
    }

    /// A request is answered; its token, if it was open.
    pub(super) fn close(&mut self, ExchangeId(key): ExchangeId) -> Option<Token> {
        let token = self.open.get(key)?.token;
        self.oldest.remove(&mut self.open, key);
        self.open.remove(key);
        Some(token)
    }

    /// Whether the Pong to a Ping that came now has to wait, and will be given by
    /// [`pop_custody`](Self::pop_custody) (RFC 8323 §5.4.1).
    pub(super) fn wait_for_custody(&mut self, token: Token) -> bool {
        let waits = !self.is_empty() && self.pings.len() < MAX_WAITING_PINGS;
        if waits {
            self.pings.push_back((token, self.next_number));
        }
        waits
    }

    /// The next Ping before which every request is answered.
    pub(super) fn pop_custody(&mut self) -> Option<Token> {
        let &(token, behind) = self.pings.front()?;
        let oldest = self.oldest.first().and_then(|key| self.open.get(key));
        if oldest.is_some_and(|oldest| oldest.number < behind) {
            return None;
        }
        self.pings.pop_front();
        Some(token)
    }
}
