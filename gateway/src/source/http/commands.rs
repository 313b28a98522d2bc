//! Commands for devices that ask: `GET /cmd/{device}?wait=30`, and the outcome as
//! `POST /cmd/{device}/{id}`.
//!
//! What a device is given stays until it has answered, and is given again when it asks again. The answer
//! to an outcome waits for the disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use super::resources::{Answer, content, empty};
use crate::commands::{Answered, Mailbox, Order, Orders, Taken};

/// Requests that wait for a command at a time; a further one is told to try again.
const MAX_WAITING: usize = 256;
/// The longest time that a request waits.
const LONGEST_WAIT: u64 = 300;

/// The commands of a source.
pub(super) struct Commands {
    mailbox: Mailbox,
    room: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Commands {
    /// Nothing yet; `stop` ends those who wait.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { mailbox: Mailbox::new(), room: Arc::new(Semaphore::new(MAX_WAITING)), stop }
    }

    /// Takes orders until there are no more.
    pub(super) async fn collect(&self, mut orders: Orders) {
        while let Some(order) = orders.recv().await {
            self.put(order).await;
        }
    }

    async fn put(&self, order: Order) {
        self.mailbox.put(order).await;
    }

    /// Whether there is one for any of these devices.
    pub(super) fn has_any<'a>(&self, mut devices: impl Iterator<Item = &'a str>) -> bool {
        devices.any(|device| self.mailbox.has(device))
    }

    /// A device asks, and waits up to so many seconds for a command.
    pub(super) async fn ask(&self, device: &str, wait: Option<&str>) -> Result<Answer, Refusal> {
        let wait = match wait.map(str::parse::<u64>) {
            None => 0,
            Some(Ok(seconds)) => seconds.min(LONGEST_WAIT),
            Some(Err(_)) => return Err(Refusal::malformed("`wait` is a number of seconds")),
        };
        // Before the first look, so that nothing is missed in between.
        let mut changes = self.mailbox.changes();
        if let Some(pending) = self.mailbox.take(device).await {
            return Ok(content("application/json", format!("{}\n", pending.json())));
        }
        if wait == 0 {
            return Ok(empty());
        }
        let permit = self.room.try_acquire();
        let _permit =
            permit.map_err(|_| Refusal::busy("too many devices wait, try again later"))?;
        let mut over = std::pin::pin!(sleep(Duration::from_secs(wait)));
        loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    return Err(Refusal::busy("the gateway is stopping"));
                }
                () = &mut over => return Ok(empty()),
                changed = changes.changed() => if changed.is_err() {
                    return Ok(empty());
                },
            }
            if let Some(pending) = self.mailbox.take(device).await {
                return Ok(content("application/json", format!("{}\n", pending.json())));
            }
        }
    }

    /// A device answers.
    pub(super) async fn answer(
        &self,
        device: &str,
        id: &str,
        body: &[u8],
    ) -> Result<Answer, Refusal> {
        let answered = Answered::parse(body).map_err(|error| {
            Refusal::outcome(format!(
                "expected nothing, or such as {{\"state\":\"done\",\"result\":…}} or \
                 {{\"state\":\"failed\",\"code\":…,\"detail\":…}}: {error}"
            ))
        })?;
        match self.mailbox.answer(device, id, answered).await {
            Taken::Stored => Ok(empty()),
            Taken::Gone => Err(Refusal::not_found(
                "there is no such command any more: it was answered, cancelled, or has expired",
            )),
            Taken::Busy => {
                Err(Refusal::busy("the outcome could not be written down; send it again"))
            }
        }
    }
}
