//! Datagrams that are acknowledged when their readings are on disk.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::pipeline::Receipt;
use crate::store::NotStored;

/// Answers that wait for the disk; with one more the socket is not read until one has left.
const MAX_WAITING: usize = 4096;

/// The answers of a socket that wait for the disk.
#[derive(Default)]
pub(super) struct Answers {
    waiting: FuturesUnordered<Waiting>,
}

/// An answer and where it goes.
pub(super) type Answer = (SocketAddr, Vec<u8>);

struct Waiting {
    receipt: Receipt,
    answer: Answer,
}

impl Answers {
    /// Keeps an answer until its receipt resolves.
    pub(super) fn add(&self, receipt: Receipt, answer: Answer) {
        self.waiting.push(Waiting { receipt, answer });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    /// The next answer that may leave, or why one must not; `None` when none waits.
    pub(super) async fn next(&mut self) -> Option<Result<Answer, NotStored>> {
        self.waiting.next().await
    }
}

impl Future for Waiting {
    type Output = Result<Answer, NotStored>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let stored = ready!(Pin::new(&mut self.receipt).poll(context));
        let answer = (self.answer.0, std::mem::take(&mut self.answer.1));
        Poll::Ready(stored.unwrap_or(Err(NotStored::Failed)).map(|()| answer))
    }
}
