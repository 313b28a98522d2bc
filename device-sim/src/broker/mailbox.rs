//! The bytes that wait for one connection's socket: written by the hub, taken by the connection.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use rumqttc::mqttbytes::Error as CodecError;
use tokio::sync::Notify;

use super::QoS;
use super::wire::{self, Outgoing};

/// A bounded buffer of encoded packets. Only QoS 0 is refused at the limit; the rest is bounded by
/// the window of the session and by not reading from a client that does not read.
#[derive(Debug)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    ready: Notify,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    closed: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Posted {
    Kept,
    Dropped,
}

/// What is known after [`Mailbox::take`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Nothing more will be posted.
    pub(super) closed: bool,
    /// The peer takes less than it gets: nothing more should be read from it.
    pub(super) full: bool,
}

impl Mailbox {
    /// A mailbox that is full at `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), ready: Notify::new(), limit }
    }

    /// Adds a packet; [`Mailbox::wake`] has to follow.
    pub(super) fn post(&self, packet: &Outgoing) -> Result<Posted, CodecError> {
        let mut state = self.lock();
        if state.bytes.len() >= self.limit && is_droppable(packet) {
            return Ok(Posted::Dropped);
        }
        wire::encode(packet, &mut state.bytes)?;
        Ok(Posted::Kept)
    }

    /// Tells the connection that there is something to take.
    pub(super) fn wake(&self) {
        self.ready.notify_one();
    }

    /// Nothing more will be posted: the connection sends what is there and ends.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    /// Waits for [`Mailbox::wake`].
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Moves what was posted to `output` once that is empty, or when nothing more will follow.
    pub(super) fn take(&self, output: &mut BytesMut) -> Taken {
        let mut state = self.lock();
        if output.is_empty() {
            mem::swap(&mut state.bytes, output);
        } else if state.closed {
            output.unsplit(mem::take(&mut state.bytes));
        }
        Taken { closed: state.closed, full: state.bytes.len() + output.len() >= self.limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_droppable(packet: &Outgoing) -> bool {
    matches!(packet, Outgoing::Publish { message, .. } if message.qos == QoS::AtMostOnce)
}
