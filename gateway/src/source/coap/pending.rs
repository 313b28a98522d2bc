//! Requests whose answer takes a while: readings on their way to the disk, files on theirs from it
//! or to it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use proto::coap::{Code, Response};
use tokio::task::{JoinHandle, spawn_blocking};

use super::resources::{Resources, Work, accepted, busy, not_stored};
use crate::pipeline::Receipt;
use crate::store::{NotStored, Origin};

/// The requests of one endpoint, by what it calls them.
pub(super) struct Pending<E> {
    resources: Arc<Resources>,
    requests: FuturesUnordered<Request<E>>,
}

struct Request<E> {
    /// `None` after its end.
    exchange: Option<E>,
    end: End,
}

/// What tells of the end.
enum End {
    Stored(Receipt),
    Loaded(JoinHandle<Response>),
}

/// What came of it.
enum Outcome {
    Stored(Result<(), NotStored>),
    Loaded(Option<Response>),
}

impl<E: Unpin> Future for Request<E> {
    type Output = (Option<E>, Outcome);

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.end {
            End::Stored(receipt) => {
                let stored = ready!(Pin::new(receipt).poll(task));
                Outcome::Stored(stored.unwrap_or(Err(NotStored::Failed)))
            }
            End::Loaded(response) => Outcome::Loaded(ready!(Pin::new(response).poll(task)).ok()),
        };
        Poll::Ready((self.exchange.take(), outcome))
    }
}

impl<E: Unpin> Pending<E> {
    pub(super) fn new(resources: Arc<Resources>) -> Self {
        Self { resources, requests: FuturesUnordered::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Starts the work, whose answer [`settled`](Self::settled) will have, or gives the exchange
    /// back with the answer where there is no room. `origin` is what tells a retransmission, where
    /// there are any.
    pub(super) fn start(
        &self,
        exchange: E,
        from: SocketAddr,
        work: Work,
        origin: Option<Origin>,
    ) -> Option<(E, Response)> {
        let context = &self.resources.context;
        let end = match work {
            Work::Store(readings) => match context.inlet.try_submit(readings, origin) {
                Ok(receipt) => Some(End::Stored(receipt)),
                Err(why) => {
                    context.refuse("busy", from, why, b"");
                    None
                }
            },
            Work::Serve(files, request) => files.start_load().map(|permit| {
                let resources = Arc::clone(&self.resources);
                End::Loaded(spawn_blocking(move || {
                    let _permit = permit;
                    files.serve(&request).unwrap_or_else(|refusal| {
                        resources.context.refuse("upload", from, &refusal, b"");
                        refusal.response()
                    })
                }))
            }),
            Work::List(files, request, delivery) => files.start_load().map(|permit| {
                let resources = Arc::clone(&self.resources);
                End::Loaded(spawn_blocking(move || {
                    let _permit = permit;
                    resources.links_with(files.list(), &request, delivery)
                }))
            }),
        };
        let Some(end) = end else { return Some((exchange, busy())) };
        self.requests.push(Request { exchange: Some(exchange), end });
        None
    }

    /// Waits for the next answer, and takes those that are there with it: the receipts of a commit
    /// come together. There is none where this [is empty](Self::is_empty).
    pub(super) async fn settled(&mut self) -> Vec<(E, Response)> {
        let mut settled = Vec::from_iter(self.requests.next().await);
        while let Some(Some(next)) = self.requests.next().now_or_never() {
            settled.push(next);
        }
        let answer = |(exchange, outcome): (Option<E>, _)| Some((exchange?, self.answer(outcome)));
        settled.into_iter().filter_map(answer).collect()
    }

    fn answer(&self, outcome: Outcome) -> Response {
        match outcome {
            Outcome::Stored(Ok(())) => accepted(),
            Outcome::Stored(Err(why)) => {
                self.resources.context.not_stored(why);
                not_stored(why)
            }
            Outcome::Loaded(response) => {
                response.unwrap_or_else(|| Response::new(Code::INTERNAL_SERVER_ERROR))
            }
        }
    }
}
