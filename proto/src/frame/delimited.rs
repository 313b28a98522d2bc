//! Bytes between a start and an end.

use alloc::vec::Vec;

use super::separated::find;
use super::{Cut, FrameError};

/// A start, if there is one, what a device says, an end, and more bytes behind that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delimited {
    /// What a frame begins with; empty where only ends are marked.
    pub start: Vec<u8>,
    /// What ends it.
    pub end: Vec<u8>,
    /// Bytes behind the end that belong to it, such as a checksum.
    pub tail: usize,
    /// Whether a frame is only what stands between start and end.
    pub strip: bool,
}

impl Delimited {
    /// Whether its start is marked.
    pub(super) const fn has_start(&self) -> bool {
        !self.start.is_empty()
    }

    /// For one with a start.
    pub(super) fn cut(&self, bytes: &[u8], searched: &mut usize, max: usize) -> Cut {
        if let Some(skip) = to_start(bytes, &self.start) {
            return skip;
        }
        *searched = (*searched).max(self.start.len());
        let end = find(bytes, &self.end, searched);
        // Where the end is not here, it does not begin before `searched`.
        let whole = searched.saturating_add(self.end.len() + self.tail);
        if whole > max {
            return Cut::Rescan(FrameError::Oversize { max });
        }
        match end {
            Some(end) if whole <= bytes.len() && self.strip => {
                Cut::Frame(self.start.len()..end, whole)
            }
            Some(_) if whole <= bytes.len() => Cut::Frame(0..whole, whole),
            _ => Cut::More,
        }
    }
}

/// What lies before the first `start`, if anything does, or all that begins none; `None` where
/// `start` is at the front.
pub(super) fn to_start(bytes: &[u8], start: &[u8]) -> Option<Cut> {
    if bytes.starts_with(start) {
        return None;
    }
    // The first place at which as much of the start stands as there is room for.
    let begins = |at: &usize| {
        let rest = bytes.get(*at..).unwrap_or_default();
        start.starts_with(rest.get(..start.len()).unwrap_or(rest))
    };
    let at = (0..bytes.len()).find(begins).unwrap_or(bytes.len());
    Some(if at == 0 { Cut::More } else { Cut::Skip(at) })
}
