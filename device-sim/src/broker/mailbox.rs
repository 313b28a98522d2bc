//! The bytes that wait for one connection's socket: written by the hub, taken by the connection.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::sync::Notify;

/// What the hub has handed over and the connection has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    closed: bool,
}

impl Mailbox {
    /// Adds encoded packets, or all that will ever be there when it is `closed`.
    pub(super) fn put(&self, bytes: BytesMut, closed: bool) {
        let mut state = self.lock();
        state.bytes.unsplit(bytes);
        state.closed |= closed;
        drop(state);
        self.ready.notify_one();
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.lock().bytes.len()
    }

    /// Waits for [`Mailbox::put`].
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Moves what waits to `output` once that is empty, or when it is closed; returns whether it is.
    pub(super) fn take(&self, output: &mut BytesMut) -> bool {
        let mut state = self.lock();
        if output.is_empty() {
            mem::swap(&mut state.bytes, output);
        } else if state.closed {
            output.unsplit(mem::take(&mut state.bytes));
        }
        state.closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_in_order_and_the_last_ones_all_at_once() {
        let mailbox = Mailbox::default();
        let mut output = BytesMut::new();
        mailbox.put(BytesMut::from("a"), false);
        assert!(!mailbox.take(&mut output));
        mailbox.put(BytesMut::from("b"), false);
        assert!(!mailbox.take(&mut output));
        assert_eq!(
            (&output[..], mailbox.len()),
            (&b"a"[..], 1),
            "the first is still being written"
        );
        mailbox.put(BytesMut::from("c"), true);
        assert!(mailbox.take(&mut output));
        assert_eq!(output, "abc");
    }
}
