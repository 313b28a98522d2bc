//! From the sources to the store: one queue, one batch at a time.
//!
//! While one batch syncs the next fills, so that batches grow with the load by themselves: an idle
//! gateway commits every reading at once, a busy one hundreds together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proto::{Instant, Reading, TimeQuality};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tracing::warn;

use super::encode::rfc3339_text;
use super::{DeviceClock, Routes};
use crate::clock;
use crate::store::{
    Acknowledge, Batch, Content, Message, NotStored, Origin, Record, Spool, StoreError,
};
use crate::tally::Tally;
use crate::time_base::Clocks;

/// Submissions that wait for the store; one more has to wait at its source.
const QUEUE: usize = 1024;
/// Submissions taken from the queue at a time.
const TURN: usize = 256;

/// Resolves when every reading of a submission is on disk, or with why not.
pub(crate) type Receipt = oneshot::Receiver<Result<(), NotStored>>;

/// The queue is full, or the gateway is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway cannot take readings now")]
pub(crate) struct Busy;

/// What arrived together and is acknowledged together.
struct Submission {
    source: Arc<str>,
    contents: Contents,
    origin: Option<Origin>,
    receipt: Option<Acknowledge>,
}

enum Contents {
    Readings(Vec<Reading>),
    Message(Message),
}

/// Where a source hands in its readings and messages.
#[derive(Clone)]
pub(crate) struct Inlet {
    source: Arc<str>,
    queue: mpsc::Sender<Submission>,
}

impl Inlet {
    /// The same queue for another source.
    pub(crate) fn for_source(&self, source: &str) -> Self {
        Self { source: source.into(), queue: self.queue.clone() }
    }

    /// Hands readings in, or says that there is no room.
    pub(crate) fn try_submit(
        &self,
        readings: Vec<Reading>,
        origin: Option<Origin>,
    ) -> Result<Receipt, Busy> {
        self.try_hand_in(Contents::Readings(readings), origin)
    }

    /// Hands in a message for a broker, or says that there is no room. Nothing asks whether the
    /// broker is configured: that is who hands it in.
    pub(crate) fn try_submit_message(
        &self,
        message: Message,
        origin: Option<Origin>,
    ) -> Result<Receipt, Busy> {
        self.try_hand_in(Contents::Message(message), origin)
    }

    fn try_hand_in(&self, contents: Contents, origin: Option<Origin>) -> Result<Receipt, Busy> {
        let (submission, receipt) = self.submission(contents, origin);
        self.queue.try_send(submission).map_err(|_| Busy)?;
        Ok(receipt)
    }

    /// Whether there is room now.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.capacity() > 0
    }

    /// Hands readings in; waits for room.
    pub(crate) async fn submit(&self, readings: Vec<Reading>) -> Result<Receipt, Busy> {
        let (submission, receipt) = self.submission(Contents::Readings(readings), None);
        self.queue.send(submission).await.map_err(|_| Busy)?;
        Ok(receipt)
    }

    /// Hands readings in that nobody waits for; waits for room.
    pub(crate) async fn submit_unacknowledged(&self, readings: Vec<Reading>) -> Result<(), Busy> {
        let source = Arc::clone(&self.source);
        let contents = Contents::Readings(readings);
        let submission = Submission { source, contents, origin: None, receipt: None };
        self.queue.send(submission).await.map_err(|_| Busy)
    }

    fn submission(&self, contents: Contents, origin: Option<Origin>) -> (Submission, Receipt) {
        let (receipt, resolved) = oneshot::channel();
        let source = Arc::clone(&self.source);
        (Submission { source, contents, origin, receipt: Some(receipt) }, resolved)
    }
}

/// What went through the pipeline.
#[derive(Debug, Default)]
pub(crate) struct IntakeStatus {
    /// Readings and messages that were handed to the store.
    pub(crate) routed: AtomicU64,
    /// Readings that no route takes, and readings that could not be stored.
    pub(crate) dropped: Tally,
    /// Readings whose device has a clock that cannot be right.
    pub(crate) redated: Tally,
}

/// A batch that is being committed.
///
/// The storage thread answers once; the receipts are resolved here. Whoever waits for them is a task of
/// this thread, and to wake one from another thread is a system call each.
struct Committing {
    readings: u64,
    outcome: Receipt,
    receipts: Vec<Acknowledge>,
}

impl Committing {
    /// Waits for what comes of it; nothing is lost where this is dropped.
    async fn outcome(committing: &mut Option<Self>) -> Result<(), NotStored> {
        match committing {
            Some(Self { outcome, .. }) => outcome.await.unwrap_or(Err(NotStored::Failed)),
            None => std::future::pending().await,
        }
    }
}

/// The task between the queue and the store.
pub(crate) struct Intake {
    queue: mpsc::Receiver<Submission>,
    routes: Arc<Routes>,
    spool: Spool,
    status: Arc<IntakeStatus>,
    device_clock: DeviceClock,
    commit_interval: Duration,
    next_commit: Instant,
    batch: Batch,
    receipts: Vec<Acknowledge>,
}

impl Intake {
    /// The task and the way into it.
    pub(crate) fn new(
        routes: Arc<Routes>,
        spool: Spool,
        device_clock: DeviceClock,
        commit_interval: Duration,
    ) -> (Self, Inlet, Arc<IntakeStatus>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let status = Arc::<IntakeStatus>::default();
        let intake = Self {
            queue,
            routes,
            spool,
            status: Arc::clone(&status),
            device_clock,
            commit_interval,
            next_commit: Instant::ZERO,
            batch: Batch::default(),
            receipts: Vec::new(),
        };
        (intake, Inlet { source: "".into(), queue: sender }, status)
    }

    /// Runs until every inlet is gone and what they handed in is settled.
    pub(crate) async fn run(mut self) {
        let mut committing: Option<Committing> = None;
        let mut open = true;
        while open || committing.is_some() || !self.batch.is_empty() {
            let now = clock::now();
            let due = self.batch.is_full() || now >= self.next_commit || !open;
            if committing.is_none() && !self.batch.is_empty() && due {
                self.next_commit = now + self.commit_interval;
                committing = Some(self.commit().await);
            }
            tokio::select! {
                submission = self.queue.recv(), if open && !self.batch.is_full() => {
                    open = submission.is_some();
                    self.take_turn(submission);
                }
                outcome = Committing::outcome(&mut committing), if committing.is_some() => {
                    if let Some(committed) = committing.take() {
                        self.handle_committed(committed, outcome);
                    }
                }
                () = sleep_until(clock::deadline(self.next_commit)),
                    if committing.is_none() && !self.batch.is_empty() => {}
            }
        }
    }

    /// Takes the first submission and what waits behind it, until the batch is full.
    fn take_turn(&mut self, mut submission: Option<Submission>) {
        let mut taken = 0;
        while let Some(next) = submission {
            self.take(next);
            taken += 1;
            let goes_on = taken < TURN && !self.batch.is_full();
            submission = goes_on.then(|| self.queue.try_recv().ok()).flatten();
        }
    }

    fn take(&mut self, submission: Submission) {
        let Submission { source, contents, origin, receipt } = submission;
        let stored = match contents {
            Contents::Readings(readings) => self.take_readings(&source, readings, origin),
            Contents::Message(message) => {
                self.push(&source, Content::Message(message), origin);
                1
            }
        };
        self.status.routed.fetch_add(stored, Ordering::Relaxed);
        match receipt {
            // Nothing of it is wanted: there is nothing to wait for.
            Some(receipt) if stored == 0 => drop(receipt.send(Ok(()))),
            Some(receipt) => self.receipts.push(receipt),
            None => {}
        }
    }

    /// Takes those that a route takes, and says how many they are.
    fn take_readings(
        &mut self,
        source: &Arc<str>,
        mut readings: Vec<Reading>,
        mut origin: Option<Origin>,
    ) -> u64 {
        let is_synchronised = self.spool.times().is_synchronised();
        self.device_clock.correct(
            &mut readings,
            clock::wall(),
            is_synchronised,
            |reading, reason| {
                let example = || {
                    let time = rfc3339_text(reading.time);
                    format!("{source}: {} {} of {time}", reading.device, reading.name)
                };
                self.status.redated.count(reason, example);
            },
        );
        let mut stored = 0;
        for reading in readings {
            if self.routes.take(source, &reading) {
                self.push(source, Content::Reading(reading), origin.take());
                stored += 1;
            } else {
                let example = || format!("{source}: {} {}", reading.device, reading.name);
                self.status.dropped.count("unrouted", example);
            }
        }
        stored
    }

    fn push(&mut self, source: &Arc<str>, mut content: Content, origin: Option<Origin>) {
        let Clocks { moment, wall: received } = clock::all();
        let moment = self.spool.times().stamp(moment);
        if let (Content::Reading(reading), Some(_)) = (&mut content, moment)
            && reading.time_quality == TimeQuality::Gateway
        {
            reading.time_quality = TimeQuality::Estimated;
        }
        let source = Arc::clone(source);
        self.batch.push(Record { n: 0, source, content, received, origin, moment });
    }

    /// Hands the batch to the store; resolves with what came of it.
    async fn commit(&mut self) -> Committing {
        let batch = std::mem::take(&mut self.batch);
        let receipts = std::mem::take(&mut self.receipts);
        let (own, outcome) = oneshot::channel();
        let readings = batch.len();
        self.spool.append(batch, own, clock::wall()).await;
        Committing { readings, outcome, receipts }
    }

    fn handle_committed(&self, committed: Committing, outcome: Result<(), NotStored>) {
        let Committing { readings, receipts, .. } = committed;
        for receipt in receipts {
            // The source may have given up on the sender; the reading is stored all the same.
            let _ = receipt.send(outcome);
        }
        if let Err(reason) = outcome {
            let name = match reason {
                NotStored::Full => "store_full",
                NotStored::Failed => "store_failed",
            };
            warn!(readings, %reason, "readings were refused");
            self.status.dropped.add(name, readings, || reason.to_string());
        }
    }
}

/// An intake that goes on when it is told to: for who plays a gateway in a time of its own, in which
/// nothing happens between two steps.
pub(crate) struct SteppedIntake {
    intake: Intake,
    committing: Option<Committing>,
}

impl SteppedIntake {
    pub(crate) const fn new(intake: Intake) -> Self {
        Self { intake, committing: None }
    }

    /// When a step is due for what was taken.
    pub(crate) fn poll_timeout(&self) -> Instant {
        match self.committing.is_none() && !self.intake.batch.is_empty() {
            true => self.intake.next_commit,
            false => Instant::FAR_FUTURE,
        }
    }

    /// Takes what waits, and commits where that is due; whether there was something to do.
    pub(crate) async fn step(&mut self) -> Result<bool, StoreError> {
        let intake = &mut self.intake;
        let mut has_moved = false;
        if !intake.batch.is_full()
            && let Ok(first) = intake.queue.try_recv()
        {
            intake.take_turn(Some(first));
            has_moved = true;
        }
        let now = clock::now();
        let is_due = intake.batch.is_full() || now >= intake.next_commit;
        if self.committing.is_none() && !intake.batch.is_empty() && is_due {
            intake.next_commit = now + intake.commit_interval;
            self.committing = Some(intake.commit().await);
            has_moved = true;
        }
        if self.committing.is_none() {
            return Ok(has_moved);
        }
        intake.spool.settle().await?;
        let outcome = match self.committing.as_mut().map(|committing| committing.outcome.try_recv())
        {
            Some(Ok(outcome)) => outcome,
            Some(Err(oneshot::error::TryRecvError::Closed)) => Err(NotStored::Failed),
            // It waits for room.
            Some(Err(oneshot::error::TryRecvError::Empty)) | None => return Ok(has_moved),
        };
        if let Some(committed) = self.committing.take() {
            intake.handle_committed(committed, outcome);
        }
        Ok(true)
    }

    /// Commits what was taken, whether it is due or not.
    pub(crate) async fn finish(&mut self) -> Result<(), StoreError> {
        self.intake.next_commit = Instant::ZERO;
        while self.step().await? {}
        Ok(())
    }
}

#[cfg(test)]
impl Inlet {
    /// An inlet with room for so many submissions, and what settles the first of them, if there is
    /// one.
    pub(crate) fn for_test(room: usize) -> (Self, impl FnMut(Result<(), NotStored>) -> bool) {
        let (queue, mut submissions) = mpsc::channel::<Submission>(room);
        let settle = move |outcome| match submissions.try_recv() {
            Ok(submission) => submission.receipt.is_some_and(|r| r.send(outcome).is_ok()),
            Err(_) => false,
        };
        (Self { source: "".into(), queue }, settle)
    }
}
