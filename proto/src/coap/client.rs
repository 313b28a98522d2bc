//! The client above the messages: requests and responses of any size, observations.
//!
//! A *call* is what the caller asked for; it takes as many exchanges of the endpoint as it needs,
//! one after the other, and ends in exactly one outcome.
//!
//! | Response | Reaction |
//! |---|---|
//! | 2.31, or a success for a block of an upload | the next block (RFC 7959 §2.5) |
//! | 4.13 with a smaller size | the upload starts over with it (§2.9.3) |
//! | 4.08 in an upload | it starts over, a few times (§2.9.2) |
//! | the first of several blocks | the others are fetched (§2.4) |
//! | a block of another representation | a GET or FETCH starts over, a few times; else the call fails |
//! | 4.01 with Echo | the same again, with that (RFC 9175 §2.3) |
//! | a notification that is not newer | ignored (RFC 7641 §3.4) |
//! | a notification that is newer | takes the place of one whose blocks are being fetched |
//! | none for Max-Age and a while | the observation is registered anew (RFC 7641 §3.3.1) |
//!
//! A request that has Block1 or Block2 itself is left alone: random access (RFC 7959 §2.4).

mod call;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::fmt::Debug;

use self::call::{Call, Phase, Watch, is_raw, prepare, take_echo, wanted_size};
pub use self::call::{CallError, CallEvent, CallId};
use super::arena::{Arena, Key};
use super::block::{Download, DownloadStep, Portion, Room, Upload, UploadStep};
use super::transport::Transport;
use super::{
    Block, BlockSize, DownloadFault, FailReason, Method, Observation, OptionNumber, Request,
    RequestError, RequestId, Response, TransferConfig,
};
use crate::{Instant, Rng};

/// How often a representation may change while it is fetched, before the call is given up.
const MAX_RESTARTS: u8 = 3;

/// The client's state.
#[derive(Debug)]
pub(super) struct Client<P> {
    config: TransferConfig,
    /// What fits into a message, as of the last call.
    room: Room,
    rng: Rng,
    calls: Arena<Call<P>>,
    by_request: BTreeMap<RequestId, Key>,
    renewals: BTreeSet<(Instant, Key)>,
    events: VecDeque<CallEvent<P>>,
    next_tag: u32,
    /// Bytes of all bodies that are being fetched.
    held: usize,
}

/// What a call does next.
enum Next {
    /// Waits for what was sent.
    Wait,
    /// Asks for this block of the response.
    Ask(Block),
    /// Sends the next block of the request.
    Send,
    /// Asks for the response from its beginning.
    Restart,
    /// Sends the last message again.
    Again {
        observes: bool,
    },
    /// Has the whole response.
    Done(Response),
    Fail(CallError),
}

impl<P: Copy + Ord + Debug> Client<P> {
    pub(super) fn new(config: TransferConfig, rng: &mut Rng) -> Self {
        Self {
            config,
            room: Room::of_datagrams(0),
            rng: Rng::new(rng.next_u64()),
            calls: Arena::new(),
            by_request: BTreeMap::new(),
            renewals: BTreeSet::new(),
            events: VecDeque::new(),
            next_tag: 0,
            held: 0,
        }
    }

    /// Starts a call.
    pub(super) fn request(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        to: P,
        mut request: Request,
    ) -> Result<CallId, RequestError> {
        let observes = request.options.first_uint(OptionNumber::OBSERVE) == Some(0);
        self.room = endpoint.room();
        let portion = self.config.portion(&request.options, self.room);
        let mut phase = Phase::Whole;
        if request.payload.len() > portion.bytes && !is_raw(&request) {
            if observes {
                return Err(RequestError::TooLarge { limit: portion.bytes });
            }
            phase = self.upload(&mut request, portion);
        }
        let (exchange, watch, echo) = (None, None, None);
        let call = Call { to, request, phase, exchange, watch, restarts: 0, echo, echoes: 0 };
        let key = self.calls.insert(call);
        let sent = match self.calls.get(key).map(|call| &call.phase) {
            Some(Phase::Upload(_)) => self.send_block(now, endpoint, key),
            Some(Phase::Whole | Phase::Download(_)) | None => {
                self.send_whole(now, endpoint, key, observes)
            }
        };
        match sent {
            Ok(()) => Ok(CallId(key)),
            Err(CallError::Request(error)) => {
                self.calls.remove(key);
                Err(error)
            }
            Err(_) => {
                self.calls.remove(key);
                Err(RequestError::TooLarge { limit: self.config.max_body })
            }
        }
    }

    /// Ends an observation by telling the server (RFC 7641 §3.6): the call ends in its response.
    /// Where nothing is observed yet or a registration is under way, the call is cancelled.
    pub(super) fn deregister(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        id: CallId,
    ) {
        let Some(call) = self.calls.get_mut(id.0) else { return };
        let renewed = match &mut call.watch {
            Some(watch) => {
                let mut request = call.request.clone();
                request.options.replace_uint(OptionNumber::OBSERVE, 1);
                watch.is_ending = true;
                endpoint.renew(now, watch.registration, &request)
            }
            None => Err(RequestError::NotObserving),
        };
        match renewed {
            Ok(()) => {
                self.set_renewal(id.0, Instant::FAR_FUTURE);
                self.drop_exchange(now, endpoint, id.0);
            }
            Err(_) => self.cancel(now, endpoint, id),
        }
    }

    /// Gives up a call. The next notification of an observation is rejected.
    pub(super) fn cancel(&mut self, now: Instant, endpoint: &mut impl Transport<P>, id: CallId) {
        self.end(now, endpoint, id.0, Err(FailReason::Cancelled.into()));
    }

    /// Takes the acknowledgement of one of the exchanges, whose response comes later.
    pub(super) fn handle_acknowledged(&mut self, id: RequestId) {
        let Some(&key) = self.by_request.get(&id) else { return };
        let has_arrived = match self.calls.get(key).map(|call| &call.phase) {
            Some(Phase::Whole) => true,
            Some(Phase::Upload(upload)) => upload.is_at_end(),
            Some(Phase::Download(_)) | None => false,
        };
        if has_arrived {
            self.events.push_back(CallEvent::Acknowledged { call: CallId(key) });
        }
    }

    /// Takes a response to one of the exchanges; the exchange is over.
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        id: RequestId,
        response: Response,
    ) {
        let Some(key) = self.by_request.remove(&id) else { return };
        self.room = endpoint.room();
        let Some(call) = self.calls.get_mut(key) else { return };
        let ended = call.watch.take_if(|watch| watch.registration == id);
        if take_echo(call, &response) && !ended.as_ref().is_some_and(|watch| watch.is_ending) {
            if let Some(watch) = &ended {
                self.renewals.remove(&(watch.renew_at, key));
                self.drop_exchange(now, endpoint, key);
            }
            return self.proceed(now, endpoint, key, Next::Again { observes: ended.is_some() });
        }
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(watch) = ended {
            // The observation is over, or there was none: the response is the outcome.
            self.renewals.remove(&(watch.renew_at, key));
            if watch.is_ending {
                return self.end(now, endpoint, key, Ok(response));
            }
            self.drop_exchange(now, endpoint, key);
            self.set_phase(key, Phase::Whole);
        } else {
            call.exchange = None;
        }
        let next = self.step(key, response);
        self.proceed(now, endpoint, key, next);
    }

    /// Takes a notification.
    pub(super) fn handle_notification(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        id: RequestId,
        response: Response,
    ) {
        let Some(&key) = self.by_request.get(&id) else { return };
        self.room = endpoint.room();
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(watch) = &mut call.watch else { return };
        if watch.is_ending {
            return;
        }
        let is_newer = watch.observation.handle_notification(now, &response, &mut self.rng);
        let renew_at = watch.observation.renew_at();
        self.set_renewal(key, renew_at);
        if !is_newer {
            return;
        }
        self.drop_exchange(now, endpoint, key);
        self.set_phase(key, Phase::Whole);
        let Some(call) = self.calls.get_mut(key) else { return };
        call.restarts = 0;
        let next = self.step(key, response);
        self.proceed(now, endpoint, key, next);
    }

    /// Takes the failure of one of the exchanges.
    pub(super) fn handle_failed(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        id: RequestId,
        reason: FailReason,
    ) {
        let Some(key) = self.by_request.remove(&id) else { return };
        let Some(call) = self.calls.get_mut(key) else { return };
        if call.exchange == Some(id) {
            call.exchange = None;
        }
        self.proceed(now, endpoint, key, Next::Fail(reason.into()));
    }

    /// Registers those observations anew that were silent for too long.
    pub(super) fn handle_timeout(&mut self, now: Instant, endpoint: &mut impl Transport<P>) {
        while let Some(&(at, key)) = self.renewals.first()
            && at <= now
        {
            self.renewals.remove(&(at, key));
            let Some(call) = self.calls.get_mut(key) else { continue };
            let Some(watch) = &mut call.watch else { continue };
            watch.observation.handle_renewal();
            watch.renew_at = Instant::FAR_FUTURE;
            // Where a registration is under way already, its answer sets the next time.
            let _ = endpoint.renew(now, watch.registration, &call.request);
        }
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.renewals.first().map(|&(at, _)| at)
    }

    pub(super) fn poll_event(&mut self) -> Option<CallEvent<P>> {
        self.events.pop_front()
    }

    /// What a response of the exchange under way means for a call.
    fn step(&mut self, key: Key, response: Response) -> Next {
        let Some(call) = self.calls.get_mut(key) else { return Next::Wait };
        if is_raw(&call.request) {
            return Next::Done(response);
        }
        let download = |response| match Download::start(
            response,
            self.config.largest(self.room.largest),
            self.config.max_body,
        ) {
            Ok((Some(download), DownloadStep::Ask(block))) => {
                (Phase::Download(download), Next::Ask(block))
            }
            Ok((_, DownloadStep::Done(response))) => (Phase::Whole, Next::Done(response)),
            Ok((_, DownloadStep::Ask(_) | DownloadStep::Changed)) => (Phase::Whole, Next::Restart),
            Err(fault) => (Phase::Whole, Next::Fail(fault.into())),
        };
        let phase = core::mem::replace(&mut call.phase, Phase::Whole);
        self.held -= phase.held();
        let (phase, next) = match phase {
            Phase::Whole => match wanted_size(call, &response) {
                // RFC 7959 §2.9.3: the body is welcome in blocks.
                Some(portion) => {
                    let mut request =
                        core::mem::replace(&mut call.request, Request::new(Method::Get));
                    let phase = self.upload(&mut request, portion);
                    if let Some(call) = self.calls.get_mut(key) {
                        call.request = request;
                    }
                    (phase, Next::Send)
                }
                None => download(response),
            },
            Phase::Upload(mut upload) => match upload.handle_response(&response) {
                Ok(UploadStep::Send) => (Phase::Upload(upload), Next::Send),
                Ok(UploadStep::Done) => download(response),
                Err(fault) => (Phase::Whole, Next::Fail(fault.into())),
            },
            Phase::Download(mut body) => match body.handle_block(response) {
                Ok(DownloadStep::Ask(block)) => (Phase::Download(body), Next::Ask(block)),
                Ok(DownloadStep::Done(response)) => (Phase::Whole, Next::Done(response)),
                Ok(DownloadStep::Changed) => (Phase::Whole, Next::Restart),
                Err(fault) => (Phase::Whole, Next::Fail(fault.into())),
            },
        };
        self.set_phase(key, phase);
        if self.held > self.config.max_bytes && matches!(next, Next::Ask(_)) {
            self.set_phase(key, Phase::Whole);
            return Next::Fail(DownloadFault::NoRoom.into());
        }
        next
    }

    fn set_phase(&mut self, key: Key, phase: Phase) {
        let Some(call) = self.calls.get_mut(key) else { return };
        self.held = self.held - call.phase.held() + phase.held();
        call.phase = phase;
    }

    fn proceed(&mut self, now: Instant, endpoint: &mut impl Transport<P>, key: Key, next: Next) {
        let done = match next {
            Next::Wait => return,
            Next::Ask(block) => self.ask_block(now, endpoint, key, block),
            Next::Send => self.send_block(now, endpoint, key),
            Next::Restart => self.restart(now, endpoint, key),
            Next::Again { observes } => self.send_again(now, endpoint, key, observes),
            Next::Fail(error) => Err(error),
            Next::Done(response) => return self.deliver(now, endpoint, key, response),
        };
        if let Err(error) = done {
            self.fail(now, endpoint, key, error);
        }
    }

    /// Hands over a whole response: the outcome, or a state of what is observed.
    fn deliver(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        key: Key,
        response: Response,
    ) {
        let Some(call) = self.calls.get(key) else { return };
        if call.watch.is_none() {
            return self.end(now, endpoint, key, Ok(response));
        }
        if !response.code.is_success() {
            // An error in place of the blocks of a notification. If the resource is gone, the
            // server says so in a notification of its own.
            return self.fail_fetch(now, key);
        }
        let (call, from) = (CallId(key), call.to);
        self.events.push_back(CallEvent::Notification { call, from, response });
    }

    fn fail(&mut self, now: Instant, endpoint: &mut impl Transport<P>, key: Key, error: CallError) {
        let Some(call) = self.calls.get(key) else { return };
        let is_alive =
            call.watch.as_ref().is_some_and(|w| self.by_request.contains_key(&w.registration));
        if is_alive {
            return self.fail_fetch(now, key);
        }
        self.end(now, endpoint, key, Err(error));
    }

    /// The blocks of a notification could not be fetched: after a while the observation is
    /// registered anew, which brings the state again.
    fn fail_fetch(&mut self, now: Instant, key: Key) {
        let Some(call) = self.calls.get_mut(key) else { return };
        let Some(watch) = &mut call.watch else { return };
        watch.observation.handle_gap(now, &mut self.rng);
        let renew_at = watch.observation.renew_at();
        self.set_renewal(key, renew_at);
    }

    fn send_again(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        key: Key,
        observes: bool,
    ) -> Result<(), CallError> {
        let block = match self.calls.get_mut(key).map(|call| &call.phase) {
            _ if observes => None,
            Some(Phase::Upload(_)) => return self.send_block(now, endpoint, key),
            Some(Phase::Download(download)) => download.wanted(),
            Some(Phase::Whole) | None => None,
        };
        match block {
            Some(block) => self.ask_block(now, endpoint, key, block),
            None => self.send_whole(now, endpoint, key, observes),
        }
    }

    fn restart(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        key: Key,
    ) -> Result<(), CallError> {
        let Some(call) = self.calls.get_mut(key) else { return Ok(()) };
        call.restarts += 1;
        let is_safe = matches!(call.request.method, Method::Get | Method::Fetch);
        if !is_safe || call.restarts > MAX_RESTARTS {
            return Err(CallError::Changed);
        }
        self.send_whole(now, endpoint, key, false)
    }

    /// Sends the request in one message.
    fn send_whole(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        key: Key,
        observes: bool,
    ) -> Result<(), CallError> {
        let Some(call) = self.calls.get_mut(key) else { return Ok(()) };
        let mut request = prepare(call);
        if !observes && call.watch.is_some() {
            request.options.remove(|number| number == OptionNumber::OBSERVE);
        }
        // RFC 7959 §2.4: early negotiation, where the usual size is too large.
        if self.config.block_size < BlockSize::MAX && !is_raw(&request) {
            let block = Block::first(self.config.block_size);
            request.options.push_uint(OptionNumber::BLOCK2, block.encode());
        }
        let id = endpoint.request(now, call.to, request)?;
        self.by_request.insert(id, key);
        if observes {
            let observation = match is_reliable(endpoint) {
                true => Observation::in_order(),
                false => Observation::new(),
            };
            let renew_at = Instant::FAR_FUTURE;
            call.watch = Some(Watch { registration: id, observation, renew_at, is_ending: false });
        } else {
            call.exchange = Some(id);
        }
        Ok(())
    }

    /// Sends the next block of the request.
    fn send_block(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        key: Key,
    ) -> Result<(), CallError> {
        let Some(call) = self.calls.get_mut(key) else { return Ok(()) };
        let mut request = prepare(call);
        let Phase::Upload(upload) = &mut call.phase else { return Ok(()) };
        let len = upload.body_len();
        let (block, payload) = upload.block()?;
        request.payload = payload.to_vec();
        request.options.push_uint(OptionNumber::BLOCK1, block.encode());
        if block.number == 0 {
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            request.options.push_uint(OptionNumber::SIZE1, len);
        }
        let id = endpoint.request(now, call.to, request)?;
        self.by_request.insert(id, key);
        call.exchange = Some(id);
        Ok(())
    }

    /// Asks for a further block of the response (RFC 7959 §2.4, §2.7): without the body of the
    /// request, but for a FETCH, whose body says what is asked for.
    fn ask_block(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        key: Key,
        block: Block,
    ) -> Result<(), CallError> {
        let Some(call) = self.calls.get_mut(key) else { return Ok(()) };
        let mut request = prepare(call);
        if request.method != Method::Fetch {
            request.payload.clear();
        }
        request.options.remove(|number| number == OptionNumber::OBSERVE);
        request.options.push_uint(OptionNumber::BLOCK2, block.encode());
        let id = endpoint.request(now, call.to, request)?;
        self.by_request.insert(id, key);
        call.exchange = Some(id);
        Ok(())
    }

    /// Turns the body of a request into an upload, with a tag that tells its blocks from those of
    /// another one (RFC 9175 §3.4).
    fn upload(&mut self, request: &mut Request, portion: Portion) -> Phase {
        self.next_tag = self.next_tag.wrapping_add(1);
        request.options.push_uint(OptionNumber::REQUEST_TAG, self.next_tag);
        Phase::Upload(Upload::new(core::mem::take(&mut request.payload), portion))
    }

    /// Gives up what is being fetched for a call.
    fn drop_exchange(&mut self, now: Instant, endpoint: &mut impl Transport<P>, key: Key) {
        let exchange = self.calls.get_mut(key).and_then(|call| call.exchange.take());
        if let Some(exchange) = exchange {
            self.by_request.remove(&exchange);
            endpoint.cancel(now, exchange);
        }
    }

    fn set_renewal(&mut self, key: Key, at: Instant) {
        let Some(watch) = self.calls.get_mut(key).and_then(|call| call.watch.as_mut()) else {
            return;
        };
        self.renewals.remove(&(watch.renew_at, key));
        watch.renew_at = at;
        if at != Instant::FAR_FUTURE {
            self.renewals.insert((at, key));
        }
    }

    fn end(
        &mut self,
        now: Instant,
        endpoint: &mut impl Transport<P>,
        key: Key,
        outcome: Result<Response, CallError>,
    ) {
        self.set_renewal(key, Instant::FAR_FUTURE);
        self.drop_exchange(now, endpoint, key);
        let Some(call) = self.calls.remove(key) else { return };
        self.held -= call.phase.held();
        if let Some(watch) = call.watch
            && self.by_request.remove(&watch.registration).is_some()
        {
            endpoint.cancel(now, watch.registration);
        }
        let (call, from) = (CallId(key), call.to);
        self.events.push_back(match outcome {
            Ok(response) => CallEvent::Response { call, from, response },
            Err(error) => CallEvent::Failed { call, error },
        });
    }

    #[cfg(test)]
    pub(super) fn usage(&self) -> (usize, usize, usize) {
        assert!(self.calls.len() > 0 || self.held == 0, "bytes of calls that are over");
        (self.calls.len(), self.by_request.len(), self.renewals.len())
    }
}

const fn is_reliable<P, T: Transport<P>>(_: &T) -> bool {
    T::IS_RELIABLE
}
