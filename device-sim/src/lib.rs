//! Simulated devices and a recording MQTT broker: plays fleets on loopback and proves delivery.
//!
//! [`broker`] is the far end of a test or a demo: it records what arrives and can misbehave on
//! purpose. [`proxy`] sits in front of any TCP peer and injures the connections through it.

pub mod broker;
pub mod clock;
mod door;
pub mod proxy;
