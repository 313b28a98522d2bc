//! What a broker has seen and done.

/// Totals since the start of the broker; `connected` and `sessions` are what holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Clients that are connected now.
    pub connected: u64,
    /// Sessions that exist now, connected or kept.
    pub sessions: u64,
    /// TCP connections that were accepted.
    pub accepted: u64,
    /// TCP connections that were closed on arrival: by a fault, or because of the limit.
    pub turned_away: u64,
    /// CONNECTs that were accepted.
    pub connects: u64,
    /// CONNECTs that were answered with a refusal.
    pub refusals: u64,
    /// CONNECTs that a fault has left without an answer.
    pub unanswered: u64,
    /// Connections that were closed because the client broke the protocol.
    pub violations: u64,
    /// Connections that were closed because the client was silent for too long.
    pub timeouts: u64,
    /// Connections that a newer one with the same client id replaced.
    pub takeovers: u64,
    /// Connections that a fault has cut.
    pub cuts: u64,
    /// Connections that a fault has ended with DISCONNECT.
    pub disconnects: u64,
    /// Connections that a fault has closed because of a message.
    pub poisoned: u64,
    /// Messages that arrived: every PUBLISH, a repeated one of QoS 2 only once.
    pub publishes: u64,
    /// Payload bytes of those messages.
    pub publish_bytes: u64,
    /// Those of them that had DUP set.
    pub duplicates: u64,
    /// Messages that a fault has refused; they are not among `publishes`.
    pub rejected: u64,
    /// Messages that a fault has acknowledged and forgotten; they are not among `publishes`.
    pub lies: u64,
    /// Wills that were published.
    pub wills: u64,
    /// Messages that were not kept because the record was full.
    pub unrecorded: u64,
    /// PUBACKs that were sent.
    pub pubacks: u64,
    /// PUBACKs that a fault has swallowed.
    pub pubacks_dropped: u64,
    /// PUBRECs and PUBCOMPs that a fault has swallowed.
    pub qos2_dropped: u64,
    /// Messages that were sent to subscribers, without repetitions.
    pub deliveries: u64,
    /// QoS 0 deliveries that were dropped because the subscriber reads too slowly.
    pub dropped_unsent: u64,
    /// QoS 1 and 2 deliveries that were dropped because the subscriber's queue was full.
    pub dropped_queued: u64,
    /// Deliveries that were dropped because their message had expired.
    pub dropped_expired: u64,
    /// Deliveries that were dropped because they are longer than the subscriber takes.
    pub dropped_oversize: u64,
    /// Messages that were not retained because of the limit.
    pub dropped_retained: u64,
}
