//! A call: what a client was asked for, how far it is and how it ends.

use alloc::boxed::Box;

use super::super::arena::Key;
use super::super::block::{Download, Portion, Upload};
use super::super::{
    Block, BlockSize, Code, DownloadFault, FailReason, Observation, OptionNumber, Request,
    RequestError, RequestId, Response, UploadFault,
};
use crate::Instant;

/// How often a server may want an Echo repeated before the 4.01 is the response.
const MAX_ECHOES: u8 = 3;

/// Something that a client asked for: [`request`](crate::coap::Node::request) or
/// [`observe`](crate::coap::Node::observe).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub(super) Key);

/// Why a call ended without a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// One of its exchanges failed.
    #[error(transparent)]
    Exchange(#[from] FailReason),
    /// One of its exchanges could not be started.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The body of the request could not be sent.
    #[error(transparent)]
    Upload(#[from] UploadFault),
    /// The body of the response could not be fetched.
    #[error(transparent)]
    Download(#[from] DownloadFault),
    /// The parts that came were of different representations.
    #[error("the representation changed while it was fetched, try again")]
    Changed,
}

/// What comes of calls.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallEvent<P> {
    /// All of the request has arrived; the response will come in a message of its own
    /// (RFC 7252 §5.2.2).
    Acknowledged {
        /// Which call.
        call: CallId,
    },
    /// The response; the call is over.
    Response {
        /// Which call.
        call: CallId,
        /// Who answered.
        from: P,
        /// The response with its whole body; it may well be an error.
        response: Response,
    },
    /// A newer state of what is observed.
    Notification {
        /// Which call.
        call: CallId,
        /// Who answered.
        from: P,
        /// The state with its whole body.
        response: Response,
    },
    /// There will be no response; the call is over.
    Failed {
        /// Which call.
        call: CallId,
        /// Why.
        error: CallError,
    },
}

/// A call that is not over.
#[derive(Debug)]
pub(super) struct Call<P> {
    pub(super) to: P,
    /// What was asked for; the body is in `phase` while it is sent in blocks.
    pub(super) request: Request,
    pub(super) phase: Phase,
    /// The exchange under way that fetches or sends blocks, or the only one.
    pub(super) exchange: Option<RequestId>,
    pub(super) watch: Option<Watch>,
    pub(super) restarts: u8,
    /// What the server wants to see in the next request.
    pub(super) echo: Option<Box<[u8]>>,
    pub(super) echoes: u8,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Phase {
    Whole,
    Upload(Upload),
    Download(Download),
}

impl Phase {
    /// Bytes of the body so far.
    pub(super) const fn held(&self) -> usize {
        match self {
            Self::Download(download) => download.held(),
            Self::Whole | Self::Upload(_) => 0,
        }
    }
}

/// An observation of a call.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) registration: RequestId,
    pub(super) observation: Observation,
    /// When its timer is set to.
    pub(super) renew_at: Instant,
    pub(super) is_ending: bool,
}

/// The request of a call, to be completed and sent.
pub(super) fn prepare<P>(call: &mut Call<P>) -> Request {
    let mut request = call.request.clone();
    if let Some(echo) = call.echo.take() {
        request.options.push(OptionNumber::ECHO, &echo);
    }
    request
}

/// Takes what a server wants to see repeated, if the response says so (RFC 9175 §2.3).
pub(super) fn take_echo<P>(call: &mut Call<P>, response: &Response) -> bool {
    let echo = response.options.first(OptionNumber::ECHO);
    let Some(echo) = echo.filter(|_| response.code == Code::UNAUTHORIZED) else {
        call.echoes = 0;
        return false;
    };
    call.echoes += 1;
    call.echo = Some(echo.into());
    call.echoes <= MAX_ECHOES
}

/// Whether the caller takes care of blocks itself.
pub(super) fn is_raw(request: &Request) -> bool {
    let is_block = |(number, _)| matches!(number, OptionNumber::BLOCK1 | OptionNumber::BLOCK2);
    request.options.iter().any(is_block)
}

/// The size of blocks that a 4.13 to a body in one message asks for.
pub(super) fn wanted_size<P>(call: &Call<P>, response: &Response) -> Option<Portion> {
    if response.code != Code::REQUEST_ENTITY_TOO_LARGE || call.watch.is_some() {
        return None;
    }
    let hint = Block::of(&response.options, OptionNumber::BLOCK1, BlockSize::MAX).ok()??;
    let portion = Portion::of(hint.size);
    (call.request.payload.len() > portion.bytes).then_some(portion)
}
