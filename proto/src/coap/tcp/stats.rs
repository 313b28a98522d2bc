//! Counters of a connection: nothing that it does not do is silent.

/// What a connection saw and did.
///
/// Every received message is counted once in `received` and once in its fate, the counters from
/// `requests` to `malformed`: their sum is `received`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StreamStats {
    /// Messages received, the beginning of one that is too large included.
    pub received: u64,

    /// Requests handed to the caller.
    pub requests: u64,
    /// Responses that ended a request.
    pub responses: u64,
    /// Signalling messages that were understood (RFC 8323 §5).
    pub signals: u64,
    /// Empty messages, which are ignored (RFC 8323 §5.4).
    pub empty: u64,
    /// Requests that the endpoint itself answered with an error: option, method, path, proxy.
    pub refused: u64,
    /// Responses rejected for an unrecognised critical option.
    pub rejected: u64,
    /// Responses whose token matches nothing in progress.
    pub unmatched: u64,
    /// Requests that came after the peer's own Release.
    pub ignored: u64,
    /// What the connection was aborted for.
    pub malformed: u64,

    /// Messages that were not complete when the stream ended.
    pub truncated: u64,
    /// Messages put into the outgoing stream.
    pub sent: u64,
    /// Responses replaced by 5.00, because they were larger than what the peer takes or had a code
    /// that is none of a response.
    pub unsendable_responses: u64,
    /// Responses for an exchange that is over or was never there.
    pub late_responses: u64,
    /// Own requests taken.
    pub own_requests: u64,
    /// Own requests that ended without a response.
    pub own_requests_failed: u64,
}
