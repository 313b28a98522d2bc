//! Rules of commands: what operations name must exist, and a device must be told in a way that its source
//! has.

use std::collections::BTreeSet;

use super::super::model::{Decode, Group, Link, Operation, Source, ValueRule, Via};
use super::super::suggest::nearest;
use super::super::tree::KeyPath;
use super::super::values::Id;
use super::super::words::either;
use super::{Checks, Problem};

/// The last level of the topic of a writable value.
const SET: &str = "set";

pub(super) fn check(checks: &mut Checks<'_>) {
    let config = checks.config;
    let commands = KeyPath::of(["commands"]);
    if let Some(section) = &config.commands {
        check_brokers(checks, &commands.key("from"), &section.from);
        if section.deadline.duration() > section.max_deadline.duration() {
            let problem = checks
                .at(&commands.key("deadline"), "`deadline` is longer than `max_deadline`")
                .expected(format!("expected at most {}", section.max_deadline));
            checks.findings.add(problem);
        }
    } else if let Some(id) =
        config.operations.keys().next().filter(|_| checks.findings.is_complete())
    {
        let path = KeyPath::of(["operations", id.as_str()]);
        let problem = checks
            .at_key(&path, "operations without a table [commands]")
            .help("say whose commands are taken, such as\n[commands]\nfrom = [\"cloud\"]");
        checks.findings.add(problem);
    }
    for (id, operation) in &config.operations {
        check_operation(checks, id, operation);
    }
    for (id, group) in &config.groups {
        check_group(checks, id, group);
    }
}

fn check_operation(checks: &mut Checks<'_>, id: &Id, operation: &Operation) {
    let path = KeyPath::of(["operations", id.as_str()]);
    if id.as_str() == SET {
        let problem = checks
            .at_key(&path, "an operation cannot be called `set`")
            .expected("expected another name: `set` ends the topics of writable values");
        checks.findings.add(problem);
    }
    let devices = path.key("devices");
    if operation.devices.is_empty() && checks.sound([&devices]) {
        let problem = checks
            .at(&devices, "an operation for no device")
            .expected("expected at least one name; `*` stands for any characters");
        checks.findings.add(problem);
    }
    if operation.writable && matches!(operation.value, ValueRule::None) {
        let problem = checks
            .at(&path.key("writable"), "what has no value cannot be set")
            .help("say what its value is, such as `value = { type = \"boolean\" }`");
        checks.findings.add(problem);
    }
    if matches!(operation.via, Via::File(_)) && !matches!(operation.value, ValueRule::Text(_)) {
        let problem = checks
            .at(&path.key("via"), "the value of this operation is the name of a file")
            .help("add `value = { type = \"text\" }`");
        checks.findings.add(problem);
    }
    if let Some(from) = &operation.from {
        check_brokers(checks, &path.key("from"), from);
        let taken = checks.config.commands.as_ref().map(|commands| &commands.from);
        for (index, broker) in from.iter().enumerate() {
            if taken.is_some_and(|taken| !taken.contains(broker)) && checks.findings.is_complete() {
                let problem = checks
                    .at(
                        &path.key("from").index(index),
                        format!("no commands are taken from `{broker}`"),
                    )
                    .help("add it to `commands.from`");
                checks.findings.add(problem);
            }
        }
    }
    check_source(checks, &path, operation);
    super::ways::check(checks, &path, operation);
}

fn check_source(checks: &mut Checks<'_>, path: &KeyPath, operation: &Operation) {
    let at = path.key("source");
    let Some(source) = checks.config.sources.get(&operation.source) else {
        let sources: Vec<&str> = checks.whole.keys(&KeyPath::of(["sources"])).collect();
        let name = operation.source.as_str();
        if sources.contains(&name) || !checks.findings.is_complete() {
            return;
        }
        let problem = checks.at(&at, format!("no source is called `{name}`"));
        let problem = match sources.as_slice() {
            [] => problem.expected(format!("expected a table [sources.{name}]")),
            sources => problem.expected(format!("expected a source: {}", either(sources))),
        };
        checks.findings.add(match nearest(name, sources.iter().copied()) {
            Some(similar) => problem.help(format!("did you mean `{similar}`?")),
            None => problem,
        });
        return;
    };
    let ways = ways(source);
    if !ways.contains(&operation.via.name()) && checks.findings.is_complete() {
        let title = format!(
            "a device of `{}` cannot be told by `{}`",
            operation.source,
            operation.via.name()
        );
        let problem = checks.at(&path.key("via").key("type"), title);
        let problem: Problem = match ways.as_slice() {
            [] => problem.expected("expected another source: this one cannot carry commands"),
            ways => problem.expected(format!("expected {}", either(ways))),
        };
        checks.findings.add(problem);
    }
}

/// How a device of a source can be told.
fn ways(source: &Source) -> Vec<&'static str> {
    if matches!(source.decode, Some(Decode::Link(_))) {
        return vec!["link", "file"];
    }
    match source.link {
        Link::Coap(_) => vec!["coap", "fetch"],
        Link::CoapPoll(_) => vec!["coap"],
        Link::Http(_) => vec!["fetch"],
        Link::Serial(_) | Link::Tcp(_) | Link::TcpClient(_) | Link::Udp(_) => vec!["send"],
        Link::Modbus(_) => vec!["modbus"],
    }
}

fn check_group(checks: &mut Checks<'_>, id: &Id, group: &Group) {
    let path = KeyPath::of(["groups", id.as_str()]);
    if group.devices.is_empty()
        && group.registered.is_empty()
        && checks.sound([&path.key("devices")])
    {
        let problem = checks
            .at_key(&path, format!("the group `{id}` says nothing of its devices"))
            .help("name them, such as `devices = [\"valve-*\"]`, or say what they have registered");
        checks.findings.add(problem);
    }
}

fn check_brokers(checks: &mut Checks<'_>, path: &KeyPath, brokers: &[Id]) {
    if brokers.is_empty() && checks.sound([path]) {
        let problem =
            checks.at(path, "commands from no broker").expected("expected at least one name");
        checks.findings.add(problem);
    }
    let mut seen = BTreeSet::new();
    for (index, broker) in brokers.iter().enumerate() {
        let at = path.index(index);
        if seen.insert(broker) {
            checks.check_broker(&at, broker.as_str());
        } else {
            let problem = checks
                .at(&at, format!("broker `{broker}` is there twice"))
                .expected("expected each broker once");
            checks.findings.add(problem);
        }
    }
}

impl Via {
    /// As it is written.
    const fn name(&self) -> &'static str {
        match self {
            Self::Coap(_) => "coap",
            Self::Fetch => "fetch",
            Self::Link(_) => "link",
            Self::File(_) => "file",
            Self::Send(_) => "send",
            Self::Modbus(_) => "modbus",
        }
    }
}
