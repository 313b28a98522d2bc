//! Brokers: each takes the readings that routes send to it, at its own pace.
//!
//! [`session`] is the MQTT 3.1.1 protocol without a socket, [`inflight`] what is under way in it,
//! [`feed`] what comes next from the store, [`transport`] the way to the broker, and [`connection`]
//! the loop around them. There is one rule instead of modes: the store is the only truth, and after
//! any disconnect the connection goes on from the oldest record that the broker has not acknowledged.

mod backoff;
mod connection;
mod feed;
mod inflight;
mod session;
mod transport;

use connection::chain;

pub(crate) use connection::{BrokerReport, BrokerStatus, BrokerTask};
pub(crate) use transport::tls_files;
