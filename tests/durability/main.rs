//! Nothing acknowledged is lost: the gateway is killed, the broker goes away, connections break.
//!
//! Every reading has a value of its own, so that each arrival can be told from all others. The
//! moments of the faults come from seeds.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod broker;
mod damage;
mod fleet;
#[path = "../harness.rs"]
mod harness;
mod kill;
mod neighbours;
mod tools;
mod windows;
