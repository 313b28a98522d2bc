//! Byte strings of a few bytes, kept in place: tokens, entity-tags.

use core::fmt;
use core::ops::Deref;

/// At most `N` bytes, `N` below 256. It derefs to its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Inline<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Inline<N> {
    pub(super) const EMPTY: Self = Self { bytes: [0; N], len: 0 };

    /// The string of these bytes, `None` if there are more than `N`.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let mut inline = Self::EMPTY;
        inline.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        inline.len = u8::try_from(bytes.len()).ok()?;
        Some(inline)
    }
}

impl<const N: usize> Deref for Inline<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Debug for Inline<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_hold_up_to_their_limit() {
        for len in 0..=8 {
            let bytes = &[7; 8][..len];
            assert_eq!(&*Inline::<8>::new(bytes).unwrap(), bytes);
        }
        assert_eq!(Inline::<8>::new(&[0; 9]), None);
    }

    #[test]
    fn strings_of_different_length_differ() {
        assert_ne!(Inline::<8>::new(&[0]), Inline::<8>::new(&[0, 0]));
    }
}
