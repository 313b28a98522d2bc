//! The broker, the proxy and the command against clients: raw packets, the event loop of `rumqttc`,
//! Mosquitto's programs, and paho for Python.
//!
//! Nothing here waits for a time to pass where it can wait for a condition; a test that shows that
//! something does not happen says how long it looked.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "what a test did not expect ends it"
)]

mod client;
mod client_5;
mod command;
mod faults;
mod faults_5;
mod limits;
mod mosquitto;
mod paho;
mod protocol;
mod proxy;
mod recording;
mod version_5;

use std::time::Duration;

/// The deadline of everything that must happen.
const SOON: Duration = Duration::from_secs(20);
/// How long to look at something that must not happen.
const A_WHILE: Duration = Duration::from_millis(300);
