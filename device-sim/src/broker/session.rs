//! What the broker keeps about one client (MQTT 3.1.1 §3.1.2.4, §4.1).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Limits;
use super::core::ConnectionId;
use super::outbound::Outbound;

/// Names a session; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SessionId(pub(super) u64);

/// The state of a client, for one connection or, without clean session, for all of them.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Arc<str>,
    /// Whether it ends with its connection.
    pub(super) clean: bool,
    pub(super) connection: Option<ConnectionId>,
    pub(super) filters: BTreeSet<String>,
    /// Identifiers of QoS 2 messages that arrived and are not released yet (§4.3.3).
    pub(super) received: BTreeSet<u16>,
    pub(super) outbound: Outbound,
}

impl Session {
    pub(super) fn new(client: Arc<str>, clean: bool, limits: &Limits) -> Self {
        Self {
            client,
            clean,
            connection: None,
            filters: BTreeSet::new(),
            received: BTreeSet::new(),
            outbound: Outbound::new(limits),
        }
    }
}
