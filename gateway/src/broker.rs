//! Brokers: each takes the readings that routes send to it, at its own pace.
//!
//! [`session`] is MQTT 3.1.1 and 5 without a socket and without a word of readings, over the packets
//! of [`wire`]; [`inflight`] knows what each packet identifier stands for, [`wire_log`] what went by.
//! [`delivery`] stands between it and the store: its [`lane`]s [`feed`] it with records and [`track`]
//! how far they are acknowledged, [`rate`] bounds how fast that goes, [`quarantine`] finds the record
//! that a broker cannot stand, and [`again`] is what an operator wants to be sent once more.
//! [`transport`] is the way to the broker, [`connection`] the loop around all that, and [`handle`]
//! what others hold of it.

mod again;
mod alias;
mod backoff;
mod connection;
mod delivery;
mod feed;
mod handle;
mod inflight;
mod lane;
mod quarantine;
mod rate;
mod session;
mod status;
mod taps;
mod track;
mod transport;
mod wire;
mod wire_log;

pub(crate) use again::{Resent, What};
pub(crate) use backoff::Backoff;
pub(crate) use connection::BrokerTask;
pub(crate) use delivery::live_key;
pub(crate) use handle::{BrokerHandle, Stopping};
pub(crate) use status::BrokerReport;
pub(crate) use transport::{connect_tcp, tls_files};
pub(crate) use wire_log::WireEntry;
