//! Why a connection cannot go on.

use std::time::Duration;

use super::super::wire::{Reason, WireError, WriteError, code};
use crate::config::Protocol;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(in crate::broker) enum SessionError {
    #[error("the broker refused the connection: {reason}{}", remedy(*.protocol, .reason.code))]
    Refused { protocol: Protocol, reason: Reason },
    #[error("the broker closed the connection instead of answering CONNECT{}", speaks(*.0))]
    Unanswered(Protocol),
    #[error("the broker closed the connection")]
    Closed,
    #[error("the broker ended the connection: {0}")]
    Disconnected(Reason),
    #[error("the broker takes no publish for now: {0}")]
    Busy(Reason),
    #[error("the broker did not answer within {0:?}")]
    Silent(Duration),
    #[error("no acknowledgement of a publish within {0:?}")]
    Unacknowledged(Duration),
    #[error(
        "the broker takes quality of service 0 only, with which readings can be lost; if that is \
         meant, set `qos = 0` at every route to it"
    )]
    QosTooLow,
    #[error("the broker's new limits do not allow what is under way; it is sent anew")]
    NotResumable,
    #[error("the broker broke the rules of MQTT: it sent {0}")]
    Wire(#[from] WireError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the broker broke the rules of MQTT: it sent {0}, which it must not now")]
    Unexpected(&'static str),
    #[error("a publish was made without room for it")]
    NoRoom,
}

impl SessionError {
    /// A short name to count by.
    pub(in crate::broker) const fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Unanswered(_) | Self::Closed => "closed",
            Self::Disconnected(_) => "disconnected",
            Self::Busy(_) => "busy",
            Self::Silent(_) => "silent",
            Self::Unacknowledged(_) => "unacknowledged",
            Self::QosTooLow => "qos_too_low",
            Self::NotResumable => "not_resumable",
            Self::Wire(_) | Self::Unexpected(_) => "protocol",
            Self::Write(_) => "write",
            Self::NoRoom => "no_room",
        }
    }

    /// Whether the identifiers that the broker holds may differ from ours from now on.
    pub(super) const fn breaks_session(&self) -> bool {
        match self {
            Self::Busy(reason) => reason.code == code::PACKET_IDENTIFIER_IN_USE,
            Self::NotResumable
            | Self::Wire(_)
            | Self::Write(_)
            | Self::Unexpected(_)
            | Self::NoRoom => true,
            Self::Refused { .. }
            | Self::Unanswered(_)
            | Self::Closed
            | Self::Disconnected(_)
            | Self::Silent(_)
            | Self::Unacknowledged(_)
            | Self::QosTooLow => false,
        }
    }
}

fn remedy(protocol: Protocol, reason: u8) -> &'static str {
    match reason {
        code::UNSUPPORTED_PROTOCOL_VERSION => speaks(protocol),
        code::CLIENT_IDENTIFIER_NOT_VALID => ", see `client_id`",
        code::BAD_USER_NAME_OR_PASSWORD | code::NOT_AUTHORIZED => {
            ", see `username` and `password_file`"
        }
        code::RETAIN_NOT_SUPPORTED | code::QOS_NOT_SUPPORTED => {
            "; the next attempt leaves that off in the last will"
        }
        _ => "",
    }
}

fn speaks(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::V5 => "; if it does not speak MQTT 5, set `protocol = \"3.1.1\"`",
        Protocol::V4 => "; if it speaks MQTT 5 only, set `protocol = \"5\"`",
    }
}
