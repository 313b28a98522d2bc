//! How bytes become frames: pure, bounded, and in step again after anything.

use bytes::{Bytes, BytesMut};

use crate::config::Frame;

/// Cuts a stream of bytes into frames.
///
/// Give it bytes with [`handle_bytes`](Self::handle_bytes), then take frames with
/// [`poll_frame`](Self::poll_frame) until there is none. However the stream is split into calls,
/// the frames are the same.
#[derive(Debug)]
pub(crate) struct LineFramer {
    buffer: BytesMut,
    /// Bytes at the front that hold no line feed.
    searched: usize,
    max: usize,
    /// Within a line that is too long, up to its end.
    discarding: bool,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("longer than {0} bytes; see `frame.max`")]
    Oversize(usize),
    #[error("the link ended within a line")]
    Unterminated,
}

impl FrameError {
    /// A short name to count by.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Oversize(_) => "oversize",
            Self::Unterminated => "unterminated",
        }
    }
}

/// The longest frame of a source, in bytes.
pub(crate) fn max_frame(frame: Option<&Frame>) -> usize {
    match frame {
        Some(Frame::Lines(lines)) => lines.max.bytes(),
        Some(Frame::Datagram(datagram)) => datagram.max.bytes(),
        None => crate::config::FrameSize::default().bytes(),
    }
}

impl LineFramer {
    /// For lines of at most `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, max, discarding: false }
    }

    /// Takes bytes.
    pub(crate) fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets the line that has begun: what follows does not belong to it.
    pub(crate) fn handle_gap(&mut self) -> Option<FrameError> {
        let begun = !self.buffer.is_empty() && !self.discarding;
        self.buffer.clear();
        self.searched = 0;
        self.discarding = false;
        begun.then_some(FrameError::Unterminated)
    }

    /// The next line without its end; empty lines are left out.
    pub(crate) fn poll_frame(&mut self) -> Option<Result<Bytes, FrameError>> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(at) = unsearched.iter().position(|&byte| byte == b'\n') else {
                self.searched = self.buffer.len();
                // One more, because a carriage return may still turn out to be the line's end.
                if self.buffer.len() > self.max + 1 {
                    let first = !self.discarding;
                    self.discarding = true;
                    self.buffer.clear();
                    self.searched = 0;
                    if first {
                        return Some(Err(FrameError::Oversize(self.max)));
                    }
                }
                return None;
            };
            let mut line = self.buffer.split_to(self.searched + at + 1).freeze();
            self.searched = 0;
            line.truncate(line.len() - 1);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if std::mem::take(&mut self.discarding) || line.is_empty() {
                continue;
            }
            if line.len() > self.max {
                return Some(Err(FrameError::Oversize(self.max)));
            }
            return Some(Ok(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(max: usize, parts: &[&[u8]]) -> Vec<Result<Bytes, FrameError>> {
        let mut framer = LineFramer::new(max);
        let mut frames = Vec::new();
        for part in parts {
            framer.handle_bytes(part);
            frames.extend(std::iter::from_fn(|| framer.poll_frame()));
        }
        frames
    }

    fn line(text: &'static str) -> Result<Bytes, FrameError> {
        Ok(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_end_with_a_line_feed_and_empty_ones_are_left_out() {
        let stream = b"a\r\n\n\r\nb c\nrest";
        assert_eq!(frames(10, &[stream]), [line("a"), line("b c")]);
    }

    #[test]
    fn a_long_line_is_one_error_and_the_next_one_is_read() {
        let oversize = Err(FrameError::Oversize(4));
        let stream = b"1234\r\n12345\n123456789\nok\n";
        let expected = [line("1234"), oversize.clone(), oversize, line("ok")];
        assert_eq!(frames(4, &[stream]), expected);
        let parts: [&[u8]; 4] = [b"123456789", b"123456789", b"1\n", b"ok\n"];
        assert_eq!(frames(4, &parts), [Err(FrameError::Oversize(4)), line("ok")]);
    }

    #[test]
    fn memory_is_bounded_without_a_line_end() {
        let mut framer = LineFramer::new(100);
        for _ in 0..10_000 {
            framer.handle_bytes(&[b'x'; 1000]);
            while framer.poll_frame().is_some() {}
            assert!(framer.buffer.len() <= 1101);
        }
    }

    #[test]
    fn a_gap_ends_the_line_that_has_begun() {
        let mut framer = LineFramer::new(10);
        framer.handle_bytes(b"t=2");
        assert_eq!(framer.poll_frame(), None);
        assert_eq!(framer.handle_gap(), Some(FrameError::Unterminated));
        assert_eq!(framer.handle_gap(), None);
        framer.handle_bytes(b"t=3\n");
        assert_eq!(framer.poll_frame(), Some(line("t=3")));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_frames(
            stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0..200usize, 0..10),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            prop_assert_eq!(frames(8, &parts), frames(8, &[&stream]));
        }
    }
}
