//! A device's key.

use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A block of SHA-256.
type Block = hmac::digest::Key<Hmac<Sha256>>;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of an authentication code: HMAC-SHA-256 (RFC 2104, FIPS 180-4), cut to its first eight.
pub const CODE_BYTES: usize = 8;

/// What a device and its gateway share and nobody else knows.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// The key of these bytes.
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        // RFC 2104 §2: a key is filled up to a block with zeros.
        let mut block = Block::default();
        block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self(Hmac::new(&block))
    }

    /// The code of a message.
    pub(super) fn code(&self, message: &[u8]) -> [u8; CODE_BYTES] {
        let mut code = [0; CODE_BYTES];
        let whole = self.0.clone().chain_update(message).finalize().into_bytes();
        code.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        code
    }

    /// Whether `code` is that of `message`, in a time that does not depend on where they differ.
    pub(super) fn verifies(&self, message: &[u8], code: &[u8]) -> bool {
        code.len() == CODE_BYTES
            && self.0.clone().chain_update(message).verify_truncated_left(code).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}
