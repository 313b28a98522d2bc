//! What the store does when it meets its limits.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to new readings while the store is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenFull {
    /// They are refused before they are acknowledged: CoAP 5.03, `error: the store is full`.
    #[default]
    DropNewest,
    /// The oldest are dropped for the brokers that do not have them yet, and counted. Among them
    /// are readings that were acknowledged, over CoAP for example.
    DropOldest,
    /// They wait, and with them the devices, until there is room.
    Block,
}

/// The limits of the whole store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Most bytes on disk, apart from what damage leaves behind.
    pub(crate) quota: u64,
    /// Bytes that stay free on the file system; 0 leaves nothing.
    pub(crate) min_free: u64,
    /// What to do when one of them is met.
    pub(crate) when_full: WhenFull,
    /// How long released records stay while there is room; at least [`KEEP`](super::KEEP) counts.
    pub(crate) keep: Duration,
}
