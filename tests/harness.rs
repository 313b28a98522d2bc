//! What the black-box tests share: the built gateway, its peers, and waiting with a deadline.
//!
//! Nothing sleeps in place of a condition: [`clock::wait_for`] looks again and again until
//! something holds, and fails with what was missing. Every process ends with the value that stands
//! for it; when a test fails, the gateway's log is printed.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "each test program uses a part of this, and a test may panic"
)]

#[path = "harness/aedes.rs"]
pub(crate) mod aedes;
#[path = "harness/asked.rs"]
pub(crate) mod asked;
#[path = "harness/browser.rs"]
pub(crate) mod browser;
#[path = "harness/clock.rs"]
pub(crate) mod clock;
#[path = "harness/coap.rs"]
pub(crate) mod coap;
#[path = "harness/coap_tcp.rs"]
pub(crate) mod coap_tcp;
#[path = "harness/disk.rs"]
pub(crate) mod disk;
#[path = "harness/gateway.rs"]
pub(crate) mod gateway;
#[path = "harness/http.rs"]
pub(crate) mod http;
#[path = "harness/lines.rs"]
pub(crate) mod lines;
#[path = "harness/mosquitto.rs"]
pub(crate) mod mosquitto;
#[path = "harness/nats.rs"]
pub(crate) mod nats;
#[path = "harness/process.rs"]
pub(crate) mod process;
#[path = "harness/serial.rs"]
pub(crate) mod serial;
#[path = "harness/sim.rs"]
pub(crate) mod sim;
#[path = "harness/temp.rs"]
pub(crate) mod temp;
