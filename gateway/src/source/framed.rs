//! A stream of bytes that is cut into frames, with pauses in it.

use std::io;
use std::time::Duration;

use proto::Instant;
use proto::frame::{FrameError, Framer, Pause};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout_at};

use crate::clock;
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
    /// When something came last, or a pause was noted.
    silent_since: Instant,
}

/// When a request is due, the first time at once; what was late moves those after it.
pub(super) fn due_every(period: Duration) -> Interval {
    let mut due = interval(period);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    due
}

/// The silence after which a framer with so long a pause is told of one.
pub(super) fn silence(framer: &Framer, idle: Duration) -> Duration {
    if framer.is_opening() { idle.min(SETTLED) } else { idle }
}

impl Framed {
    /// Frames that `framer` cuts, with the pauses of `cutting`.
    pub(super) fn new(framer: Framer, cutting: &Cutting) -> Self {
        let (idle, silent_since) = (cutting.idle(), clock::now());
        Self { framer, idle, buffer: vec![0; READ_BYTES], silent_since }
    }

    /// Takes what has come, or notes that nothing came for a time; `false` at the end of the stream.
    /// Nothing is lost when it is not waited for any more.
    pub(super) async fn fill(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
        let read = reader.read(&mut self.buffer);
        let count = if self.framer.awaits_pause() {
            let pause = clock::deadline(self.silent_since + silence(&self.framer, self.idle));
            match timeout_at(pause, read).await {
                Ok(read) => read?,
                Err(_) => {
                    self.silent_since = clock::now();
                    self.framer.handle_pause(Pause::Silence);
                    return Ok(true);
                }
            }
        } else {
            read.await?
        };
        self.silent_since = clock::now();
        self.framer.handle_bytes(self.buffer.get(..count).unwrap_or_default());
        Ok(count > 0)
    }

    /// Whether what comes may be the rest of a frame that began earlier.
    pub(super) fn is_opening(&self) -> bool {
        self.framer.is_opening()
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
