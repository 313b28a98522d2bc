//! A resource that changes by itself (RFC 7641).

use std::time::Duration;

use proto::Instant;
use proto::coap::{Code, Method, Request, ResourceId, Response};

use super::representation::Representation;
use super::site::Reply;

/// Bytes of a large representation: a first block of 1024 and another one.
const LARGE: usize = 1280;
/// What Max-Age is longer than an interval, so that the next state is there before the last one is
/// stale.
const MAX_AGE_MARGIN_S: u64 = 1;

/// A resource that counts its intervals until it is given another state.
#[derive(Debug)]
pub(super) struct Observable {
    resource: ResourceId,
    interval: Duration,
    next_at: Instant,
    count: u64,
    is_large: bool,
    state: State,
    notification: Option<Response>,
}

#[derive(Debug)]
enum State {
    Counting,
    Given(Representation),
    Deleted,
}

impl Observable {
    pub(super) fn new(resource: ResourceId, now: Instant, interval: Duration) -> Self {
        Self {
            resource,
            interval,
            next_at: now + interval,
            count: 0,
            is_large: false,
            state: State::Counting,
            notification: None,
        }
    }

    /// One whose representation takes two blocks.
    pub(super) fn large(resource: ResourceId, now: Instant, interval: Duration) -> Self {
        Self { is_large: true, ..Self::new(resource, now, interval) }
    }

    /// GET, PUT and DELETE.
    pub(super) fn handle_request(&mut self, request: &Request) -> Reply {
        let present = self.representation();
        match (request.method, present) {
            (Method::Get, Some(present)) => {
                let answer = present.answer(request);
                let fresh = if answer.code.is_success() { self.fresh(answer) } else { answer };
                Reply::Observable(self.resource, fresh)
            }
            (Method::Get, None) => Reply::Now(Response::new(Code::NOT_FOUND)),
            (Method::Put, present) => {
                let given = Representation::of(request);
                // RFC 7641 §4.2: all notifications of an observation have one Content-Format.
                let keeps_format = present.as_ref().is_some_and(|old| old.format == given.format);
                self.notification = Some(if keeps_format {
                    self.fresh(given.carried_by(Code::CONTENT))
                } else {
                    Response::new(Code::NOT_ACCEPTABLE)
                });
                self.state = State::Given(given);
                let code = if present.is_some() { Code::CHANGED } else { Code::CREATED };
                Reply::Now(Response::new(code))
            }
            (Method::Delete, _) => {
                self.state = State::Deleted;
                // RFC 7641 §4.2: an error is the last notification.
                self.notification = Some(Response::new(Code::NOT_FOUND));
                Reply::Now(Response::new(Code::DELETED))
            }
            (Method::Post | Method::Fetch | Method::Patch | Method::IPatch, _) => {
                Reply::Now(Response::new(Code::METHOD_NOT_ALLOWED))
            }
        }
    }

    /// Ends all observations.
    pub(super) fn reset(&mut self) {
        self.notification = Some(Response::new(Code::SERVICE_UNAVAILABLE));
    }

    /// Changes if it is time to.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if now < self.next_at {
            return;
        }
        self.next_at = now + self.interval;
        self.count += 1;
        if let Some(present) = self.representation() {
            self.notification = Some(self.fresh(present.carried_by(Code::CONTENT)));
        }
    }

    pub(super) const fn next_at(&self) -> Instant {
        self.next_at
    }

    /// What observers have to be told.
    pub(super) fn poll_notification(&mut self) -> Option<(ResourceId, Response)> {
        Some((self.resource, self.notification.take()?))
    }

    fn representation(&self) -> Option<Representation> {
        match &self.state {
            State::Counting if self.is_large => {
                let line = format!("change {}\n", self.count);
                Some(Representation::text(line.chars().cycle().take(LARGE).collect::<String>()))
            }
            State::Counting => Some(Representation::text(format!("change {}", self.count))),
            State::Given(representation) => Some(representation.clone()),
            State::Deleted => None,
        }
    }

    /// With the Max-Age after which a client has missed a notification (RFC 7641 §4.3.1).
    fn fresh(&self, response: Response) -> Response {
        let seconds = self.interval.as_secs().saturating_add(MAX_AGE_MARGIN_S);
        response.max_age(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}
