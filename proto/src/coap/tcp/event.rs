//! What comes out of a connection.

use alloc::string::String;
use alloc::vec::Vec;

use super::super::{
    Code, ExchangeId, FailReason, Fault, OptionNumber, Request, RequestId, Response, Token,
};
use super::{Capabilities, Release};
use crate::Instant;

/// What [`poll_output`](super::StreamEndpoint::poll_output) gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamOutput {
    /// Write all of this, and then call
    /// [`handle_transmitted`](super::StreamEndpoint::handle_transmitted): the next one comes only
    /// after that.
    Transmit(Vec<u8>),
    /// Something that the caller wants to know.
    Event(StreamEvent),
    /// Nothing left: call [`handle_timeout`](super::StreamEndpoint::handle_timeout) at that time,
    /// unless something else happens before; never, if there is no time.
    Wait(Option<Instant>),
}

/// What a connection has to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamEvent {
    /// The peer said what it can do: at the start, and when that changes.
    Capabilities(Capabilities),
    /// A request. It must be answered with [`respond`](super::StreamEndpoint::respond), sooner or
    /// later.
    Request {
        /// What to answer.
        exchange: ExchangeId,
        /// What the response will echo.
        token: Token,
        /// The request.
        request: Request,
    },
    /// A response to a request with Observe that opens or continues an observation; more will
    /// come, each newer than the last (RFC 8323 §7.1).
    Notification {
        /// Which request.
        id: RequestId,
        /// The response, of class 2 and with Observe.
        response: Response,
    },
    /// The response to a request; the request is over.
    Response {
        /// Which request.
        id: RequestId,
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
    /// The peer wants the connection to end. It does once everything is answered.
    Released(Release),
    /// The last event: close the connection.
    Closed(CloseReason),
}

/// Why a connection is to be closed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CloseReason {
    /// One side sent a Release, and what was open is settled (RFC 8323 §5.5).
    #[error("the connection was released")]
    Released,
    /// The peer sends nothing more, and what it asked is answered.
    #[error("the peer closed the connection")]
    Ended,
    /// The transport failed.
    #[error("the connection broke")]
    Lost,
    /// The peer sent an Abort (RFC 8323 §5.6).
    #[error("the peer aborted the connection: {diagnostic}")]
    PeerAborted {
        /// Its diagnostic payload, shortened.
        diagnostic: String,
    },
    /// The peer was sent an Abort.
    #[error("{0}")]
    Aborted(StreamFault),
    /// The peer does not read what it is sent.
    #[error("the peer does not read what it is sent")]
    Stalled,
}

/// What a peer did wrong; `Display` is the diagnostic payload of the Abort that it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamFault {
    /// Not a message (RFC 8323 §5.6).
    #[error("{0}")]
    Format(Fault),
    /// RFC 8323 §5.3.1
    #[error("a message is longer than the Max-Message-Size of {limit}")]
    TooLarge {
        /// What the peer had been told.
        limit: u32,
    },
    /// RFC 8323 §3.3
    #[error("the first message is not a CSM")]
    NoCsm,
    /// The peer did not send its CSM within `csm_timeout`.
    #[error("no CSM in time")]
    LateCsm,
    /// The peer did not answer a Ping within `pong_timeout`.
    #[error("no answer to a Ping")]
    Silent,
    /// A signalling code without a definition.
    #[error("unknown signalling code {0}")]
    UnknownSignal(Code),
    /// RFC 8323 §5.2
    #[error("unrecognised critical option {option} in a {signal}")]
    SignalOption {
        /// The signalling message.
        signal: Code,
        /// The option.
        option: OptionNumber,
    },
    /// A CSM option that is known and has a value that it cannot have (RFC 8323 §5.6).
    #[error("CSM option {0} has a bad value")]
    CsmValue(OptionNumber),
}

impl StreamFault {
    /// The value of Bad-CSM-Option (RFC 8323 §5.6).
    pub(super) fn bad_csm_option(self) -> Option<OptionNumber> {
        match self {
            Self::SignalOption { signal: Code::CSM, option } | Self::CsmValue(option) => {
                Some(option)
            }
            Self::SignalOption { .. }
            | Self::Format(_)
            | Self::TooLarge { .. }
            | Self::NoCsm
            | Self::LateCsm
            | Self::Silent
            | Self::UnknownSignal(_) => None,
        }
    }
}
