//! The record of what arrived.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use proto::Instant;
use tokio::sync::mpsc;

use super::{Properties, QoS};

/// A message as it arrived, before anything was done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Position in the order of arrival, from 0.
    pub order: u64,
    /// When its bytes were read, on the clock of the broker.
    pub at: Instant,
    /// Who sent it.
    pub client: Arc<str>,
    /// Where it was published to.
    pub topic: Arc<str>,
    /// The content.
    pub payload: Bytes,
    /// What an MQTT 5 publisher said about it; `None` without any.
    pub properties: Option<Arc<Properties>>,
    /// With which an MQTT 5 publisher set or told the topic.
    pub topic_alias: Option<u16>,
    /// The quality of service that the publisher chose.
    pub qos: QoS,
    /// Whether the publisher asked to retain it.
    pub retain: bool,
    /// Whether the publisher marked it as a repetition.
    pub dup: bool,
    /// Whether the broker published it as the client's will.
    pub will: bool,
}

/// What becomes of a [`Recorded`] message.
pub enum Recording {
    /// It is kept for [`Broker::recorded`](super::Broker::recorded). Beyond `limit` messages the
    /// newest are only counted.
    Keep {
        /// Messages, not bytes.
        limit: usize,
    },
    /// It is only counted, so that memory stays flat.
    Count,
    /// It is passed to a function, which runs inside the broker and must not block.
    Call(Box<dyn FnMut(Recorded) + Send>),
    /// It is sent to a bounded channel. The broker waits for room, so a slow receiver slows the
    /// publishers down and misses nothing; without a receiver it is only counted.
    Send(mpsc::Sender<Recorded>),
}

impl Default for Recording {
    fn default() -> Self {
        Self::Keep { limit: 1_000_000 }
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep { limit } => f.debug_struct("Keep").field("limit", limit).finish(),
            Self::Count => f.write_str("Count"),
            Self::Call(_) => f.write_str("Call"),
            Self::Send(_) => f.write_str("Send"),
        }
    }
}

/// What was kept; the broker writes it and its owner reads it.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<Recorded>>>);

impl Kept {
    pub(super) fn copy(&self) -> Vec<Recorded> {
        self.lock().clone()
    }

    pub(super) fn take(&self) -> Vec<Recorded> {
        mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end of the record.
pub(super) struct Recorder {
    recording: Recording,
    kept: Kept,
    /// What arrived in this turn and waits for [`Recorder::flush`]; the events of one turn bound it.
    turn: Vec<Recorded>,
}

impl Recorder {
    pub(super) fn new(recording: Recording) -> Self {
        Self { recording, kept: Kept::default(), turn: Vec::new() }
    }

    pub(super) fn kept(&self) -> Kept {
        self.kept.clone()
    }

    pub(super) fn push(&mut self, recorded: Recorded) {
        match &mut self.recording {
            Recording::Keep { .. } | Recording::Send(_) => self.turn.push(recorded),
            Recording::Count => {}
            Recording::Call(call) => call(recorded),
        }
    }

    /// Hands over what was pushed since the last call; returns how many found no room.
    pub(super) async fn flush(&mut self) -> u64 {
        match &self.recording {
            Recording::Keep { limit } if !self.turn.is_empty() => {
                let mut kept = self.kept.lock();
                let room = limit.saturating_sub(kept.len()).min(self.turn.len());
                kept.extend(self.turn.drain(..room));
                let left = u64::try_from(self.turn.len()).unwrap_or(u64::MAX);
                self.turn.clear();
                left
            }
            Recording::Send(sender) => {
                for recorded in self.turn.drain(..) {
                    if sender.send(recorded).await.is_err() {
                        break;
                    }
                }
                0
            }
            Recording::Keep { .. } | Recording::Count | Recording::Call(_) => 0,
        }
    }
}
