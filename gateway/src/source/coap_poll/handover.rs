//! Readings on their way to the store, and those that wait for the way.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use proto::Reading;

use crate::pipeline::{Busy, Inlet, Receipt};
use crate::store::NotStored;

/// Submissions that wait for room in the pipeline, and bytes of what they were decoded from; more
/// are dropped and counted.
const MAX_WAITING: usize = 1024;
const MAX_WAITING_BYTES: usize = 8 << 20;
/// How long nothing is asked for after there was no room in the pipeline.
pub(super) const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// How long nothing is asked for after the store was full.
pub(super) const FULL_PAUSE: Duration = Duration::from_secs(30);

type Entering = Pin<Box<dyn Future<Output = Result<Receipt, Busy>> + Send>>;

/// The way to the store.
pub(super) struct Handover {
    inlet: Inlet,
    receipts: FuturesUnordered<Receipt>,
    /// The first that waits.
    entering: Option<(Entering, usize)>,
    waiting: VecDeque<(Vec<Reading>, usize)>,
    waiting_bytes: usize,
}

/// What has come of submissions.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Those that the store did not take.
    pub(super) not_stored: Vec<NotStored>,
}

impl Handover {
    pub(super) fn new(inlet: Inlet) -> Self {
        Self {
            inlet,
            receipts: FuturesUnordered::new(),
            entering: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        }
    }

    /// Whether there is nothing on the way.
    pub(super) fn is_empty(&self) -> bool {
        self.receipts.is_empty() && !self.is_waiting()
    }

    /// Whether the pipeline had no room for something.
    pub(super) const fn is_waiting(&self) -> bool {
        self.entering.is_some()
    }

    /// Hands readings in that were decoded from `size` bytes, or has them wait.
    pub(super) fn submit(&mut self, readings: Vec<Reading>, size: usize) -> Result<(), Busy> {
        if !self.is_waiting() && self.inlet.has_room() {
            self.receipts.push(self.inlet.try_submit(readings, None)?);
            return Ok(());
        }
        let has_room = self.waiting.len() < MAX_WAITING
            && self.waiting_bytes.saturating_add(size) <= MAX_WAITING_BYTES;
        if !has_room {
            return Err(Busy);
        }
        self.waiting_bytes += size;
        self.waiting.push_back((readings, size));
        self.enter_next();
        Ok(())
    }

    /// Waits until something has come of submissions; for ever where there are none.
    pub(super) async fn settled(&mut self) -> Settled {
        let mut settled = Settled::default();
        tokio::select! {
            entered = Self::entered(&mut self.entering) => self.handle_entered(entered),
            Some(stored) = self.receipts.next(), if !self.receipts.is_empty() => {
                settled.add(stored.unwrap_or(Err(NotStored::Failed)));
                // The receipts of a commit come together.
                while let Some(Some(stored)) = self.receipts.next().now_or_never() {
                    settled.add(stored.unwrap_or(Err(NotStored::Failed)));
                }
            }
        }
        settled
    }

    async fn entered(entering: &mut Option<(Entering, usize)>) -> Result<Receipt, Busy> {
        match entering {
            Some((entering, _)) => entering.await,
            None => std::future::pending().await,
        }
    }

    fn handle_entered(&mut self, entered: Result<Receipt, Busy>) {
        if let Some((_, size)) = self.entering.take() {
            self.waiting_bytes -= size;
        }
        // An error: the gateway is stopping, and takes nothing more.
        self.receipts.extend(entered.ok());
        self.enter_next();
    }

    fn enter_next(&mut self) {
        if self.entering.is_none()
            && let Some((readings, size)) = self.waiting.pop_front()
        {
            let inlet = self.inlet.clone();
            let entering = async move { inlet.submit(readings).await };
            self.entering = Some((Box::pin(entering), size));
        }
    }
}

impl Settled {
    fn add(&mut self, stored: Result<(), NotStored>) {
        self.not_stored.extend(stored.err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_finds_no_room_waits_for_it_and_all_is_settled() {
        let (inlet, mut settle) = Inlet::for_test(2);
        let mut handover = Handover::new(inlet);
        for _ in 0..5 {
            handover.submit(Vec::new(), 10).unwrap();
        }
        assert!(handover.is_waiting());
        let mut not_stored = 0;
        while !handover.is_empty() {
            while settle(Err(NotStored::Full)) {}
            not_stored += handover.settled().await.not_stored.len();
        }
        assert_eq!((not_stored, handover.waiting_bytes), (5, 0));
    }

    #[tokio::test]
    async fn no_more_than_the_limits_wait() {
        let (inlet, _settle) = Inlet::for_test(1);
        let mut handover = Handover::new(inlet.clone());
        // One in the pipeline, one on its way there.
        for _ in 0..MAX_WAITING + 2 {
            handover.submit(Vec::new(), 1).unwrap();
        }
        assert_eq!(handover.submit(Vec::new(), 1), Err(Busy));
        let mut handover = Handover::new(inlet);
        handover.submit(Vec::new(), MAX_WAITING_BYTES).unwrap();
        assert_eq!(handover.submit(Vec::new(), 1), Err(Busy));
    }
}
