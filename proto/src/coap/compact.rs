//! Byte strings that are nearly always short: in place where they are, on the heap where they are not.
//!
//! An endpoint remembers tens of thousands of messages with a token and an answer each. Most tokens have 8
//! bytes at most and most answers 12; a box for each would take 32 bytes more, and an allocation.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use super::inline::Inline;

/// What fits in place: with it the whole is as large as three pointers.
const SHORT: usize = 22;

/// Any number of bytes. It derefs to them.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Compact {
    /// [`SHORT`] of them at most.
    Short(Inline<SHORT>),
    /// More.
    Long(Box<[u8]>),
}

impl Default for Compact {
    fn default() -> Self {
        Self::Short(Inline::EMPTY)
    }
}

impl From<&[u8]> for Compact {
    fn from(bytes: &[u8]) -> Self {
        Inline::new(bytes).map_or_else(|| Self::Long(bytes.into()), Self::Short)
    }
}

impl From<Vec<u8>> for Compact {
    fn from(bytes: Vec<u8>) -> Self {
        match Inline::new(&bytes) {
            Some(short) => Self::Short(short),
            None => Self::Long(bytes.into()),
        }
    }
}

impl Deref for Compact {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn any_bytes_come_back_and_short_ones_are_in_place() {
        for len in 0..2 * SHORT {
            let bytes = vec![7; len];
            let compact = Compact::from(&bytes[..]);
            assert_eq!(&*compact, &bytes[..]);
            assert_eq!(compact, Compact::from(bytes));
            assert_eq!(matches!(compact, Compact::Short(_)), len <= SHORT);
        }
        assert_eq!(Compact::default(), Compact::from(&[][..]));
    }

    #[test]
    fn strings_that_differ_are_not_equal() {
        assert_ne!(Compact::from(&[0][..]), Compact::from(&[0, 0][..]));
        assert_ne!(Compact::from(&[1; 30][..]), Compact::from(&[2; 30][..]));
    }
}
