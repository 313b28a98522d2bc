//! Option numbers and what each option's definition allows (RFC 7252 §5.4, §5.10).

use core::fmt;
use core::ops::RangeInclusive;

/// The number of an option; its lowest bits say how to treat it when it is not recognised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OptionNumber(pub u16);

/// What the definition of an option allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    /// The lengths in bytes that a value may have.
    pub length: RangeInclusive<usize>,
    /// Whether the option may stand more than once in a message.
    pub repeatable: bool,
}

impl OptionNumber {
    /// If-Match (RFC 7252 §5.10.8.1)
    pub const IF_MATCH: Self = Self(1);
    /// Uri-Host (RFC 7252 §5.10.1)
    pub const URI_HOST: Self = Self(3);
    /// ETag (RFC 7252 §5.10.6)
    pub const ETAG: Self = Self(4);
    /// If-None-Match (RFC 7252 §5.10.8.2)
    pub const IF_NONE_MATCH: Self = Self(5);
    /// Observe (RFC 7641 §2)
    pub const OBSERVE: Self = Self(6);
    /// Uri-Port (RFC 7252 §5.10.1)
    pub const URI_PORT: Self = Self(7);
    /// Location-Path (RFC 7252 §5.10.7)
    pub const LOCATION_PATH: Self = Self(8);
    /// Uri-Path (RFC 7252 §5.10.1)
    pub const URI_PATH: Self = Self(11);
    /// Content-Format (RFC 7252 §5.10.3)
    pub const CONTENT_FORMAT: Self = Self(12);
    /// Max-Age, in seconds (RFC 7252 §5.10.5)
    pub const MAX_AGE: Self = Self(14);
    /// Uri-Query (RFC 7252 §5.10.1)
    pub const URI_QUERY: Self = Self(15);
    /// Accept (RFC 7252 §5.10.4)
    pub const ACCEPT: Self = Self(17);
    /// Location-Query (RFC 7252 §5.10.7)
    pub const LOCATION_QUERY: Self = Self(20);
    /// Block2 (RFC 7959 §2.1)
    pub const BLOCK2: Self = Self(23);
    /// Block1 (RFC 7959 §2.1)
    pub const BLOCK1: Self = Self(27);
    /// Size2 (RFC 7959 §4)
    pub const SIZE2: Self = Self(28);
    /// Proxy-Uri (RFC 7252 §5.10.2)
    pub const PROXY_URI: Self = Self(35);
    /// Proxy-Scheme (RFC 7252 §5.10.2)
    pub const PROXY_SCHEME: Self = Self(39);
    /// Size1 (RFC 7252 §5.10.9)
    pub const SIZE1: Self = Self(60);
    /// Hop-Limit (RFC 8768 §3)
    pub const HOP_LIMIT: Self = Self(16);
    /// Echo (RFC 9175 §2.2)
    pub const ECHO: Self = Self(252);
    /// Request-Tag (RFC 9175 §3.2)
    pub const REQUEST_TAG: Self = Self(292);
    /// No-Response (RFC 7967 §2)
    pub const NO_RESPONSE: Self = Self(258);

    /// Whether a message must be rejected when the option is not recognised (RFC 7252 §5.4.6).
    pub const fn is_critical(self) -> bool {
        self.0 & 1 == 1
    }

    /// Whether the option is no part of what a request is about, so that requests with and without
    /// it go together (RFC 7252 §5.4.2, NoCacheKey).
    pub const fn is_no_cache_key(self) -> bool {
        self.0 & 0x1e == 0x1c
    }

    /// The definition, for the options named here.
    pub fn definition(self) -> Option<Definition> {
        let (length, repeatable) = match self {
            Self::IF_MATCH => (0..=8, true),
            Self::URI_HOST => (1..=255, false),
            // Repeatable in requests; a second one in a response is the sender's mistake.
            Self::ETAG => (1..=8, true),
            Self::IF_NONE_MATCH => (0..=0, false),
            Self::OBSERVE | Self::BLOCK1 | Self::BLOCK2 => (0..=3, false),
            Self::URI_PORT | Self::CONTENT_FORMAT | Self::ACCEPT => (0..=2, false),
            Self::LOCATION_PATH | Self::URI_PATH | Self::URI_QUERY | Self::LOCATION_QUERY => {
                (0..=255, true)
            }
            Self::MAX_AGE | Self::SIZE1 | Self::SIZE2 => (0..=4, false),
            Self::PROXY_URI => (1..=1034, false),
            Self::PROXY_SCHEME => (1..=255, false),
            Self::NO_RESPONSE => (0..=1, false),
            Self::HOP_LIMIT => (1..=1, false),
            Self::ECHO => (1..=40, false),
            Self::REQUEST_TAG => (0..=8, true),
            _ => return None,
        };
        Some(Definition { length, repeatable })
    }
}

impl fmt::Display for OptionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for OptionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
