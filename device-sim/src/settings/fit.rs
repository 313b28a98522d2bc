//! The merged tree becomes a type; each value that does not fit is told, taken out, and the
//! rest is tried again, so that one run tells them all.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::fault::{Fault, FaultKind};
use super::findings::Findings;
use super::layer::{Aim, Layers};
use super::report::Problem;
use super::shape::{Shape, Table};
use super::source_file::has_user_info;
use super::strict::{self, TAG};
use super::suggest;
use super::tree::{KeyPath, Node, Step};
use super::words;

/// Longer values are not repeated in a title.
const MAX_SHOWN: usize = 60;

/// Reads `tree` as a `T`. What does not fit is told and left out; `None` where nothing
/// is left, or after too many problems.
pub fn fit<T: DeserializeOwned>(
    mut tree: Node,
    layers: &Layers,
    shape: &Shape,
    findings: &mut Findings,
) -> Option<T> {
    let whole = tree.clone();
    let teller = Teller { whole: &whole, layers, shape };
    let unknown = RefCell::new(BTreeSet::new());
    let read = loop {
        let fault = match strict::deserialize(&tree, &unknown) {
            Ok(read) => break Some(read),
            Err(fault) => fault,
        };
        let path = fault.path.clone().unwrap_or_default();
        teller.tell(&fault, &path, findings);
        if findings.is_full() || !take_out(&mut tree, &path) {
            break None;
        }
    };
    for path in unknown.into_inner() {
        findings.add(teller.unknown_key(&path));
    }
    read
}

/// Removes the value at `path`, and the array that was left with nothing: that it is empty now is no
/// mistake of the operator.
fn take_out(tree: &mut Node, path: &KeyPath) -> bool {
    let removed = tree.remove(path);
    let parent = path.parent();
    let is_emptied = matches!(tree.get(&parent), Some(Node::Array(rest)) if rest.is_empty());
    if removed && is_emptied {
        tree.remove(&parent);
    }
    removed
}

/// Says what a fault means to the one who wrote the value.
struct Teller<'a> {
    whole: &'a Node,
    layers: &'a Layers,
    shape: &'a Shape,
}

impl Teller<'_> {
    fn tell(&self, fault: &Fault, path: &KeyPath, findings: &mut Findings) {
        let place = self.layers.place(path, Aim::Value);
        let problem = match &fault.kind {
            FaultKind::Missing(key) => return self.missing(key, path, findings),
            FaultKind::Unknown => return findings.fail(path.clone(), self.unknown_key(path)),
            FaultKind::Mismatch { what, kind, value, expected } => {
                let shown = value.as_deref().filter(|value| self.can_show(value, path));
                let title = match shown {
                    Some(value) => format!("{what}: {kind} {value}"),
                    None => format!("{what}: {kind}"),
                };
                Problem::new(title, place).expected(expected)
            }
            FaultKind::Variant { value, choices } => {
                let title = match path.split_last() {
                    Some((_, Step::Key(key))) if key == TAG => format!("unknown type `{value}`"),
                    _ => format!("invalid value: string \"{value}\""),
                };
                let problem = Problem::new(title, place)
                    .expected(format!("expected {}", words::either(choices)));
                match suggest::nearest(value, choices.iter().copied()) {
                    Some(similar) => problem.help(format!("did you mean `{similar}`?")),
                    None => problem,
                }
            }
            FaultKind::Key(expected) => {
                let title = match path.split_last() {
                    Some((_, Step::Key(key))) => format!("invalid name `{key}`"),
                    _ => "invalid name".to_owned(),
                };
                let place = self.layers.place(path, Aim::Key);
                Problem::new(title, place).expected(expected)
            }
            FaultKind::Other(message) => Problem::new(message.as_str(), place),
        };
        let problem = match self.layers.overridden(path) {
            Some(weaker) => problem.note(format!("overrides {weaker}")),
            None => problem,
        };
        findings.fail(path.clone(), problem);
    }

    /// Tells all keys that the table at `path` lacks; `first` is one of them.
    fn missing(&self, first: &str, path: &KeyPath, findings: &mut Findings) {
        let required: Vec<&str> = match self.shape.table_at(path, self.whole) {
            Some(table) => {
                let keys = table.keys.iter().filter(|(_, key)| key.required);
                keys.map(|(name, _)| name.as_str()).collect()
            }
            None => vec![first],
        };
        for key in required {
            let inner = path.key(key);
            if self.whole.get(&inner).is_some() || findings.failed(&inner) {
                continue;
            }
            findings.mark(inner.clone());
            if !findings.is_complete() {
                continue;
            }
            let place = self.layers.place(path, Aim::Key);
            let problem = Problem::new(format!("missing key `{key}` in `{path}`"), place);
            findings.add(match self.example(key, &inner) {
                Some(example) => problem.help(example),
                None => problem,
            });
        }
        findings.mark(path.clone());
    }

    /// What a missing key means, and the choices for it.
    fn example(&self, key: &str, path: &KeyPath) -> Option<String> {
        match self.shape.at(path, self.whole) {
            Some(Shape::Tagged(variants)) => {
                let choices: Vec<_> = variants.keys().map(String::as_str).collect();
                let choices = words::either(&choices);
                Some(format!("add `{key} = {{ {TAG} = \"…\" }}` with the type {choices}"))
            }
            _ if key == TAG => {
                let Some(Shape::Tagged(variants)) = self.shape.at(&path.parent(), self.whole)
                else {
                    return None;
                };
                let choices: Vec<_> = variants.keys().map(String::as_str).collect();
                Some(format!("add `{TAG} = \"…\"`: {}", words::either(&choices)))
            }
            _ => {
                let (parent, _) = path.split_last()?;
                let table = self.shape.table_at(&parent, self.whole)?;
                table.keys.get(key).map(|known| format!("`{key}`: {}", known.doc.text))
            }
        }
    }

    fn unknown_key(&self, path: &KeyPath) -> Problem {
        let (parent, key) = match path.split_last() {
            Some((parent, Step::Key(key))) => (parent, key),
            Some((_, Step::Index(_))) | None => {
                let place = self.layers.place(path, Aim::UnknownKey);
                return Problem::new(format!("unknown key `{path}`"), place);
            }
        };
        let beside_secret = self.shape.table_at(&parent, self.whole).is_some_and(Table::has_secret);
        let aim = if beside_secret { Aim::UnknownKey } else { Aim::Key };
        let place = self.layers.place(path, aim);
        let title = match parent.steps().is_empty() {
            true => format!("unknown key `{key}`"),
            false => format!("unknown key `{key}` in `{parent}`"),
        };
        let tag = match self.whole.get(&parent.key(TAG)) {
            Some(Node::Text(tag)) => Some(tag.as_str()),
            _ => None,
        };
        let shape = self.shape.at(&parent, self.whole);
        let problem = Problem::new(title, place);
        match shape.and_then(|shape| suggest::for_key(key, shape, tag)) {
            Some(help) => problem.help(help),
            None => problem,
        }
    }

    fn can_show(&self, value: &str, path: &KeyPath) -> bool {
        value.chars().count() <= MAX_SHOWN
            && !has_user_info(value)
            && !self.shape.is_secret(path, self.whole)
    }
}
