//! Brokers: each takes the readings that routes send to it, at its own pace.
//!
//! [`session`] is the MQTT 3.1.1 protocol without a socket, [`inflight`] what is under way in it,
//! [`feed`] what comes next from the store, and [`connection`] the loop around them. There is one
//! rule instead of modes: the store is the only truth, and after any disconnect the connection goes
//! on from the oldest record that the broker has not acknowledged.

mod backoff;
mod connection;
mod feed;
mod inflight;
mod session;

pub(crate) use connection::{BrokerReport, BrokerStatus, BrokerTask};
