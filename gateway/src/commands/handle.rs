//! What the rest of the gateway holds of the commands: a way to ask for some, and what became of all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use serde::Serialize;
use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot};

use super::command::{Command, Key};
use super::desk::DeskRules;
use super::request::{CommandTopics, Submitted};
use crate::config::{Id, Operation};
use crate::tally::{Count, Tally};

/// Requests of this machine that wait.
const ASKED: usize = 16;
/// States that one who waits for a command is behind by.
const FOLLOWED: usize = 32;

/// What the rest of the gateway holds of the task.
#[derive(Clone)]
pub(crate) struct CommandsHandle {
    asked: mpsc::Sender<Asked>,
    status: Arc<CommandsStatus>,
    rules: Arc<DeskRules>,
}

/// What somebody on this machine asks.
pub(super) enum Asked {
    /// To carry something out; its states come as they are published.
    Submit { request: Submitted, states: mpsc::Sender<Json> },
    /// Not to carry something out.
    Cancel { key: Key, outcome: oneshot::Sender<Option<Json>> },
    /// The newest commands.
    List {
        device: Option<String>,
        most: usize,
        commands: oneshot::Sender<Result<Vec<Command>, String>>,
    },
}

/// What has become of commands.
#[derive(Debug, Default)]
pub(super) struct CommandsStatus {
    pub(super) open: AtomicUsize,
    pub(super) accepted: AtomicU64,
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) refused: Tally,
}

/// A copy of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CommandsReport {
    /// Commands that are not over, or not published.
    pub(crate) open: usize,
    /// Commands since the start, and how they ended.
    pub(crate) accepted: u64,
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) expired: u64,
    /// Messages that were no request, and why commands failed.
    pub(crate) refused: BTreeMap<&'static str, Count>,
}

/// The gateway does not take commands any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway is stopping")]
pub(crate) struct NotTaken;

impl CommandsHandle {
    /// A handle, and where what is asked through it comes out.
    pub(super) fn new(
        rules: &DeskRules,
        status: &Arc<CommandsStatus>,
    ) -> (Self, mpsc::Receiver<Asked>) {
        let (asked, receiver) = mpsc::channel(ASKED);
        (Self { asked, status: Arc::clone(status), rules: Arc::new(rules.clone()) }, receiver)
    }

    /// Asks for something to be carried out; its states come as they are published, the last one last.
    pub(crate) async fn submit(
        &self,
        request: Submitted,
    ) -> Result<mpsc::Receiver<Json>, NotTaken> {
        let (states, received) = mpsc::channel(FOLLOWED);
        self.asked.send(Asked::Submit { request, states }).await.map_err(|_| NotTaken)?;
        Ok(received)
    }

    /// Asks for a command not to be carried out; its state then, where it is known.
    pub(crate) async fn cancel(&self, device: &str, id: &str) -> Result<Option<Json>, NotTaken> {
        let (outcome, resolved) = oneshot::channel();
        let key = Key::new(device, id);
        self.asked.send(Asked::Cancel { key, outcome }).await.map_err(|_| NotTaken)?;
        resolved.await.map_err(|_| NotTaken)
    }

    /// The newest commands, of one device if one is named.
    pub(crate) async fn newest(
        &self,
        device: Option<String>,
        most: usize,
    ) -> Result<Result<Vec<Command>, String>, NotTaken> {
        let (commands, resolved) = oneshot::channel();
        self.asked.send(Asked::List { device, most, commands }).await.map_err(|_| NotTaken)?;
        resolved.await.map_err(|_| NotTaken)
    }

    /// The topics.
    pub(crate) fn topics(&self) -> &CommandTopics {
        &self.rules.topics
    }

    /// What may be done with a device of a source.
    pub(crate) fn operations<'a>(
        &'a self,
        source: &'a str,
        device: &'a str,
    ) -> impl Iterator<Item = (&'a Id, &'a Operation)> {
        let all = self.rules.operations.iter().map(|(name, operation)| (name, &**operation));
        all.filter(move |(_, it)| it.source.as_str() == source && it.is_for(device))
    }

    /// Devices that operations name, with their sources.
    pub(crate) fn named_devices(&self) -> impl Iterator<Item = (String, String)> {
        self.rules.operations.values().flat_map(|operation| {
            let names = operation.named_devices();
            names.map(|name| (operation.source.to_string(), name)).collect::<Vec<_>>()
        })
    }

    /// What has become of commands.
    pub(crate) fn report(&self) -> CommandsReport {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let status = &self.status;
        CommandsReport {
            open: status.open.load(Ordering::Relaxed),
            accepted: load(&status.accepted),
            done: load(&status.done),
            failed: load(&status.failed),
            expired: load(&status.expired),
            refused: status.refused.snapshot(),
        }
    }
}
