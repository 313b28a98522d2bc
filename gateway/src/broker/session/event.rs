//! What a session tells its caller.

use super::super::wire::{Reason, code};

/// What the caller calls one of its publishes; the session only gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::broker) struct Ticket {
    /// Which of the caller's queues it comes from.
    pub(in crate::broker) lane: u8,
    /// Which of the publishes of that number.
    pub(in crate::broker) part: u8,
    /// Its number there.
    pub(in crate::broker) n: u64,
}

impl Ticket {
    /// The same for all publishes of its number.
    pub(in crate::broker) const fn whole(self) -> Self {
        Self { part: 0, ..self }
    }
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Event {
    /// The broker has accepted the connection. If it is not `resumed`, every publish that had no
    /// outcome yet is forgotten and has to be made again; else the session sends them again itself.
    Connected { resumed: bool },
    /// The broker has it; at quality of service 0: it is on its way.
    Acknowledged(Ticket),
    /// The broker will never take it.
    Rejected(Ticket, Rejection),
    /// The broker did not take the gateway's own status.
    StatusRejected(Rejection),
}

/// Why a publish is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Rejection {
    /// One word to count by: of MQTT 5 §2.4, or `topic_too_long`.
    pub(in crate::broker) reason: &'static str,
    /// In words: what the broker said, or the topic.
    pub(in crate::broker) detail: String,
}

impl Rejection {
    pub(super) fn by_broker(reason: &Reason) -> Self {
        Self { reason: reason.name(), detail: reason.to_string() }
    }
}

/// Whether a code in PUBACK or PUBREC is about the moment, not about the message.
pub(super) const fn is_passing(reason: u8) -> bool {
    matches!(reason, code::QUOTA_EXCEEDED | code::SERVER_BUSY | code::PACKET_IDENTIFIER_IN_USE)
}
