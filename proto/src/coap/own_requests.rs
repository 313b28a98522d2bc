//! An endpoint's own requests, and how their responses are found (RFC 7252 §5.3.2).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::arena::{Arena, Key};
use super::{OptionNumber, Options, Token};
use crate::{Instant, Rng};

/// Random bytes of a token: the 32 bits that RFC 7252 §5.3.1 asks for on the open Internet.
pub(super) const TOKEN_BYTES: usize = 4;

/// A request that is not over.
#[derive(Debug)]
pub(super) struct OwnRequest {
    pub(super) peer: Key,
    pub(super) token: Token,
    pub(super) confirmable: bool,
    pub(super) progress: Progress,
    pub(super) observing: Observing,
    /// Whether it counts for NSTART.
    pub(super) outstanding: bool,
    /// When to stop waiting for the response.
    pub(super) response_due: Option<Instant>,
    /// When a Non-confirmable request stops being outstanding without an answer.
    pub(super) slot_due: Option<Instant>,
}

/// How far a request is.
#[derive(Debug)]
pub(super) enum Progress {
    /// Waits for NSTART; built, except for the message id.
    Queued(Vec<u8>),
    /// Sent in the message with this id.
    Sent(u16),
    /// Acknowledged; the response comes in a message of its own.
    Acknowledged(u16),
    /// Answered, and waits for notifications.
    Answered,
}

/// Whether a request gets more than one response (RFC 7641 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Observing {
    /// It gets one.
    No,
    /// It asked for notifications and got no answer yet.
    Asked,
    /// It gets notifications.
    Established,
    /// It asked to get no more notifications, and waits for the answer.
    Ending,
}

impl Observing {
    /// What the option Observe of a request asks for.
    pub(super) fn asked_by(options: &Options) -> Self {
        match options.first_uint(OptionNumber::OBSERVE) {
            Some(0) => Self::Asked,
            Some(_) | None => Self::No,
        }
    }
}

impl OwnRequest {
    /// The id of the message that it was sent in.
    pub(super) const fn message_id(&self) -> Option<u16> {
        match self.progress {
            Progress::Queued(_) | Progress::Answered => None,
            Progress::Sent(message_id) | Progress::Acknowledged(message_id) => Some(message_id),
        }
    }

    /// Whether a response can come: it was sent, now or, if notifications come, earlier.
    const fn expects_response(&self) -> bool {
        self.message_id().is_some()
            || matches!(self.observing, Observing::Established | Observing::Ending)
    }
}

/// All requests that are not over.
#[derive(Debug)]
pub(super) struct OwnRequests {
    requests: Arena<OwnRequest>,
    by_token: BTreeMap<(Key, Token), Key>,
}

impl OwnRequests {
    pub(super) const fn new() -> Self {
        Self { requests: Arena::new(), by_token: BTreeMap::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.requests.len()
    }

    /// A random token that no request to the peer uses.
    pub(super) fn unused_token(&self, peer: Key, rng: &mut Rng) -> Token {
        loop {
            let mut bytes = [0; TOKEN_BYTES];
            rng.fill(&mut bytes);
            let token = Token::new(&bytes).unwrap_or_default();
            if !self.by_token.contains_key(&(peer, token)) {
                return token;
            }
        }
    }

    pub(super) fn insert(&mut self, request: OwnRequest) -> Key {
        let identity = (request.peer, request.token);
        let key = self.requests.insert(request);
        self.by_token.insert(identity, key);
        key
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut OwnRequest> {
        self.requests.get_mut(key)
    }

    /// The request that was sent to a peer with a token and may get a response.
    pub(super) fn find_sent(&self, peer: Key, token: Token) -> Option<(Key, &OwnRequest)> {
        let key = *self.by_token.get(&(peer, token))?;
        let request = self.requests.get(key)?;
        request.expects_response().then_some((key, request))
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<OwnRequest> {
        let request = self.requests.remove(key)?;
        self.by_token.remove(&(request.peer, request.token));
        Some(request)
    }
}
