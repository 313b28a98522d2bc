//! Commands: from a broker to a device, and the outcome back.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod asked;
mod coap;
mod device;
#[path = "../harness.rs"]
mod harness;
mod requests;
mod sent;
