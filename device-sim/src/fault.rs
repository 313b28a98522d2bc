//! Faults by schedule and seed: what goes wrong in a scenario, where, and when.
//!
//! ```text
//! FaultConfig ─ check ─► Fault ─► FaultPlan ─ poll_change ─► who drives the gateway, relays, ports
//! ```
//!
//! | Part | What it is |
//! |---|---|
//! | [`FaultConfig`] | an entry of `[[faults]]` as it is written |
//! | [`check()`] | what the keys of an entry mean together, and whether they fit the place |
//! | [`FaultPlan`] | when each begins and ends, over the whole run |
//! | [`Impaired`] | a way of datagrams with faults on it, in virtual time |
//! | [`ImpairedStream`] | the same for the bytes of a connection |
//! | [`UdpRelay`] | a shell around [`Impaired`]; that of connections is [`Proxy`](crate::proxy::Proxy) |
//!
//! All but the relay is pure: time and seeds are arguments.

mod check;
mod config;
mod effect;
mod impaired;
mod plan;
mod relay;
mod stream;
mod values;

pub use check::{FaultError, check};
pub use config::FaultConfig;
pub use effect::{BrokerSwitch, Effect, Fault, Impairment};
pub use impaired::{HELD_BACK, Impaired, ImpairedStats, MAX_QUEUED};
pub use plan::{Change, FaultPlan, MAX_OCCURRENCES};
pub use relay::{Fate, RelayConfig, UdpRelay};
pub use stream::{BLOCK, ImpairedStream, MAX_WAITING};
pub use values::{Bandwidth, Delay, Place};
