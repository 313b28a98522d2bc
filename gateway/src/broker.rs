//! Brokers: each takes the readings that routes send to it, at its own pace.
//!
//! [`session`] is MQTT 3.1.1 and 5 without a socket and without a word of readings, over the packets
//! of [`wire`]; [`inflight`] knows what each packet identifier stands for, [`wire_log`] what went by.
//! [`feed`] is what comes next from the store, [`track`] how far everything is acknowledged,
//! [`transport`] the way to the broker, and [`connection`] the loop around them. There is one rule instead of modes: the store is the only
//! truth, and where the broker has forgotten a session, or never kept one, the connection goes on
//! from the oldest record that is not acknowledged.

mod alias;
mod backoff;
mod connection;
mod feed;
mod inflight;
mod session;
mod track;
mod transport;
mod wire;
mod wire_log;

use connection::chain;

pub(crate) use connection::{BrokerReport, BrokerStatus, BrokerTask};
pub(crate) use transport::tls_files;
