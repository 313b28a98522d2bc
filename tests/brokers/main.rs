//! Brokers of every kind that the gateway publishes to.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod aedes;
#[path = "../harness.rs"]
mod harness;
mod nats;
