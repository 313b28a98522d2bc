//! Start bytes, a length, a checksum and end bytes: most sensors that send by themselves.

use alloc::vec::Vec;
use core::ops::Range;

use super::delimited::to_start;
use super::{Cut, Endian, FrameError, LengthField};
use crate::checksum::Checksum;

/// What a frame looks like. Positions count from its first byte, negative ones from its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    /// What it begins with: at least one byte.
    pub start: Vec<u8>,
    /// How long it is.
    pub length: TemplateLength,
    /// Its checksum, if it has one.
    pub check: Option<Check>,
    /// What it ends with, if anything.
    pub end: Vec<u8>,
    /// Whether a frame is only what stands behind start and length and before checksum and end.
    pub strip: bool,
}

/// How long a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TemplateLength {
    /// So many bytes.
    Fixed(usize),
    /// As a field in it says.
    Coded(LengthField),
}

/// A checksum in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Check {
    /// Which one.
    pub checksum: Checksum,
    /// The first byte that it covers.
    pub from: i32,
    /// The first byte behind those.
    pub to: i32,
    /// Where it stands.
    pub at: i32,
    /// The order of its bytes.
    pub endian: Endian,
}

impl Template {
    pub(super) fn cut(&self, bytes: &[u8], max: usize) -> Cut {
        if let Some(skip) = to_start(bytes, &self.start) {
            return skip;
        }
        let whole = match self.length {
            TemplateLength::Fixed(len) => len,
            TemplateLength::Coded(field) => match field.whole(bytes) {
                None => return Cut::More,
                Some(Err(error)) => return Cut::Rescan(error),
                Some(Ok(len)) => len,
            },
        };
        if whole > max {
            return Cut::Rescan(FrameError::Oversize { max });
        }
        if whole < (self.start.len() + self.end.len()).max(1) {
            return Cut::Rescan(FrameError::Length(u32::try_from(whole).unwrap_or(u32::MAX)));
        }
        let Some(frame) = bytes.get(..whole) else { return Cut::More };
        if !frame.ends_with(&self.end) {
            return Cut::Rescan(FrameError::End);
        }
        if let Some(Err(error)) = self.check.map(|check| check.verify(frame)) {
            return Cut::Rescan(error);
        }
        Cut::Frame(self.content(whole), whole)
    }

    /// The part of a frame of `whole` bytes that is handed on.
    fn content(&self, whole: usize) -> Range<usize> {
        if !self.strip {
            return 0..whole;
        }
        let header = match self.length {
            TemplateLength::Fixed(_) => 0,
            TemplateLength::Coded(field) => field.header,
        };
        let start = self.start.len().max(header);
        let check = self.check.and_then(|check| position(check.at, whole));
        let end = (whole - self.end.len()).min(check.unwrap_or(whole));
        // A checksum may stand in front as well.
        if end < start { start..whole - self.end.len() } else { start..end }
    }
}

impl Check {
    fn verify(&self, frame: &[u8]) -> Result<(), FrameError> {
        let at = |place| position(place, frame.len());
        let parts = at(self.from).zip(at(self.to)).zip(at(self.at));
        let parts = parts.and_then(|((from, to), at)| {
            Some((frame.get(from..to)?, frame.get(at..at + self.checksum.width())?))
        });
        // A frame whose length has no room for it.
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let (covered, found) = parts.ok_or(FrameError::Length(len))?;
        let (found, expected) = (self.endian.number(found), self.checksum.of(covered));
        if found != expected {
            return Err(FrameError::Check { found, expected });
        }
        Ok(())
    }
}

/// A place in a frame of `len` bytes; a negative one counts from its end.
fn position(place: i32, len: usize) -> Option<usize> {
    match usize::try_from(place) {
        Ok(place) => Some(place),
        Err(_) => len.checked_sub(usize::try_from(place.unsigned_abs()).ok()?),
    }
}
