//! Rules of nodes that are asked.

use super::super::super::model::{CoapPollLink, PollResource};
use super::super::super::tree::KeyPath;
use super::super::super::values::Id;
use super::Checks;
use crate::source::{MAX_NODES, MAX_RESOURCES};

pub(super) fn check(checks: &mut Checks<'_>, id: &Id, poll: &CoapPollLink) {
    let source = KeyPath::of(["sources", id.as_str()]);
    let link = source.key("link");
    let device = source.key("device");
    if checks.whole.get(&device).is_some() && checks.sound([&device]) {
        let problem = checks
            .at_key(&device, format!("`{device}` does not fit a coap-poll link"))
            .expected("expected no such key: each node is a device with a name of its own")
            .help("remove the key, and write the name before the address in `link.nodes`");
        checks.findings.add(problem);
    }
    let (nodes, list) = (link.key("nodes"), link.key("node_list"));
    if poll.nodes.is_empty() && poll.node_list.is_none() && checks.sound([&nodes, &list]) {
        let problem = checks
            .at_key(&link, format!("no nodes in `{link}`: there is nothing to ask"))
            .help("add some, such as `nodes = { boiler = \"coap://192.0.2.7\" }`")
            .help("or name a file with a name and an address on each line: `node_list = \"nodes.txt\"`");
        checks.findings.add(problem);
    }
    let resources = link.key("resources");
    if poll.resources.is_empty() && checks.sound([&resources]) && checks.findings.is_complete() {
        let problem = checks
            .at_key(&resources, format!("no resources in `{link}`: there is nothing to ask for"))
            .help("add one, such as `resources = { temp = { path = \"/sensors/temp\" } }`");
        checks.findings.add(problem);
    }
    for (name, resource) in &poll.resources {
        check_resource(checks, &resources.key(name.as_str()), resource, poll);
    }
    check_size(checks, &link, poll);
}

/// A resource is at a path or found by links, and some node has it.
fn check_resource(
    checks: &mut Checks<'_>,
    path: &KeyPath,
    resource: &PollResource,
    poll: &CoapPollLink,
) {
    let (at, discover) = (path.key("path"), path.key("discover"));
    match (&resource.path, &resource.discover) {
        (Some(_), Some(_)) => {
            let problem = checks
                .at_key(&discover, format!("`{path}` has both `path` and `discover`"))
                .expected("expected one of them: a path that is known, or links to look for");
            checks.findings.add(problem);
        }
        (None, None) if checks.sound([&at, &discover]) && checks.findings.is_complete() => {
            let problem = checks
                .at_key(path, format!("`{path}` has neither `path` nor `discover`"))
                .help("say where it is: `path = \"/sensors/temp\"`")
                .help("or what its link has: `discover = [\"rt=temperature*\"]`");
            checks.findings.add(problem);
        }
        (Some(_), None) | (None, Some(_)) | (None, None) => {}
    }
    let name = path.key("name");
    if resource.name.is_some() && resource.discover.is_some() && checks.sound([&name]) {
        let problem = checks
            .at_key(&name, "one `name` does not fit all resources that are found")
            .expected("expected no such key beside `discover`: each is named by its path");
        checks.findings.add(problem);
    }
    let nodes = path.key("nodes");
    let is_there = poll.nodes.keys().any(|name| resource.nodes.matches(name.as_str()));
    // A list is another file, which may change.
    if !is_there && poll.node_list.is_none() && !poll.nodes.is_empty() && checks.sound([&nodes]) {
        let names: Vec<_> = poll.nodes.keys().map(Id::as_str).take(8).collect();
        let names = super::all_of(&names);
        let problem = checks
            .at(&nodes, format!("no node is called `{}`", resource.nodes))
            .expected(format!("expected a pattern that one of them fits: {names}"));
        checks.findings.add(problem);
    }
}

/// What a source can ask has limits.
fn check_size(checks: &mut Checks<'_>, link: &KeyPath, poll: &CoapPollLink) {
    let nodes = poll.nodes.len();
    let of = |name: &Id| poll.resources.values().filter(|r| r.nodes.matches(name.as_str())).count();
    let resources: usize = poll.nodes.keys().map(of).sum();
    if nodes > MAX_NODES || resources > MAX_RESOURCES {
        let problem = checks
            .at_key(
                &link.key("nodes"),
                format!("too much for one source: {nodes} nodes with {resources} resources"),
            )
            .expected(format!("expected at most {MAX_NODES} nodes and {MAX_RESOURCES} resources"))
            .help("divide them among several sources");
        checks.findings.add(problem);
    }
}
