//! Parameters and limits of one connection.

use core::time::Duration;

use super::super::{OptionNumber, REQUEST_OPTIONS};

/// Parameters and limits of a [`StreamEndpoint`](super::StreamEndpoint).
///
/// With everything at these limits an endpoint holds one message of `max_message`, `max_outgoing`
/// bytes to send and one response for each of `max_exchanges` beyond them; what the caller handed
/// in with the last call comes on top.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamConfig {
    /// The largest message to receive, in bytes from its first to its last: what goes into
    /// Max-Message-Size (RFC 8323 §5.3.1). A larger one ends the connection.
    pub max_message: u32,
    /// Whether to tell the peer that block-wise transfer is supported (RFC 8323 §5.3.2), which is
    /// then the caller's business.
    pub block_wise: bool,
    /// How long the peer may take for its first message, the CSM (RFC 8323 §3.3).
    pub csm_timeout: Duration,
    /// How long the peer may be silent before a Ping asks whether it is there (RFC 8323 §5.4).
    pub idle_timeout: Duration,
    /// How long it may then be silent before it counts as gone.
    pub pong_timeout: Duration,
    /// How long an own request waits for its response.
    pub response_timeout: Duration,
    /// How long the transport may take for what it was given: a peer that does not read.
    pub transmit_timeout: Duration,
    /// How long the peer may go on with requests after it was sent a Release.
    pub release_timeout: Duration,

    /// Requests of the peer that are not answered yet. At that many nothing more is taken from
    /// the stream, until one is.
    pub max_exchanges: usize,
    /// Own requests that wait for their response; then [`TooManyRequests`].
    ///
    /// [`TooManyRequests`]: super::super::RequestError::TooManyRequests
    pub max_requests: usize,
    /// Bytes that the transport has not taken yet. At that many nothing more is taken from the
    /// stream, where own requests do not count, no notifications are sent, and own requests are
    /// refused with [`QueueFull`].
    ///
    /// [`QueueFull`]: super::super::RequestError::QueueFull
    pub max_outgoing: usize,

    /// Critical options that the caller handles in requests.
    pub request_options: &'static [OptionNumber],
    /// Critical options that the caller handles in responses; RFC 7252 defines none.
    pub response_options: &'static [OptionNumber],
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            max_message: 64 * 1024,
            block_wise: false,
            csm_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            pong_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(93),
            transmit_timeout: Duration::from_secs(30),
            release_timeout: Duration::from_secs(2),
            max_exchanges: 256,
            max_requests: 256,
            max_outgoing: 64 * 1024,
            request_options: REQUEST_OPTIONS,
            response_options: &[],
        }
    }
}
