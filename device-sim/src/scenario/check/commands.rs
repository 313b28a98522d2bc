//! Commands: whether they can be asked for, and of whom.

use std::time::Duration;

use proto::Value;

use super::super::model::{CommandsConfig, FleetConfig, ScenarioConfig, SendConfig};
use super::super::values::{SHORTEST, Scalar};
use super::payload::usual_decimals;
use super::{Check, Fleet, Play};
use crate::broker::topic;
use crate::command::{CommandPlan, MAX_COMMANDS, Obeys, SendPlan};
use crate::settings::Interval;
use crate::settings::tree::KeyPath;
use crate::signal::Signal;

impl Check<'_> {
    pub(super) fn commands(
        &mut self,
        config: &ScenarioConfig,
        fleets: &[Fleet],
    ) -> Option<CommandPlan> {
        let CommandsConfig { root, send } = config.commands.as_ref()?;
        let before = self.findings.count();
        if self.play == Play::Rehearsed {
            let help = "play it with `device-sim run`: a rehearsal has no commands";
            self.tell(["commands"], "commands cannot be rehearsed", help);
        }
        if !topic::is_valid_topic(root) || root.ends_with('/') {
            let expected = "expected the gateway's topics, such as \"gateway/gw\": its topic prefix and its id";
            self.refuse(["commands", "root"], "not a topic", expected);
        }
        if self.lacks("mqtt", config.target.mqtt.is_some()) {
            let help = "add `mqtt = \"mqtt://127.0.0.1:1883\"` to [target]";
            self.tell(["commands"], "commands without a broker to publish them at", help);
        }
        if send.is_empty() {
            self.tell(["commands"], "there are no commands", "add a table [[commands.send]]");
        }
        let sends: Vec<_> = send
            .iter()
            .enumerate()
            .filter_map(|(at, send)| self.send(at, send, config, fleets))
            .collect();
        let duration = config.duration.duration().as_nanos();
        let all: u128 = sends.iter().map(|send| duration / send.every.as_nanos().max(1)).sum();
        if all > u128::from(MAX_COMMANDS) {
            let help =
                format!("a run has {MAX_COMMANDS} at most: let there be more time between them");
            self.tell(["commands", "send"], format!("{all} commands"), help);
        }
        (self.findings.count() == before).then(|| CommandPlan { root: root.clone(), sends })
    }

    fn send(
        &mut self,
        index: usize,
        config: &SendConfig,
        whole: &ScenarioConfig,
        fleets: &[Fleet],
    ) -> Option<SendPlan> {
        let SendConfig { fleet: name, operation, value, every, deadline } = config;
        let at = |key| KeyPath::of(["commands", "send"]).index(index).key(key);
        let before = self.findings.count();
        match whole.fleets.get(name) {
            None => {
                let title = format!("there is no fleet `{}`", name.as_str());
                self.tell_at(&at("fleet"), title, "name one of [fleets]");
            }
            Some(fleet) if !fleet.via.is_link() => {
                let title =
                    format!("`{}` cannot be told anything over `{}`", name.as_str(), fleet.via);
                self.tell_at(&at("fleet"), title, "name a fleet with `via = \"link-…\"`");
            }
            Some(_) => {}
        }
        if operation.is_empty() || operation.contains(['/', '+', '#']) {
            let help = "name one of `operations` in the gateway's configuration";
            self.tell_at(&at("operation"), "not the name of an operation", help);
        }
        if every.duration() < SHORTEST {
            self.tell_at(&at("every"), "too short a time", "write 1ms or more");
        }
        let value = match value {
            None => None,
            Some(Scalar(Value::Text(name))) => {
                let found = self.signals.iter().find(|(id, _)| id.as_str() == name);
                let found = found.map(|(_, signal)| (signal.clone(), usual_decimals(signal)));
                if found.is_none() && !self.findings.failed(&KeyPath::of(["signals", name])) {
                    let title = format!("there is no signal `{name}`");
                    let help = "name one of [signals], or write a number or a boolean";
                    self.tell_at(&at("value"), title, help);
                }
                found
            }
            Some(Scalar(constant)) => Some((Signal::Constant(constant.clone()), 0)),
        };
        // What is wrong with the fleet itself is told already.
        let fleet = fleets.iter().find(|fleet| fleet.name() == name.as_str())?;
        (self.findings.count() == before).then(|| SendPlan {
            fleet: fleet.name().to_owned(),
            devices: (1..=fleet.count()).map(|number| fleet.id(number)).collect(),
            operation: operation.clone(),
            value,
            every: every.duration(),
            deadline: deadline.map(Interval::duration),
        })
    }

    pub(super) fn obeys(&mut self, name: &str, config: &FleetConfig) -> Obeys {
        let Some(obeys) = config.obeys else { return Obeys::default() };
        if !config.via.is_link() {
            let help = "leave it out: only nodes of the link protocol are told something";
            let title = format!("`{}` is told nothing", config.via);
            self.tell(["fleets", name, "obeys"], title, help);
        }
        let late = obeys
            .late
            .map_or((0.0, Duration::ZERO), |late| (late.share.part(), late.by.duration()));
        let obeys =
            Obeys { refuse: obeys.refuse.part(), late: late.0, by: late.1, die: obeys.die.part() };
        if obeys.refuse + obeys.late + obeys.die > 1.0 {
            let help = "let the shares be 100% together at most";
            self.tell(["fleets", name, "obeys"], "more than all commands", help);
        }
        obeys
    }
}
