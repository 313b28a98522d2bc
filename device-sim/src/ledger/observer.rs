//! Who is told what happens to each reading while the ledger follows it.

use std::fmt;
use std::time::Duration;

use proto::{Instant, Value};

use super::Mark;

/// Told of every event, in the order in which the ledger sees them.
pub trait Observer: fmt::Debug + Send {
    /// Something happened to a reading.
    fn observe(&mut self, event: &Event<'_>);
}

/// What happened, and to which reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    /// When.
    pub at: Instant,
    /// The device that measured it.
    pub device: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Which of the readings of that name it is.
    pub mark: Mark,
    /// When it was meant to be sent; `None` when that is not known any more, or never was.
    pub due: Option<Instant>,
    /// What.
    pub what: What<'a>,
}

/// What may happen to a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What<'a> {
    /// It was measured while the device could not send.
    Unsent,
    /// It is about to be written.
    Sent {
        /// Whether that alone makes the gateway owe it: the protocol has no acknowledgement.
        owed: bool,
    },
    /// The gateway said that it has it.
    Acknowledged,
    /// The gateway said no.
    Refused,
    /// No answer came until the device gave up, or it could not be written.
    Unanswered,
    /// A fault that was asked for took it on its way: nobody owes it.
    Injured,
    /// It was seen at the far end for the first time.
    Arrived {
        /// Since it was meant to be sent.
        latency: Duration,
        /// Whether a later one of its stream was there before.
        out_of_order: bool,
    },
    /// It was seen again.
    Duplicate,
    /// It was seen with another value than was sent.
    WrongValue {
        /// What was sent.
        expected: &'a Value,
        /// What came.
        got: &'a Value,
    },
    /// It was seen, and nobody has sent it.
    Unknown,
    /// It was accepted and never seen; told when the ledger gives it up.
    Lost {
        /// What was sent.
        expected: &'a Value,
    },
}
