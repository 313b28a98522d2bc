//! What the server and the client above the messages stand on: datagrams or a connection.

use core::fmt::Debug;

use super::block::Room;
use super::encode::Prepared;
use super::{
    Endpoint, ExchangeId, NotificationId, Request, RequestError, RequestId, Response, Token,
};
use crate::Instant;

/// Carries whole messages to and from peers `P`.
pub(super) trait Transport<P> {
    /// Whether what is sent arrives once and in order, or ends the connection.
    const IS_RELIABLE: bool;

    /// What fits into a message.
    fn room(&self) -> Room;

    /// Whether notifications can be sent now. While it is not so, they are made of the latest state
    /// when it is.
    fn takes_notifications(&self) -> bool;

    fn respond(&mut self, now: Instant, exchange: ExchangeId, response: Response);

    /// Ends an exchange whose client wants no response (RFC 7967 §2).
    fn suppress(&mut self, now: Instant, exchange: ExchangeId);

    fn notify(
        &mut self,
        now: Instant,
        to: P,
        token: Token,
        prepared: &Prepared,
        confirmable: bool,
    ) -> Option<NotificationId>;

    fn forget_notification(&mut self, now: Instant, id: NotificationId);

    fn request(&mut self, now: Instant, to: P, request: Request)
    -> Result<RequestId, RequestError>;

    /// Registers an observation anew, or ends it (RFC 7641 §3.6).
    fn renew(&mut self, now: Instant, id: RequestId, request: &Request)
    -> Result<(), RequestError>;

    fn cancel(&mut self, now: Instant, id: RequestId);
}

impl<P: Copy + Ord + Debug> Transport<P> for Endpoint<P> {
    const IS_RELIABLE: bool = false;

    fn room(&self) -> Room {
        Room::of_datagrams(self.room())
    }

    fn takes_notifications(&self) -> bool {
        true
    }

    fn respond(&mut self, now: Instant, exchange: ExchangeId, response: Response) {
        self.respond(now, exchange, response);
    }

    fn suppress(&mut self, now: Instant, exchange: ExchangeId) {
        self.suppress(now, exchange);
    }

    fn notify(
        &mut self,
        now: Instant,
        to: P,
        token: Token,
        prepared: &Prepared,
        confirmable: bool,
    ) -> Option<NotificationId> {
        self.notify(now, to, token, prepared, confirmable)
    }

    fn forget_notification(&mut self, now: Instant, id: NotificationId) {
        self.forget_notification(now, id);
    }

    fn request(
        &mut self,
        now: Instant,
        to: P,
        request: Request,
    ) -> Result<RequestId, RequestError> {
        self.request(now, to, request)
    }

    fn renew(
        &mut self,
        now: Instant,
        id: RequestId,
        request: &Request,
    ) -> Result<(), RequestError> {
        self.renew(now, id, request)
    }

    fn cancel(&mut self, now: Instant, id: RequestId) {
        self.cancel(now, id);
    }
}
