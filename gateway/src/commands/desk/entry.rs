//! How a request becomes a command, or does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proto::{Instant, Timestamp};

use super::super::command::{Command, CommandState, Failure, Key, Step};
use super::super::request::{Given, Submitted};
use super::super::response::Members;
use super::lane::Lane;
use super::{Active, Asker, Desk, Effect, MAX_ACTIVE, Roster};
use crate::config::{Group, Id, Operation};
use crate::pipeline::Pattern;

/// Most devices of a command.
const MAX_MEMBERS: usize = 10_000;

impl Desk {
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
            mark: None,
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
    pub(super) fn insert(&mut self, now: Instant, command: Command, deadline: Instant) -> u64 {
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
