//! Requests whose answer takes a while: readings and outcomes on their way to the disk, files on theirs
//! from it or to it, topics that the broker was just asked for, and orders, of which it is written down
//! first that they were given.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use proto::Reading;
use proto::coap::{Code, Response};
use tokio::task::{JoinHandle, spawn_blocking};

use super::bridge::TopicView;
use super::fetched::{OrderView, taken};
use super::resources::{Resources, Subject, Work, accepted, busy, not_stored};
use crate::commands::{Pending as Order, Taken};
use crate::pipeline::{Busy, Receipt};
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
    /// With the devices whose orders the answer tells of.
    Stored(Receipt, Vec<String>),
    Loaded(JoinHandle<Response>),
    Watched(Pin<Box<dyn Future<Output = TopicView> + Send>>),
    Ordered(Pin<Box<dyn Future<Output = Option<Order>> + Send>>, OrderView),
    Answered(Pin<Box<dyn Future<Output = Taken> + Send>>),
}

/// What came of it.
enum Outcome {
    Stored(Result<(), NotStored>, Vec<String>),
    Loaded(Option<Response>),
    Watched(TopicView),
    Ordered(OrderView, Option<Order>),
    Answered(Taken),
}

/// How to answer.
pub(super) enum Reply {
    /// With this.
    Respond(Response),
    /// With what there is to see of this, which can be observed.
    Show(Subject),
    /// With this order, if there is one, which can be observed.
    Order(OrderView, Option<Order>),
}

impl<E: Unpin> Future for Request<E> {
    type Output = (Option<E>, Outcome);

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.end {
            End::Stored(receipt, devices) => {
                let stored = ready!(Pin::new(receipt).poll(task));
                let devices = std::mem::take(devices);
                Outcome::Stored(stored.unwrap_or(Err(NotStored::Failed)), devices)
            }
            End::Ordered(order, view) => {
                let order = ready!(order.as_mut().poll(task));
                Outcome::Ordered(view.clone(), order)
            }
            End::Answered(taken) => Outcome::Answered(ready!(taken.as_mut().poll(task))),
            End::Watched(view) => Outcome::Watched(ready!(view.as_mut().poll(task))),
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
        let stored = |receipt: Result<Receipt, Busy>, devices| {
            let refused = receipt.inspect_err(|why| context.refuse("busy", from, why, b""));
            refused.ok().map(|receipt| End::Stored(receipt, devices))
        };
        let end = match work {
            Work::Store(readings) => {
                let devices = self.resources.mailbox().map(|_| devices(&readings));
                stored(context.inlet.try_submit(readings, origin), devices.unwrap_or_default())
            }
            Work::Publish(message) => {
                stored(context.inlet.try_submit_message(message, origin), Vec::new())
            }
            Work::Order(mailbox, view) => {
                let device = view.device.clone();
                Some(End::Ordered(Box::pin(async move { mailbox.take(&device).await }), view))
            }
            Work::Outcome(mailbox, device, id, answered) => {
                Some(End::Answered(Box::pin(async move {
                    mailbox.answer(&device, &id, answered).await
                })))
            }
            Work::Watch(view, permit) => Some(End::Watched(Box::pin(async move {
                let _permit = permit;
                view.settled().await
            }))),
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
    pub(super) async fn settled(&mut self) -> Vec<(E, Reply)> {
        let mut settled = Vec::from_iter(self.requests.next().await);
        while let Some(Some(next)) = self.requests.next().now_or_never() {
            settled.push(next);
        }
        let answer = |(exchange, outcome): (Option<E>, _)| Some((exchange?, self.answer(outcome)));
        settled.into_iter().filter_map(answer).collect()
    }

    fn answer(&self, outcome: Outcome) -> Reply {
        Reply::Respond(match outcome {
            Outcome::Stored(Ok(()), devices) => self.resources.with_hint(accepted(), &devices),
            Outcome::Stored(Err(why), _) => {
                self.resources.context.not_stored(why);
                not_stored(why)
            }
            Outcome::Loaded(response) => {
                response.unwrap_or_else(|| Response::new(Code::INTERNAL_SERVER_ERROR))
            }
            Outcome::Watched(view) => return Reply::Show(Subject::Topic(view)),
            Outcome::Ordered(view, order) => return Reply::Order(view, order),
            Outcome::Answered(outcome) => taken(outcome),
        })
    }
}

/// The devices of some readings.
fn devices(readings: &[Reading]) -> Vec<String> {
    let runs = readings.chunk_by(|one, next| one.device == next.device);
    runs.filter_map(|run| run.first()).map(|reading| reading.device.clone()).collect()
}
