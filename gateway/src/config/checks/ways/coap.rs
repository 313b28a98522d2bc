//! Rules of orders that are CoAP requests.

use super::super::super::model::{CoapMethod, CoapVia, Link, Operation, ValueRule};
use super::super::super::tree::KeyPath;
use super::super::super::values::NodeUrl;
use super::super::Checks;

pub(super) fn check(checks: &mut Checks<'_>, path: &KeyPath, operation: &Operation, via: &CoapVia) {
    let at = path.key("via");
    let has_value = !matches!(operation.value, ValueRule::None);
    match via.method {
        CoapMethod::Observe => check_observe(checks, path, operation),
        CoapMethod::Get | CoapMethod::Delete if has_value => {
            let problem = checks
                .at(&path.key("value"), "GET and DELETE have no value")
                .expected("expected another method: `fetch` asks with a value, `put` sets one");
            checks.findings.add(problem);
        }
        CoapMethod::Get
        | CoapMethod::Delete
        | CoapMethod::Put
        | CoapMethod::Post
        | CoapMethod::Fetch
        | CoapMethod::Patch
        | CoapMethod::Ipatch => {}
    }
    if matches!(via.method, CoapMethod::Get | CoapMethod::Delete | CoapMethod::Observe) {
        let given =
            [("payload", via.payload.is_some()), ("content_format", via.content_format.is_some())];
        for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            let problem = checks
                .at_key(&at.key(key), format!("`{key}` with a method that sends no payload"))
                .expected("expected `put`, `post`, `fetch`, `patch` or `ipatch`");
            checks.findings.add(problem);
        }
    } else if has_value && via.payload.as_ref().is_some_and(|text| !text.contains("{value}")) {
        let problem = checks
            .at(&at.key("payload"), "the value is not in the payload")
            .help("write `{value}` where it goes, or remove `value` from the operation");
        checks.findings.add(problem);
    }
    if let Some(template) = &via.address {
        // Any name shows whether the rest is an address.
        if let Err(error) = template.replace("{device}", "device").parse::<NodeUrl>() {
            let error = error.to_string();
            let problem = checks.at(&at.key("address"), "this is no address of a node");
            checks.findings.add(problem.expected(error.lines().next().unwrap_or_default()));
        }
    }
}

fn check_observe(checks: &mut Checks<'_>, path: &KeyPath, operation: &Operation) {
    let method = path.key("via").key("method");
    if !matches!(operation.value, ValueRule::Boolean) {
        let problem = checks
            .at(&method, "`observe` begins with true and ends with false")
            .help("say so: `value = { type = \"boolean\" }`");
        checks.findings.add(problem);
    }
    let source = checks.config.sources.get(&operation.source);
    if source.is_some_and(|source| matches!(source.link, Link::Coap(_))) {
        let problem = checks
            .at(&method, "the nodes of a `coap` source cannot be observed by order")
            .expected("expected a `coap-poll` source, which can ask the same nodes")
            .help("`registered` of a `coap-poll` source takes the nodes that register at this one");
        checks.findings.add(problem);
    }
}
