//! Frames on byte streams: cutting, checking, and being in step again after anything.
//!
//! A [`Framer`] takes bytes as they come and gives frames. However the stream is split into calls, the
//! frames and the errors are the same, because every decision is made on bytes alone: a
//! [`Framing`] looks at what is there and either decides, in a way that more bytes would not change,
//! or asks for more.
//!
//! What each framing promises after garbage:
//!
//! | Framing | In step again |
//! |---|---|
//! | [`Lines`](Framing::Lines), [`Delimited`](Framing::Delimited) without a start, [`Cobs`](Framing::Cobs), [`Slip`](Framing::Slip), [`Hdlc`](Framing::Hdlc) | behind the next delimiter: garbage costs the frame that it runs into. `Cobs`, `Slip` and `Hdlc` tell most garbage from a frame, `Hdlc` by its check |
//! | `Delimited` with a start | at the next start: garbage in which there is none costs nothing, and one that is in it costs the frames up to the next end |
//! | [`VeDirect`](Framing::VeDirect) | behind the next block: garbage costs the block that it runs into, which its sum tells |
//! | [`Sml`](Framing::Sml), [`Template`](Framing::Template), [`ModbusRtu`](Framing::ModbusRtu) | at once: every byte may be the first of a frame, and no frame that passes the check is lost, but for one that overlaps another that passes it too |
//! | [`Fixed`](Framing::Fixed), [`LengthPrefixed`](Framing::LengthPrefixed), [`Chunk`](Framing::Chunk) | after a pause: nothing in the bytes says where a frame begins |
//!
//! A pause ([`Pause`]) ends what has begun: no more will come for it. What could have become a longer
//! frame is given up and searched for shorter ones.

pub mod cobs;
mod delimited;
pub mod hdlc;
mod length;
mod modbus;
mod separated;
pub mod slip;
pub mod sml;
mod template;
#[cfg(test)]
mod tests;
mod ve_direct;

use alloc::vec::Vec;
use core::ops::Range;

pub use delimited::Delimited;
pub use length::{Counts, Endian, LengthField, LengthPrefixed};
pub use modbus::MAX_ADU;
pub use template::{Check, Template, TemplateLength};

use separated::Separated;

/// How bytes become frames.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Text up to a line feed, without it and without a carriage return before it. Empty lines are
    /// left out.
    Lines,
    /// Bytes between a start, if there is one, and an end.
    Delimited(Delimited),
    /// So many bytes.
    Fixed(usize),
    /// A length, and as many bytes.
    LengthPrefixed(LengthPrefixed),
    /// Start bytes, a length, a checksum, end bytes.
    Template(Template),
    /// Consistent overhead byte stuffing, with a zero behind each frame.
    Cobs,
    /// RFC 1055.
    Slip,
    /// RFC 1662 with FCS-16; frames come without it.
    Hdlc,
    /// Requests and responses of Modbus on a serial line, whose lengths follow from their function
    /// code; frames come whole, with address and checksum.
    ModbusRtu,
    /// Files of SML in their transport of version 1; they come without it.
    Sml,
    /// Blocks of VE.Direct's text mode, without messages of its HEX mode in and between them.
    VeDirect,
    /// What came without a pause, or in one datagram.
    Chunk,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// It is longer than it may be.
    #[error("longer than {max} bytes")]
    Oversize {
        /// The longest there may be.
        max: usize,
    },
    /// It has begun, and not ended before the pause.
    #[error("it ends within a frame")]
    Unterminated,
    /// The checksum is another one.
    #[error("the checksum in it is {found:x}, that of its bytes {expected:x}")]
    Check {
        /// What stands in the frame.
        found: u32,
        /// What its bytes have.
        expected: u32,
    },
    /// Other bytes stand where its end bytes should be.
    #[error("its end bytes are not where its length says")]
    End,
    /// Its length is below what the frame has at least.
    #[error("a length of {0} is too short for such a frame")]
    Length(u32),
    /// It is not encoded as it should be.
    #[error("{0}")]
    Encoding(&'static str),
    /// Bytes that belong to no frame were thrown away, to be in step again.
    #[error("{bytes} bytes that belong to no frame")]
    Resync {
        /// How many.
        bytes: usize,
    },
}

impl FrameError {
    /// A short name to count by.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Oversize { .. } => "oversize",
            Self::Unterminated => "unterminated",
            Self::Check { .. } => "bad_check",
            Self::End => "bad_end",
            Self::Length(_) => "bad_length",
            Self::Encoding(_) => "bad_encoding",
            Self::Resync { .. } => "resync",
        }
    }
}

/// Why nothing more comes for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    /// Nothing came for a time, or the link has ended.
    Silence,
    /// A datagram ended, and what stands at its end is whole without a delimiter.
    Datagram,
}

/// Cuts a stream of bytes into frames.
///
/// Give it bytes with [`handle_bytes`](Self::handle_bytes), and say where there was a pause with
/// [`handle_pause`](Self::handle_pause). After each, take frames with
/// [`poll_frame`](Self::poll_frame) until there is none. Between calls it keeps at most one frame,
/// encoded.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    max: usize,
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that are done with.
    done: usize,
    /// Bytes of the stream that are done with.
    consumed: u64,
    /// Those that the last outcome is about.
    span: Range<u64>,
    /// Bytes after those in which no end begins.
    searched: usize,
    /// Bytes that were thrown away and not told of yet.
    skipped: usize,
    /// A frame that comes after what is told of these.
    held: Option<(Range<usize>, Range<u64>)>,
    step: Step,
    pause: Option<Pause>,
}

/// Whether it is known where frames begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    In,
    /// Within a frame whose beginning was missed.
    Opening,
    /// Within something that was told of already, up to its end.
    Lost,
    /// The same, and it is known to have so many bytes more.
    Passing(usize),
}

/// What a framing makes of the bytes at the front, in a way that more bytes would not change.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Cut {
    /// More bytes are needed.
    More,
    /// So many bytes begin no frame.
    Skip(usize),
    /// A frame in this range, and so many bytes that are done with.
    Frame(Range<usize>, usize),
    /// So many bytes, which may be still to come, are no frame.
    Bad(FrameError, usize),
    /// What begins here is no frame; one may begin at the next byte.
    Rescan(FrameError),
    /// What begins here is no frame up to the next end or pause.
    Lost(FrameError),
}

impl Framer {
    /// For frames of at most `max` bytes.
    #[must_use]
    pub const fn new(framing: Framing, max: usize) -> Self {
        Self {
            framing,
            max,
            buffer: Vec::new(),
            done: 0,
            consumed: 0,
            span: 0..0,
            searched: 0,
            skipped: 0,
            held: None,
            step: Step::In,
            pause: None,
        }
    }

    /// The same on a link that was opened while a device may have been sending: what comes before
    /// the first delimiter, or before the first pause where there are none, may be the rest of a
    /// frame, and half a number is a wrong one.
    #[must_use]
    pub fn opening(framing: Framing, max: usize) -> Self {
        let step = match &framing {
            // They tell where a frame begins by its bytes.
            Framing::Delimited(delimited) if delimited.has_start() => Step::In,
            Framing::Template(_) | Framing::ModbusRtu | Framing::Sml => Step::In,
            // A block's sum tells whether it is whole.
            Framing::VeDirect => Step::In,
            // Any part of what a device says is a frame.
            Framing::Chunk => Step::In,
            Framing::Lines
            | Framing::Delimited(_)
            | Framing::Fixed(_)
            | Framing::LengthPrefixed(_)
            | Framing::Cobs
            | Framing::Slip
            | Framing::Hdlc => Step::Opening,
        };
        Self { step, ..Self::new(framing, max) }
    }

    /// Takes bytes.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.done);
        self.done = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes note that no more bytes come for now, so that what has begun is whole or given up.
    pub const fn handle_pause(&mut self, pause: Pause) {
        self.pause = Some(pause);
    }

    /// Where in the stream, counted from its first byte, stands what [`poll_frame`](Self::poll_frame)
    /// gave last. It is empty, and says where, for a frame that was tried there in vain and whose
    /// bytes are looked at again.
    #[must_use]
    pub fn span(&self) -> Range<u64> {
        self.span.clone()
    }

    /// Whether a pause would decide something.
    #[must_use]
    pub fn awaits_pause(&self) -> bool {
        self.done < self.buffer.len() || self.skipped > 0 || self.step != Step::In
    }

    /// Whether the first delimiter or pause after the link was opened is still to come.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.step == Step::Opening
    }

    /// The next frame, or why bytes are none.
    pub fn poll_frame(&mut self) -> Option<Result<&[u8], FrameError>> {
        let frame = self.next_range()?;
        Some(frame.map(|range| self.buffer.get(range).unwrap_or_default()))
    }

    fn next_range(&mut self) -> Option<Result<Range<usize>, FrameError>> {
        if let Some((frame, span)) = self.held.take() {
            self.span = span;
            return Some(Ok(frame));
        }
        loop {
            // A stretch of garbage without an end is told of all the same.
            if self.skipped > self.max {
                let start = self.consumed - self.skipped as u64;
                self.span = start..start + self.max as u64;
                self.skipped -= self.max;
                return Some(Err(FrameError::Resync { bytes: self.max }));
            }
            let cut = match self.step {
                Step::In => self.cut(),
                Step::Opening | Step::Lost | Step::Passing(_) => match self.pass() {
                    true => continue,
                    false => Cut::More,
                },
            };
            match cut {
                Cut::More => return self.end_pause().map(Err),
                Cut::Skip(len) => {
                    self.skipped += len;
                    self.consume(len);
                }
                Cut::Frame(frame, len) => {
                    let frame = self.done + frame.start..self.done + frame.end;
                    let start = self.consumed;
                    self.consume(len);
                    let span = start..self.consumed;
                    if frame.is_empty() {
                        continue;
                    }
                    if let Some(error) = self.resync(start) {
                        self.held = Some((frame, span));
                        return Some(Err(error));
                    }
                    self.span = span;
                    return Some(Ok(frame));
                }
                Cut::Bad(error, len) => {
                    let here = self.buffer.len() - self.done;
                    self.span = self.consumed..self.consumed + len as u64;
                    if len > here {
                        self.step = Step::Passing(len - here);
                    }
                    self.consume(len.min(here));
                    return Some(Err(error));
                }
                Cut::Rescan(error) => {
                    self.skipped += 1;
                    self.span = self.consumed..self.consumed;
                    self.consume(1);
                    return Some(Err(error));
                }
                Cut::Lost(error) => {
                    self.step = Step::Lost;
                    self.span = self.consumed..self.consumed;
                    return Some(Err(error));
                }
            }
        }
    }

    /// What the framing makes of what is there.
    fn cut(&mut self) -> Cut {
        let is_skipping = self.skipped > 0;
        let bytes = self.buffer.get_mut(self.done..).unwrap_or_default();
        if bytes.is_empty() {
            return Cut::More;
        }
        let (searched, max) = (&mut self.searched, self.max);
        let cut = match &self.framing {
            Framing::Delimited(delimited) if delimited.has_start() => {
                delimited.cut(bytes, searched, max)
            }
            Framing::Fixed(size) if bytes.len() >= (*size).max(1) => {
                Cut::Frame(0..*size, (*size).max(1))
            }
            Framing::Fixed(_) => Cut::More,
            Framing::LengthPrefixed(prefixed) => prefixed.cut(bytes, max),
            Framing::Template(template) => template.cut(bytes, max),
            Framing::ModbusRtu => modbus::cut(bytes, self.pause.is_some(), is_skipping),
            Framing::Sml => sml::cut(bytes, searched, max),
            Framing::VeDirect => ve_direct::cut(bytes, max),
            Framing::Chunk if bytes.len() > max => Cut::Lost(FrameError::Oversize { max }),
            Framing::Chunk => Cut::More,
            framing @ (Framing::Lines
            | Framing::Delimited(_)
            | Framing::Cobs
            | Framing::Slip
            | Framing::Hdlc) => match Separated::of(framing) {
                Some(separated) => separated.cut(bytes, searched, max),
                None => Cut::More,
            },
        };
        match (cut, self.pause) {
            (Cut::More, Some(pause)) => self.cut_at(pause),
            (cut, _) => cut,
        }
    }

    /// What the framing makes of what is there and more bytes would be needed for.
    fn cut_at(&mut self, pause: Pause) -> Cut {
        let bytes = self.buffer.get_mut(self.done..).unwrap_or_default();
        let len = bytes.len();
        match &self.framing {
            Framing::Delimited(delimited) if delimited.has_start() => self.give_up_one(),
            Framing::Template(_) | Framing::ModbusRtu | Framing::Sml => self.give_up_one(),
            Framing::Fixed(_) | Framing::LengthPrefixed(_) | Framing::VeDirect => {
                Cut::Bad(FrameError::Unterminated, len)
            }
            Framing::Chunk => Cut::Frame(0..len, len),
            framing @ (Framing::Lines
            | Framing::Delimited(_)
            | Framing::Cobs
            | Framing::Slip
            | Framing::Hdlc) => match (Separated::of(framing), pause) {
                (Some(separated), Pause::Datagram) => separated.cut_rest(bytes, self.max),
                (_, _) => Cut::Bad(FrameError::Unterminated, len),
            },
        }
    }

    /// A frame has begun and does not end; what it has swallowed may be frames.
    fn give_up_one(&self) -> Cut {
        match self.skipped {
            0 => Cut::Rescan(FrameError::Unterminated),
            _ => Cut::Skip(1),
        }
    }

    /// Throws away what belongs to nothing; whether the next frame begins behind it.
    fn pass(&mut self) -> bool {
        let bytes = self.buffer.get(self.done..).unwrap_or_default();
        let (mut len, mut content, mut is_over) = (bytes.len(), bytes.len(), false);
        match (Separated::of(&self.framing), self.step) {
            (_, Step::Passing(left)) => {
                len = len.min(left);
                is_over = len == left;
                self.step = Step::Passing(left - len);
            }
            (Some(separated), _) => {
                match separated.boundary(bytes, &mut self.searched) {
                    Some((inner, whole)) => (content, len, is_over) = (inner, whole, true),
                    // What may begin a delimiter stays.
                    None if self.pause.is_none() => {
                        len = self.searched;
                        content = len;
                    }
                    None => {}
                }
            }
            (None, _) => {}
        }
        if self.step == Step::Opening {
            self.skipped += content;
        }
        self.consume(len);
        if is_over {
            self.step = Step::In;
        }
        is_over
    }

    /// Ends a pause when everything before it is decided.
    fn end_pause(&mut self) -> Option<FrameError> {
        self.pause?;
        if let Some(error) = self.resync(self.consumed) {
            return Some(error);
        }
        self.pause = None;
        self.step = Step::In;
        None
    }

    /// What was thrown away before `end`, if it is not told of yet.
    fn resync(&mut self, end: u64) -> Option<FrameError> {
        let bytes = core::mem::take(&mut self.skipped);
        self.span = end - bytes as u64..end;
        (bytes > 0).then_some(FrameError::Resync { bytes })
    }

    fn consume(&mut self, len: usize) {
        self.done += len;
        self.consumed += len as u64;
        self.searched = self.searched.saturating_sub(len);
    }
}
