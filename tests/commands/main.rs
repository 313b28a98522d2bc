//! Commands: from a broker to a device, and the outcome back.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod coap;
mod device;
mod fetched;
#[path = "../harness.rs"]
mod harness;
mod killed;
mod link;
mod requests;
mod sent;
mod slave;
mod written;
