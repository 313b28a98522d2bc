//! The effective configuration as TOML or JSON: sorted, without secrets, with the place of each
//! value if asked.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::Loaded;
use super::shape::{Leaf, Shape, Table};
use super::strict::TAG;
use super::tree::KeyPath;

/// Values are padded to at most this width before a comment.
const MAX_PADDING: usize = 48;

/// A table as it is shown.
#[derive(Default)]
struct Shown {
    /// Keys with single values and arrays.
    values: Vec<(String, Value, String)>,
    /// Keys with tables.
    tables: Vec<(String, Shown)>,
    /// Whether the operator chooses the keys: such a table of tables has no line of its own.
    is_named: bool,
}

impl Loaded {
    /// The effective configuration in TOML; with `origin`, a comment says where each value is from.
    pub(crate) fn to_toml(&self, origin: bool) -> String {
        let mut text = String::new();
        for (key, table) in self.shown().tables {
            write_table(&mut text, &key, &table, origin);
        }
        text
    }

    /// The effective configuration in JSON; with `origin`, each value is an object of `value` and
    /// `origin`.
    pub(crate) fn to_json(&self, origin: bool) -> Value {
        to_json(&self.shown(), origin)
    }

    fn shown(&self) -> Shown {
        // Maps with text keys, and no number that JSON does not have: it cannot fail.
        let config = serde_json::to_value(&self.config).unwrap_or_default();
        let mut root = Shown::default();
        if let Shape::Table(table) = &self.shape {
            self.add_table(&mut root, &config, table, &KeyPath::default());
        }
        root
    }

    fn add_table(&self, shown: &mut Shown, value: &Value, table: &Table, path: &KeyPath) {
        for (name, key) in &table.keys {
            if let Some(value) = value.get(name).filter(|value| !value.is_null()) {
                self.add(shown, name, value, &key.shape, &path.key(name));
            }
        }
    }

    fn add(&self, shown: &mut Shown, name: &str, value: &Value, shape: &Shape, path: &KeyPath) {
        let mut inner = Shown::default();
        match shape {
            Shape::Table(table) => self.add_table(&mut inner, value, table, path),
            Shape::Named(shape) => {
                inner.is_named = true;
                for (name, value) in value.as_object().into_iter().flatten() {
                    self.add(&mut inner, name, value, shape, &path.key(name));
                }
            }
            // One whose table names the variant as one of its keys.
            Shape::Tagged(variants) if value.get(TAG).is_some_and(Value::is_string) => {
                let tag = value.get(TAG).and_then(Value::as_str);
                if let Some(table) = tag.and_then(|tag| variants.get(tag)) {
                    self.add_table(&mut inner, value, table, path);
                }
            }
            Shape::Tagged(variants) => {
                let chosen = value.as_object().and_then(|object| object.iter().next());
                if let Some((tag, fields)) = chosen {
                    let origin = self.origin(&path.key(TAG));
                    inner.values.push((TAG.to_owned(), json!(tag), origin));
                    if let Some(table) = variants.get(tag) {
                        self.add_table(&mut inner, fields, table, path);
                    }
                }
            }
            Shape::List(_) | Shape::Leaf(_) => {
                let secret = matches!(shape, Shape::Leaf(Leaf { secret: true, .. }));
                // A secret that was not written is from the file that another key names.
                if !secret || self.layers.written(path).is_some() {
                    shown.values.push((name.to_owned(), written(value), self.origin(path)));
                }
                return;
            }
        }
        shown.tables.push((name.to_owned(), inner));
    }

    fn origin(&self, path: &KeyPath) -> String {
        self.layers.written(path).map_or_else(|| "default".to_owned(), |place| place.to_string())
    }
}

fn write_table(text: &mut String, header: &str, table: &Shown, origin: bool) {
    // Writing to a string cannot fail.
    if !table.is_named || !table.values.is_empty() {
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{gap}[{header}]");
    }
    let line = |(key, value, from): &(String, Value, String)| {
        (format!("{key} = {}", toml(value)), from.clone())
    };
    let lines: Vec<_> = table.values.iter().map(line).collect();
    let widths = lines.iter().map(|(line, _)| line.chars().count());
    let width = widths.filter(|width| *width <= MAX_PADDING).max().unwrap_or(0);
    for (line, from) in &lines {
        let _ = match origin {
            true => writeln!(text, "{line:width$}  # {from}"),
            false => writeln!(text, "{line}"),
        };
    }
    for (key, inner) in &table.tables {
        write_table(text, &format!("{header}.{key}"), inner, origin);
    }
}

/// A value without what is not there: the tables in an array keep what was written, since nobody
/// looks for defaults in each of them.
fn written(value: &Value) -> Value {
    let is_there = |value: &Value| match value {
        Value::Null => false,
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    };
    match value {
        Value::Array(elements) => elements.iter().map(written).collect(),
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| is_there(value));
            members.map(|(key, value)| (key.clone(), written(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn toml(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}

fn to_json(table: &Shown, origin: bool) -> Value {
    let mut object = Map::new();
    for (key, value, from) in &table.values {
        let value = match origin {
            true => json!({ "value": value, "origin": from }),
            false => value.clone(),
        };
        object.insert(key.clone(), value);
    }
    for (key, inner) in &table.tables {
        object.insert(key.clone(), to_json(inner, origin));
    }
    Value::Object(object)
}
