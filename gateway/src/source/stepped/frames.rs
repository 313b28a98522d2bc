//! What is cut into frames: datagrams, clients that connect, a serial port.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use proto::Instant;
use proto::frame::{FrameError, Framer, Pause};
use tokio::sync::oneshot::error::TryRecvError;

use super::{LINE, Signal, Told};
use crate::clock;
use crate::frame::Unframed;
use crate::pipeline::Receipt;
use crate::source::Context;
use crate::source::framed::silence;
use crate::store::NotStored;

/// A source of frames.
pub(super) struct Frames {
    context: Context,
    medium: Medium,
    /// Frames that were cut and not handed in.
    frames: VecDeque<Cut>,
    streams: BTreeMap<SocketAddr, Stream>,
    /// Connections until now.
    connections: u64,
}

/// How frames come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    Datagrams,
    Clients { reply: bool },
    Line,
}

/// A frame of a peer, and the connection that it came over.
struct Cut {
    peer: SocketAddr,
    connection: u64,
    frame: Result<Vec<u8>, FrameError>,
}

/// A connection or line.
struct Stream {
    connection: u64,
    framer: Framer,
    idle: Duration,
    /// When silence ends a frame.
    pause_at: Instant,
    /// In the order of the frames.
    replies: VecDeque<Reply>,
}

enum Reply {
    Waiting(Receipt),
    Ready(String),
}

impl Frames {
    pub(super) fn new(context: Context, medium: Medium) -> Self {
        let (frames, streams) = (VecDeque::new(), BTreeMap::new());
        let mut new = Self { context, medium, frames, streams, connections: 0 };
        if medium == Medium::Line {
            new.open(LINE);
        }
        new
    }

    pub(super) const fn context(&self) -> &Context {
        &self.context
    }

    /// Whether everything that was cut is handed in.
    pub(super) fn has_room(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn handle_signal(&mut self, peer: SocketAddr, signal: &Signal) {
        match (self.medium, signal) {
            (Medium::Datagrams, Signal::Bytes(bytes)) if self.context.allows(peer) => {
                self.cut_datagram(peer, bytes);
            }
            (Medium::Datagrams, _) => {}
            (_, Signal::Connected) => self.open(peer),
            (_, Signal::Bytes(bytes)) => {
                if let Some(stream) = self.streams.get_mut(&peer) {
                    stream.framer.handle_bytes(bytes);
                    stream.poll_frames(peer, &mut self.frames);
                }
            }
            (_, Signal::Closed) => {
                // Without an end half a number is a wrong one; what needs no end is whole now.
                if let Some(mut stream) = self.streams.remove(&peer) {
                    stream.framer.handle_pause(Pause::Silence);
                    stream.poll_frames(peer, &mut self.frames);
                }
            }
        }
    }

    fn open(&mut self, peer: SocketAddr) {
        self.connections += 1;
        let cutting = &self.context.cutting;
        let framer = match self.medium {
            // What is sent first may be the rest of a frame.
            Medium::Line => cutting.opening_framer(),
            Medium::Datagrams | Medium::Clients { .. } => cutting.framer(),
        };
        self.streams.insert(peer, Stream::new(self.connections, framer, cutting.idle()));
    }

    fn cut_datagram(&mut self, peer: SocketAddr, bytes: &[u8]) {
        let cutting = &self.context.cutting;
        if let Some(whole) = cutting.whole(bytes) {
            let frame = whole.map(<[u8]>::to_vec);
            return self.frames.push_back(Cut { peer, connection: 0, frame });
        }
        let mut stream = Stream::new(0, cutting.framer(), cutting.idle());
        stream.framer.handle_bytes(bytes);
        stream.framer.handle_pause(Pause::Datagram);
        stream.poll_frames(peer, &mut self.frames);
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        let pauses = self.streams.values().map(|stream| stream.pause_at);
        pauses.min().unwrap_or(Instant::FAR_FUTURE)
    }

    /// Ends frames that silence ends.
    pub(super) fn handle_timeout(&mut self) -> bool {
        let (now, before) = (clock::now(), self.frames.len());
        for (peer, stream) in &mut self.streams {
            if stream.pause_at <= now {
                stream.framer.handle_pause(Pause::Silence);
                stream.poll_frames(*peer, &mut self.frames);
            }
        }
        self.frames.len() > before
    }

    /// Hands in the frames that there is room for.
    pub(super) fn hand_in(&mut self) -> bool {
        let mut has_moved = false;
        while self.context.inlet.has_room()
            && let Some(Cut { peer, connection, frame }) = self.frames.pop_front()
        {
            has_moved = true;
            let reply = match self.medium {
                Medium::Line => self.take(frame, self.context.name.clone()),
                Medium::Datagrams | Medium::Clients { .. } => {
                    self.take(frame, peer.ip().to_canonical())
                }
            };
            if let (Medium::Clients { reply: true }, Some(reply)) = (self.medium, reply)
                && let Some(stream) = self.streams.get_mut(&peer)
                && stream.connection == connection
            {
                stream.replies.push_back(reply);
            }
        }
        has_moved
    }

    /// What is replied to a frame; nothing to what was not meant to be one.
    fn take(&self, frame: Result<Vec<u8>, FrameError>, peer: impl Display) -> Option<Reply> {
        let refused = |why: &dyn Display| Some(Reply::Ready(format!("error: {why}\n")));
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                self.context.unframed(error, peer);
                let is_frame = !matches!(error, FrameError::Resync { .. });
                return refused(&Unframed(error)).filter(|_| is_frame);
            }
        };
        match self.context.decode(&frame, peer) {
            Err(error) => refused(&error),
            Ok(readings) => match self.context.inlet.try_submit(readings, None) {
                Ok(receipt) => Some(Reply::Waiting(receipt)),
                Err(busy) => refused(&busy),
            },
        }
    }

    pub(super) fn poll_replies(&mut self) -> Vec<Told> {
        let mut ready = Vec::new();
        for (peer, stream) in &mut self.streams {
            let mut text = String::new();
            while let Some(reply) = stream.replies.front_mut() {
                let outcome = match reply {
                    Reply::Ready(line) => {
                        text.push_str(line);
                        stream.replies.pop_front();
                        continue;
                    }
                    Reply::Waiting(receipt) => receipt.try_recv(),
                };
                match outcome {
                    Err(TryRecvError::Empty) => break,
                    Ok(Ok(())) => text.push_str("ok\n"),
                    Ok(Err(why)) => {
                        self.context.not_stored(why);
                        text.push_str(&format!("error: {why}\n"));
                    }
                    Err(TryRecvError::Closed) => {
                        text.push_str(&format!("error: {}\n", NotStored::Failed));
                    }
                }
                stream.replies.pop_front();
            }
            if !text.is_empty() {
                ready.push((*peer, Signal::Bytes(text.into_bytes())));
            }
        }
        ready
    }
}

impl Stream {
    fn new(connection: u64, framer: Framer, idle: Duration) -> Self {
        let (pause_at, replies) = (Instant::FAR_FUTURE, VecDeque::new());
        let mut stream = Self { connection, framer, idle, pause_at, replies };
        stream.wait();
        stream
    }

    fn poll_frames(&mut self, peer: SocketAddr, frames: &mut VecDeque<Cut>) {
        while let Some(frame) = self.framer.poll_frame() {
            let (connection, frame) = (self.connection, frame.map(<[u8]>::to_vec));
            frames.push_back(Cut { peer, connection, frame });
        }
        self.wait();
    }

    fn wait(&mut self) {
        self.pause_at = match self.framer.awaits_pause() {
            true => clock::now() + silence(&self.framer, self.idle),
            false => Instant::FAR_FUTURE,
        };
    }
}
