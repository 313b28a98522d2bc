//! The client's role: requests out, responses in (RFC 7252 §5.3).

use core::fmt::Debug;
use core::time::Duration;

use super::super::arena::Key;
use super::super::dedup::State;
use super::super::encode;
use super::super::own_requests::{Observing, OwnRequest, Progress};
use super::super::timers::Timer;
use super::super::transmission::{Owner, Schedule, Transmission};
use super::super::{
    Event, FailReason, Message, MessageType, NotificationId, OptionNumber, Options, Output,
    Request, RequestError, RequestId, Response,
};
use super::Endpoint;
use crate::Instant;

impl<P: Copy + Ord + Debug> Endpoint<P> {
    /// Sends a request, as soon as `nstart` allows. It ends in exactly one [`Event::Response`] or
    /// [`Event::Failed`]; `to` is not a group.
    ///
    /// With an Observe of 0 it ends with the first response that has no Observe or is an error;
    /// until then each response is an [`Event::Notification`] (RFC 7641 §3.2).
    pub fn request(
        &mut self,
        now: Instant,
        to: P,
        request: Request,
    ) -> Result<RequestId, RequestError> {
        if self.requests.len() >= self.config.max_requests {
            return Err(RequestError::TooManyRequests);
        }
        let peer = self.peer(now, to).ok_or(RequestError::TooManyPeers)?;
        if self.peers.get(peer).is_some_and(|peer| peer.queue.len() >= self.config.max_queue) {
            return Err(RequestError::QueueFull);
        }
        let token = self.requests.unused_token(peer, &mut self.rng);
        let limit = self.config.max_message;
        let Request { confirmable, ref options, ref payload, .. } = request;
        let code = request.method.code();
        let datagram = encode::request(confirmable, code, token, options, payload, limit)
            .map_err(|_| RequestError::TooLarge { limit })?;
        let id = self.requests.insert(OwnRequest {
            peer,
            token,
            confirmable: request.confirmable,
            progress: Progress::Queued(datagram),
            observing: Observing::asked_by(&request.options),
            outstanding: false,
            response_due: None,
            slot_due: None,
        });
        self.stats.own_requests += 1;
        self.peers.hold(peer);
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.queue.push_back(id);
        }
        self.start_queued(now, peer);
        Ok(RequestId(id))
    }

    /// Sends another request with the token of an observation: one that is the same but for
    /// entity-tags registers anew (RFC 7641 §3.3.1), one with an Observe of 1 ends the observation
    /// (§3.6). It has no outcome of its own: when it fails or gets a response without Observe, the
    /// observation's request ends so. [`RequestError::NotObserving`] where there is no observation
    /// or the last such request is not answered yet.
    pub fn renew(
        &mut self,
        now: Instant,
        id: RequestId,
        request: &Request,
    ) -> Result<(), RequestError> {
        let RequestId(id) = id;
        let own = self.requests.get_mut(id).ok_or(RequestError::NotObserving)?;
        let is_idle = matches!(own.progress, Progress::Answered);
        if !is_idle || own.observing != Observing::Established {
            return Err(RequestError::NotObserving);
        }
        let (limit, payload) = (self.config.max_message, &request.payload);
        let (kind, code) = (kind_of(request.confirmable), request.method.code());
        let datagram = encode::message(kind, code, 0, own.token, &request.options, payload, limit)
            .map_err(|_| RequestError::TooLarge { limit })?;
        own.progress = Progress::Queued(datagram);
        own.confirmable = request.confirmable;
        if Observing::asked_by(&request.options) == Observing::No {
            own.observing = Observing::Ending;
        }
        let peer = own.peer;
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.queue.push_back(id);
        }
        self.start_queued(now, peer);
        Ok(())
    }

    /// Gives up a request: it ends in [`Event::Failed`], unless it is over already.
    pub fn cancel(&mut self, now: Instant, id: RequestId) {
        self.finish(now, id.0, Err(FailReason::Cancelled));
    }

    /// Sends requests that wait for their turn, as many as NSTART allows (RFC 7252 §4.7).
    pub(super) fn start_queued(&mut self, now: Instant, key: Key) {
        let (nstart, lifetime) = (self.config.nstart.max(1), self.config.exchange_lifetime);
        while let Some(peer) = self.peers.get_mut(key)
            && peer.outstanding < nstart
            && let Some(&id) = peer.queue.front()
        {
            let message_id = match peer.message_ids.next(now, lifetime) {
                Ok(message_id) => message_id,
                Err(again) => return self.timers.set(again, Timer::MessageIds(key)),
            };
            peer.queue.pop_front();
            peer.outstanding += 1;
            let to = peer.address;
            self.start(now, key, to, id, message_id);
        }
    }

    /// Ends a request, in exactly one event.
    pub(super) fn finish(&mut self, now: Instant, id: Key, outcome: Result<Response, FailReason>) {
        let Some(request) = self.requests.remove(id) else { return };
        let key = request.peer;
        if let Some(due) = request.response_due {
            self.timers.clear(due, Timer::Response(id));
        }
        if let Some(due) = request.slot_due {
            self.timers.clear(due, Timer::Slot(id));
        }
        if let Some(message_id) = request.message_id() {
            self.end_transmission(key, message_id);
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.outstanding -= usize::from(request.outstanding);
            if request.message_id().is_none() {
                peer.queue.retain(|&queued| queued != id);
            }
            let (id, from) = (RequestId(id), peer.address);
            self.stats.own_requests_failed += u64::from(outcome.is_err());
            self.outputs.push_back(Output::Event(match outcome {
                Ok(response) => Event::Response { id, from, response },
                Err(reason) => Event::Failed { id, reason },
            }));
        }
        self.start_queued(now, key);
        self.peers.release(now, key);
    }

    /// A Non-confirmable request stops being outstanding (RFC 7252 §4.7).
    pub(super) fn free_slot(&mut self, now: Instant, id: Key) {
        let Some(request) = self.requests.get_mut(id) else { return };
        let key = request.peer;
        if core::mem::take(&mut request.outstanding)
            && let Some(peer) = self.peers.get_mut(key)
        {
            peer.outstanding -= 1;
        }
        self.start_queued(now, key);
    }

    /// A response in a Confirmable or Non-confirmable message (RFC 7252 §5.2.2, §5.2.3).
    pub(super) fn handle_separate_response(
        &mut self,
        now: Instant,
        from: P,
        peer: Option<Key>,
        message: &Message<'_>,
    ) {
        let (kind, message_id) = (message.kind(), message.message_id());
        if let Some(state) = self.find_duplicate(now, peer, message) {
            return self.handle_duplicate(from, kind, message_id, &state);
        }
        let confirmable = kind == MessageType::Confirmable;
        let matching = peer.and_then(|peer| {
            let (id, _) = self.requests.find_sent(peer, message.token())?;
            Some((peer, id))
        });
        let Some((peer, id)) = matching else {
            self.stats.unmatched += 1;
            // RFC 7641 §3.6: a notification that nobody expects is rejected, so that no more come.
            let is_notification = message.options().any(|(n, _)| n == OptionNumber::OBSERVE);
            if confirmable || is_notification {
                self.send_reset(from, message_id);
            }
            return;
        };
        let Some(response) = self.read_response(message) else {
            self.stats.rejected += 1;
            if confirmable {
                self.send_reset(from, message_id);
            }
            return self.finish(now, id, Err(FailReason::UnrecognisedOption));
        };
        if confirmable {
            let answer = encode::empty(MessageType::Acknowledgement, message_id);
            let state = State::Answered(answer.as_slice().into());
            let expires = now + self.config.exchange_lifetime;
            let identity = (peer, message_id, message.token());
            // Without room the answer to a duplicate is a Reset, which also ends it
            // (RFC 7252 §5.3.2).
            self.dedup.insert(now, &mut self.peers, &mut self.stats, identity, state, expires);
            self.transmit(from, answer);
        }
        self.handle_response(now, from, id, response, false);
    }

    /// A response in an Acknowledgement (RFC 7252 §5.2.1).
    pub(super) fn handle_piggybacked_response(
        &mut self,
        now: Instant,
        peer: Option<Key>,
        message: &Message<'_>,
    ) {
        let message_id = message.message_id();
        // RFC 7252 §5.3.2: message id and token both have to match.
        let matching = peer.and_then(|peer| {
            let address = self.peers.get(peer)?.address;
            let (id, request) = self.requests.find_sent(peer, message.token())?;
            let is_answer = request.confirmable && request.message_id() == Some(message_id);
            is_answer.then_some((address, id))
        });
        let Some((from, id)) = matching else {
            // RFC 7252 §5.2.2: one for a separate response counts, whatever it carries.
            let carries_response = |peer| {
                let transmission = self.transmissions.get(&(peer, message_id));
                transmission.is_some_and(|sent| sent.owner == Owner::Response)
            };
            return if peer.is_some_and(carries_response) {
                self.handle_acknowledgement(now, peer, message_id);
            } else {
                self.stats.unmatched += 1;
            };
        };
        match self.read_response(message) {
            Some(response) => self.handle_response(now, from, id, response, true),
            None => {
                self.stats.rejected += 1;
                self.finish(now, id, Err(FailReason::UnrecognisedOption));
            }
        }
    }

    /// A response to one of the requests; `is_answer` if it is certainly that to the message sent
    /// last, because it is piggybacked.
    fn handle_response(
        &mut self,
        now: Instant,
        from: P,
        id: Key,
        response: Response,
        is_answer: bool,
    ) {
        self.stats.responses += 1;
        let has_observe = response.options.first(OptionNumber::OBSERVE).is_some();
        let Some(request) = self.requests.get_mut(id) else { return };
        // RFC 7641 §3.2, §4.2: without Observe, or with an error, there will be no more.
        if !has_observe || !response.code.is_success() || request.observing == Observing::No {
            return self.finish(now, id, Ok(response));
        }
        let acknowledged = matches!(request.progress, Progress::Acknowledged(_));
        match request.observing {
            // What still comes while the observation is being ended is not wanted any more.
            Observing::Ending if is_answer => return self.finish(now, id, Ok(response)),
            Observing::Ending => return,
            Observing::Established if !is_answer && !acknowledged => {}
            Observing::Asked | Observing::Established | Observing::No => self.settle(now, id),
        }
        self.outputs.push_back(Output::Event(Event::Notification {
            id: RequestId(id),
            from,
            response,
        }));
    }

    /// A request with Observe is answered, but not over.
    fn settle(&mut self, now: Instant, id: Key) {
        let Some(request) = self.requests.get_mut(id) else { return };
        let (peer, message_id) = (request.peer, request.message_id());
        request.observing = Observing::Established;
        request.progress = Progress::Answered;
        if let Some(due) = request.response_due.take() {
            self.timers.clear(due, Timer::Response(id));
        }
        if let Some(due) = request.slot_due.take() {
            self.timers.clear(due, Timer::Slot(id));
        }
        if let Some(message_id) = message_id {
            self.end_transmission(peer, message_id);
        }
        self.free_slot(now, id);
    }

    /// An empty Acknowledgement: what was sent has arrived.
    pub(super) fn handle_acknowledgement(
        &mut self,
        now: Instant,
        peer: Option<Key>,
        message_id: u16,
    ) {
        let confirmable = peer.and_then(|peer| {
            let sent = self.transmissions.get(&(peer, message_id))?;
            sent.retransmit.as_ref().map(|_| (peer, sent.owner))
        });
        let Some((peer, owner)) = confirmable else {
            self.stats.unmatched += 1;
            return;
        };
        self.stats.acknowledgements += 1;
        match owner {
            Owner::Response => self.end_outbound(now, peer, message_id),
            Owner::Notification => {
                self.end_notification(now, peer, message_id);
                let notification = NotificationId { peer, message_id };
                self.outputs.push_back(Output::Event(Event::Delivered { notification }));
            }
            Owner::Request(id) => {
                self.end_transmission(peer, message_id);
                let due = now + self.config.response_timeout;
                if let Some(request) = self.requests.get_mut(id) {
                    request.progress = Progress::Acknowledged(message_id);
                    request.response_due = Some(due);
                    self.timers.set(due, Timer::Response(id));
                }
                let arrived = Event::Acknowledged { id: RequestId(id) };
                self.outputs.push_back(Output::Event(arrived));
                self.free_slot(now, id);
            }
        }
    }

    /// A Reset: the peer could not do anything with what was sent.
    pub(super) fn handle_reset(&mut self, now: Instant, peer: Option<Key>, message_id: u16) {
        let owner = peer.and_then(|peer| {
            self.transmissions.get(&(peer, message_id)).map(|sent| (peer, sent.owner))
        });
        match owner {
            Some((_, Owner::Request(id))) => {
                self.stats.resets += 1;
                self.finish(now, id, Err(FailReason::Reset));
            }
            Some((peer, Owner::Response)) => {
                self.stats.resets += 1;
                self.stats.separate_responses_lost += 1;
                self.end_outbound(now, peer, message_id);
            }
            Some((peer, Owner::Notification)) => {
                self.stats.resets += 1;
                self.lose_notification(now, peer, message_id, FailReason::Reset);
            }
            None => self.stats.unmatched += 1,
        }
    }

    /// Sends a request for the first time.
    fn start(&mut self, now: Instant, peer: Key, to: P, id: Key, message_id: u16) {
        let Some(request) = self.requests.get_mut(id) else { return };
        request.outstanding = true;
        let progress = core::mem::replace(&mut request.progress, Progress::Sent(message_id));
        let Progress::Queued(mut datagram) = progress else { return };
        encode::set_message_id(&mut datagram, message_id);
        let retransmit = request.confirmable.then(|| {
            let schedule = Schedule::new(now, datagram.clone(), &self.config, &mut self.rng);
            self.timers.set(schedule.due, Timer::Retransmit(peer, message_id));
            schedule
        });
        if !request.confirmable {
            let timeout = self.config.response_timeout;
            let probing =
                Duration::from_secs(datagram.len() as u64) / self.config.probing_rate.max(1);
            let (slot_due, response_due) = (now + probing.min(timeout), now + timeout);
            request.slot_due = Some(slot_due);
            request.response_due = Some(response_due);
            self.timers.set(slot_due, Timer::Slot(id));
            self.timers.set(response_due, Timer::Response(id));
        }
        let transmission = Transmission { owner: Owner::Request(id), retransmit, expires: None };
        self.transmissions.insert((peer, message_id), transmission);
        self.transmit(to, datagram);
    }

    /// The response in a message, unless it has a critical option that is not recognised.
    fn read_response(&self, message: &Message<'_>) -> Option<Response> {
        let options = Options::recognise(message.options(), self.config.response_options).ok()?;
        Some(Response { code: message.code(), options, payload: message.payload().to_vec() })
    }
}

const fn kind_of(confirmable: bool) -> MessageType {
    if confirmable { MessageType::Confirmable } else { MessageType::NonConfirmable }
}
