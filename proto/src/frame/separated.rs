//! Framings in which a delimiter stands behind each frame, and nothing in front.

use super::{Cut, Delimited, FrameError, Framing, cobs, hdlc, slip};

/// Such a framing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Separated<'a> {
    Lines,
    Delimited(&'a Delimited),
    Cobs,
    Slip,
    Hdlc,
}

impl<'a> Separated<'a> {
    /// The framing, if it is such a one.
    pub(super) fn of(framing: &'a Framing) -> Option<Self> {
        match framing {
            Framing::Lines => Some(Self::Lines),
            Framing::Delimited(delimited) if delimited.has_start() => None,
            Framing::Delimited(delimited) => Some(Self::Delimited(delimited)),
            Framing::Cobs => Some(Self::Cobs),
            Framing::Slip => Some(Self::Slip),
            Framing::Hdlc => Some(Self::Hdlc),
            Framing::Fixed(_)
            | Framing::LengthPrefixed(_)
            | Framing::Template(_)
            | Framing::ModbusRtu
            | Framing::Chunk => None,
        }
    }

    fn delimiter(self) -> &'a [u8] {
        match self {
            Self::Lines => b"\n",
            Self::Delimited(delimited) => &delimited.end,
            Self::Cobs => &[cobs::DELIMITER],
            Self::Slip => &[slip::END],
            Self::Hdlc => &[hdlc::FLAG],
        }
    }

    /// Bytes behind the delimiter that belong to the frame.
    const fn tail(self) -> usize {
        match self {
            Self::Delimited(delimited) => delimited.tail,
            Self::Lines | Self::Cobs | Self::Slip | Self::Hdlc => 0,
        }
    }

    /// The longest that can stand in front of a delimiter when a frame has `max` bytes.
    fn max_content(self, max: usize) -> usize {
        match self {
            // A carriage return.
            Self::Lines => max.saturating_add(1),
            Self::Delimited(delimited) => max.saturating_sub(delimited.end.len() + delimited.tail),
            Self::Cobs => cobs::max_encoded(max),
            Self::Slip => max.saturating_mul(2),
            Self::Hdlc => max.saturating_add(hdlc::FCS).saturating_mul(2),
        }
    }

    /// How long the content up to the first delimiter is, and how long with all behind it.
    pub(super) fn boundary(self, bytes: &[u8], searched: &mut usize) -> Option<(usize, usize)> {
        let delimiter = self.delimiter();
        let content = find(bytes, delimiter, searched)?;
        let whole = content + delimiter.len() + self.tail();
        (whole <= bytes.len()).then_some((content, whole))
    }

    pub(super) fn cut(self, bytes: &mut [u8], searched: &mut usize, max: usize) -> Cut {
        let boundary = self.boundary(bytes, searched);
        // Where the delimiter is not here, or not all behind it, at least that much is in front.
        let content = boundary.map_or(*searched, |(content, _)| content);
        if content > self.max_content(max) {
            let error = FrameError::Oversize { max };
            return boundary.map_or(Cut::Lost(error), |(_, whole)| Cut::Bad(error, whole));
        }
        let Some((content, whole)) = boundary else { return Cut::More };
        if content == 0 {
            return Cut::Frame(0..0, whole);
        }
        let frame = match self {
            Self::Delimited(delimited) if !delimited.strip => Ok(whole),
            Self::Lines | Self::Delimited(_) | Self::Cobs | Self::Slip | Self::Hdlc => {
                self.unwrap(bytes.get_mut(..content).unwrap_or_default())
            }
        };
        checked(frame, whole, max)
    }

    /// The same where the end of a datagram stands for the delimiter.
    pub(super) fn cut_rest(self, bytes: &mut [u8], max: usize) -> Cut {
        match self {
            Self::Delimited(_) => Cut::Bad(FrameError::Unterminated, bytes.len()),
            Self::Lines | Self::Cobs | Self::Slip | Self::Hdlc => {
                checked(self.unwrap(bytes), bytes.len(), max)
            }
        }
    }

    /// Decodes content in place; how long the frame at its front is.
    fn unwrap(self, content: &mut [u8]) -> Result<usize, FrameError> {
        match self {
            Self::Lines => Ok(content.strip_suffix(b"\r").unwrap_or(content).len()),
            Self::Delimited(_) => Ok(content.len()),
            Self::Cobs => cobs::decode_in_place(content),
            Self::Slip => slip::decode_in_place(content),
            Self::Hdlc => hdlc::decode_in_place(content),
        }
    }
}

fn checked(frame: Result<usize, FrameError>, whole: usize, max: usize) -> Cut {
    match frame {
        Ok(len) if len > max => Cut::Bad(FrameError::Oversize { max }, whole),
        Ok(len) => Cut::Frame(0..len, whole),
        Err(error) => Cut::Bad(error, whole),
    }
}

/// Where `pattern` begins at or behind `searched`, which then is there, or where a part of it may
/// have come.
pub(super) fn find(bytes: &[u8], pattern: &[u8], searched: &mut usize) -> Option<usize> {
    let unsearched = bytes.get(*searched..).unwrap_or_default();
    let found = match pattern {
        // None is ever there.
        [] => None,
        [only] => unsearched.iter().position(|byte| byte == only),
        _ => unsearched.windows(pattern.len()).position(|window| window == pattern),
    };
    let possible = (bytes.len() + 1).saturating_sub(pattern.len().max(1));
    *searched = found.map_or(possible.max(*searched), |at| *searched + at);
    found.map(|_| *searched)
}
