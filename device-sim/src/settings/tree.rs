//! The merged configuration before it is checked: values without types, and the paths to them.

use std::collections::BTreeMap;
use std::fmt;

use config::{Value, ValueKind};

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A key of a table.
    Key(String),
    /// An index of an array.
    Index(usize),
}

/// The way from the root to a value: `routes.all.to[1]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The path of these keys.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(|key| Step::Key(key.to_owned())).collect())
    }

    /// The path of `key` in the table at this path.
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// The path of the element `index` in the array at this path.
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The steps from the root.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// What this path is in, and the step from there; `None` for the root.
    pub fn split_last(&self) -> Option<(Self, &Step)> {
        let (last, rest) = self.0.split_last()?;
        Some((Self(rest.to_vec()), last))
    }

    /// The table or array that this path is in; the root is in itself.
    pub fn parent(&self) -> Self {
        self.split_last().map_or_else(Self::default, |(parent, _)| parent)
    }

    /// Whether this path is `other` or inside of it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A value without a type.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `true` or `false`.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A number with a fraction or exponent.
    Float(f64),
    /// Text.
    Text(String),
    /// Elements, each with the index that it was written at: removing one renames no other.
    Array(Vec<(usize, Node)>),
    /// A table.
    Table(BTreeMap<String, Node>),
}

impl Default for Node {
    /// A table without keys.
    fn default() -> Self {
        Self::Table(BTreeMap::new())
    }
}

impl Node {
    /// A value as `config` keeps it; `None` for what no layer produces.
    pub fn from_value(value: Value) -> Option<Self> {
        Some(match value.kind {
            ValueKind::Boolean(value) => Self::Boolean(value),
            ValueKind::I64(value) => Self::Integer(value),
            ValueKind::Float(value) => Self::Float(value),
            ValueKind::String(value) => Self::Text(value),
            ValueKind::Array(values) => {
                let nodes = values.into_iter().map(Self::from_value);
                Self::Array(nodes.enumerate().filter_map(|(i, node)| Some((i, node?))).collect())
            }
            ValueKind::Table(values) => {
                let nodes = values.into_iter().map(|(key, value)| (key, Self::from_value(value)));
                Self::Table(nodes.filter_map(|(key, node)| Some((key, node?))).collect())
            }
            ValueKind::Nil | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
                return None;
            }
        })
    }

    /// The value one step into this one.
    fn child(&self, step: &Step) -> Option<&Self> {
        match (self, step) {
            (Self::Table(table), Step::Key(key)) => table.get(key),
            (Self::Array(array), Step::Index(index)) => {
                array.iter().find(|(at, _)| at == index).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// The value at `path`.
    pub fn get(&self, path: &KeyPath) -> Option<&Self> {
        path.steps().iter().try_fold(self, |node, step| node.child(step))
    }

    /// The value at `path`, to be changed.
    pub fn get_mut(&mut self, path: &KeyPath) -> Option<&mut Self> {
        path.steps().iter().try_fold(self, |node, step| match (node, step) {
            (Self::Table(table), Step::Key(key)) => table.get_mut(key),
            (Self::Array(array), Step::Index(index)) => {
                array.iter_mut().find(|(at, _)| at == index).map(|(_, node)| node)
            }
            _ => None,
        })
    }

    /// Removes the value at `path`; `false` where there is none.
    pub fn remove(&mut self, path: &KeyPath) -> bool {
        let Some((parent, step)) = path.split_last() else { return false };
        match (self.get_mut(&parent), step) {
            (Some(Self::Table(table)), Step::Key(key)) => table.remove(key).is_some(),
            (Some(Self::Array(array)), Step::Index(index)) => {
                let before = array.len();
                array.retain(|(at, _)| at != index);
                array.len() < before
            }
            _ => false,
        }
    }

    /// The keys of the table at `path`, in order.
    pub fn keys(&self, path: &KeyPath) -> impl Iterator<Item = &str> {
        match self.get(path) {
            Some(Self::Table(table)) => Some(table.keys().map(String::as_str)),
            _ => None,
        }
        .into_iter()
        .flatten()
    }
}
