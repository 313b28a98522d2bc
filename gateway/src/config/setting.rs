//! Values that come as text: variables of the environment and `--set`.
//!
//! Only [`from_text`] makes an integer, a boolean or an array of a text, and only where the key takes
//! one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use config::Value;
use device_sim::settings::from_text;

use super::findings::Findings;
use super::layer::{Layer, Layers, Origin};
use super::report::{Place, Problem};
use super::shape::Shape;
use super::toml_file;
use super::tree::{KeyPath, Node, Step};

/// What the names of variables start with.
pub(crate) const PREFIX: &str = "GATEWAY_";
/// What stands between two levels in the name of a variable.
const LEVEL: &str = "__";
/// systemd's folder for state (systemd.exec(5)): colons stand between several.
pub(crate) const STATE_DIRECTORY: &str = "STATE_DIRECTORY";
/// systemd's folder for credentials (systemd.exec(5)).
pub(crate) const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// More levels than any key has.
const MAX_LEVELS: usize = 16;

/// One `--set`: a path with dots, and a value.
#[derive(Clone)]
pub(crate) struct Assignment {
    key: String,
    value: String,
}

/// Why a text is no assignment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AssignmentError {
    #[error("expected KEY=VALUE, such as brokers.cloud.url=mqtt://localhost")]
    NoValue,
    #[error("expected keys with dots between them before `=`, none of them empty")]
    EmptyKey,
}

impl FromStr for Assignment {
    type Err = AssignmentError;

    fn from_str(text: &str) -> Result<Self, AssignmentError> {
        let (key, value) = text.split_once('=').ok_or(AssignmentError::NoValue)?;
        let key = key.trim();
        if key.split('.').any(str::is_empty) || key.split('.').count() > MAX_LEVELS {
            return Err(AssignmentError::EmptyKey);
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// Names the key alone: the value may be a secret.
impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--set {}", self.key)
    }
}

/// The weakest layer: the folder for state that the service manager hands over.
pub(crate) fn from_service(env: &BTreeMap<String, OsString>) -> Option<Layer> {
    let folders = env.get(STATE_DIRECTORY)?.to_str()?;
    let folder = folders.split(':').next().filter(|folder| !folder.is_empty())?;
    let path = KeyPath::of(["gateway", "state_dir"]);
    Some(Layer::assignment(Origin::Service(called(STATE_DIRECTORY)), &path, folder.into()))
}

/// Adds a layer for each variable, in the order of their names.
pub(crate) fn add_environment(
    layers: &mut Layers,
    env: &BTreeMap<String, OsString>,
    shape: &Shape,
    findings: &mut Findings,
) {
    for (name, value) in env {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let place = Place::Named { layer: layers.next_position(), name: called(name) };
        if !rest.contains(LEVEL) {
            if let Some(meant) = meant_levels(rest, shape) {
                let title = format!("unknown variable `{name}`");
                let help = format!("two underscores stand between levels: {PREFIX}{meant}");
                findings.add(Problem::new(title, place).help(help));
            }
            continue;
        }
        let Some(value) = value.to_str() else {
            findings.add(Problem::new("the value is not UTF-8 text", place));
            continue;
        };
        let levels = rest.to_ascii_lowercase();
        let keys: Vec<_> = levels.split(LEVEL).collect();
        if keys.iter().any(|key| key.is_empty()) || keys.len() > MAX_LEVELS {
            let expected = "expected names with two underscores between them, none of them empty";
            findings.add(Problem::new("not a path of keys", place).expected(expected));
            continue;
        }
        let path = resolve(&keys, layers, shape);
        let value = structured(value, &path, shape);
        let origin = Origin::Text { name: called(name), path: path.clone() };
        layers.push(Layer::assignment(origin, &path, value));
    }
}

/// How messages call a variable.
fn called(name: &str) -> String {
    format!("env {name}")
}

/// Adds a layer for each `--set`.
pub(crate) fn add_assignments(layers: &mut Layers, assignments: &[Assignment], shape: &Shape) {
    for Assignment { key, value } in assignments {
        let path = KeyPath::of(key.split('.'));
        let value = structured(value, &path, shape);
        let origin = Origin::Text { name: format!("--set {key}"), path: path.clone() };
        layers.push(Layer::assignment(origin, &path, value));
    }
}

/// Turns the texts of variables and arguments into what their keys take.
pub(crate) fn coerce(tree: &mut Node, layers: &Layers, shape: &Shape) {
    for layer in layers.iter() {
        let Origin::Text { path, .. } = layer.origin() else { continue };
        let Some(Node::Text(text)) = tree.get(path) else { continue };
        let is_last = layers.iter().rev().find(|layer| layer.has(path));
        if !is_last.is_some_and(|last| matches!(last.origin(), Origin::Text { .. })) {
            continue;
        }
        let coerced = shape.at(path, tree).map(|shape| from_text(text, shape));
        if let (Some(coerced), Some(node)) = (coerced, tree.get_mut(path)) {
            *node = coerced;
        }
    }
}

/// An inline table where the key takes a table, else the text.
fn structured(text: &str, path: &KeyPath, shape: &Shape) -> Value {
    let empty = Node::Table(BTreeMap::new());
    let table = match shape.at(path, &empty) {
        Some(Shape::Table(_) | Shape::Named(_) | Shape::Tagged(_)) => text.trim().starts_with('{'),
        Some(Shape::List(_) | Shape::Leaf(_)) | None => false,
    };
    let parsed = table.then(|| toml_file::parse_value(text.trim())).flatten();
    parsed.unwrap_or_else(|| text.into())
}

/// The path of `keys`. A variable cannot have `-` in its name, so `_` in a name that the operator
/// chose also stands for it, where a weaker layer has that name and no exact one.
fn resolve(keys: &[&str], layers: &Layers, shape: &Shape) -> KeyPath {
    let empty = Node::Table(BTreeMap::new());
    let mut path = KeyPath::default();
    for key in keys {
        let exact = path.key(key);
        let chosen = matches!(shape.at(&path, &empty), Some(Shape::Named(_)));
        if !chosen || layers.iter().any(|layer| layer.has(&exact)) {
            path = exact;
            continue;
        }
        let known = layers.iter().flat_map(Layer::paths).find(|known| {
            known.split_last().is_some_and(|(parent, step)| {
                matches!(step, Step::Key(name) if name.replace('-', "_") == *key) && parent == path
            })
        });
        path = known.cloned().unwrap_or(exact);
    }
    path
}

/// `BROKERS_CLOUD_URL` was meant to be `BROKERS__CLOUD__URL`.
///
/// Variables without two underscores belong to others: Kubernetes sets `GATEWAY_PORT` and
/// `GATEWAY_SERVICE_HOST` for a service called "gateway".
fn meant_levels(rest: &str, shape: &Shape) -> Option<String> {
    let Shape::Table(root) = shape else { return None };
    let lower = rest.to_ascii_lowercase();
    let (section, inner) = lower.split_once('_')?;
    let known = match &root.keys.get(section)?.shape {
        Shape::Table(table) => table.keys.contains_key(inner),
        Shape::Named(_) => true,
        Shape::Tagged(_) | Shape::List(_) | Shape::Leaf(_) => false,
    };
    let levels = match &root.keys.get(section)?.shape {
        Shape::Named(_) => inner.replacen('_', LEVEL, 1),
        Shape::Table(_) | Shape::Tagged(_) | Shape::List(_) | Shape::Leaf(_) => inner.to_owned(),
    };
    let foreign = inner.contains("service_") || inner.starts_with("port");
    (known && !foreign).then(|| format!("{section}{LEVEL}{levels}").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn a_variable_with_single_underscores_is_a_mistake_only_if_it_names_a_key() {
        let shape = Shape::of::<Config>();
        let meant = |rest| meant_levels(rest, &shape);
        assert_eq!(meant("BROKERS_CLOUD_URL").as_deref(), Some("BROKERS__CLOUD__URL"));
        assert_eq!(meant("STORE_QUOTA").as_deref(), Some("STORE__QUOTA"));
        for other in ["LOG", "PORT", "SERVICE_HOST", "STORE_SERVICE_PORT", "PORT_1883_TCP"] {
            assert_eq!(meant(other), None, "{other}");
        }
    }

    #[test]
    fn an_assignment_has_a_key_and_a_value() {
        assert!("a.b=c=d".parse::<Assignment>().is_ok_and(|set| set.value == "c=d"));
        assert_eq!("a.b".parse::<Assignment>().unwrap_err(), AssignmentError::NoValue);
        assert_eq!("a..b=1".parse::<Assignment>().unwrap_err(), AssignmentError::EmptyKey);
        assert_eq!(format!("{:?}", "a.password=x".parse::<Assignment>()), "Ok(--set a.password)");
    }
}
