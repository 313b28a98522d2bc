//! What each received message leads to.

use super::super::super::check::check_request;
use super::super::super::{
    Code, CodeKind, FailReason, Fault, MessageOptions, Options, Response, Token,
};
use super::super::frame::Frame;
use super::super::signal::{self, Signal};
use super::super::{CloseReason, StreamEvent, StreamFault};
use super::{Peer, Phase, StreamEndpoint};

impl StreamEndpoint {
    pub(super) fn handle_frame(&mut self, frame: Frame<'_>) -> Result<(), StreamFault> {
        let Frame { code, token, body } = frame;
        // Whatever it holds (RFC 8323 §5.4).
        if code.kind() == CodeKind::Empty {
            self.stats.empty += 1;
            return Ok(());
        }
        let (options, payload) = MessageOptions::parse(body).map_err(StreamFault::Format)?;
        if code.class() != Code::CSM.class() && matches!(self.peer, Peer::Unknown { .. }) {
            return Err(StreamFault::NoCsm);
        }
        match code.kind() {
            CodeKind::Request => self.handle_request(code, token, options, payload),
            CodeKind::Response => self.handle_response(code, token, options, payload),
            CodeKind::Reserved if code.class() == Code::CSM.class() => {
                return self.handle_signal(code, token, options, payload);
            }
            CodeKind::Empty | CodeKind::Reserved => {
                return Err(StreamFault::Format(Fault::ReservedCode(code)));
            }
        }
        Ok(())
    }

    fn handle_request(
        &mut self,
        code: Code,
        token: Token,
        options: MessageOptions<'_>,
        payload: &[u8],
    ) {
        if matches!(self.phase, Phase::Draining(_)) {
            self.stats.ignored += 1;
            return;
        }
        match check_request(code, options, payload, true, self.config.request_options) {
            Ok(request) => {
                self.stats.requests += 1;
                let exchange = self.exchanges.open(token);
                self.events.push_back(StreamEvent::Request { exchange, token, request });
            }
            Err(refusal) => {
                self.stats.refused += 1;
                self.send_response(token, &refusal.response);
            }
        }
    }

    fn handle_response(
        &mut self,
        code: Code,
        token: Token,
        options: MessageOptions<'_>,
        payload: &[u8],
    ) {
        let Some(id) = self.requests.find(token) else {
            self.stats.unmatched += 1;
            return;
        };
        match Options::recognise(options, self.config.response_options) {
            Ok(options) => {
                self.stats.responses += 1;
                let response = Response { code, options, payload: payload.to_vec() };
                if self.requests.handle_response(id, &response) {
                    self.events.push_back(StreamEvent::Notification { id, response });
                } else {
                    self.finish(id, Ok(response));
                }
            }
            Err(_) => {
                self.stats.rejected += 1;
                self.finish(id, Err(FailReason::UnrecognisedOption));
            }
        }
    }

    fn handle_signal(
        &mut self,
        code: Code,
        token: Token,
        options: MessageOptions<'_>,
        payload: &[u8],
    ) -> Result<(), StreamFault> {
        let signal = Signal::read(code, options, payload, self.capabilities())?;
        let is_first = matches!(self.peer, Peer::Unknown { .. });
        match signal {
            Signal::Csm(capabilities) => {
                if is_first || capabilities != self.capabilities() {
                    self.events.push_back(StreamEvent::Capabilities(capabilities));
                }
                self.peer = Peer::Known { capabilities, heard: self.now, pinged: None };
            }
            Signal::Abort { diagnostic } => {
                let reason = CloseReason::PeerAborted { diagnostic };
                self.break_off(reason, FailReason::Aborted);
            }
            Signal::Ping { .. } | Signal::Pong | Signal::Release(_) if is_first => {
                return Err(StreamFault::NoCsm);
            }
            Signal::Ping { custody } => {
                if !(custody && self.exchanges.wait_for_custody(token)) {
                    let processed = custody && self.exchanges.is_empty();
                    self.signal(Code::PONG, token, &signal::pong(processed), "");
                }
            }
            // That it arrived is all that it says.
            Signal::Pong => {}
            Signal::Release(release) => {
                if !matches!(self.phase, Phase::Draining(_)) {
                    self.phase = Phase::Draining(CloseReason::Released);
                    self.events.push_back(StreamEvent::Released(release));
                }
            }
        }
        self.stats.signals += 1;
        Ok(())
    }
}
