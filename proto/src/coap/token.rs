//! Tokens: what matches a response to its request (RFC 7252 §5.3.1).

use core::fmt;
use core::ops::Deref;

/// A token of 0 to 8 bytes, opaque to whoever did not make it. It derefs to its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Token {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl Token {
    /// The longest token of RFC 7252 §3.
    pub const MAX_LEN: usize = 8;
    /// The token without bytes.
    pub const EMPTY: Self = Self { bytes: [0; Self::MAX_LEN], len: 0 };

    /// The token of these bytes, `None` if there are more than eight.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut token = Self::EMPTY;
        token.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        token.len = u8::try_from(bytes.len()).ok()?;
        Some(token)
    }
}

impl Deref for Token {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_hold_up_to_eight_bytes() {
        // RFC 7252 §3: 0-8 bytes.
        for len in 0..=8 {
            let bytes = &[7; 8][..len];
            assert_eq!(&*Token::new(bytes).unwrap(), bytes);
        }
        assert_eq!(Token::new(&[0; 9]), None);
    }

    #[test]
    fn tokens_of_different_length_differ() {
        assert_ne!(Token::new(&[0]), Token::new(&[0, 0]));
    }
}
