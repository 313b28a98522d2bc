//! Why a frame is refused.

/// What is wrong with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Too few bytes for a header and a trailer.
    #[error("shorter than a frame can be")]
    Short,
    /// More than [`MAX_FRAME`](super::MAX_FRAME) bytes.
    #[error("longer than a frame may be")]
    Long,
    /// Another version of the protocol.
    #[error("version {0} of the link protocol; this is version 1")]
    Version(u8),
    /// A type that is not known.
    #[error("unknown type {0}")]
    Kind(u8),
    /// A type that only the other side sends.
    #[error("a type that only the other side sends")]
    Direction,
    /// The checksum does not fit: bytes were changed on the way.
    #[error("its checksum is wrong")]
    Checksum,
    /// The authentication code does not fit: another key, or a forgery.
    #[error("its authentication code is wrong: has the device another key?")]
    Code,
    /// A frame without a code where keys are demanded.
    #[error("it is not authenticated, and only devices with a key are taken")]
    Unauthenticated,
    /// A frame with a code from a device whose key is not known.
    #[error("no key is known for its device")]
    NoKey,
    /// The payload is not what the type demands.
    #[error("its payload is wrong: {0}")]
    Payload(&'static str),
    /// The boot count is lower than one that was seen.
    #[error("its epoch is over: a replay, or a device that lost its count")]
    Stale,
    /// More devices than the gateway keeps.
    #[error("too many devices at a time")]
    TooManyDevices,
}

impl Fault {
    /// A short name to count by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "oversize",
            Self::Version(_) => "version",
            Self::Kind(_) | Self::Direction => "type",
            Self::Checksum => "checksum",
            Self::Code => "wrong_code",
            Self::Unauthenticated => "unauthenticated",
            Self::NoKey => "no_key",
            Self::Payload(_) => "payload",
            Self::Stale => "stale_epoch",
            Self::TooManyDevices => "too_many_devices",
        }
    }
}
