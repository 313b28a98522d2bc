//! Commands that a run asks for.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::values::Scalar;
use crate::settings::{Id, Interval};

/// Commands that a run asks for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct CommandsConfig {
    /// The gateway's own topics at `target.mqtt`: its topic prefix, `/` and its id, such as `gateway/gw`.
    pub root: String,
    /// Each kind of request.
    pub send: Vec<SendConfig>,
}

/// Requests of one kind, to one device of a fleet after the other.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct SendConfig {
    /// The fleet; its devices speak the link protocol, and are called as the gateway calls them.
    pub fleet: Id,
    /// The name in `operations` of the gateway's configuration.
    pub operation: String,
    /// The value: a number, a boolean, or the name of one of `signals`; none without it.
    #[serde(default)]
    pub value: Option<Scalar>,
    /// From one request to the next, whichever device it is for.
    pub every: Interval,
    /// How long each may take; as the gateway says without it.
    #[serde(default)]
    pub deadline: Option<Interval>,
}
