//! What a gateway's end gives out.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::super::Fault;
use crate::{Instant, Number};

/// What is to be done next.
#[derive(Clone, PartialEq, Debug)]
pub enum GatewayOutput<P> {
    /// Send a frame.
    Transmit {
        /// To whom.
        peer: P,
        /// The frame, without stuffing.
        frame: Vec<u8>,
    },
    /// Something happened.
    Event(GatewayEvent<P>),
    /// Nothing, until the next input or this time.
    Wait(Option<Instant>),
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum GatewayEvent<P> {
    /// A device began an epoch, or this gateway has not known it before.
    Opened {
        /// Where it is.
        peer: P,
        /// Its number.
        device: u32,
        /// Its boot count.
        epoch: u32,
    },
    /// Readings, to be stored and then told with [`handle_durable`](super::Gateway::handle_durable)
    /// or [`handle_refused`](super::Gateway::handle_refused). Each report is here once, unless it
    /// was refused.
    Report(Report<P>),
    /// A device can be sent a command from now on.
    Reached {
        /// Its number.
        device: u32,
    },
    /// A node has given up reports before they arrived.
    Lost {
        /// Its number.
        device: u32,
        /// How many.
        reports: u16,
    },
    /// A command has come to its end.
    Command {
        /// The device.
        device: u32,
        /// The number that it had.
        number: u16,
        /// What became of it.
        outcome: CommandOutcome,
    },
    /// A frame was not taken.
    Refused {
        /// Who sent it.
        peer: P,
        /// From which device, as far as it can be read.
        device: Option<u32>,
        /// Why.
        fault: Fault,
    },
}

/// What a node measured at a time.
#[derive(Clone, PartialEq, Debug)]
pub struct Report<P> {
    /// Where the node is.
    pub peer: P,
    /// What identifies it.
    pub ticket: Ticket,
    /// How long ago it was measured.
    pub age: Duration,
    /// One or more values.
    pub values: Vec<Measured>,
}

/// One value.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// Name of its channel.
    pub name: String,
    /// Its unit, where there is one.
    pub unit: Option<String>,
    /// The value.
    pub value: Number,
}

/// What identifies a report for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket {
    /// The node's number.
    pub device: u32,
    /// Its boot count.
    pub epoch: u32,
    /// Its number of the report in that epoch.
    pub sequence: u16,
}

/// What tells a command from all others of its device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CommandNumber {
    /// The node's boot count.
    pub epoch: u32,
    /// The number in that epoch.
    pub number: u16,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandOutcome {
    /// The node has answered; the payload of its RSP.
    Answered(Vec<u8>),
    /// There was no answer in time; the command may have been carried out all the same.
    TimedOut,
    /// The node began another epoch before it answered.
    Restarted,
}

/// Why a command cannot be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// The device has not been heard of since the start, or its link is gone.
    #[error("the device has not been heard of: it is reached once it has said HELLO")]
    Unreachable,
    /// Another command to it is open.
    #[error("another command to the device is not answered yet")]
    Busy,
    /// The node has begun another epoch since, or has taken a later command.
    #[error("the node would ignore that number: its epoch is over, or a later one was taken")]
    Passed,
    /// The payload does not fit into a frame.
    #[error("the command is longer than a frame")]
    TooLong,
    /// The numbers of this epoch are used up.
    #[error("the device has had all commands of this epoch: restart it")]
    Exhausted,
}
