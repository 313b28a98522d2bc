//! Commands that a run asks for, what devices make of them, and what became of each.
//!
//! ```text
//!  Requests ── request ──► broker ──► gateway ──► node: CommandManner ── carried out ──┐
//!      │                     │ response                                                ▼
//!      └──── sent ───────────┴──────────────────────────────────────────────► CommandLedger ─► report
//! ```
//!
//! Everything here is pure: `run/commander.rs` is the client of the broker, `transport/link.rs` the node.
//!
//! An id is `c-SEED-START-N`. `N` counts the requests of a run, and what a device makes of a command is drawn
//! from it, so that the same seed gives the same refusals. `START`, the time at which the run began, is not
//! drawn from: a gateway that remembers the commands of an earlier run would answer for them without
//! carrying anything out.

mod ledger;
mod obeys;
mod requests;
mod shared;

pub use ledger::{CommandLedger, State};
pub use obeys::{CommandManner, Obeys};
pub use requests::{CommandPlan, MAX_COMMANDS, Request, Requests, SendPlan};
pub use shared::SharedCommandLedger;
