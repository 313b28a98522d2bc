//! What a source is handed of a command, and what it reports.
//!
//! A source takes an [`Order`] from its [`Orders`], asks [`begin`](Order::begin) before the first byte goes
//! out, and ends with [`done`](Order::done), [`failed`](Order::failed) or
//! [`unreachable`](Order::unreachable). An order that is dropped says that nobody knows what became of it.
//! Until it is begun it may be [withdrawn](Order::withdrawn): cancelled, or expired. One order at a time is
//! under way to a device.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proto::{Instant, Value};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::command::{Failure, Key};
use crate::config::{Id, Operation};

/// Orders that wait for a source; the next is held back by the desk.
const ORDERS: usize = 1024;
/// Most characters of a reason.
const MAX_DETAIL: usize = 300;

/// Where a source gets its orders.
pub(crate) type Orders = mpsc::Receiver<Order>;
/// Where orders for a source go.
pub(crate) type OrderSender = mpsc::Sender<Order>;

/// A way for orders to a source.
pub(crate) fn order_queue() -> (OrderSender, Orders) {
    mpsc::channel(ORDERS)
}

/// A command for a device, at the source where the device is.
#[derive(Debug)]
pub(crate) struct Order {
    key: Key,
    attempt: u32,
    /// The name of the operation.
    pub(crate) name: Id,
    pub(crate) operation: Arc<Operation>,
    /// As the operation's rule has checked it.
    pub(crate) value: Option<Value>,
    /// What it was begun as, if it was before.
    pub(crate) mark: Option<String>,
    /// When it expires.
    pub(crate) deadline: Instant,
    reports: mpsc::Sender<Reported>,
    withdrawn: CancellationToken,
    is_settled: AtomicBool,
}

/// What a source says of an order.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(super) key: Key,
    pub(super) attempt: u32,
    pub(super) report: Report,
    /// Answered once the report is on disk: whether the order still stands.
    pub(super) answer: Option<oneshot::Sender<bool>>,
}

/// What there is to say.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Report {
    /// The device cannot be told yet.
    Waiting(Failure),
    /// The first byte is about to go out.
    Begin,
    /// The same, as something that the source wants to know if it is handed the order again.
    BeginAs(String),
    /// The device has it.
    Delivered,
    /// How far the device is.
    Progress(serde_json::Value),
    /// The device has done it.
    Done(Option<serde_json::Value>),
    /// The device refuses, or answers what it must not.
    Failed(Failure),
    /// The device was not reached; where it was begun, it may have got it nevertheless.
    Unreachable(Failure),
    /// The device says that it has not done it, and when to come back.
    Later(Failure, Duration),
    /// The source could not take it now.
    Busy,
}

impl Order {
    /// An order that is reported to `reports`.
    pub(super) fn new(
        key: Key,
        attempt: u32,
        what: (Id, Arc<Operation>, Option<Value>),
        deadline: Instant,
        reports: mpsc::Sender<Reported>,
        withdrawn: CancellationToken,
    ) -> Self {
        let (name, operation, value) = what;
        Self {
            key,
            attempt,
            name,
            operation,
            value,
            mark: None,
            deadline,
            reports,
            withdrawn,
            is_settled: AtomicBool::new(false),
        }
    }

    /// The same order, which was begun as this before.
    pub(super) fn marked(mut self, mark: Option<String>) -> Self {
        self.mark = mark;
        self
    }

    /// The device.
    pub(crate) fn device(&self) -> &str {
        &self.key.device
    }

    /// The command's identifier, which is unique for the device.
    pub(crate) fn id(&self) -> &str {
        &self.key.id
    }

    /// The device cannot be told yet, because it is away or asleep.
    pub(crate) async fn waiting(&self, code: &str, detail: impl Display) {
        self.report(Report::Waiting(failure(code, detail)), None).await;
    }

    /// To be asked before the first byte goes out: false if the order does not stand any more, and nothing
    /// is to be sent. When it is true, that the order was begun is on disk.
    pub(crate) async fn begin(&self) -> bool {
        let (answer, resolved) = oneshot::channel();
        self.report(Report::Begin, Some(answer)).await;
        resolved.await.unwrap_or(false)
    }

    /// The same, with a mark that is on disk with it: the order has it when it is handed to the source again,
    /// also after a restart. So a source whose device knows a message again can send the same one.
    pub(crate) async fn begin_as(&self, mark: String) -> bool {
        let (answer, resolved) = oneshot::channel();
        self.report(Report::BeginAs(mark), Some(answer)).await;
        resolved.await.unwrap_or(false)
    }

    /// The device has it, and has not done it yet.
    pub(crate) async fn delivered(&self) {
        self.report(Report::Delivered, None).await;
    }

    /// How far the device is.
    pub(crate) async fn progress(&self, progress: serde_json::Value) {
        self.report(Report::Progress(progress), None).await;
    }

    /// The device has done it, and answered this.
    pub(crate) async fn done(self, result: Option<serde_json::Value>) {
        self.settle(Report::Done(result)).await;
    }

    /// The device refuses, or answers what it must not: it is not tried again.
    pub(crate) async fn failed(self, code: &str, detail: impl Display) {
        self.settle(Report::Failed(failure(code, detail))).await;
    }

    /// The device was not reached, or has not answered: it is tried again until the deadline, unless it was
    /// begun and is not repeatable.
    pub(crate) async fn unreachable(self, code: &str, detail: impl Display) {
        self.settle(Report::Unreachable(failure(code, detail))).await;
    }

    /// The device says that it has not done it and that it can after this pause: it is tried again, whether
    /// it is repeatable or not.
    pub(crate) async fn later(self, code: &str, detail: impl Display, pause: Duration) {
        self.settle(Report::Later(failure(code, detail), pause)).await;
    }

    /// Whether it does not stand any more.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.is_cancelled()
    }

    /// Waits until it does not stand any more.
    pub(crate) async fn withdrawn(&self) {
        self.withdrawn.cancelled().await;
    }

    /// What the device has answered: whether that was news, once it is on disk; `None` where the gateway
    /// stops before.
    pub(super) async fn settle_durably(
        &self,
        outcome: Result<Option<serde_json::Value>, Failure>,
    ) -> Option<bool> {
        let (answer, resolved) = oneshot::channel();
        let report = match outcome {
            Ok(result) => Report::Done(result),
            Err(Failure { code, detail }) => Report::Failed(failure(&code, detail)),
        };
        self.is_settled.store(true, Ordering::Relaxed);
        self.report(report, Some(answer)).await;
        resolved.await.ok()
    }

    async fn settle(&self, report: Report) {
        self.is_settled.store(true, Ordering::Relaxed);
        self.report(report, None).await;
    }

    async fn report(&self, report: Report, answer: Option<oneshot::Sender<bool>>) {
        let (key, attempt) = (self.key.clone(), self.attempt);
        // Nobody listens any more when the gateway stops.
        let _ = self.reports.send(Reported { key, attempt, report, answer }).await;
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        if self.is_settled.load(Ordering::Relaxed) {
            return;
        }
        let report = Report::Unreachable(failure("source_ended", "the source was stopped"));
        let (key, attempt) = (self.key.clone(), self.attempt);
        // Where there is no room the deadline ends it.
        let _ = self.reports.try_send(Reported { key, attempt, report, answer: None });
    }
}

fn failure(code: &str, detail: impl Display) -> Failure {
    let mut failure = Failure::new(code, detail);
    if let Some((end, _)) = failure.detail.char_indices().nth(MAX_DETAIL) {
        failure.detail.truncate(end);
        failure.detail.push('…');
    }
    failure
}
