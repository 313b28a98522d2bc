//! Counters of an endpoint and a server: nothing that it does not do is silent.

/// What an endpoint did, since it was made.
///
/// Every received datagram is counted once in `received` and once in its fate, the counters from
/// `requests` to `undrained`: their sum is `received`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Datagrams handed in.
    pub received: u64,

    /// New requests handed to the caller.
    pub requests: u64,
    /// Responses that ended a request.
    pub responses: u64,
    /// Empty Acknowledgements of requests and separate responses.
    pub acknowledgements: u64,
    /// Resets that ended a request or a separate response.
    pub resets: u64,
    /// Messages received before; acknowledged or answered again where they are Confirmable.
    pub duplicates: u64,
    /// Not a message, an unknown version included.
    pub malformed: u64,
    /// Empty Confirmable messages, answered with a Reset (RFC 7252 §4.3).
    pub pings: u64,
    /// Requests that the endpoint itself answered with an error: option, method, path, proxy.
    pub refused: u64,
    /// Requests refused or dropped because a limit was met.
    pub refused_busy: u64,
    /// Messages rejected for an unrecognised critical option, or, where they came to a group, for
    /// any error.
    pub rejected: u64,
    /// Acknowledgements, Resets and responses that match nothing in progress.
    pub unmatched: u64,
    /// Messages of a type and code that do not go together, or that may not go to a group.
    pub ignored: u64,
    /// Dropped because the caller did not drain the outputs.
    pub undrained: u64,

    /// Datagrams handed out, retransmissions and repeated answers included.
    pub sent: u64,
    /// Retransmissions of Confirmable messages.
    pub retransmissions: u64,
    /// Resets sent.
    pub resets_sent: u64,
    /// Responses sent in their own Confirmable message.
    pub separate_responses: u64,
    /// Separate responses that were given up after all retransmissions or a Reset.
    pub separate_responses_lost: u64,
    /// Notifications sent.
    pub notifications: u64,
    /// Notifications that were given up after all retransmissions or a Reset.
    pub notifications_lost: u64,
    /// Notifications not sent because a limit was met.
    pub notifications_refused: u64,
    /// Responses replaced by 5.00, because they were larger than `max_message` or had a code that
    /// is none of a response.
    pub unsendable_responses: u64,
    /// Responses to a group that were not sent: errors, and more than `max_delayed`.
    pub suppressed_responses: u64,
    /// Responses that were not sent because the client did not want them (RFC 7967).
    pub unwanted_responses: u64,
    /// Responses for an exchange that is over or was never there.
    pub late_responses: u64,
    /// Responses dropped because all message ids for the peer were used up (RFC 7252 §4.4).
    pub out_of_message_ids: u64,
    /// Exchanges that the caller did not answer in their lifetime.
    pub unanswered: u64,
    /// Message ids that came again with another token: their sender must have restarted.
    pub reused_message_ids: u64,
    /// Answered messages forgotten before their lifetime because a limit was met.
    pub evicted: u64,

    /// Own requests taken.
    pub own_requests: u64,
    /// Own requests that ended without a response.
    pub own_requests_failed: u64,
}

/// What the server's role of a node did above the messages, since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ServerStats {
    /// Blocks of bodies of requests.
    pub blocks_received: u64,
    /// Bodies of requests that were put together.
    pub transfers_completed: u64,
    /// Blocks refused: out of order, too much, or no room.
    pub transfers_refused: u64,
    /// Bodies of requests of which the rest did not come.
    pub transfers_expired: u64,
    /// Blocks of responses sent.
    pub blocks_served: u64,
    /// Responses replaced by a 4.01 with Echo (RFC 9175 §2.6).
    pub challenges: u64,
    /// Requests to observe that were answered without (a limit was met).
    pub observers_refused: u64,
    /// Observers that rejected a notification, did not acknowledge one or could not be sent one.
    pub observers_lost: u64,
}
