//! The endpoint of one connection: server's and client's role in one.

mod exchanges;
mod received;

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::vec::Vec;

use self::exchanges::Exchanges;
use super::super::block::Room;
use super::super::{
    BlockSize, Code, CodeKind, ExchangeId, FailReason, Options, Prepared, Request, RequestError,
    RequestId, Response, Token,
};
use super::frame;
use super::requests::Requests;
use super::signal;
use super::{
    Capabilities, CloseReason, Release, StreamConfig, StreamEvent, StreamFault, StreamOutput,
    StreamStats,
};
use crate::Instant;

/// A CoAP endpoint for one connection over a reliable stream (RFC 8323), as initiator or acceptor.
///
/// It does nothing on its own. The caller
///
/// - hands it what arrives with [`handle_bytes`](Self::handle_bytes), in any pieces, but reads only
///   while [`wants_bytes`](Self::wants_bytes); then [`handle_end`](Self::handle_end) where the
///   stream ends, [`handle_lost`](Self::handle_lost) where the transport fails;
/// - calls [`handle_timeout`](Self::handle_timeout) when the time of the last
///   [`StreamOutput::Wait`] has come;
/// - after *every* call of a method that takes `&mut self` calls
///   [`poll_output`](Self::poll_output) until it gives [`StreamOutput::Wait`];
/// - writes what [`StreamOutput::Transmit`] holds and then says so with
///   [`handle_transmitted`](Self::handle_transmitted);
/// - closes the connection after [`StreamEvent::Closed`], which is the last event.
///
/// `now` never goes back between calls.
///
/// What the protocol itself has an answer for never reaches the caller:
///
/// | Received | Reaction |
/// |---|---|
/// | not a message, one above `max_message`, an unknown signal | Abort (RFC 8323 §5.6) |
/// | anything but a CSM at first, or no CSM in time | Abort (§3.3) |
/// | unrecognised critical option in a signal | Abort (§5.2), with Bad-CSM-Option for a CSM |
/// | Empty message | ignored (§5.4) |
/// | Ping | Pong, with Custody after the answers to all earlier requests (§5.4.1) |
/// | Release | no more requests; the end once everything is answered (§5.5) |
/// | unknown method, unrecognised critical option, proxying, a path that is no topic | 4.05, 4.02, 5.05, 4.00 |
/// | response that matches nothing | ignored |
/// | more requests than `max_exchanges`, or answers that the peer does not read | nothing more is taken from the stream |
/// | silence | a Ping, then an Abort |
///
/// As a client it takes a [`Request`] and ends it in exactly one [`StreamEvent::Response`] or
/// [`StreamEvent::Failed`]; one that asks for notifications gets any number of
/// [`StreamEvent::Notification`] before (§7). Nothing is sent twice and nothing is recognised as sent twice: the
/// stream delivers a message once, and what was open when a connection ended may or may not have
/// been done (§3.4).
#[derive(Debug)]
pub struct StreamEndpoint {
    config: StreamConfig,
    stats: StreamStats,
    /// The time of the last call.
    now: Instant,
    phase: Phase,
    peer: Peer,
    /// What was received and is not taken yet.
    inbox: Vec<u8>,
    /// What waits for the transport.
    outgoing: Vec<u8>,
    /// How much of that are own requests.
    asking: usize,
    /// What the transport has and has not written yet.
    transmitting: Option<Transmitting>,
    exchanges: Exchanges,
    requests: Requests,
    events: VecDeque<StreamEvent>,
}

/// What the transport writes.
#[derive(Clone, Copy, Debug)]
struct Transmitting {
    bytes: usize,
    /// How much of that are own requests.
    asking: usize,
    since: Instant,
}

/// How far a connection is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    /// As long as both sides want.
    Open,
    /// The peer was asked to close it, and may go on until then.
    Releasing {
        until: Instant,
    },
    /// No requests are taken any more; ends when everything is answered.
    Draining(CloseReason),
    /// Nothing is taken any more; ends when everything is sent.
    Flushing(CloseReason),
    Closed,
}

/// What is known of the peer.
#[derive(Debug)]
enum Peer {
    /// It has to send its CSM.
    Unknown { csm_due: Instant },
    /// It works.
    Known { capabilities: Capabilities, heard: Instant, pinged: Option<Instant> },
}

impl StreamEndpoint {
    /// The endpoint of a connection that was opened just now. Its CSM is the first output.
    pub fn new(now: Instant, config: StreamConfig) -> Self {
        let mut endpoint = Self {
            stats: StreamStats::default(),
            now,
            phase: Phase::Open,
            peer: Peer::Unknown { csm_due: now + config.csm_timeout },
            inbox: Vec::new(),
            outgoing: Vec::new(),
            asking: 0,
            transmitting: None,
            exchanges: Exchanges::new(),
            requests: Requests::new(),
            events: VecDeque::new(),
            config,
        };
        let options = signal::csm(endpoint.config.max_message, endpoint.config.block_wise);
        endpoint.signal(Code::CSM, Token::EMPTY, &options, "");
        endpoint
    }

    /// Whether to read from the stream. While it is not so, what arrives waits in the transport,
    /// where the peer feels it.
    pub fn wants_bytes(&self) -> bool {
        let may_read = match &self.phase {
            Phase::Open | Phase::Releasing { .. } => true,
            Phase::Draining(reason) => *reason == CloseReason::Released,
            Phase::Flushing(_) | Phase::Closed => false,
        };
        may_read
            && self.exchanges.len() < self.config.max_exchanges
            && self.unread() < self.config.max_outgoing
    }

    /// Takes what arrived. What is handed in without being [wanted](Self::wants_bytes) is kept.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        if self.is_over() {
            return;
        }
        if let Peer::Known { heard, pinged, .. } = &mut self.peer {
            *heard = now;
            *pinged = None;
        }
        self.inbox.extend_from_slice(bytes);
        self.advance();
    }

    /// The peer sends nothing more. What it asked before is answered still.
    pub fn handle_end(&mut self, now: Instant) {
        self.now = now;
        self.stats.truncated += u64::from(!self.inbox.is_empty());
        self.inbox.clear();
        self.fail_requests(FailReason::ConnectionLost);
        if matches!(self.phase, Phase::Open | Phase::Releasing { .. }) {
            self.phase = Phase::Draining(CloseReason::Ended);
        }
        self.settle();
    }

    /// The transport failed.
    pub fn handle_lost(&mut self, now: Instant) {
        self.now = now;
        self.break_off(CloseReason::Lost, FailReason::ConnectionLost);
    }

    /// All of the last [`StreamOutput::Transmit`] was written.
    pub fn handle_transmitted(&mut self, now: Instant) {
        self.now = now;
        self.transmitting = None;
        self.advance();
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        while let Some((due, id)) = self.requests.first_due()
            && due <= now
        {
            self.finish(id, Err(FailReason::NoResponse));
        }
        if let Some(Transmitting { since, .. }) = self.transmitting
            && since + self.config.transmit_timeout <= now
        {
            return self.break_off(CloseReason::Stalled, FailReason::ConnectionLost);
        }
        if let Phase::Releasing { until } = self.phase
            && until <= now
        {
            self.phase = Phase::Draining(CloseReason::Released);
        }
        self.check_peer();
        self.settle();
    }

    /// What to do next; see the type for the order of calls.
    pub fn poll_output(&mut self) -> StreamOutput {
        if self.transmitting.is_none() && !self.outgoing.is_empty() {
            let bytes = core::mem::take(&mut self.outgoing);
            let asking = core::mem::take(&mut self.asking);
            self.transmitting = Some(Transmitting { bytes: bytes.len(), asking, since: self.now });
            return StreamOutput::Transmit(bytes);
        }
        if let Some(event) = self.events.pop_front() {
            return StreamOutput::Event(event);
        }
        if let Phase::Flushing(reason) = &self.phase
            && self.transmitting.is_none()
        {
            let reason = reason.clone();
            self.phase = Phase::Closed;
            return StreamOutput::Event(StreamEvent::Closed(reason));
        }
        StreamOutput::Wait(self.next_due())
    }

    /// Sends a request. It ends in exactly one [`StreamEvent::Response`] or
    /// [`StreamEvent::Failed`].
    pub fn request(&mut self, now: Instant, request: &Request) -> Result<RequestId, RequestError> {
        self.check_queue()?;
        self.start_request(now, request)
    }

    /// Refuses a request while the peer does not read what it was sent.
    pub(super) fn check_queue(&self) -> Result<(), RequestError> {
        let is_full = self.unsent() >= self.config.max_outgoing;
        if is_full { Err(RequestError::QueueFull) } else { Ok(()) }
    }

    /// Sends a request whether or not the peer reads, such as the next block of a body.
    pub(super) fn start_request(
        &mut self,
        now: Instant,
        request: &Request,
    ) -> Result<RequestId, RequestError> {
        self.now = now;
        if self.phase != Phase::Open {
            return Err(RequestError::Closing);
        }
        if self.requests.len() >= self.config.max_requests {
            return Err(RequestError::TooManyRequests);
        }
        let token = self.requests.unused_token();
        self.send_request(token, request)?;
        self.stats.own_requests += 1;
        Ok(self.requests.insert(token, request, now + self.config.response_timeout))
    }

    /// Sends another request with the token of an observation: one that is the same registers anew,
    /// one with an Observe of 1 ends the observation (RFC 8323 §7.4). It has no outcome of its own:
    /// see [`Endpoint::renew`](super::super::Endpoint::renew).
    pub fn renew(
        &mut self,
        now: Instant,
        id: RequestId,
        request: &Request,
    ) -> Result<(), RequestError> {
        self.now = now;
        if self.phase != Phase::Open {
            return Err(RequestError::Closing);
        }
        let token = self.requests.renew(id, request, now + self.config.response_timeout)?;
        self.send_request(token, request)
    }

    /// Gives up a request: it ends in [`StreamEvent::Failed`], unless it is over already. The
    /// server of an observation is told (RFC 8323 §7.4).
    pub fn cancel(&mut self, now: Instant, id: RequestId) {
        self.now = now;
        self.finish(id, Err(FailReason::Cancelled));
        self.settle();
    }

    /// Answers a request. Anything but the first answer is counted and dropped.
    pub fn respond(&mut self, now: Instant, exchange: ExchangeId, response: &Response) {
        self.close(now, exchange, Some(response));
    }

    /// Finishes an exchange without a response, because the client does not want one (RFC 7967 §2).
    pub fn suppress(&mut self, now: Instant, exchange: ExchangeId) {
        self.close(now, exchange, None);
    }

    /// Whether there is room for a [notification](Self::notify): not while the peer does not read
    /// what it was sent.
    pub fn takes_notifications(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Releasing { .. })
            && self.unsent() < self.config.max_outgoing
    }

    /// Sends a notification for a request that was received with `token` (RFC 8323 §7.1): whether
    /// the peer takes messages as large as that.
    pub fn notify(&mut self, now: Instant, token: Token, prepared: &Prepared) -> bool {
        self.now = now;
        let limit = self.capabilities().max_message;
        let sent = !self.is_over()
            && frame::append_prepared(&mut self.outgoing, token, prepared, limit).is_ok();
        self.stats.sent += u64::from(sent);
        sent
    }

    /// Asks the peer to close the connection. Its requests are still answered, until it does or
    /// `release_timeout` is over. What does not fit into a message that the peer takes is left out.
    pub fn release(&mut self, now: Instant, release: &Release) {
        self.now = now;
        if self.phase == Phase::Open {
            self.signal(
                Code::RELEASE,
                Token::EMPTY,
                &signal::release(release),
                &release.diagnostic,
            );
            self.phase = Phase::Releasing { until: now + self.config.release_timeout };
        }
    }

    /// What the peer can do, as far as it has said so.
    pub fn capabilities(&self) -> Capabilities {
        match self.peer {
            Peer::Unknown { .. } => Capabilities::default(),
            Peer::Known { capabilities, .. } => capabilities,
        }
    }

    /// What happened so far.
    pub const fn stats(&self) -> &StreamStats {
        &self.stats
    }

    /// What fits into a message of a body that is cut into blocks. Messages of the own largest size
    /// are as large as it gets, whatever the peer takes.
    pub(in super::super) fn room(&self) -> Room {
        let Capabilities { max_message, block_wise } = self.capabilities();
        let own = usize::try_from(self.config.max_message).unwrap_or(usize::MAX);
        let block_wise = block_wise && self.config.block_wise;
        // RFC 8323 §5.3.2
        let is_bert = block_wise && max_message.min(own) > signal::BASE_MAX_MESSAGE;
        Room {
            bytes: max_message.min(own).saturating_sub(frame::LONGEST_HEADER + Token::MAX_SHORT),
            largest: if is_bert { BlockSize::BERT } else { BlockSize::MAX },
            block_wise,
        }
    }

    fn close(&mut self, now: Instant, exchange: ExchangeId, response: Option<&Response>) {
        self.now = now;
        match self.exchanges.close(exchange) {
            Some(token) if !self.is_over() => {
                if let Some(response) = response {
                    self.send_response(token, response);
                }
                while let Some(token) = self.exchanges.pop_custody() {
                    self.signal(Code::PONG, token, &signal::pong(true), "");
                }
                self.advance();
            }
            Some(_) | None => self.stats.late_responses += 1,
        }
    }

    /// Whether nothing is taken any more, from neither side.
    const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Flushing(_) | Phase::Closed)
    }

    fn unsent(&self) -> usize {
        self.outgoing.len() + self.transmitting.map_or(0, |sent| sent.bytes)
    }

    /// What the peer gets for what it sent and does not read. Own requests are not among that: two
    /// ends that stop reading because of those would wait for each other.
    fn unread(&self) -> usize {
        self.unsent() - self.asking - self.transmitting.map_or(0, |sent| sent.asking)
    }

    /// Takes messages from the inbox, as long as there is room for what they lead to.
    fn advance(&mut self) {
        let mut inbox = core::mem::take(&mut self.inbox);
        let mut rest = inbox.as_slice();
        while self.wants_bytes() {
            match frame::split(rest, self.config.max_message) {
                Ok(Some((frame, after))) => {
                    rest = after;
                    self.stats.received += 1;
                    if let Err(fault) = self.handle_frame(frame) {
                        self.stats.malformed += 1;
                        self.abort(fault);
                    }
                }
                Ok(None) => break,
                Err(fault) => {
                    self.stats.received += 1;
                    self.stats.malformed += 1;
                    self.abort(fault);
                }
            }
        }
        if !self.is_over() {
            let taken = inbox.len() - rest.len();
            inbox.drain(..taken);
            self.inbox = inbox;
        }
        self.settle();
    }

    /// Whether the peer has to say something, and did (RFC 8323 §3.3, §3.4).
    fn check_peer(&mut self) {
        // One that is not read has no way to show that it is there; why it is not read has an end
        // of its own.
        if !self.wants_bytes() {
            return;
        }
        match &mut self.peer {
            Peer::Unknown { csm_due } if *csm_due <= self.now => self.abort(StreamFault::LateCsm),
            Peer::Known { pinged: Some(at), .. } if *at + self.config.pong_timeout <= self.now => {
                self.abort(StreamFault::Silent);
            }
            Peer::Known { heard, pinged: pinged @ None, .. }
                if *heard + self.config.idle_timeout <= self.now =>
            {
                *pinged = Some(self.now);
                self.signal(Code::PING, Token::EMPTY, &Options::new(), "");
            }
            Peer::Unknown { .. } | Peer::Known { .. } => {}
        }
    }

    fn next_due(&self) -> Option<Instant> {
        if self.phase == Phase::Closed {
            return None;
        }
        let transmitted = self.transmitting.map(|sent| sent.since + self.config.transmit_timeout);
        let released = match self.phase {
            Phase::Releasing { until } => Some(until),
            Phase::Open | Phase::Draining(_) | Phase::Flushing(_) | Phase::Closed => None,
        };
        let heard = self.wants_bytes().then(|| match self.peer {
            Peer::Unknown { csm_due } => csm_due,
            Peer::Known { pinged: Some(at), .. } => at + self.config.pong_timeout,
            Peer::Known { heard, pinged: None, .. } => heard + self.config.idle_timeout,
        });
        let answered = self.requests.next_due();
        [transmitted, released, heard, answered].into_iter().flatten().min()
    }

    /// Ends a connection in which nothing is open that has to be.
    fn settle(&mut self) {
        if let Phase::Draining(reason) = &self.phase
            && self.exchanges.is_empty()
            && self.requests.next_due().is_none()
        {
            self.phase = Phase::Flushing(reason.clone());
            // Observations that would have gone on.
            self.fail_requests(FailReason::ConnectionLost);
        }
    }

    /// Ends the connection because of what the peer did (RFC 8323 §5.6).
    fn abort(&mut self, fault: StreamFault) {
        self.signal(Code::ABORT, Token::EMPTY, &signal::abort(fault), &fault.to_string());
        self.phase = Phase::Flushing(CloseReason::Aborted(fault));
        self.fail_requests(FailReason::ConnectionLost);
    }

    /// Ends the connection without another word.
    fn break_off(&mut self, reason: CloseReason, failed: FailReason) {
        self.outgoing.clear();
        self.asking = 0;
        self.transmitting = None;
        if !self.is_over() {
            self.phase = Phase::Flushing(reason);
        }
        self.fail_requests(failed);
    }

    fn fail_requests(&mut self, reason: FailReason) {
        while let Some((_, id)) = self.requests.first_due() {
            self.finish(id, Err(reason));
        }
    }

    /// Ends a request, in exactly one event.
    fn finish(&mut self, id: RequestId, outcome: Result<Response, FailReason>) {
        if let Some(observed) = self.requests.remove(id) {
            let may_send = matches!(self.phase, Phase::Open | Phase::Releasing { .. });
            if let Some((token, request)) = observed.filter(|_| may_send && outcome.is_err()) {
                // It was as large before.
                let _ = self.send_request(token, &request);
            }
            self.stats.own_requests_failed += u64::from(outcome.is_err());
            self.events.push_back(match outcome {
                Ok(response) => StreamEvent::Response { id, response },
                Err(reason) => StreamEvent::Failed { id, reason },
            });
        }
    }

    fn send_request(&mut self, token: Token, request: &Request) -> Result<(), RequestError> {
        let (code, limit) = (request.method.code(), self.capabilities().max_message);
        let (options, payload) = (&request.options, &request.payload);
        let before = self.outgoing.len();
        frame::append(&mut self.outgoing, code, token, options, payload, limit)
            .map_err(|_| RequestError::TooLarge { limit })?;
        self.asking += self.outgoing.len() - before;
        self.stats.sent += 1;
        Ok(())
    }

    /// Sends a response; one that cannot be sent becomes a 5.00.
    fn send_response(&mut self, token: Token, response: &Response) {
        // RFC 7252 §5.9.1.3: a 2.03 has no payload.
        let payload = if response.code == Code::VALID { &[] } else { response.payload.as_slice() };
        let (code, options) = (response.code, &response.options);
        let limit = self.capabilities().max_message;
        self.stats.sent += 1;
        if code.kind() != CodeKind::Response
            || frame::append(&mut self.outgoing, code, token, options, payload, limit).is_err()
        {
            self.stats.unsendable_responses += 1;
            let code = Code::INTERNAL_SERVER_ERROR;
            let text = b"the response does not fit a message";
            // Nobody takes less than this.
            let _ = frame::append(&mut self.outgoing, code, token, &Options::new(), text, limit);
        }
    }

    /// Sends a signalling message, without payload where the peer does not take all of it.
    fn signal(&mut self, code: Code, token: Token, options: &Options, diagnostic: &str) {
        let limit = self.capabilities().max_message;
        let out = &mut self.outgoing;
        self.stats.sent += 1;
        if frame::append(out, code, token, options, diagnostic.as_bytes(), limit).is_err() {
            let _ = frame::append(out, code, token, &Options::new(), &[], limit);
        }
    }
}

#[cfg(test)]
mod tests;
