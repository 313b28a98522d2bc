//! The link protocol: numbered, acknowledged and authenticated readings from small nodes, as state
//! machines without socket, clock and random source. `docs/link-protocol.md` is the standard.
//!
//! | Part | What it is |
//! |---|---|
//! | [`Header`], [`Unverified`], [`Frame`] | a frame: its header, its trailer, and how one is checked |
//! | [`Hello`], [`Data`], [`Ack`], [`Time`] | payloads |
//! | [`Call`], [`Reply`] | payloads of commands and of their answers |
//! | [`FileSender`], [`FileReceiver`] | files on their way down, block by block |
//! | [`Gateway`] | the gateway's role, for all devices of a link: de-duplication, acknowledgement, commands, time |
//! | [`Node`] | a node's role: numbering, retransmission, answers to commands |
//! | [`Replay`] | what of a device has to outlive the gateway's process |
//!
//! On a stream of bytes a frame is stuffed by [`cobs`](crate::frame::cobs); a datagram is a frame.
//!
//! Every table is bounded: devices by [`GatewayConfig::max_devices`] or the keys, numbers of a device
//! by a window of 64, commands by one for each device, a node's reports by [`NodeConfig::queue`],
//! frames by [`MAX_FRAME`], channels by [`MAX_CHANNELS`].

mod call;
mod crc;
mod fault;
mod file;
mod frame;
mod gateway;
mod key;
mod message;
mod node;
mod sequences;
mod uptime;

pub use call::{Argument, Call, Reply, ReplyStatus, Wanted};
pub use fault::Fault;
pub use file::{FileReceiver, FileSender, FileStep, MAX_BLOCK, Offer, SHA256_BYTES, Sha256Sum};
pub use frame::{Flags, Frame, Header, Kind, MAX_FRAME, MAX_PAYLOAD, Unverified, VERSION};
pub use gateway::{
    CommandError, CommandNumber, CommandOutcome, Gateway, GatewayConfig, GatewayEvent,
    GatewayOutput, Measured, Report, Ticket,
};
pub use key::{CODE_BYTES, KEY_BYTES, Key};
pub use message::{Ack, Channel, Data, Hello, MAX_CHANNELS, MAX_NAME, MAX_UNIT, Status, Time};
pub use node::{Node, NodeConfig, NodeEvent, NodeOutput, ReportError, ReportId};
pub use sequences::Replay;

#[cfg(test)]
mod tests;
