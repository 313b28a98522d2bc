//! What becomes of commands: may it, when, how often.
//!
//! Time is an argument and there is no broker, disk or device in it. Inputs are
//! [`handle_submitted`](Desk::handle_submitted), [`handle_cancel`](Desk::handle_cancel),
//! [`handle_report`](Desk::handle_report), [`handle_published`](Desk::handle_published) and
//! [`handle_timeout`](Desk::handle_timeout). After a turn of them the caller takes the
//! [changes](Desk::take_changes), puts them on disk, and only then does what
//! [`poll_effect`](Desk::poll_effect) gives.
//!
//! # Limits
//! | Limit | Met |
//! |---|---|
//! | [`MAX_ACTIVE`] commands that are not over, or not published | `too_many` |
//! | `commands.queue` that wait for a device | `queue_full` |
//! | `MAX_MEMBERS` devices of a group | `too_many` |

mod entry;
mod lane;
mod publish;
mod restore;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::{Instant, Timestamp, Value};

use self::lane::{Lane, Next};
use super::command::{Command, CommandState, Failure, Key, ReplyTo, Step};
use super::order::Report;
use super::request::CommandTopics;
use super::response::Members;
use crate::config::{Commands, Config, Group, Id, Operation};
use crate::store::Message;

/// Most commands in memory.
pub(crate) const MAX_ACTIVE: usize = 20_000;
/// The first pause before a device that was not reached is tried again; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// The pause before a source that could not take an order is asked again, and before a state that could not
/// be stored is published again.
const BUSY_RETRY: Duration = Duration::from_millis(500);

/// What the operator allows.
#[derive(Clone, Debug)]
pub(crate) struct DeskRules {
    pub(crate) gateway: Id,
    pub(crate) topics: CommandTopics,
    pub(crate) commands: Commands,
    pub(crate) operations: BTreeMap<Id, Arc<Operation>>,
    pub(crate) groups: BTreeMap<Id, Group>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// `None` for somebody on this machine.
    pub(crate) broker: Option<Id>,
    pub(crate) reply_to: Option<ReplyTo>,
}

/// The devices that are known, for commands to groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    /// By source.
    pub(crate) devices: BTreeMap<Id, BTreeSet<String>>,
    /// Attributes of registered devices.
    pub(crate) attributes: BTreeMap<String, BTreeMap<String, String>>,
}

/// What is to be done, once the changes are on disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Hand it to its source.
    Order(Draft),
    /// The order does not stand any more.
    Withdraw(Key),
    /// Publish a state, and tell [`Desk::handle_published`] what became of it.
    Publish { key: Key, step: usize, messages: Vec<Message> },
    /// Publish something that is not missed if it is lost.
    Tell(Vec<Message>),
    /// It came to this state; for logs, and for whoever waits.
    Reached(Key, Step),
}

/// What an order is made of.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) key: Key,
    pub(crate) attempt: u32,
    pub(crate) name: Id,
    pub(crate) operation: Arc<Operation>,
    pub(crate) value: Option<Value>,
    pub(crate) deadline: Instant,
    /// What it was begun as before.
    pub(crate) mark: Option<String>,
}

impl PartialEq for Draft {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.attempt == other.attempt
    }
}

/// All commands that are not over.
pub(crate) struct Desk {
    rules: DeskRules,
    active: BTreeMap<Key, Active>,
    lanes: HashMap<Arc<str>, Lane>,
    timers: BTreeSet<(Instant, Key)>,
    changed: BTreeSet<Key>,
    /// Changed and gone from memory.
    gone: Vec<Command>,
    /// Whether a change must be on disk before anything else happens.
    is_urgent: bool,
    effects: VecDeque<Effect>,
    accepted: u64,
}

struct Active {
    command: Command,
    /// The place in the order of acceptance.
    number: u64,
    deadline: Instant,
    /// The attempt that is at the source.
    ordered: Option<u32>,
    /// Not to be tried before.
    retry_at: Option<Instant>,
    /// A state is being published.
    is_publishing: bool,
    /// Not to be published before.
    publish_at: Option<Instant>,
    /// How the commands of a group are.
    members: Members,
    timer: Option<Instant>,
}

impl DeskRules {
    /// Those of a configuration, where commands are taken.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let gateway = &config.gateway;
        let operations = config.operations.iter();
        Some(Self {
            gateway: gateway.id.clone(),
            topics: CommandTopics::new(&gateway.topic_prefix, &gateway.id),
            commands: config.commands.clone()?,
            operations: operations.map(|(id, it)| (id.clone(), Arc::new(it.clone()))).collect(),
            groups: config.groups.clone(),
        })
    }
}

impl Desk {
    /// An empty one.
    pub(crate) fn new(rules: DeskRules) -> Self {
        Self {
            rules,
            active: BTreeMap::new(),
            lanes: HashMap::new(),
            timers: BTreeSet::new(),
            changed: BTreeSet::new(),
            gone: Vec::new(),
            is_urgent: false,
            effects: VecDeque::new(),
            accepted: 0,
        }
    }

    /// Whether a command is in memory.
    pub(crate) fn knows(&self, key: &Key) -> bool {
        self.active.contains_key(key)
    }

    /// A command in memory.
    pub(crate) fn find(&self, key: &Key) -> Option<&Command> {
        self.active.get(key).map(|active| &active.command)
    }

    /// How the commands of a group are.
    pub(crate) fn members(&self, key: &Key) -> Option<&Members> {
        let active = self.active.get(key).filter(|active| !active.command.members.is_empty());
        active.map(|active| &active.members)
    }

    /// How many commands are not over, or not published.
    pub(crate) fn open(&self) -> usize {
        self.active.len()
    }

    /// Somebody wants a command not to be carried out.
    pub(crate) fn handle_cancel(
        &mut self,
        now: Instant,
        wall: Timestamp,
        asker: &Asker,
        key: &Key,
        known: Option<&Command>,
    ) {
        let refused = match self.active.get(key).map(|active| &active.command).or(known) {
            None => Some(Failure::new("unknown", "there is no such command")),
            Some(command)
                if command.broker.is_some()
                    && command.broker != asker.broker
                    && asker.broker.is_some() =>
            {
                Some(Failure::new("not_allowed", "another broker has asked for it"))
            }
            Some(command) if command.state().is_final() => {
                let detail = format!("it is {} already", command.state().name());
                Some(Failure::new("too_late", detail))
            }
            Some(command) if command.is_begun => {
                Some(Failure::new("too_late", "it has been sent already"))
            }
            Some(_) => None,
        };
        if let Some(failure) = refused {
            self.refuse(asker, None, Some(key), &failure);
            return;
        }
        let members = self.active.get(key).map(|active| active.command.members.clone());
        let members = members.unwrap_or_default();
        let each = members
            .iter()
            .map(|device| Key { device: Arc::clone(device), id: Arc::clone(&key.id) });
        let each: Vec<Key> = if members.is_empty() { vec![key.clone()] } else { each.collect() };
        for key in each {
            if self.active.get(&key).is_some_and(|active| !active.command.is_begun) {
                let step = Step::of(CommandState::Failed, wall);
                self.end(
                    now,
                    &key,
                    step.because("cancelled", "it was cancelled before it was sent"),
                );
            }
        }
    }

    /// A source reports. False if the order does not stand any more.
    pub(crate) fn handle_report(
        &mut self,
        now: Instant,
        wall: Timestamp,
        key: &Key,
        attempt: u32,
        report: Report,
    ) -> bool {
        let Some(active) =
            self.active.get_mut(key).filter(|active| active.ordered == Some(attempt))
        else {
            return false;
        };
        match report {
            Report::Waiting(failure) => {
                self.step(
                    key,
                    Step { error: Some(failure), ..Step::of(CommandState::Queued, wall) },
                );
            }
            Report::Begin => {
                active.command.is_begun = true;
                self.change(key, true);
            }
            Report::BeginAs(mark) => {
                active.command.is_begun = true;
                active.command.mark = Some(mark);
                self.change(key, true);
            }
            Report::Delivered => self.step(key, Step::of(CommandState::Delivered, wall)),
            Report::Progress(progress) => self.tell_progress(wall, key, progress),
            Report::Done(result) => {
                self.end(now, key, Step { result, ..Step::of(CommandState::Done, wall) });
            }
            Report::Failed(failure) => {
                let step = Step { error: Some(failure), ..Step::of(CommandState::Failed, wall) };
                self.end(now, key, step);
            }
            Report::Unreachable(failure) => self.handle_unreachable(now, wall, key, failure),
            Report::Later(failure, pause) => {
                active.command.is_begun = false;
                let queued = Step::of(CommandState::Queued, wall);
                self.step(key, Step { error: Some(failure), ..queued });
                self.back(now, key, now + pause.max(FIRST_RETRY));
            }
            Report::Busy => {
                active.command.attempts = active.command.attempts.saturating_sub(1);
                self.back(now, key, now + BUSY_RETRY);
            }
        }
        true
    }

    fn handle_unreachable(&mut self, now: Instant, wall: Timestamp, key: &Key, failure: Failure) {
        let Some(active) = self.active.get_mut(key) else { return };
        let operation = self.rules.operations.get(&active.command.operation);
        let is_repeatable = operation.is_some_and(|operation| operation.is_repeatable());
        if active.command.is_begun && !is_repeatable {
            let step = Step::of(CommandState::Failed, wall);
            let detail = format!("it was sent, and nobody knows whether it was done: {failure}");
            return self.end(now, key, step.because("unknown_outcome", detail));
        }
        active.command.is_begun = false;
        let doublings = active.command.attempts.saturating_sub(1).min(16);
        let pause = FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY);
        self.step(key, Step { error: Some(failure), ..Step::of(CommandState::Queued, wall) });
        self.back(now, key, now + pause);
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, wall: Timestamp) {
        while let Some((at, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.remove(&(at, key.clone()));
            let Some(active) = self.active.get_mut(&key) else { continue };
            active.timer = None;
            let is_over = active.command.state().is_final();
            if !is_over && active.deadline <= now && active.command.members.is_empty() {
                let detail = match (active.command.is_begun, active.command.attempts) {
                    (true, _) => "it was sent, and nothing says whether it was done",
                    (false, 0) => "it was not sent: others went before it",
                    (false, _) => "the device was not reached",
                };
                let step = Step::of(CommandState::Expired, wall).because("deadline", detail);
                self.end(now, &key, step);
                continue;
            }
            if active.publish_at.is_some_and(|at| at <= now) {
                active.publish_at = None;
                self.publish(now, &key);
            }
            self.pump(now, &key.device);
            self.arm(&key);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether a change must be on disk before anything else happens.
    pub(crate) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// Whether there are changes.
    pub(crate) fn has_changes(&self) -> bool {
        !self.changed.is_empty() || !self.gone.is_empty()
    }

    /// What is to be put on disk.
    pub(crate) fn take_changes(&mut self) -> Vec<Command> {
        self.is_urgent = false;
        let mut changes = std::mem::take(&mut self.gone);
        for key in std::mem::take(&mut self.changed) {
            changes.extend(self.active.get(&key).map(|active| active.command.clone()));
        }
        changes
    }

    /// What is to be done next, once the changes are on disk.
    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn lane(&mut self, key: &Key) -> &mut Lane {
        self.lanes.entry(Arc::clone(&key.device)).or_default()
    }

    /// Sends the next command of a device to its source, if one may go.
    fn pump(&mut self, now: Instant, device: &Arc<str>) {
        let Some(lane) = self.lanes.get_mut(device) else { return };
        let ready = |key: &Key| self.active.get(key).and_then(|active| active.retry_at);
        match lane.next(now, ready) {
            Next::Nothing => {
                if lane.is_idle(now) {
                    self.lanes.remove(device);
                }
            }
            Next::Later(key, at) => {
                if let Some(active) = self.active.get_mut(&key) {
                    active.retry_at = Some(at);
                }
                self.arm(&key);
            }
            Next::Go(key) => {
                let Some(active) = self.active.get_mut(&key) else { return };
                let Some(operation) = self.rules.operations.get(&active.command.operation) else {
                    return;
                };
                lane.order(active.command.priority, active.number, &key);
                active.command.attempts += 1;
                active.ordered = Some(active.command.attempts);
                active.retry_at = None;
                let draft = Draft {
                    key: key.clone(),
                    attempt: active.command.attempts,
                    name: active.command.operation.clone(),
                    operation: Arc::clone(operation),
                    value: active.command.value.clone(),
                    deadline: active.deadline,
                    mark: active.command.mark.clone(),
                };
                self.effects.push_back(Effect::Order(draft));
                self.arm(&key);
            }
        }
    }

    /// An order has come back: it waits to be tried again.
    fn back(&mut self, now: Instant, key: &Key, at: Instant) {
        let Some(active) = self.active.get_mut(key) else { return };
        active.ordered = None;
        active.retry_at = Some(at);
        let (priority, number) = (active.command.priority, active.number);
        let lane = self.lane(key);
        lane.free(key, now);
        lane.add(priority, number, key.clone());
        self.change(key, false);
        self.pump(now, &key.device);
        self.arm(key);
    }

    /// A command comes to its last state.
    fn end(&mut self, now: Instant, key: &Key, step: Step) {
        let Some(active) = self.active.get_mut(key) else { return };
        let (state, time) = (step.state, step.time);
        let was_ordered = active.ordered.take().is_some();
        let (priority, number) = (active.command.priority, active.number);
        active.command.is_begun = false;
        let pause = self.rules.operations.get(&active.command.operation);
        let pause = pause.map_or(Duration::ZERO, |operation| operation.min_interval.duration());
        let group = active.command.group.clone();
        self.step(key, step);
        if let Some(lane) = self.lanes.get_mut(&key.device) {
            lane.remove(priority, number, key);
            lane.free(key, now + pause);
        }
        if was_ordered && state != CommandState::Done {
            self.effects.push_back(Effect::Withdraw(key.clone()));
        }
        self.pump(now, &key.device);
        self.arm(key);
        if let Some(group) = group {
            let parent = Key { device: group, id: Arc::clone(&key.id) };
            self.member_ended(now, &parent, &key.device, state, time);
        }
    }

    fn member_ended(
        &mut self,
        now: Instant,
        parent: &Key,
        device: &Arc<str>,
        state: CommandState,
        time: Timestamp,
    ) {
        let Some(active) = self.active.get_mut(parent) else { return };
        active.members.set(device, state);
        if active.members.all_ended(active.command.members.len()) {
            let (state, error) = active.members.outcome();
            self.end(now, parent, Step { error, ..Step::of(state, time) });
        }
    }

    /// A command comes to a state, which is published.
    fn step(&mut self, key: &Key, step: Step) {
        let Some(active) = self.active.get_mut(key) else { return };
        if active.command.step(step.clone()) {
            self.effects.push_back(Effect::Reached(key.clone(), step));
            self.change(key, true);
            self.publish_now(key);
        }
    }

    fn change(&mut self, key: &Key, is_urgent: bool) {
        self.changed.insert(key.clone());
        self.is_urgent |= is_urgent;
    }

    /// Sets the timer of a command to what is due next.
    fn arm(&mut self, key: &Key) {
        let Some(active) = self.active.get_mut(key) else { return };
        let is_over = active.command.state().is_final();
        let waits = !is_over && active.command.members.is_empty();
        let deadline = waits.then_some(active.deadline);
        let retry = active.retry_at.filter(|_| waits && active.ordered.is_none());
        let next = [deadline, retry, active.publish_at].into_iter().flatten().min();
        if let Some(old) = active.timer.take() {
            self.timers.remove(&(old, key.clone()));
        }
        if let Some(next) = next {
            active.timer = Some(next);
            self.timers.insert((next, key.clone()));
        }
    }
}
