//! Rules between keys: what one key says makes another one wrong.
//!
//! Each rule stays silent where a value that it looks at already was told to be wrong.

mod binary;
mod brokers;
mod frames;
mod modbus;
mod operations;
mod routes;
mod sources;
mod transforms;
mod ways;

use super::findings::Findings;
use super::layer::{Aim, Layers};
use super::model::Config;
use super::report::Problem;
use super::suggest::nearest;
use super::tree::{KeyPath, Node};
use super::words::either;

/// What the checks look at.
struct Checks<'a> {
    config: &'a Config,
    /// Everything that was written, also what did not fit.
    whole: &'a Node,
    layers: &'a Layers,
    findings: &'a mut Findings,
}

/// Tells what is wrong between the keys of `config`.
pub(super) fn check(config: &Config, whole: &Node, layers: &Layers, findings: &mut Findings) {
    let mut checks = Checks { config, whole, layers, findings };
    sources::check(&mut checks);
    brokers::check(&mut checks);
    routes::check(&mut checks);
    transforms::check(&mut checks);
    operations::check(&mut checks);
}

/// Tells that a gateway cannot run because a part is not there at all.
pub(super) fn check_parts(whole: &Node, layers: &Layers, findings: &mut Findings) {
    if !findings.is_complete() {
        return;
    }
    if layers.is_empty() {
        let problem = Problem::nowhere("no configuration")
            .help("name a file with `-c FILE`")
            .note("no file is named, and /etc/gateway/gateway.toml does not exist");
        findings.add(problem);
        return;
    }
    for (section, title, example) in PARTS {
        if whole.keys(&KeyPath::of([section])).next().is_none()
            && !findings.failed(&KeyPath::of([section]))
        {
            findings.add(Problem::nowhere(title).help(example));
        }
    }
}

/// What a gateway needs to run, and the least that is enough.
const PARTS: [(&str, &str, &str); 3] = [
    (
        "sources",
        "no sources: there is nothing to read from",
        "add one, such as\n[sources.nodes]\nlink = { type = \"coap\" }",
    ),
    (
        "brokers",
        "no brokers: there is nowhere to publish to",
        "add one, such as\n[brokers.local]\nurl = \"mqtt://localhost\"",
    ),
    (
        "routes",
        "no routes: no reading would be published",
        "add one that publishes everything to every broker\n[routes.all]",
    ),
];

impl Checks<'_> {
    /// Tells that the broker that is named at `path` does not exist.
    fn check_broker(&mut self, path: &KeyPath, broker: &str) {
        let brokers: Vec<&str> = self.whole.keys(&KeyPath::of(["brokers"])).collect();
        if brokers.contains(&broker) || !self.findings.is_complete() {
            return;
        }
        let problem = self.at(path, format!("no broker is called `{broker}`"));
        let problem = match brokers.as_slice() {
            [] => problem.expected(format!("expected a table [brokers.{broker}]")),
            brokers => problem.expected(format!("expected a broker: {}", either(brokers))),
        };
        self.findings.add(match nearest(broker, brokers.iter().copied()) {
            Some(similar) => problem.help(format!("did you mean `{similar}`?")),
            None => problem,
        });
    }

    /// A problem at the value at `path`.
    fn at(&self, path: &KeyPath, title: impl Into<String>) -> Problem {
        Problem::new(title, self.layers.place(path, Aim::Value))
    }

    /// A problem at the key at `path`.
    fn at_key(&self, path: &KeyPath, title: impl Into<String>) -> Problem {
        Problem::new(title, self.layers.place(path, Aim::Key))
    }

    /// Where the value at `path` stands, in few words.
    fn origin(&self, path: &KeyPath) -> String {
        self.layers.place(path, Aim::Value).to_string()
    }

    /// Whether no value at these paths is known to be wrong.
    fn sound<'p>(&self, paths: impl IntoIterator<Item = &'p KeyPath>) -> bool {
        paths.into_iter().all(|path| !self.findings.failed(path))
    }
}
