//! A stream of bytes that is cut into frames, with pauses in it.

use std::io;
use std::time::Duration;

use proto::frame::{FrameError, Framer, Pause};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use crate::frame::Cutting;

/// Bytes read at a time.
const READ_BYTES: usize = 8192;
/// The silence after which a device that has just been connected is not within a frame. A USB
/// adapter holds bytes back for 16 ms, and a sketch may measure between two parts of a line.
const SETTLED: Duration = Duration::from_secs(1);

/// Frames of a stream.
pub(super) struct Framed {
    framer: Framer,
    idle: Duration,
    buffer: Vec<u8>,
}

impl Framed {
    /// Frames that `framer` cuts, with the pauses of `cutting`.
    pub(super) fn new(framer: Framer, cutting: &Cutting) -> Self {
        Self { framer, idle: cutting.idle(), buffer: vec![0; READ_BYTES] }
    }

    /// Takes what has come, or notes that nothing came for a time; `false` at the end of the stream.
    /// Nothing is lost when it is not waited for any more.
    pub(super) async fn fill(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
        let read = reader.read(&mut self.buffer);
        let count = if self.framer.awaits_pause() {
            let idle = if self.framer.is_opening() { self.idle.min(SETTLED) } else { self.idle };
            match timeout(idle, read).await {
                Ok(read) => read?,
                Err(_) => {
                    self.framer.handle_pause(Pause::Silence);
                    return Ok(true);
                }
            }
        } else {
            read.await?
        };
        self.framer.handle_bytes(self.buffer.get(..count).unwrap_or_default());
        Ok(count > 0)
    }

    /// The stream has ended.
    pub(super) fn end(&mut self) {
        self.framer.handle_pause(Pause::Silence);
    }

    /// The next frame of what was taken.
    pub(super) fn poll_frame(&mut self) -> Option<Result<&[u8], FrameError>> {
        self.framer.poll_frame()
    }
}
