//! The broker, the proxy and the command against clients: raw packets, the event loop of `rumqttc`,
//! and Mosquitto's programs.
//!
//! Nothing here waits for a time to pass where it can wait for a condition; a test that shows that
//! something does not happen says how long it looked.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what a test did not expect ends it"
)]

mod client;
mod command;
mod faults;
mod limits;
mod mosquitto;
mod protocol;
mod proxy;
mod recording;

use std::time::Duration;

/// The deadline of everything that must happen.
const SOON: Duration = Duration::from_secs(20);
/// How long to look at something that must not happen.
const A_WHILE: Duration = Duration::from_millis(300);
