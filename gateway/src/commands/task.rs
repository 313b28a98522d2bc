//! The loop around the desk: requests and reports in, orders and states out, the journal in between.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use proto::Instant;
use serde_json::Value as Json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::command::{Command, CommandState, Failure, Key, ReplyTo};
use super::desk::{Asker, Desk, DeskRules, Draft, Effect, Roster};
use super::handle::{Asked, CommandsHandle, CommandsStatus};
use super::journal::{Journal, JournalError};
use super::order::{Order, OrderSender, Report, Reported};
use super::request::{Arrived, Request, Submitted};
use super::response::response;
use crate::broker::{HeardCommand, HeardReceipt};
use crate::causes::chain;
use crate::clock;
use crate::config::Id;
use crate::pipeline::{Inlet, Receipt};
use crate::store::Message;

/// Requests of brokers that wait; one broker may have 64 open at quality of service 1.
pub(crate) const HEARD: usize = 1024;
/// Reports of sources that wait.
const REPORTS: usize = 4096;
/// What is taken of each kind before the journal is written.
const TURN: usize = 256;
/// How long a change may wait that nothing depends on.
const LAZY: Duration = Duration::from_secs(1);
/// The pause after the journal could not be written.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);
/// How often what has ended long ago is forgotten.
const PURGE_INTERVAL: Duration = Duration::from_secs(3600);
/// How long what is being stored may take at the end.
const LAST_STORES: Duration = Duration::from_secs(2);

/// A state that is being stored.
type Storing = Pin<Box<dyn Future<Output = (Option<(Key, usize)>, bool)> + Send>>;

/// The task.
pub(crate) struct CommandTask {
    desk: Desk,
    rules: DeskRules,
    /// Away while it is written.
    journal: Option<Journal>,
    heard: mpsc::Receiver<HeardCommand>,
    asked: mpsc::Receiver<Asked>,
    reports: mpsc::Receiver<Reported>,
    reporter: mpsc::Sender<Reported>,
    sources: BTreeMap<Id, OrderSender>,
    withdrawals: HashMap<Key, CancellationToken>,
    storing: FuturesUnordered<Storing>,
    followers: HashMap<Key, Vec<mpsc::Sender<Json>>>,
    /// To be acknowledged when the changes are on disk.
    receipts: Vec<HeardReceipt>,
    answers: Vec<(oneshot::Sender<bool>, bool)>,
    /// When changes that are not urgent are written.
    lazy_at: Option<Instant>,
    purge_at: Instant,
    inlet: Inlet,
    roster: Box<dyn Fn() -> Roster + Send + Sync>,
    status: Arc<CommandsStatus>,
}

impl CommandTask {
    /// Prepares the task: what an earlier process has left is taken up.
    pub(crate) fn new(
        rules: DeskRules,
        journal: Journal,
        heard: mpsc::Receiver<HeardCommand>,
        sources: BTreeMap<Id, OrderSender>,
        inlet: Inlet,
        roster: Box<dyn Fn() -> Roster + Send + Sync>,
    ) -> Result<(Self, CommandsHandle), JournalError> {
        let (now, wall) = (clock::now(), clock::wall());
        let mut desk = Desk::new(rules.clone());
        let left = journal.open_commands()?;
        if !left.is_empty() {
            info!(commands = left.len(), "commands go on that an earlier process has left");
        }
        desk.restore(now, wall, left);
        let (reporter, reports) = mpsc::channel(REPORTS);
        let status = Arc::<CommandsStatus>::default();
        let (handle, asked) = CommandsHandle::new(&rules, &status);
        let task = Self {
            desk,
            rules,
            journal: Some(journal),
            heard,
            asked,
            reports,
            reporter,
            sources,
            withdrawals: HashMap::new(),
            storing: FuturesUnordered::new(),
            followers: HashMap::new(),
            receipts: Vec::new(),
            answers: Vec::new(),
            lazy_at: None,
            purge_at: now,
            inlet,
            roster,
            status,
        };
        Ok((task, handle))
    }

    /// Runs until `stop` is cancelled, which is to be when no source has an order any more.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let now = clock::now();
            self.desk.handle_timeout(now, clock::wall());
            self.settle(&stop).await;
            if stop.is_cancelled() {
                return self.finish().await;
            }
            let waits = [self.desk.deadline(), self.lazy_at, Some(self.purge_at)];
            let deadline = waits.into_iter().flatten().min().unwrap_or(Instant::FAR_FUTURE);
            tokio::select! {
                Some(heard) = self.heard.recv() => self.take_heard(heard).await,
                Some(asked) = self.asked.recv() => self.take_asked(asked).await,
                Some(report) = self.reports.recv() => self.take_reports(report),
                Some(stored) = self.storing.next(), if !self.storing.is_empty() => self.take_stored(stored),
                () = sleep_until(clock::deadline(deadline)) => self.handle_due().await,
                () = stop.cancelled() => {}
            }
        }
    }

    async fn handle_due(&mut self) {
        let now = clock::now();
        if now < self.purge_at {
            return;
        }
        self.purge_at = now + PURGE_INTERVAL;
        let (wall, keep) = (clock::wall(), self.rules.commands.keep.duration());
        let purged = self.with_journal(move |journal| journal.purge(wall, keep)).await;
        if let Some(Err(error)) = purged {
            warn!(error = chain(&error), "old outcomes of commands stay");
        }
    }

    async fn take_heard(&mut self, first: HeardCommand) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(HeardCommand { broker, arrived, heard }) = next {
            self.take_arrived(broker, arrived).await;
            self.receipts.push(heard);
            taken += 1;
            next = (taken < TURN).then(|| self.heard.try_recv().ok()).flatten();
        }
    }

    async fn take_arrived(&mut self, broker: Id, arrived: Arrived) {
        let parsed = self.rules.topics.parse(&arrived);
        let Arrived { topic, response_topic, correlation, .. } = arrived;
        let reply_to = response_topic
            .filter(|_| {
                parsed.as_ref().err().is_none_or(|failure| failure.code != "response_topic")
            })
            .map(|topic| ReplyTo { topic, correlation });
        let asker = Asker { broker: Some(broker), reply_to };
        match parsed {
            Err(failure) => {
                self.count_refusal(&failure, || topic.clone());
                self.desk.refuse(&asker, Some(&topic), None, &failure);
            }
            Ok(Request::Cancel { device, id }) => {
                self.cancel(&asker, &Key::new(&device, &id)).await
            }
            Ok(Request::Submit(request)) => {
                self.submit(asker, request).await;
            }
        }
    }

    async fn submit(&mut self, asker: Asker, mut request: Submitted) -> Key {
        if request.id.is_none() {
            request.id = Some(fresh_id());
        }
        let key = Key::new(&request.device, request.id.as_deref().unwrap_or_default());
        let known = self.find(&key).await;
        let (now, wall) = (clock::now(), clock::wall());
        let roster = &self.roster;
        self.desk.handle_submitted(now, wall, asker, &request, known, roster)
    }

    async fn cancel(&mut self, asker: &Asker, key: &Key) {
        let known = self.find(key).await;
        self.desk.handle_cancel(clock::now(), clock::wall(), asker, key, known.as_ref());
    }

    /// What the journal has of a command that the desk does not know.
    async fn find(&mut self, key: &Key) -> Option<Command> {
        if self.desk.knows(key) {
            return None;
        }
        let key = key.clone();
        match self.with_journal(move |journal| journal.find(&key)).await? {
            Ok(found) => found,
            Err(error) => {
                warn!(error = chain(&error), "cannot look whether a command was there before");
                None
            }
        }
    }

    async fn take_asked(&mut self, asked: Asked) {
        let asker = Asker { broker: None, reply_to: None };
        match asked {
            Asked::Submit { request, states } => {
                let wanted = (request.id.clone(), request.device.clone());
                let known = match &wanted.0 {
                    Some(id) => {
                        let key = Key::new(&wanted.1, id);
                        self.find(&key).await.or_else(|| self.desk.find(&key).cloned())
                    }
                    None => None,
                };
                let key = self.submit(asker, request).await;
                if let Some(step) =
                    known.as_ref().and_then(|known| Some((known, known.steps.last()?)))
                {
                    // A full queue is that of somebody who does not listen.
                    let _ = states.try_send(response(
                        self.rules.gateway.as_str(),
                        step.0,
                        step.1,
                        None,
                    ));
                    if step.1.state.is_final() {
                        return;
                    }
                }
                self.followers.entry(key).or_default().push(states);
            }
            Asked::Cancel { key, outcome } => {
                self.cancel(&asker, &key).await;
                let found = self.desk.find(&key).cloned();
                let found = match found {
                    Some(found) => Some(found),
                    None => self.find(&key).await,
                };
                let gateway = self.rules.gateway.as_str();
                let state = found.as_ref().and_then(|command| {
                    Some(response(gateway, command, command.steps.last()?, None))
                });
                // Who has asked may be gone.
                let _ = outcome.send(state);
            }
            Asked::List { device, most, commands } => {
                let newest = move |journal: &mut Journal| journal.newest(device.as_deref(), most);
                let listed = self.with_journal(newest).await;
                let listed =
                    listed.map_or(Ok(Vec::new()), |listed| listed.map_err(|why| chain(&why)));
                let _ = commands.send(listed);
            }
        }
    }

    fn take_reports(&mut self, first: Reported) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(Reported { key, attempt, report, answer }) = next {
            let (now, wall) = (clock::now(), clock::wall());
            let stands = self.desk.handle_report(now, wall, &key, attempt, report);
            self.answers.extend(answer.map(|answer| (answer, stands)));
            taken += 1;
            next = (taken < TURN).then(|| self.reports.try_recv().ok()).flatten();
        }
    }

    fn take_stored(&mut self, (of, is_stored): (Option<(Key, usize)>, bool)) {
        if let Some((key, step)) = of {
            self.desk.handle_published(clock::now(), &key, step, is_stored);
        }
    }

    /// Puts what has changed on disk, and then does what follows from it.
    async fn settle(&mut self, stop: &CancellationToken) {
        loop {
            let now = clock::now();
            let is_due = self.desk.is_urgent() || self.lazy_at.is_some_and(|at| at <= now);
            if self.desk.has_changes() && is_due {
                let changes = self.desk.take_changes();
                self.lazy_at = None;
                if !self.commit(changes, stop).await {
                    return;
                }
            } else if self.desk.has_changes() {
                self.lazy_at = self.lazy_at.or(Some(now + LAZY));
            }
            for receipt in self.receipts.drain(..) {
                receipt.acknowledge();
            }
            for (answer, stands) in self.answers.drain(..) {
                // Who has asked may be gone.
                let _ = answer.send(stands);
            }
            while let Some(effect) = self.desk.poll_effect() {
                self.act(effect);
            }
            self.status.open.store(self.desk.open(), Ordering::Relaxed);
            if !self.desk.is_urgent() {
                return;
            }
        }
    }

    /// Until it is on disk, nothing follows: false if the gateway stops before.
    async fn commit(&mut self, changes: Vec<Command>, stop: &CancellationToken) -> bool {
        let changes = Arc::new(changes);
        loop {
            let of_journal = Arc::clone(&changes);
            match self.with_journal(move |journal| journal.commit(&of_journal)).await {
                Some(Ok(())) => return true,
                Some(Err(error)) => {
                    self.status.refused.count("journal", || chain(&error));
                    warn!(error = chain(&error), retry_in = ?JOURNAL_RETRY, "commands wait for the disk");
                }
                None => return false,
            }
            tokio::select! {
                () = sleep(JOURNAL_RETRY) => {}
                () = stop.cancelled() => return false,
            }
        }
    }

    /// Does something with the journal, on a thread that may wait for the disk.
    async fn with_journal<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut Journal) -> T + Send + 'static,
    ) -> Option<T> {
        let mut journal = self.journal.take()?;
        let acted = spawn_blocking(move || {
            let outcome = act(&mut journal);
            (journal, outcome)
        });
        let (journal, outcome) = acted.await.ok()?;
        self.journal = Some(journal);
        Some(outcome)
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Order(draft) => self.order(draft),
            Effect::Withdraw(key) => {
                if let Some(withdrawn) = self.withdrawals.remove(&key) {
                    withdrawn.cancel();
                }
            }
            Effect::Publish { key, step, messages } => self.store(Some((key, step)), messages),
            Effect::Tell(messages) => self.store(None, messages),
            Effect::Reached(key, step) => self.reached(&key, &step),
        }
    }

    fn order(&mut self, draft: Draft) {
        let Draft { key, attempt, name, operation, value, deadline, mark } = draft;
        let withdrawn = CancellationToken::new();
        self.withdrawals.insert(key.clone(), withdrawn.clone());
        let source = operation.source.clone();
        let what = (name, operation, value);
        let order =
            Order::new(key.clone(), attempt, what, deadline, self.reporter.clone(), withdrawn)
                .marked(mark);
        let Some(source) = self.sources.get(&source) else { return };
        let busy = match source.try_send(order) {
            Ok(()) => return,
            Err(TrySendError::Full(order) | TrySendError::Closed(order)) => order,
        };
        self.desk.handle_report(clock::now(), clock::wall(), &key, attempt, Report::Busy);
        // It says something else, which does not count any more.
        drop(busy);
    }

    fn store(&mut self, of: Option<(Key, usize)>, messages: Vec<Message>) {
        let receipts: Result<Vec<Receipt>, _> = messages
            .into_iter()
            .map(|message| self.inlet.try_submit_message(message, None))
            .collect();
        self.storing.push(Box::pin(async move {
            let Ok(receipts) = receipts else { return (of, false) };
            let mut is_stored = true;
            for receipt in receipts {
                is_stored &= matches!(receipt.await, Ok(Ok(())));
            }
            (of, is_stored)
        }));
    }

    /// The audit log: each state of each command, and who waits for it.
    fn reached(&mut self, key: &Key, step: &super::command::Step) {
        let Some(command) = self.desk.find(key) else { return };
        let broker = command.broker.as_ref().map_or("-", Id::as_str);
        let value = command.value.as_ref().map(super::response::value_json);
        let value = value.map_or_else(|| "-".to_owned(), |value| shortened(value.to_string()));
        let why = step.error.as_ref().map(ToString::to_string);
        info!(
            device = &*key.device, id = &*key.id, operation = %command.operation, state = step.state.name(),
            from = broker, value, why, "command"
        );
        let counted = match step.state {
            CommandState::Accepted => Some(&self.status.accepted),
            CommandState::Done => Some(&self.status.done),
            CommandState::Failed => Some(&self.status.failed),
            CommandState::Expired => Some(&self.status.expired),
            CommandState::Queued | CommandState::Delivered => None,
        };
        if let Some(count) = counted {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if step.state.is_final() {
            self.withdrawals.remove(key);
        }
        if let Some(followers) = self.followers.get_mut(key) {
            let state =
                response(self.rules.gateway.as_str(), command, step, self.desk.members(key));
            followers.retain(|follower| follower.try_send(state.clone()).is_ok());
            if followers.is_empty() || step.state.is_final() {
                self.followers.remove(key);
            }
        }
    }

    fn count_refusal(&self, failure: &Failure, example: impl FnOnce() -> String) {
        self.status.refused.count("not_a_request", || format!("{}: {failure}", example()));
        warn!(%failure, "not a request");
    }

    /// Takes the last reports, and waits until what is being stored is.
    async fn finish(mut self) {
        if let Ok(report) = self.reports.try_recv() {
            self.take_reports(report);
        }
        let never = CancellationToken::new();
        let last = timeout(LAST_STORES, async {
            self.settle(&never).await;
            while let Some(stored) = self.storing.next().await {
                self.take_stored(stored);
                self.settle(&never).await;
            }
            let changes = self.desk.take_changes();
            self.commit(changes, &never).await;
        });
        if last.await.is_err() {
            warn!(
                "states of commands that are not published yet are published after the next start"
            );
        }
    }
}

/// Most characters of a value in the log.
fn shortened(text: String) -> String {
    const MAX_SHOWN: usize = 100;
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// An identifier that no other command has.
fn fresh_id() -> String {
    // Without random numbers the gateway would not have started.
    let random = getrandom::u64().unwrap_or_else(|_| clock::now().as_micros());
    format!("g{random:016x}")
}
