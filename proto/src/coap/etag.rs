//! Entity-tags: names of a resource's representations (RFC 7252 §5.10.6).

use core::fmt;
use core::hash::Hasher as _;
use core::ops::Deref;

use super::inline::Inline;
use super::{OptionNumber, Options};
use crate::siphash::SipHasher;

/// What entity-tags are hashed with. They are shown to everybody and protect nothing.
const HASH_KEY: (u64, u64) = (0x636f_6170_2d65_7461, 0x675f_6f66_5f63_6f6e);

/// An entity-tag of 1 to 8 bytes. It derefs to its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ETag(Inline<8>);

impl ETag {
    /// The entity-tag of these bytes, `None` if there are none or more than eight.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        Inline::new(bytes).filter(|inline| !inline.is_empty()).map(Self)
    }

    /// A hash of a representation: equal contents have equal entity-tags, also after a restart.
    pub fn of(content_format: Option<u16>, payload: &[u8]) -> Self {
        let mut hasher = SipHasher::new(HASH_KEY);
        // No Content-Format and the largest number, which is reserved (§12.3), hash the same.
        hasher.write(&content_format.unwrap_or(u16::MAX).to_be_bytes());
        hasher.write(payload);
        Self(Inline::new(&hasher.finish().to_be_bytes()).unwrap_or(Inline::EMPTY))
    }
}

impl Options {
    /// The first ETag.
    pub fn etag(&self) -> Option<ETag> {
        ETag::new(self.first(OptionNumber::ETAG)?)
    }
}

impl Deref for ETag {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_have_1_to_8_bytes() {
        // RFC 7252 §5.10, table 4.
        assert_eq!((ETag::new(b""), ETag::new(&[0; 9])), (None, None));
        assert_eq!(&*ETag::new(&[0; 8]).unwrap(), &[0; 8]);
    }

    #[test]
    fn a_hash_tells_contents_and_formats_apart() {
        let tag = ETag::of(Some(50), b"{}");
        assert_eq!(tag, ETag::of(Some(50), b"{}"));
        assert_ne!(tag, ETag::of(Some(0), b"{}"));
        assert_ne!(tag, ETag::of(Some(50), b"{ }"));
    }
}
