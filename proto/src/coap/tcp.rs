//! CoAP over a reliable byte stream, such as TCP (RFC 8323).
//!
//! A message has no type and no id: the stream delivers it once and in order. What is left is a
//! length in front (`frame`), signalling messages about the connection itself (`signal`), and one
//! [`StreamEndpoint`] for each connection. [`StreamNode`] puts on top of it what a
//! [`Node`](super::Node) has over datagrams, by the same code: block-wise transfers with BERT (§6)
//! and observation (§7).
//!
//! Not here: CoAP over WebSockets (RFC 8323 §4), and TLS, which is a matter of whoever has the
//! socket.

mod config;
mod endpoint;
mod event;
mod frame;
#[cfg(test)]
mod golden;
mod node;
mod requests;
mod signal;
mod stats;

pub use config::StreamConfig;
pub use endpoint::StreamEndpoint;
pub use event::{CloseReason, StreamEvent, StreamFault, StreamOutput};
pub use node::{StreamNode, StreamNodeConfig, StreamNodeEvent, StreamNodeOutput};
pub use signal::{Capabilities, Release};
pub use stats::StreamStats;
