//! Rules of routes: what they name must exist.

use std::collections::BTreeSet;

use super::super::model::{Protocol, Qos, Route};
use super::super::suggest::nearest;
use super::super::tree::KeyPath;
use super::super::values::Id;
use super::Checks;

pub(super) fn check(checks: &mut Checks<'_>) {
    let whole = checks.whole;
    let sources: Vec<&str> = whole.keys(&KeyPath::of(["sources"])).collect();
    for (id, route) in &checks.config.routes {
        let path = KeyPath::of(["routes", id.as_str()]);
        let (from, to) = (path.key("from"), path.key("to"));
        if route.from.is_empty() && checks.sound([&from]) {
            let problem = checks
                .at(&from, "a route from no source")
                .expected("expected at least one name; leave the key out for every source");
            checks.findings.add(problem);
        }
        for (index, pattern) in route.from.iter().enumerate() {
            let matches = sources.iter().any(|source| pattern.matches(source));
            if !matches && !sources.is_empty() && checks.findings.is_complete() {
                let text = pattern.to_string();
                let problem = checks
                    .at(&from.index(index), format!("no source fits `{text}`"))
                    .expected(format!("expected a source: {}", names(&sources)));
                tell(checks, problem, nearest(&text, sources.iter().copied()));
            }
        }
        if route.response_topic.is_some() {
            check_response_topic(checks, &path, route.to.as_deref());
        }
        if route.live_first {
            check_live_first(checks, &path, route);
        }
        let Some(named) = &route.to else { continue };
        if named.is_empty() && checks.sound([&to]) {
            let problem = checks
                .at(&to, "a route to no broker")
                .expected("expected at least one name; leave the key out for every broker");
            checks.findings.add(problem);
        }
        let mut seen = BTreeSet::new();
        for (index, broker) in named.iter().enumerate() {
            let at = to.index(index);
            if !seen.insert(broker) {
                let problem = checks
                    .at(&at, format!("broker `{broker}` is there twice"))
                    .expected("expected each broker once");
                checks.findings.add(problem);
            } else {
                checks.check_broker(&at, broker.as_str());
            }
        }
    }
}

/// What is under way in a kept session goes out again in its order, so nothing can go first.
fn check_live_first(checks: &mut Checks<'_>, path: &KeyPath, route: &Route) {
    let goes_to = |route: &Route, id: &Id| route.to.as_ref().is_none_or(|to| to.contains(id));
    let routes = &checks.config.routes;
    let shared = |(id, other): &(&Id, &Route)| {
        let meets = |broker: &Id| goes_to(route, broker) && goes_to(other, broker);
        let is_kept = other.qos == Qos::ExactlyOnce && checks.config.brokers.keys().any(meets);
        is_kept && checks.sound([&KeyPath::of(["routes", id.as_str()]).key("qos")])
    };
    let Some((other, _)) = routes.iter().find(shared) else { return };
    let at = path.key("live_first");
    let problem = checks
        .at(&at, "`live_first` for a broker that has a route with `qos = 2`")
        .expected("expected quality of service 0 or 1 in every route to that broker")
        .note(format!("routes.{other} has `qos = 2`"))
        .help("what is under way at quality of service 2 has to go out first and in its order");
    checks.findings.add(problem);
}

/// MQTT 3.1.1 has nowhere to put a Response Topic.
fn check_response_topic(checks: &mut Checks<'_>, route: &KeyPath, to: Option<&[Id]>) {
    let brokers = &checks.config.brokers;
    let is_named = |id: &Id| to.is_none_or(|named| named.contains(id));
    let mut reached = brokers.iter().filter(|(id, _)| is_named(id)).peekable();
    let nobody = reached.peek().is_none();
    if nobody || reached.any(|(_, broker)| broker.protocol == Protocol::V5) {
        return;
    }
    let at = route.key("response_topic");
    if checks.findings.is_complete() && checks.sound([&at]) {
        let problem = checks
            .at_key(&at, "a response topic, but no broker that gets one")
            .expected("expected a broker of this route with `protocol = \"5\"`")
            .note("MQTT 3.1.1 messages have no properties");
        checks.findings.add(problem);
    }
}

fn tell(checks: &mut Checks<'_>, problem: super::Problem, similar: Option<&str>) {
    checks.findings.add(match similar {
        Some(similar) => problem.help(format!("did you mean `{similar}`?")),
        None => problem,
    });
}

fn names(names: &[&str]) -> String {
    super::super::words::either(names)
}
