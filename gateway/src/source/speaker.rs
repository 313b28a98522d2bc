//! What is said into a stream: requests of `poll`, and orders, one at a time.
//!
//! It runs beside the reading of the same stream and never holds it up. An order goes before requests that
//! are due, but not before the answer to the last one is there or is late.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;
use tokio::time::{Interval, timeout};

use super::ear::Ear;
use super::exchange::{begin, conclude};
use super::framed::due_every;
use super::inbox::Inbox;
use crate::clock;
use crate::commands::{Order, Orders};
use crate::config::Poll;

/// The longest time that the other end may leave bytes in the way.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the answer to a request of `poll` may take before an order is sent all the same.
const POLL_PATIENCE: Duration = Duration::from_secs(1);

/// Who speaks.
#[derive(Debug)]
pub(super) struct Speaker {
    inbox: Inbox,
    poll: Option<Poll>,
    /// The order that is being carried out.
    current: Option<Order>,
    is_begun: bool,
}

/// A request that is sent again and again.
struct Polling<'a> {
    poll: &'a Poll,
    due: Interval,
}

impl Speaker {
    pub(super) const fn new(orders: Option<Orders>, poll: Option<Poll>) -> Self {
        Self { inbox: Inbox::new(orders), poll, current: None, is_begun: false }
    }

    /// Speaks until the stream takes no more; for ever where there is nothing to say.
    pub(super) async fn speak(
        &mut self,
        writer: &Mutex<impl AsyncWrite + Unpin>,
        ear: &Ear,
    ) -> io::Error {
        let mut polling =
            self.poll.as_ref().map(|poll| Polling { poll, due: due_every(poll.every.duration()) });
        loop {
            let spoken = tokio::select! {
                () = due(&mut polling) => match &polling {
                    Some(Polling { poll, .. }) => {
                        let sent = write(writer, poll.send.bytes()).await;
                        ear.expect(clock::now() + POLL_PATIENCE.min(poll.every.duration()));
                        sent
                    }
                    None => Ok(()),
                },
                order = self.inbox.next() => {
                    self.current = Some(order);
                    ear.silence().await;
                    carry_out(&mut self.current, &mut self.is_begun, writer, ear).await
                }
            };
            if let Err(error) = spoken {
                return error;
            }
        }
    }

    /// The stream is gone: what was under way is told, unless nothing of it was sent.
    pub(super) async fn handle_gone(&mut self, why: &str) {
        let Some(order) = self.current.take() else { return };
        if std::mem::take(&mut self.is_begun) {
            order.unreachable("disconnected", why).await;
        } else {
            self.inbox.put_back(order);
        }
    }

    /// Keeps orders as long as there is no stream.
    pub(super) async fn hold(&mut self, why: &str) -> std::convert::Infallible {
        self.inbox.hold("not_connected", why).await
    }

    /// Takes no more orders, and gives away those that were not begun.
    pub(super) fn close(&mut self) -> VecDeque<Order> {
        self.inbox.close()
    }
}

/// Carries out the order in `current`, which is empty then unless the stream fails.
async fn carry_out(
    current: &mut Option<Order>,
    is_begun: &mut bool,
    writer: &Mutex<impl AsyncWrite + Unpin>,
    ear: &Ear,
) -> io::Result<()> {
    // From here on it may be known as begun, whether or not the answer to that comes.
    *is_begun = true;
    if let Some(message) = begin(current).await {
        write(writer, &message.bytes).await?;
        conclude(current, message, ear).await;
    }
    *is_begun = false;
    Ok(())
}

async fn write(writer: &Mutex<impl AsyncWrite + Unpin>, bytes: &[u8]) -> io::Result<()> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it does not take what is sent");
    let mut writer = writer.lock().await;
    timeout(SEND_TIMEOUT, writer.write_all(bytes)).await.unwrap_or_else(|_| Err(late()))
}

/// Waits until a request is due; for ever where none is sent.
async fn due(polling: &mut Option<Polling<'_>>) {
    match polling {
        Some(polling) => drop(polling.due.tick().await),
        None => std::future::pending().await,
    }
}
