//! What is wrong with a datagram, and what its receiver needs in order to react.

use super::{Code, MessageType};

/// A datagram that is not a message of RFC 7252.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Malformed {
    /// What is wrong.
    pub fault: Fault,
    /// Type and message id, where the header could be read: a Confirmable message is rejected
    /// with a Reset (RFC 7252 §4.2), everything else in silence (§4.2, §4.3).
    pub header: Option<(MessageType, u16)>,
}

/// The ways in which a datagram breaks the message format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum Fault {
    /// RFC 7252 §3
    #[error("{len} bytes are too short for the header of 4")]
    HeaderTruncated {
        /// Bytes in the datagram.
        len: usize,
    },
    /// RFC 7252 §3: ignored in silence.
    #[error("version {0}, expected 1")]
    UnknownVersion(u8),
    /// RFC 7252 §3: 9–15 are reserved; with extended tokens only 15 (RFC 8974 §2.1).
    #[error("token length {0} is reserved")]
    TokenLength(u8),
    /// RFC 8974 §2.2: longer than the receiver supports.
    #[error("a token of {0} bytes is longer than supported")]
    TokenTooLong(usize),
    /// RFC 7252 §3
    #[error("the token is longer than the datagram")]
    TokenTruncated,
    /// RFC 7252 §4.2: classes 1, 6 and 7.
    #[error("code {0} is of a reserved class")]
    ReservedCode(Code),
    /// RFC 7252 §4.1
    #[error("an Empty message has bytes after its header")]
    EmptyWithContent,
    /// RFC 7252 §3.1
    #[error("option delta 15 without being the payload marker")]
    ReservedDelta,
    /// RFC 7252 §3.1
    #[error("option length 15 is reserved")]
    ReservedLength,
    /// RFC 7252 §3.1
    #[error("an option is longer than the message")]
    OptionTruncated,
    /// RFC 7252 §3.1
    #[error("the option deltas add up to more than 65535")]
    OptionNumber,
    /// RFC 7252 §3
    #[error("a payload marker without payload")]
    EmptyPayload,
}
