//! A stream with a device, or a bus, at its other end: frames are read from it, and a [`Speaker`] says
//! what there is to say.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use proto::frame::Framer;
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::Mutex;

use super::Context;
use super::ear::{Ear, Offered};
use super::framed::Framed;
use super::speaker::Speaker;
use crate::clock;

/// How long a stream may go on with what began earlier before an order is sent all the same: its answer
/// would be taken for the rest of that.
const LONGEST_OPENING: Duration = Duration::from_secs(3);

/// Who is at the other end.
pub(super) struct Partner<'a> {
    pub(super) context: &'a Context,
    pub(super) name: &'a (dyn Display + Sync),
    /// What is said of the end of the stream.
    pub(super) gone: &'static str,
}

impl Partner<'_> {
    /// Reads and speaks until the stream ends. It is closed when this returns.
    pub(super) async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        framer: Framer,
        speaker: &mut Speaker,
    ) -> io::Error {
        let mut framed = Framed::new(framer, &self.context.cutting);
        let ear = Ear::default();
        if framed.is_opening() {
            ear.expect(clock::now() + LONGEST_OPENING);
        }
        let (mut reader, writer) = split(stream);
        let writer = Mutex::new(writer);
        let end = tokio::select! {
            end = self.read(&mut reader, &mut framed, &ear) => end,
            end = speaker.speak(&writer, &ear) => end,
        };
        // Before anything that may wait: see [`serial`](super::serial).
        drop((reader, writer));
        framed.end();
        self.take_frames(&mut framed, &ear).await;
        end
    }

    async fn read(
        &self,
        reader: &mut (impl AsyncRead + Unpin),
        framed: &mut Framed,
        ear: &Ear,
    ) -> io::Error {
        let mut is_opening = framed.is_opening();
        loop {
            match framed.fill(reader).await {
                Ok(true) => {
                    if is_opening && !framed.is_opening() {
                        is_opening = false;
                        ear.settle();
                    }
                    self.take_frames(framed, ear).await;
                }
                Ok(false) => return io::Error::new(io::ErrorKind::UnexpectedEof, self.gone),
                Err(error) => return error,
            }
        }
    }

    async fn take_frames(&self, framed: &mut Framed, ear: &Ear) {
        while let Some(frame) = framed.poll_frame() {
            if frame.is_ok_and(|frame| ear.offer(frame) == Offered::IsTaken) {
                continue;
            }
            self.context.take(frame, self.name).await;
        }
    }
}
