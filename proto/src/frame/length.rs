//! Lengths that stand in a frame.

use super::{Cut, FrameError};

/// Which byte of a number comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endian {
    /// The most significant one.
    Big,
    /// The least significant one.
    Little,
}

/// What a length counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counts {
    /// The bytes behind the header.
    Rest,
    /// All bytes of the frame.
    Whole,
}

/// A length in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LengthField {
    /// Bytes in front of it.
    pub at: usize,
    /// Bytes that it has: 1 to 4.
    pub width: usize,
    /// Their order.
    pub endian: Endian,
    /// Bytes of the header, in which it stands.
    pub header: usize,
    /// What it counts.
    pub counts: Counts,
    /// What is added to it, where it counts something else.
    pub adjust: i32,
}

/// Frames that begin with a header in which their length stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LengthPrefixed {
    /// The length.
    pub length: LengthField,
    /// Whether a frame is only what stands behind the header.
    pub strip: bool,
}

impl Endian {
    /// The number in up to four bytes.
    pub(super) fn number(self, bytes: &[u8]) -> u32 {
        let append = |number: u32, byte: &u8| number << 8 | u32::from(*byte);
        match self {
            Self::Big => bytes.iter().fold(0, append),
            Self::Little => bytes.iter().rev().fold(0, append),
        }
    }
}

impl LengthField {
    /// The length of the whole frame, or the error that the field's value is; `None` where the
    /// field is not here yet.
    pub(super) fn whole(&self, bytes: &[u8]) -> Option<Result<usize, FrameError>> {
        let field = bytes.get(self.at..self.at.checked_add(self.width)?)?;
        let value = self.endian.number(field);
        let counted = match self.counts {
            Counts::Rest => i64::try_from(self.header).unwrap_or(i64::MAX),
            Counts::Whole => 0,
        };
        let whole = counted.saturating_add(value.into()).saturating_add(self.adjust.into());
        let whole = usize::try_from(whole).ok().filter(|whole| *whole >= self.header.max(1));
        Some(whole.ok_or(FrameError::Length(value)))
    }
}

impl LengthPrefixed {
    pub(super) fn cut(&self, bytes: &[u8], max: usize) -> Cut {
        match self.length.whole(bytes) {
            None => Cut::More,
            Some(Err(error)) => Cut::Lost(error),
            Some(Ok(whole)) if whole > max => Cut::Bad(FrameError::Oversize { max }, whole),
            Some(Ok(whole)) if whole > bytes.len() => Cut::More,
            Some(Ok(whole)) => {
                let start = if self.strip { self.length.header } else { 0 };
                Cut::Frame(start..whole, whole)
            }
        }
    }
}
