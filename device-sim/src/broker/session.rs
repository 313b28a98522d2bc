//! What the broker keeps about one client (MQTT 3.1.1 §3.1.2.4, §4.1; MQTT 5 §4.1).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proto::Instant;

use super::Limits;
use super::core::ConnectionId;
use super::outbound::Outbound;
use super::wire::Will;

/// Names a session; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SessionId(pub(super) u64);

/// The state of a client, for as many connections as its expiry allows.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Arc<str>,
    /// For how many seconds it outlives its connection; all ones for ever (MQTT 5 §3.1.2.11.2).
    pub(super) expiry: u32,
    pub(super) connection: Option<ConnectionId>,
    /// When it ends, while nobody is connected and it does end.
    pub(super) ends: Option<Instant>,
    /// What waits for the client to come back or not, and when it is published (MQTT 5 §3.1.3.2.2).
    pub(super) will: Option<(Instant, Will)>,
    pub(super) filters: BTreeSet<String>,
    /// Identifiers of QoS 2 messages that arrived and are not released yet (§4.3.3).
    pub(super) received: BTreeSet<u16>,
    pub(super) outbound: Outbound,
}

impl Session {
    pub(super) fn new(client: Arc<str>, limits: &Limits) -> Self {
        Self {
            client,
            expiry: 0,
            connection: None,
            ends: None,
            will: None,
            filters: BTreeSet::new(),
            received: BTreeSet::new(),
            outbound: Outbound::new(limits),
        }
    }

    /// When it ends if its connection is lost `now`; `None` if it never does.
    pub(super) fn end_after(&self, now: Instant) -> Option<Instant> {
        let seconds = Some(self.expiry).filter(|&seconds| seconds != u32::MAX);
        seconds.map(|seconds| now + Duration::from_secs(u64::from(seconds)))
    }
}
