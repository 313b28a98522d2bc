//! Simulated devices and a recording MQTT broker: plays fleets on loopback and proves delivery.
//!
//! A [`device`] is a pure machine that measures made-up [`signal`]s; a [`transport`] writes its
//! reports as a [`payload`] and tells the [`ledger`] what was sent and what was acknowledged.
//! [`broker`] is the far end of a test or a demo: it records what arrives, which the ledger compares,
//! and can misbehave on purpose. [`plugtest`] is a CoAP server to try clients with. [`proxy`] sits in front of any TCP peer and injures the connections
//! through it. A [`scenario`] is played by [`run`], for tests in Rust as a [`Fleet`]. A [`report`] is made of what the ledger is told; a run is held to [`threshold`]s, and
//! shown [`live`].

pub mod broker;
pub mod clock;
pub mod command;
pub mod device;
mod door;
pub mod fault;
pub mod fleet;
#[cfg(test)]
mod golden;
pub mod histogram;
pub mod ledger;
pub mod live;
pub mod modbus;
pub mod payload;
pub mod plugtest;
pub mod proxy;
pub mod report;
pub mod run;
pub mod scenario;
pub mod settings;
pub mod signal;
pub mod suggest;
pub mod terminal;
pub mod threshold;
pub mod transport;
mod via;

pub use fleet::Fleet;
pub use ledger::SharedLedger;
pub use via::Via;
