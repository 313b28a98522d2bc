//! Orders as CoAP requests to nodes: what the CoAP server and the CoAP client of the gateway share.
//!
//! A [`Carrier`] takes the orders of a source and carries each one out beside the others: it finds out
//! where the node is, makes the [`request`] that the operation says, has it sent by the loop of a socket,
//! whose [`Calls`] tell what comes of it, and reports the [`outcome`]. An order whose device nobody knows
//! the address of waits without holding up any other.

mod calls;
mod carrier;
mod outcome;
mod request;

pub(super) use self::calls::{Caller, Calls, Ended, Fault, Requests, Watched, Watching};
pub(super) use self::carrier::{Carrier, Place, Places};
