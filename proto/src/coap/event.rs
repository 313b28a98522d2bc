//! What comes out of an endpoint.

use alloc::vec::Vec;

use super::arena::Key;
use super::{Fault, Request, Response, Token};
use crate::Instant;

/// How a datagram was addressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// To this endpoint alone.
    Unicast,
    /// To a group: no Reset, no error and no Acknowledgement goes back (RFC 7252 §8.1).
    Multicast,
}

/// A received request that waits for [`respond`](super::Endpoint::respond).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExchangeId(pub(super) Key);

/// A request made with [`request`](super::Endpoint::request).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub(super) Key);

/// A notification sent with [`notify`](super::Endpoint::notify).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NotificationId {
    pub(super) peer: Key,
    pub(super) message_id: u16,
}

impl NotificationId {
    /// One that was delivered when it was sent.
    pub(super) const DELIVERED: Self = Self { peer: Key::NONE, message_id: 0 };
}

/// What [`poll_output`](super::Endpoint::poll_output) gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output<P> {
    /// Send this datagram.
    Transmit {
        /// The peer to send it to.
        to: P,
        /// One message.
        datagram: Vec<u8>,
    },
    /// Something that the caller wants to know.
    Event(Event<P>),
    /// Nothing left: call [`handle_timeout`](super::Endpoint::handle_timeout) at that time,
    /// unless something else happens before; never, if there is no time.
    Wait(Option<Instant>),
}

/// What an endpoint has to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<P> {
    /// A request that was not seen before. It must be answered with
    /// [`respond`](super::Endpoint::respond), sooner or later.
    Request {
        /// What to answer.
        exchange: ExchangeId,
        /// Who asks.
        from: P,
        /// How it was addressed; errors in response to a group are not sent.
        delivery: Delivery,
        /// With `from` and `token` what identifies the message across a restart:
        /// see [`remember`](super::Endpoint::remember).
        message_id: u16,
        /// What the response will echo.
        token: Token,
        /// Bytes of the datagram, for a server that does not want to send much more.
        size: usize,
        /// The request.
        request: Request,
    },
    /// A response to a request with Observe that opens or continues an observation; more will
    /// come (RFC 7641 §3.2). The order is the network's: see
    /// [`Observation`](super::Observation).
    Notification {
        /// Which request.
        id: RequestId,
        /// Who answered.
        from: P,
        /// The response, of class 2 and with Observe.
        response: Response,
    },
    /// A request has arrived, and its response will come in a message of its own (RFC 7252 §5.2.2).
    Acknowledged {
        /// Which request.
        id: RequestId,
    },
    /// The response to a request; the request is over.
    Response {
        /// Which request.
        id: RequestId,
        /// Who answered.
        from: P,
        /// The response, which may well be an error.
        response: Response,
    },
    /// There will be no response; the request is over.
    Failed {
        /// Which request.
        id: RequestId,
        /// Why.
        reason: FailReason,
    },
    /// A Confirmable notification was acknowledged.
    Delivered {
        /// Which one.
        notification: NotificationId,
    },
    /// A notification was rejected with a Reset, or a Confirmable one was not acknowledged.
    Undelivered {
        /// Which one.
        notification: NotificationId,
        /// [`Reset`](FailReason::Reset) or [`Timeout`](FailReason::Timeout).
        reason: FailReason,
    },
    /// A datagram that is not a message; the reaction has been sent where there is one.
    Malformed {
        /// Who sent it.
        from: P,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// Why a request ended without a response.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, thiserror::Error)]
pub enum FailReason {
    /// No Acknowledgement after all retransmissions (RFC 7252 §4.2).
    #[error("the peer did not acknowledge the request")]
    Timeout,
    /// Acknowledged or Non-confirmable, but not answered within the response timeout.
    #[error("the peer did not answer the request")]
    NoResponse,
    /// The peer has no context for it (RFC 7252 §4.2).
    #[error("the peer rejected the request with a Reset")]
    Reset,
    /// The response has a critical option that is not recognised (RFC 7252 §5.4.1).
    #[error("the response has a critical option that is not recognised")]
    UnrecognisedOption,
    /// Given up with [`cancel`](super::Endpoint::cancel).
    #[error("the request was cancelled")]
    Cancelled,
    /// The peer gave the connection up at once (RFC 8323 §5.6).
    #[error("the peer aborted the connection")]
    Aborted,
    /// The connection ended before the response came (RFC 8323 §3.4).
    #[error("the connection was lost")]
    ConnectionLost,
}

/// Why a request was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// More requests wait for this peer than `max_queue`.
    #[error("too many requests wait for this peer, wait for one to end")]
    QueueFull,
    /// More requests are in progress than `max_requests`.
    #[error("too many requests are in progress, wait for one to end")]
    TooManyRequests,
    /// As many peers as `max_peers` have something in progress.
    #[error("too many peers have something in progress, wait for one to end")]
    TooManyPeers,
    /// The request to renew or end an observation came when there was none, or while another such
    /// request was under way.
    #[error("there is no observation that could be renewed or ended, or that is being done")]
    NotObserving,
    /// Larger than `max_message`.
    #[error("the message would be larger than {limit} bytes, send less at once")]
    TooLarge {
        /// `max_message` of the endpoint, or the Max-Message-Size of the connection's peer.
        limit: usize,
    },
    /// The connection has ended or is about to.
    #[error("the connection is closing, open another one")]
    Closing,
}
