//! Modbus: the messages of both ends, and a master.
//!
//! The standards are "MODBUS Application Protocol Specification" V1.1b3 (cited as AP), "MODBUS over
//! Serial Line Specification" V1.02 (SL) and "MODBUS Messaging on TCP/IP Implementation Guide" V1.0b
//! (TCP).
//!
//! - [`Request`] and [`Response`] are protocol data units; [`rtu`] and [`tcp`] put them into frames.
//! - A [`Point`] is a value in the registers of a unit; [`plan()`] reads those that lie together at once.
//! - [`Master`] asks the units of one bus for their points, in virtual time: see there.

mod exception;
mod failure;
mod master;
mod plan;
mod point;
mod request;
mod response;
pub mod rtu;
pub mod tcp;

pub use exception::Exception;
pub use failure::{Failure, Fault};
pub use master::{Event, Master, MasterConfig, Output, Transport, UnitConfig};
pub use plan::{Block, Limits, plan};
pub use point::{DecodeError, Format, Order, Point, WriteError};
pub use request::{OutOfRange, Read, Request, Table};
pub use response::Response;

/// The longest protocol data unit (AP §4.1).
pub const MAX_PDU: usize = 253;
