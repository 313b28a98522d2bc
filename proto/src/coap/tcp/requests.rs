//! The requests that an endpoint made over a connection and that are not over.

use alloc::collections::{BTreeMap, BTreeSet};

use super::super::arena::{Arena, Key};
use super::super::{RequestId, Token};
use crate::Instant;

/// A request that waits for its response.
#[derive(Debug)]
struct Waiting {
    token: Token,
    due: Instant,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Requests {
    waiting: Arena<Waiting>,
    by_token: BTreeMap<Token, Key>,
    by_due: BTreeSet<(Instant, Key)>,
    last_token: u32,
}

impl Requests {
    pub(super) const fn new() -> Self {
        Self {
            waiting: Arena::new(),
            by_token: BTreeMap::new(),
            by_due: BTreeSet::new(),
            last_token: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A token that no request uses. It need not be random: nobody but the peer can answer on its
    /// connection (RFC 8323 §3.3 scopes it to that).
    pub(super) fn unused_token(&mut self) -> Token {
        loop {
            self.last_token = self.last_token.wrapping_add(1);
            let bytes = self.last_token.to_be_bytes();
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            let token = Token::new(bytes.get(zeros..).unwrap_or_default()).unwrap_or_default();
            if !self.by_token.contains_key(&token) {
                return token;
            }
        }
    }

    pub(super) fn insert(&mut self, token: Token, due: Instant) -> RequestId {
        let key = self.waiting.insert(Waiting { token, due });
        self.by_token.insert(token, key);
        self.by_due.insert((due, key));
        RequestId(key)
    }

    pub(super) fn find(&self, token: Token) -> Option<RequestId> {
        self.by_token.get(&token).copied().map(RequestId)
    }

    /// Takes a request out; whether it was there.
    pub(super) fn remove(&mut self, id: RequestId) -> bool {
        let Some(Waiting { token, due }) = self.waiting.remove(id.0) else { return false };
        self.by_token.remove(&token);
        self.by_due.remove(&(due, id.0));
        true
    }

    /// The one that waits no longer than all others.
    pub(super) fn first_due(&self) -> Option<(Instant, RequestId)> {
        self.by_due.first().map(|&(due, key)| (due, RequestId(key)))
    }
}
