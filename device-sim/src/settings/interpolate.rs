//! Variables of the environment in texts: `${NAME}`, and `${NAME:-default}` where it may be missing
//! or empty. `$${` stands for `${`.
//!
//! What a variable holds is a value and never syntax: quotes and brackets in it stay what they are.
//! A text that had a variable in it becomes an integer, a boolean or an array where its key takes one.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::findings::Findings;
use super::from_text;
use super::layer::{Aim, Layers};
use super::report::Problem;
use super::shape::Shape;
use super::tree::{KeyPath, Node};

/// The variables of an environment.
pub type Environment = BTreeMap<String, OsString>;

/// Why a text has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterpolationError {
    /// A variable is neither there nor has a default.
    #[error("the variable `{0}` is not set")]
    Unset(String),
    /// A variable is no text.
    #[error("the variable `{0}` is not UTF-8 text")]
    NotText(String),
    /// `${` without `}`.
    #[error("`${{` without `}}`")]
    Open,
    /// What stands between the brackets is no name.
    #[error("`{0}` is no name of a variable")]
    Name(String),
}

impl InterpolationError {
    fn help(&self) -> String {
        match self {
            Self::Unset(name) => format!("set it, or say what it is otherwise: `${{{name}:-…}}`"),
            Self::NotText(name) => format!("set `{name}` to text"),
            Self::Open => "write `$${` where no variable is meant".to_owned(),
            Self::Name(_) => {
                "a name has letters, digits and `_`, such as `${MQTT_URL:-mqtt://127.0.0.1}`"
                    .to_owned()
            }
        }
    }
}

/// Puts the variables of `environment` into every text of `tree`; what has no value is told and
/// taken out.
pub fn interpolate(
    tree: &mut Node,
    environment: &Environment,
    layers: &Layers,
    shape: &Shape,
    findings: &mut Findings,
) {
    let mut texts = Vec::new();
    collect(tree, &KeyPath::default(), &mut texts);
    for path in texts {
        let Some(Node::Text(text)) = tree.get(&path) else { continue };
        match expand(text, environment) {
            Ok(expanded) => {
                let fitted = match shape.at(&path, tree) {
                    Some(shape) => from_text(&expanded, shape),
                    None => Node::Text(expanded),
                };
                if let Some(node) = tree.get_mut(&path) {
                    *node = fitted;
                }
            }
            Err(error) => {
                let place = layers.place(&path, Aim::Value);
                let problem = Problem::new(error.to_string(), place).help(error.help());
                findings.fail(path.clone(), problem);
                tree.remove(&path);
            }
        }
    }
}

/// The paths of all texts with a `${` in them.
fn collect(node: &Node, path: &KeyPath, texts: &mut Vec<KeyPath>) {
    match node {
        Node::Text(text) if text.contains("${") => texts.push(path.clone()),
        Node::Array(elements) => {
            elements.iter().for_each(|(index, node)| collect(node, &path.index(*index), texts));
        }
        Node::Table(table) => {
            table.iter().for_each(|(key, node)| collect(node, &path.key(key), texts));
        }
        Node::Text(_) | Node::Boolean(_) | Node::Integer(_) | Node::Float(_) => {}
    }
}

fn expand(text: &str, environment: &Environment) -> Result<String, InterpolationError> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = after;
            continue;
        }
        let (inside, after) = after.split_once('}').ok_or(InterpolationError::Open)?;
        out.push_str(before);
        out.push_str(&variable(inside, environment)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(inside: &str, environment: &Environment) -> Result<String, InterpolationError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if !is_name {
        return Err(InterpolationError::Name(name.to_owned()));
    }
    let value = match environment.get(name) {
        Some(value) => {
            Some(value.to_str().ok_or_else(|| InterpolationError::NotText(name.to_owned()))?)
        }
        None => None,
    };
    match (value.filter(|value| !value.is_empty()), default, value) {
        (Some(value), _, _) => Ok(value.to_owned()),
        (None, Some(default), _) => Ok(default.to_owned()),
        (None, None, Some(empty)) => Ok(empty.to_owned()),
        (None, None, None) => Err(InterpolationError::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, InterpolationError> {
        let set = [("HOST", "broker"), ("EMPTY", ""), ("ODD", "a\"}${HOST}")];
        let set = set.map(|(name, value)| (name.to_owned(), OsString::from(value)));
        expand(text, &Environment::from(set))
    }

    #[test]
    fn variables_and_defaults_are_put_in_once() {
        for (text, expected) in [
            ("mqtt://${HOST}:1883", "mqtt://broker:1883"),
            ("${NOT:-mqtt://127.0.0.1:1883}", "mqtt://127.0.0.1:1883"),
            ("${EMPTY:-x}${EMPTY}", "x"),
            ("${NOT:-}", ""),
            ("${ODD}", "a\"}${HOST}"),
            ("$${HOST} $5 ${HOST}", "${HOST} $5 broker"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_value_is_told() {
        let name = |name: &str| name.to_owned();
        assert_eq!(expanded("${NOT}"), Err(InterpolationError::Unset(name("NOT"))));
        assert_eq!(expanded("${HOST"), Err(InterpolationError::Open));
        assert_eq!(expanded("${}"), Err(InterpolationError::Name(name(""))));
        assert_eq!(expanded("${5}"), Err(InterpolationError::Name(name("5"))));
        assert_eq!(expanded("${HO ST}"), Err(InterpolationError::Name(name("HO ST"))));
    }
}
