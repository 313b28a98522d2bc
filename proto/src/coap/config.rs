//! Parameters and limits of an endpoint. Every queue and table of `coap` has its limit here.

use core::time::Duration;

use super::{OptionNumber, Token};

/// Options of RFC 7252 that a server has to recognise in a request because they are critical.
/// The elective ones need no list: what is not understood is ignored (RFC 7252 §5.4.1).
///
/// Proxy-Uri and Proxy-Scheme are among them because they have an answer of their own, 5.05.
pub const REQUEST_OPTIONS: &[OptionNumber] = &[
    OptionNumber::IF_MATCH,
    OptionNumber::URI_HOST,
    OptionNumber::IF_NONE_MATCH,
    OptionNumber::URI_PORT,
    OptionNumber::URI_PATH,
    OptionNumber::URI_QUERY,
    OptionNumber::ACCEPT,
    OptionNumber::PROXY_URI,
    OptionNumber::PROXY_SCHEME,
];

/// Parameters and limits of an [`Endpoint`](super::Endpoint).
///
/// `Default` has the values of RFC 7252 §4.8 and limits for a gateway. With all tables full at
/// these limits an endpoint holds about 32 MB (measured with IPv6 socket addresses: 18 MB for
/// received messages and their answers, 13 MB for peers), at most 2 MB of delayed responses, and
/// 1.8 kB for every request of its own in progress that is as large as `max_message`. Outputs that
/// the caller does not drain come on top. Tables grow with use and keep their room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointConfig {
    /// ACK_TIMEOUT: the shortest first wait before a retransmission. The longest is
    /// ACK_RANDOM_FACTOR = 1.5 times as long.
    pub ack_timeout: Duration,
    /// MAX_RETRANSMIT: retransmissions of a Confirmable message before it counts as lost. At most
    /// [`MAX_RETRANSMIT_LIMIT`] count.
    pub max_retransmit: u8,
    /// NSTART: requests to one peer that wait for any sign of life at the same time.
    pub nstart: usize,
    /// PROBING_RATE, bytes per second: how fast Non-confirmable requests go to a peer that does
    /// not answer (RFC 7252 §4.7).
    pub probing_rate: u32,
    /// DEFAULT_LEISURE: the longest delay of a response to a multicast request (RFC 7252 §8.2).
    pub leisure: Duration,
    /// EXCHANGE_LIFETIME: how long the id of a Confirmable message is remembered and not reused.
    pub exchange_lifetime: Duration,
    /// NON_LIFETIME: how long the id of a received Non-confirmable message is remembered.
    pub non_lifetime: Duration,
    /// How long a Confirmable request may wait for its response before an empty Acknowledgement
    /// is sent (RFC 7252 §5.2.2). One second leaves the other half of the shortest ACK_TIMEOUT for
    /// the round trip, and covers all but a stalled store, whose answers save two messages each by
    /// still being piggybacked.
    pub ack_delay: Duration,
    /// How long an acknowledged or Non-confirmable request waits for its response. The default is
    /// MAX_TRANSMIT_WAIT: until then a lost separate response is still being retransmitted.
    pub response_timeout: Duration,
    /// The largest message to send, in bytes (RFC 7252 §4.6).
    pub max_message: usize,

    /// The longest token of a request to take, at most [`Token::MAX_LEN`](super::Token::MAX_LEN).
    /// With up to 8 there are no extended tokens (RFC 8974), and a longer one is a format error.
    pub max_token: usize,

    /// Peers with something in progress or something remembered. The one that was silent longest
    /// gives way; when all have something in progress, a new one is refused with 5.03.
    pub max_peers: usize,
    /// Received messages that are remembered to recognise duplicates. The one that was answered
    /// first gives way; unanswered ones never do: when there are only those, a request is refused
    /// with 5.03.
    pub max_received: usize,
    /// The same for the messages of one peer. An honest peer sends at most 65536 messages per
    /// EXCHANGE_LIFETIME, 265 a second (RFC 7252 §4.4): 4096 of them span 15 s, the first three
    /// retransmissions.
    pub max_received_per_peer: usize,
    /// Bytes of answers kept for duplicates; the oldest answers give way, message and all.
    pub max_answer_bytes: usize,
    /// Own requests in progress, queued ones included.
    pub max_requests: usize,
    /// Own requests to one peer that wait for `nstart`.
    pub max_queue: usize,
    /// Responses to multicast requests that wait for their moment; further ones are not sent.
    pub max_delayed: usize,

    /// Notifications that may still be acknowledged or rejected; further ones are not sent.
    pub max_notifications: usize,

    /// Critical options that the caller handles in requests.
    pub request_options: &'static [OptionNumber],
    /// Critical options that the caller handles in responses; RFC 7252 defines none.
    pub response_options: &'static [OptionNumber],
}

/// More retransmissions than this would have timeouts of many minutes.
pub const MAX_RETRANSMIT_LIMIT: u8 = 8;

impl EndpointConfig {
    /// `ack_timeout` times ACK_RANDOM_FACTOR.
    pub(super) fn longest_ack_timeout(&self) -> Duration {
        self.ack_timeout * 3 / 2
    }

    /// MAX_RETRANSMIT within its limit.
    pub(super) fn retransmissions(&self) -> u8 {
        self.max_retransmit.min(MAX_RETRANSMIT_LIMIT)
    }

    /// MAX_TRANSMIT_SPAN (RFC 7252 §4.8.2): when the last retransmission is over.
    pub(super) fn max_transmit_span(&self) -> Duration {
        self.longest_ack_timeout() * ((1 << self.retransmissions()) - 1)
    }

    /// MAX_TRANSMIT_WAIT (RFC 7252 §4.8.2): when an Acknowledgement is not expected any more.
    pub(super) fn max_transmit_wait(&self) -> Duration {
        self.longest_ack_timeout() * ((2 << self.retransmissions()) - 1)
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            ack_timeout: Duration::from_secs(2),
            max_retransmit: 4,
            nstart: 1,
            probing_rate: 1,
            leisure: Duration::from_secs(5),
            exchange_lifetime: Duration::from_secs(247),
            non_lifetime: Duration::from_secs(145),
            ack_delay: Duration::from_secs(1),
            response_timeout: Duration::from_secs(93),
            max_message: 1152,
            max_token: Token::MAX_SHORT,
            max_peers: 32_768,
            max_received: 65_536,
            max_received_per_peer: 4096,
            max_answer_bytes: 8 << 20,
            max_requests: 16_384,
            max_queue: 64,
            max_delayed: 1024,
            max_notifications: 32_768,
            request_options: REQUEST_OPTIONS,
            response_options: &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_times_are_those_of_the_rfc() {
        // RFC 7252 §4.8.2, table 3.
        let config = EndpointConfig::default();
        assert_eq!(config.max_transmit_span(), Duration::from_secs(45));
        assert_eq!(config.max_transmit_wait(), Duration::from_secs(93));
        assert_eq!(config.exchange_lifetime, Duration::from_secs(45 + 2 * 100 + 2));
        assert_eq!(config.non_lifetime, Duration::from_secs(45 + 100));
    }
}
