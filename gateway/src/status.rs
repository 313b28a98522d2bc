//! Where the gateway stands: what `gateway status` shows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::broker::{BrokerHandle, BrokerReport};
use crate::clock;
use crate::commands::{CommandsHandle, CommandsReport};
use crate::config::Id;
use crate::nodes::Nodes;
use crate::pipeline::{IntakeStatus, Routes};
use crate::source::{SourceReport, SourceStatus};
use crate::store::{ClockStatus, Spool, StoreStatus};
use crate::tally::Count;

/// Everything that can be seen from outside.
pub(crate) struct Status {
    pub(crate) gateway: Id,
    pub(crate) spool: Spool,
    pub(crate) routes: Arc<Routes>,
    pub(crate) intake: Arc<IntakeStatus>,
    pub(crate) sources: BTreeMap<Id, Arc<SourceStatus>>,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) brokers: BTreeMap<Id, BrokerHandle>,
    /// Where any are taken.
    pub(crate) commands: Option<CommandsHandle>,
}

/// A copy of it, as `gateway status --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// The gateway's id.
    pub(crate) gateway: String,
    /// Seconds since the start.
    pub(crate) uptime_seconds: u64,
    /// The machine's clock.
    pub(crate) clock: ClockStatus,
    /// The store.
    pub(crate) store: StoreStatus,
    /// Readings that were handed to the store.
    pub(crate) routed: u64,
    /// Readings that were dropped after decoding, by reason.
    pub(crate) dropped: BTreeMap<&'static str, Count>,
    /// Readings whose device has a clock that cannot be right, by reason.
    pub(crate) redated: BTreeMap<&'static str, Count>,
    /// Readings that each route has taken.
    pub(crate) routes: BTreeMap<String, u64>,
    /// Each source.
    pub(crate) sources: BTreeMap<String, SourceReport>,
    /// Each broker.
    pub(crate) brokers: BTreeMap<String, BrokerReport>,
    /// Commands, where any are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commands: Option<CommandsReport>,
}

impl Status {
    /// A copy.
    pub(crate) fn report(&self) -> Report {
        let by_name = |(id, count): (&Id, u64)| (id.to_string(), count);
        Report {
            gateway: self.gateway.to_string(),
            uptime_seconds: clock::now().as_micros() / 1_000_000,
            clock: self.spool.clock(),
            store: self.spool.status(),
            routed: self.intake.routed.load(Ordering::Relaxed),
            dropped: self.intake.dropped.snapshot(),
            redated: self.intake.redated.snapshot(),
            routes: self.routes.taken().map(by_name).collect(),
            sources: self.sources.iter().map(|(id, s)| (id.to_string(), s.report())).collect(),
            brokers: self.brokers.iter().map(|(id, b)| (id.to_string(), b.report())).collect(),
            commands: self.commands.as_ref().map(CommandsHandle::report),
        }
    }
}
