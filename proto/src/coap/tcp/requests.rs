//! The requests that an endpoint made over a connection and that are not over.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use super::super::arena::{Arena, Key};
use super::super::{OptionNumber, Request, RequestError, RequestId, Response, Token};
use crate::Instant;

/// A request that is not over.
#[derive(Debug)]
struct Waiting {
    token: Token,
    /// When the response is late; never while an observation has nothing to wait for.
    due: Instant,
    observation: Option<Observing>,
}

/// A request that gets more than one response (RFC 7641 §3).
#[derive(Debug)]
struct Observing {
    state: State,
    /// What ends it (RFC 8323 §7.4).
    deregistration: Box<Request>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Asked,
    Established,
    Ending,
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

    pub(super) fn insert(&mut self, token: Token, request: &Request, due: Instant) -> RequestId {
        let observation = asks_to_observe(request).then(|| Observing {
            state: State::Asked,
            deregistration: Box::new(deregistration(request)),
        });
        let key = self.waiting.insert(Waiting { token, due, observation });
        self.by_token.insert(token, key);
        self.by_due.insert((due, key));
        RequestId(key)
    }

    pub(super) fn find(&self, token: Token) -> Option<RequestId> {
        self.by_token.get(&token).copied().map(RequestId)
    }

    /// Whether a response to a request is one of several.
    pub(super) fn handle_response(&mut self, id: RequestId, response: &Response) -> bool {
        let observes = response.options.first(OptionNumber::OBSERVE).is_some();
        let Some(waiting) = self.waiting.get_mut(id.0) else { return false };
        let Some(observing) = &mut waiting.observation else { return false };
        if !observes || !response.code.is_success() {
            return false;
        }
        if observing.state != State::Ending {
            observing.state = State::Established;
            self.set_due(id, Instant::FAR_FUTURE);
        }
        true
    }

    /// The token of an observation that is to be registered anew or ended with another request,
    /// which is answered until `due`.
    pub(super) fn renew(
        &mut self,
        id: RequestId,
        request: &Request,
        due: Instant,
    ) -> Result<Token, RequestError> {
        let waiting = self.waiting.get_mut(id.0).ok_or(RequestError::NotObserving)?;
        let (token, is_idle) = (waiting.token, waiting.due == Instant::FAR_FUTURE);
        let observing = waiting.observation.as_mut().ok_or(RequestError::NotObserving)?;
        if !is_idle || observing.state != State::Established {
            return Err(RequestError::NotObserving);
        }
        if !asks_to_observe(request) {
            observing.state = State::Ending;
        }
        self.set_due(id, due);
        Ok(token)
    }

    /// Takes a request out: whether it was there, and for an observation that the server may have
    /// on its list what has to be sent to end it.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<Option<(Token, Request)>> {
        let Waiting { token, due, observation } = self.waiting.remove(id.0)?;
        self.by_token.remove(&token);
        self.by_due.remove(&(due, id.0));
        let observed = observation.filter(|observing| observing.state != State::Ending);
        Some(observed.map(|observing| (token, *observing.deregistration)))
    }

    /// The one that waits no longer than all others.
    pub(super) fn first_due(&self) -> Option<(Instant, RequestId)> {
        self.by_due.first().map(|&(due, key)| (due, RequestId(key)))
    }

    /// When a response is late.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let (due, _) = self.first_due()?;
        (due != Instant::FAR_FUTURE).then_some(due)
    }

    fn set_due(&mut self, id: RequestId, due: Instant) {
        if let Some(waiting) = self.waiting.get_mut(id.0) {
            self.by_due.remove(&(waiting.due, id.0));
            waiting.due = due;
            self.by_due.insert((due, id.0));
        }
    }
}

fn asks_to_observe(request: &Request) -> bool {
    request.options.first_uint(OptionNumber::OBSERVE) == Some(0)
}

fn deregistration(request: &Request) -> Request {
    let mut request = request.clone();
    request.options.replace_uint(OptionNumber::OBSERVE, 1);
    request
}
