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
//! | [`MAX_MEMBERS`] devices of a group | `too_many` |

mod lane;
mod restore;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use proto::{Instant, Timestamp, Value};
use serde_json::json;

use self::lane::{Lane, Next};
use super::command::{Command, CommandState, Failure, Key, ReplyTo, Step};
use super::order::Report;
use super::request::{CommandTopics, Given, Submitted};
use super::response::{Members, refusal, response};
use crate::config::{Commands, Config, Group, Id, Operation};
use crate::pipeline::Pattern;
use crate::store::Message;

/// Most commands in memory.
pub(crate) const MAX_ACTIVE: usize = 20_000;
/// Most devices of a command.
const MAX_MEMBERS: usize = 10_000;
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

    /// Commands that are not over, or not published.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Command> {
        self.active.values().map(|active| &active.command)
    }

    /// Somebody asks for something. `known` is what the journal has of it, if the desk does not
    /// [know](Self::knows) it; `roster` gives the devices that are known.
    pub(crate) fn handle_submitted(
        &mut self,
        now: Instant,
        wall: Timestamp,
        asker: Asker,
        request: &Submitted,
        known: Option<Command>,
        roster: impl FnOnce() -> Roster,
    ) -> Key {
        let id = request.id.as_deref().unwrap_or_default();
        let key = Key::new(&request.device, id);
        let (command, checked) = self.check(wall, &key, &asker, request);
        let active = self.active.get(&key).map(|active| &active.command);
        if let Some(known) = active.or(known.as_ref()) {
            match known.is_same(&command) || checked.is_err() {
                true => {
                    let messages =
                        self.messages(known, known.steps.len().saturating_sub(1), Some(&asker));
                    self.effects.push_back(Effect::Tell(messages));
                }
                false => {
                    let detail = format!(
                        "`{id}` is the id of another command for {}: give each its own",
                        request.device
                    );
                    self.refuse(&asker, None, Some(&key), &Failure::new("id_in_use", detail));
                }
            }
            return key;
        }
        let within = match checked {
            Ok(within) => within,
            Err(failure) => {
                self.reject(now, wall, command, failure);
                return key;
            }
        };
        match self.devices(&command, roster) {
            Ok(None) => self.accept(now, wall, command, within),
            Ok(Some(devices)) => self.accept_group(now, wall, command, within, devices),
            Err(failure) => self.reject(now, wall, command, failure),
        }
        key
    }

    /// Tells that a request is none, or comes to nothing.
    pub(crate) fn refuse(
        &mut self,
        asker: &Asker,
        topic: Option<&str>,
        key: Option<&Key>,
        failure: &Failure,
    ) {
        let payload = refusal(self.rules.gateway.as_str(), topic, key, failure);
        let payload = payload.to_string();
        let own = (self.rules.topics.refused(), None);
        let reply = asker.reply_to.clone().map(|reply| (reply.topic, reply.correlation));
        let (topic, correlation) = reply.unwrap_or(own);
        let brokers = self.brokers(asker.broker.as_ref());
        let all = brokers
            .into_iter()
            .map(|broker| message(&broker, &topic, &payload, correlation.as_deref()));
        self.effects.push_back(Effect::Tell(all.collect()));
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

    /// A state is stored to be published, or could not be.
    pub(crate) fn handle_published(
        &mut self,
        now: Instant,
        key: &Key,
        step: usize,
        is_stored: bool,
    ) {
        let Some(active) = self.active.get_mut(key) else { return };
        active.is_publishing = false;
        if is_stored {
            active.command.published = active.command.published.max(step + 1);
            self.change(key, false);
        } else {
            active.publish_at = Some(now + BUSY_RETRY);
            self.arm(key);
        }
        self.publish(now, key);
        let is_over = |active: &Active| {
            active.command.state().is_final()
                && active.command.published >= active.command.steps.len()
        };
        if self.active.get(key).is_some_and(is_over)
            && let Some(active) = self.active.remove(key)
        {
            self.changed.remove(key);
            self.timers.remove(&(active.timer.unwrap_or(Instant::ZERO), key.clone()));
            self.gone.push(active.command);
        }
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

    /// The command that a request makes, and how long it may take, if it may be at all.
    fn check(
        &self,
        wall: Timestamp,
        key: &Key,
        asker: &Asker,
        request: &Submitted,
    ) -> (Command, Result<Duration, Failure>) {
        let mut command = Command {
            key: key.clone(),
            // A name that is none of an operation is refused, and not shown as one.
            operation: request.operation.parse().unwrap_or_default(),
            value: None,
            broker: asker.broker.clone(),
            reply_to: asker.reply_to.clone(),
            priority: request.priority,
            deadline: wall,
            attempts: 0,
            is_begun: false,
            group: None,
            members: Vec::new(),
            steps: Vec::new(),
            published: 0,
        };
        let within = self.allow(asker, request).and_then(|(operation, within)| {
            let value = match &request.value {
                Given::Plain(bytes) => operation.value.parse_plain(bytes),
                Given::Json(json) => operation.value.parse_json(json.as_ref()),
            };
            command.value = value.map_err(|why| Failure::new("value", why))?;
            Ok(within)
        });
        if let Ok(within) = within {
            let nanos = i64::try_from(within.as_nanos()).unwrap_or(i64::MAX);
            command.deadline = wall.checked_add_nanos(nanos).unwrap_or(wall);
        }
        (command, within)
    }

    fn allow(&self, asker: &Asker, request: &Submitted) -> Result<(&Operation, Duration), Failure> {
        let Submitted { device, operation: name, is_set, .. } = request;
        let operation = self.rules.operations.iter().find(|(id, _)| id.as_str() == name);
        let Some((_, operation)) = operation else {
            let names: Vec<&str> = self.rules.operations.keys().map(Id::as_str).collect();
            let detail = format!("there is no operation `{name}`; there is {}", names.join(", "));
            return Err(Failure::new("unknown_operation", detail));
        };
        if asker.broker.as_ref().is_some_and(|broker| !operation.is_open_to(broker)) {
            return Err(Failure::new(
                "not_allowed",
                format!("this broker may not ask for `{name}`"),
            ));
        }
        if *is_set && !operation.writable {
            return Err(Failure::new("not_writable", format!("`{name}` is not `writable`")));
        }
        if !self.is_group(device) && !operation.is_for(device) {
            return Err(Failure::new(
                "not_allowed",
                format!("`{name}` is not for the device `{device}`"),
            ));
        }
        let commands = &self.rules.commands;
        let usual = operation.deadline.unwrap_or(commands.deadline).duration();
        let within = request.within.unwrap_or(usual);
        if within > commands.max_deadline.duration() {
            let detail = format!("the longest deadline is {}", commands.max_deadline);
            return Err(Failure::new("deadline_too_long", detail));
        }
        Ok((operation, within))
    }

    fn is_group(&self, device: &str) -> bool {
        device.contains(['*', '?']) || self.rules.groups.keys().any(|id| id.as_str() == device)
    }

    /// The devices of a command to a group, `None` for one to a device.
    fn devices(
        &self,
        command: &Command,
        roster: impl FnOnce() -> Roster,
    ) -> Result<Option<Vec<Arc<str>>>, Failure> {
        if self.active.len() >= MAX_ACTIVE {
            return Err(Failure::new("too_many", format!("{MAX_ACTIVE} commands are under way")));
        }
        let device = &*command.key.device;
        if !self.is_group(device) {
            let waiting = self.lanes.get(device).map_or(0, Lane::waiting);
            let most = usize::from(self.rules.commands.queue);
            let detail = || format!("{most} commands wait for it, see `commands.queue`");
            return if waiting < most {
                Ok(None)
            } else {
                Err(Failure::new("queue_full", detail()))
            };
        }
        let Some(operation) = self.rules.operations.get(&command.operation) else {
            return Ok(None);
        };
        let roster = roster();
        let known = roster.devices.get(&operation.source).into_iter().flatten();
        // Those that the operation names are known before they were heard of.
        let named: Vec<String> = operation.named_devices().collect();
        let all: BTreeSet<&str> = known.chain(&named).map(String::as_str).collect();
        let group =
            self.rules.groups.iter().find(|(id, _)| id.as_str() == device).map(|(_, group)| group);
        let pattern: Option<Pattern> = group.is_none().then(|| device.parse().ok()).flatten();
        let is_in = |name: &str| match group {
            Some(group) => group.has(name, roster.attributes.get(name)),
            None => pattern.as_ref().is_some_and(|pattern| pattern.matches(name)),
        };
        let members: Vec<Arc<str>> = all
            .into_iter()
            .filter(|name| operation.is_for(name) && is_in(name))
            .map(Arc::from)
            .collect();
        match members.len() {
            0 => Err(Failure::new(
                "no_device",
                "no device that is known is in the group and may do it",
            )),
            n if n > MAX_MEMBERS || self.active.len() + n >= MAX_ACTIVE => {
                Err(Failure::new("too_many", format!("{n} devices are too many at a time")))
            }
            _ => Ok(Some(members)),
        }
    }

    /// A command that comes to nothing.
    fn reject(&mut self, now: Instant, wall: Timestamp, command: Command, failure: Failure) {
        let key = command.key.clone();
        if self.active.len() >= MAX_ACTIVE {
            let asker = Asker { broker: command.broker, reply_to: command.reply_to };
            return self.refuse(&asker, None, Some(&key), &failure);
        }
        self.insert(now, command, now);
        let step = Step { error: Some(failure), ..Step::of(CommandState::Failed, wall) };
        self.end(now, &key, step);
    }

    fn accept(&mut self, now: Instant, wall: Timestamp, command: Command, within: Duration) {
        let (key, priority) = (command.key.clone(), command.priority);
        let number = self.insert(now, command, now + within);
        self.step(&key, Step::of(CommandState::Accepted, wall));
        self.lane(&key).add(priority, number, key.clone());
        self.pump(now, &key.device);
        if self.active.get(&key).is_some_and(|active| active.ordered.is_none()) {
            self.step(
                &key,
                Step::of(CommandState::Queued, wall).because("behind", "others go before it"),
            );
        }
    }

    fn accept_group(
        &mut self,
        now: Instant,
        wall: Timestamp,
        command: Command,
        within: Duration,
        devices: Vec<Arc<str>>,
    ) {
        let key = command.key.clone();
        let group = Some(Arc::clone(&key.device));
        let parent = Command { members: devices.clone(), ..command.clone() };
        self.insert(now, parent, now + within);
        self.step(&key, Step::of(CommandState::Accepted, wall));
        for device in devices {
            let member = Key { device: Arc::clone(&device), id: Arc::clone(&key.id) };
            let command = Command {
                key: member.clone(),
                reply_to: None,
                group: group.clone(),
                ..command.clone()
            };
            let waiting = self.lanes.get(&device).map_or(0, Lane::waiting);
            if self.active.contains_key(&member) {
                // Another command for this device has the same id: that one stays what it is.
                self.member_ended(now, &key, &device, CommandState::Failed, wall);
            } else if waiting >= usize::from(self.rules.commands.queue) {
                self.reject(
                    now,
                    wall,
                    command,
                    Failure::new("queue_full", "too many commands wait for it"),
                );
            } else {
                self.accept(now, wall, command, within);
            }
        }
    }

    /// Takes a command in; its place in the order of acceptance.
    fn insert(&mut self, now: Instant, command: Command, deadline: Instant) -> u64 {
        self.accepted += 1;
        let key = command.key.clone();
        let active = Active {
            command,
            number: self.accepted,
            deadline: deadline.max(now),
            ordered: None,
            retry_at: None,
            is_publishing: false,
            publish_at: None,
            members: Members::default(),
            timer: None,
        };
        self.active.insert(key.clone(), active);
        self.change(&key, true);
        self.arm(&key);
        self.accepted
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

    /// Publishes the next state that is not published, one at a time.
    fn publish(&mut self, now: Instant, key: &Key) {
        if self.active.get(key).is_some_and(|active| active.publish_at.is_none_or(|at| at <= now)) {
            self.publish_now(key);
        }
    }

    fn publish_now(&mut self, key: &Key) {
        let Some(active) = self.active.get_mut(key) else { return };
        let step = active.command.published;
        if active.is_publishing || active.publish_at.is_some() || step >= active.command.steps.len()
        {
            return;
        }
        active.is_publishing = true;
        let Some(active) = self.active.get(key) else { return };
        let messages = self.messages(&active.command, step, None);
        self.effects.push_back(Effect::Publish { key: key.clone(), step, messages });
    }

    /// What is published of a state: to who has asked, and to who asks again.
    fn messages(&self, command: &Command, step: usize, again: Option<&Asker>) -> Vec<Message> {
        let Some(step) = command.steps.get(step) else { return Vec::new() };
        let members = self.members(&command.key);
        let payload = response(self.rules.gateway.as_str(), command, step, members).to_string();
        let topic = self.rules.topics.response(&command.key.device, &command.key.id);
        let broker = again.map_or(command.broker.as_ref(), |asker| asker.broker.as_ref());
        let reply_to = again.map_or(command.reply_to.as_ref(), |asker| asker.reply_to.as_ref());
        let mut messages = Vec::new();
        for broker in self.brokers(broker) {
            messages.push(message(&broker, &topic, &payload, None));
            if let Some(ReplyTo { topic, correlation }) = reply_to {
                messages.push(message(&broker, topic, &payload, correlation.as_deref()));
            }
        }
        messages
    }

    fn tell_progress(&mut self, wall: Timestamp, key: &Key, progress: serde_json::Value) {
        let Some(active) = self.active.get(key) else { return };
        let command = &active.command;
        let state = Step::of(command.state(), wall);
        let mut payload = response(self.rules.gateway.as_str(), command, &state, None);
        if let Some(object) = payload.as_object_mut() {
            object.insert("progress".to_owned(), json!(progress));
        }
        let payload = payload.to_string();
        let topic = self.rules.topics.response(&key.device, &key.id);
        let brokers = self.brokers(command.broker.as_ref());
        let all = brokers.into_iter().map(|broker| message(&broker, &topic, &payload, None));
        let all = all.collect();
        self.effects.push_back(Effect::Tell(all));
    }

    /// The brokers that are told: the one that has asked, or all where it was somebody on this machine.
    fn brokers(&self, asker: Option<&Id>) -> Vec<Id> {
        asker.map_or_else(|| self.rules.commands.from.clone(), |broker| vec![broker.clone()])
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

impl Group {
    /// Whether a device is in it, with these attributes of its registration.
    fn has(&self, device: &str, attributes: Option<&BTreeMap<String, String>>) -> bool {
        let is_named =
            self.devices.is_empty() || self.devices.iter().any(|pattern| pattern.matches(device));
        let has = |name: &String, pattern: &Pattern| {
            attributes.and_then(|all| all.get(name)).is_some_and(|value| pattern.matches(value))
        };
        is_named && self.registered.iter().all(|(name, pattern)| has(name, pattern))
    }
}

fn message(broker: &Id, topic: &str, payload: &str, correlation: Option<&[u8]>) -> Message {
    Message {
        broker: broker.as_str().into(),
        topic: topic.to_owned(),
        payload: payload.to_owned().into(),
        retain: false,
        content_type: Some("application/json".to_owned()),
        correlation: correlation.map(bytes::Bytes::copy_from_slice),
    }
}
