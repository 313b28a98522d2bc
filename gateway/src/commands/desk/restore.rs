//! What an earlier process has left.

use std::time::Duration;

use proto::{Instant, Timestamp};

use super::super::command::{Command, CommandState, Key, Step};
use super::Desk;

impl Desk {
    /// Takes commands in that an earlier process has left: those that were not over, those whose last states
    /// were not published, and all members of groups that were not over. What was not begun is carried out;
    /// what was begun too, if it is repeatable, and else nobody knows what became of it.
    pub(crate) fn restore(&mut self, now: Instant, wall: Timestamp, mut commands: Vec<Command>) {
        commands.sort_by_key(Command::accepted);
        let mut members = Vec::new();
        for command in commands {
            if let Some(group) = command.group.clone().filter(|_| command.state().is_final()) {
                let parent = Key { device: group, id: command.key.id.clone() };
                members.push((parent, command.key.device.clone(), command.state()));
            }
            match command.state().is_final() {
                true if command.published >= command.steps.len() => {}
                true => self.restore_ended(now, command),
                false => self.restore_active(now, wall, command),
            }
        }
        for (parent, device, state) in members {
            self.member_ended(now, &parent, &device, state, wall);
        }
    }

    /// Only its states are still to be published.
    fn restore_ended(&mut self, now: Instant, command: Command) {
        let key = command.key.clone();
        self.insert(now, command, now);
        self.publish(now, &key);
    }

    fn restore_active(&mut self, now: Instant, wall: Timestamp, mut command: Command) {
        let (key, priority) = (command.key.clone(), command.priority);
        let left = command.deadline.as_nanos().saturating_sub(wall.as_nanos());
        let left = Duration::from_nanos(u64::try_from(left).unwrap_or(0));
        let was_begun = std::mem::take(&mut command.is_begun);
        command.attempts = 0;
        let is_group = !command.members.is_empty();
        let operation = self.rules.operations.get(&command.operation).cloned();
        let number = self.insert(now, command, now + left);
        self.publish(now, &key);
        if is_group {
            return;
        }
        let failed = |code, detail| Step::of(CommandState::Failed, wall).because(code, detail);
        match operation {
            None => {
                let detail = "the operation is not configured any more";
                self.end(now, &key, failed("unknown_operation", detail));
            }
            Some(operation) if was_begun && !operation.is_repeatable() => {
                let detail =
                    "the gateway ended while it was sent: nobody knows whether it was done";
                self.end(now, &key, failed("unknown_outcome", detail));
            }
            Some(_) => {
                self.lane(&key).add(priority, number, key.clone());
                self.pump(now, &key.device);
            }
        }
    }
}
