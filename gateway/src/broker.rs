//! Brokers: each takes the readings that routes send to it, at its own pace.
//!
//! [`session`] is MQTT 3.1.1 and 5 without a socket and without a word of readings, over the packets
//! of [`wire`]; [`inflight`] knows what each packet identifier stands for, [`wire_log`] what went by.
//! [`delivery`] stands between it and the store: its [`lane`]s [`feed`] it with records and [`track`]
//! how far they are acknowledged, [`rate`] bounds how fast that goes, [`quarantine`] finds the record
//! that a broker cannot stand, and [`again`] is what an operator wants to be sent once more.
//! [`listener`] is the subscribing side, on a connection of its own: [`subscriber`] is the loop around
//! it, [`topics`] what is known of the topics that somebody watches, and [`board`] shares that with
//! [`watched`]; [`command_ears`] listens for commands.
//! [`transport`] is the way to the broker, [`connection`] the loop around all that, [`stepped`] the same
//! for a rehearsal, and [`handle`] what others hold of it.

mod again;
mod alias;
mod backoff;
mod board;
mod command_ears;
mod connection;
mod delivery;
mod feed;
mod handle;
mod inflight;
mod lane;
mod listener;
mod outlet;
mod pulse;
mod quarantine;
mod rate;
mod session;
mod status;
mod stepped;
mod subscriber;
mod taps;
mod topics;
mod track;
mod transport;
mod watched;
mod windows;
mod wire;
mod wire_log;

pub(crate) use again::{Resent, What};
pub(crate) use backoff::Backoff;
pub(crate) use board::{Board, Watch};
pub(crate) use command_ears::{CommandEarsTask, HeardCommand, HeardReceipt};
pub(crate) use connection::BrokerTask;
pub(crate) use delivery::{live_key, windows_key};
pub(crate) use handle::{BrokerHandle, Stopping};
pub(crate) use status::BrokerReport;
pub(crate) use stepped::SteppedBroker;
#[cfg(test)]
pub(crate) use topics::Refusal;
pub(crate) use topics::{TopicMessage, TopicState};
pub(crate) use transport::{connect_tcp, tls_files};
pub(crate) use watched::WatchTask;
pub(crate) use wire_log::WireEntry;
