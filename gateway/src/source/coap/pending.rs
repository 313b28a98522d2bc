//! Requests whose readings are on their way to the disk.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use proto::coap::{ExchangeId, Request, Response};

use super::resources::{Action, accepted, busy, handle, not_stored};
use crate::pipeline::Receipt;
use crate::source::Context;
use crate::store::{NotStored, Origin};

/// The requests of one endpoint that wait for the store.
pub(super) struct Submissions {
    context: Arc<Context>,
    receipts: FuturesUnordered<Settling>,
}

/// A request and what tells of its end.
struct Settling {
    exchange: ExchangeId,
    receipt: Receipt,
}

impl Future for Settling {
    type Output = (ExchangeId, Result<(), NotStored>);

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.receipt).poll(task));
        Poll::Ready((self.exchange, outcome.unwrap_or(Err(NotStored::Failed))))
    }
}

impl Submissions {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, receipts: FuturesUnordered::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.receipts.is_empty()
    }

    /// The answer to a request, or `None` where [`settled`](Self::settled) will have it. `origin`
    /// is what tells a retransmission, where there are any.
    pub(super) fn handle_request(
        &self,
        exchange: ExchangeId,
        from: SocketAddr,
        request: &Request,
        origin: Option<Origin>,
    ) -> Option<Response> {
        let readings = match handle(&self.context, from, request) {
            Action::Respond(response) => return Some(response),
            Action::Submit(readings) => readings,
        };
        match self.context.inlet.try_submit(readings, origin) {
            Ok(receipt) => {
                self.receipts.push(Settling { exchange, receipt });
                None
            }
            Err(why) => {
                self.context.refuse("busy", from, why, b"");
                Some(busy())
            }
        }
    }

    /// Waits for the next answer, and takes those that are there with it: the receipts of a commit
    /// come together. There is none where this [is empty](Self::is_empty).
    pub(super) async fn settled(&mut self) -> Vec<(ExchangeId, Response)> {
        let mut settled = Vec::from_iter(self.receipts.next().await);
        while let Some(Some(next)) = self.receipts.next().now_or_never() {
            settled.push(next);
        }
        let answer = |(exchange, outcome)| (exchange, self.answer(outcome));
        settled.into_iter().map(answer).collect()
    }

    fn answer(&self, outcome: Result<(), NotStored>) -> Response {
        match outcome {
            Ok(()) => accepted(),
            Err(why) => {
                self.context.not_stored(why);
                not_stored(why)
            }
        }
    }
}
