//! Tokens: what matches a response to its request (RFC 7252 §5.3.1).

use core::fmt;
use core::ops::Deref;

use super::inline::Inline;

/// A token of 0 to [`MAX_LEN`](Self::MAX_LEN) bytes, opaque to whoever did not make it. It derefs to its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(Inline<{ Token::MAX_LEN }>);

impl Token {
    /// The longest token of RFC 7252 §3.
    pub const MAX_SHORT: usize = 8;
    /// The longest token that can be handled at all: what a stateless client needs for an address
    /// and a checksum (RFC 8974 §3.1), and little enough to be kept in place.
    pub const MAX_LEN: usize = 40;
    /// The token without bytes.
    pub const EMPTY: Self = Self(Inline::EMPTY);

    /// The token of these bytes, `None` if there are more than [`MAX_LEN`](Self::MAX_LEN).
    pub fn new(bytes: &[u8]) -> Option<Self> {
        Inline::new(bytes).map(Self)
    }
}

impl Default for Token {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Deref for Token {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
