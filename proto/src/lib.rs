//! Wire formats and protocol state machines, shared by the gateway, the simulator and firmware.
//!
//! Nothing in this crate reads a clock, opens a socket or a file, or draws a random number: `now`
//! and seeds are arguments. The compiler guards it, because the crate is `no_std`.
#![no_std]

extern crate alloc;

pub mod base64;
pub mod binary;
pub mod checksum;
pub mod coap;
pub mod frame;
pub mod impair;
pub mod link;
pub mod modbus;
mod number;
mod reading;
mod rng;
pub mod senml;
mod siphash;
mod time;

pub use number::{Number, ParseNumberError};
pub use reading::{Reading, TimeQuality, Value};
pub use rng::Rng;
pub use time::{Instant, Timestamp};
