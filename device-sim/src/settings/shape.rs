//! What the configuration looks like, from the schema of its types: which keys a table has, which
//! are required, what is secret, and what a key means.
//!
//! The JSON Schema is made for editors: every part is inlined and closed, so that even validators
//! of draft 7 point at an unknown key.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::strict::TAG;
use super::tree::{KeyPath, Node, Step};

/// One part of the configuration.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A table with these keys.
    Table(Table),
    /// A table whose keys are names that the operator chooses.
    Named(Box<Shape>),
    /// A table that is one of these by its `type`.
    Tagged(BTreeMap<String, Table>),
    /// An array.
    List(List),
    /// A single value.
    Leaf(Leaf),
}

/// An array.
#[derive(Clone, Debug)]
pub struct List {
    /// What it holds.
    pub element: Box<Shape>,
    /// Whether one element can stand without an array around it.
    pub or_one: bool,
}

/// A table with fixed keys.
#[derive(Clone, Debug)]
pub struct Table {
    /// What it is for.
    pub doc: Doc,
    /// Its keys.
    pub keys: BTreeMap<String, Key>,
}

/// A key of a table.
#[derive(Clone, Debug)]
pub struct Key {
    /// What it means.
    pub doc: Doc,
    /// Whether it must be there.
    pub required: bool,
    /// Its value where it is not there.
    pub default: Option<Value>,
    /// What it holds.
    pub shape: Shape,
}

/// A single value.
#[derive(Clone, Debug, Default)]
pub struct Leaf {
    /// Its kind in words.
    pub kind: String,
    /// Whether it can be an integer.
    pub integer: bool,
    /// Whether it can be a number with a fraction.
    pub number: bool,
    /// Whether it can be a boolean.
    pub boolean: bool,
    /// Whether it never is to be printed.
    pub secret: bool,
    /// The texts that it can be, with their meaning, where there are only some.
    pub choices: Vec<(String, String)>,
}

/// What the manual says about a part.
#[derive(Clone, Debug, Default)]
pub struct Doc {
    /// Its paragraphs in one line.
    pub text: String,
    /// An example in TOML.
    pub example: Option<String>,
}

/// The JSON Schema of `T` (draft 7, which editors understand), with this title.
pub fn schema<T: JsonSchema>(title: &str) -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    close(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!(title));
    }
    schema
}

/// Closes tables against unknown keys and takes out `null`, which TOML does not have.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("properties") {
                object.entry("additionalProperties").or_insert(json!(false));
            }
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            drop_null_choice(object);
            object.values_mut().for_each(close);
        }
        Value::Array(values) => values.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `anyOf: [X, null]`, which is how an optional table is written, becomes X.
fn drop_null_choice(object: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
    if choices.len() == 1
        && let Some(Value::Object(only)) = choices.pop()
    {
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

impl Shape {
    /// The shape of a `T`.
    pub fn of<T: JsonSchema>() -> Self {
        Self::read(&schema::<T>(""))
    }

    fn read(schema: &Value) -> Self {
        if let Some(variants) = schema.get("oneOf").and_then(Value::as_array) {
            let tagged: BTreeMap<_, _> = variants.iter().filter_map(variant).collect();
            if !tagged.is_empty() {
                return Self::Tagged(tagged);
            }
        }
        if schema.get("properties").is_some() {
            return Self::Table(table(schema));
        }
        if let Some(named) = schema.get("patternProperties").and_then(Value::as_object)
            && let Some(value) = named.values().next()
        {
            return Self::Named(Box::new(Self::read(value)));
        }
        let list =
            |items, or_one| Self::List(List { element: Box::new(Self::read(items)), or_one });
        if let Some(items) = schema.get("items") {
            return list(items, false);
        }
        let mut choices = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        if let Some(table) = choices.clone().find(|choice| choice.get("properties").is_some()) {
            return Self::read(table);
        }
        if let Some(items) = choices.find_map(|choice| choice.get("items")) {
            return list(items, true);
        }
        Self::Leaf(leaf(schema))
    }

    /// The shape at `path`; what a table's `type` is comes from `tree`.
    pub fn at(&self, path: &KeyPath, tree: &Node) -> Option<&Self> {
        let mut shape = self;
        let mut here = KeyPath::default();
        for step in path.steps() {
            shape = match (shape, step) {
                (Self::Table(table), Step::Key(key)) => &table.keys.get(key)?.shape,
                (Self::Named(shape), Step::Key(_)) => shape,
                (Self::List(list), Step::Index(_)) => &list.element,
                (Self::Tagged(variants), Step::Key(key)) => {
                    let chosen = match tree.get(&here.key(TAG)) {
                        Some(Node::Text(tag)) => variants.get(tag),
                        _ => None,
                    };
                    let mut tables = chosen.into_iter().chain(variants.values());
                    &tables.find_map(|table| table.keys.get(key))?.shape
                }
                _ => return None,
            };
            here = match step {
                Step::Key(key) => here.key(key),
                Step::Index(index) => here.index(*index),
            };
        }
        Some(shape)
    }

    /// Whether the value at `path` never is to be printed.
    pub fn is_secret(&self, path: &KeyPath, tree: &Node) -> bool {
        matches!(self.at(path, tree), Some(Self::Leaf(Leaf { secret: true, .. })))
    }

    /// The table at `path` that fits its `type`.
    pub fn table_at(&self, path: &KeyPath, tree: &Node) -> Option<&Table> {
        match self.at(path, tree)? {
            Self::Table(table) => Some(table),
            Self::Tagged(variants) => match tree.get(&path.key(TAG)) {
                Some(Node::Text(tag)) => variants.get(tag),
                _ => None,
            },
            Self::Named(_) | Self::List(_) | Self::Leaf(_) => None,
        }
    }
}

impl Table {
    /// Whether one of its keys never is to be printed.
    pub fn has_secret(&self) -> bool {
        let is_secret = |key: &Key| matches!(key.shape, Shape::Leaf(Leaf { secret: true, .. }));
        self.keys.values().any(is_secret)
    }
}

/// The `type` and the table of a variant; `None` for a variant that is text.
fn variant(schema: &Value) -> Option<(String, Table)> {
    let tag = schema.get("properties")?.get(TAG)?.get("const")?.as_str()?;
    Some((tag.to_owned(), table(schema)))
}

fn table(schema: &Value) -> Table {
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |key: &str| required.is_some_and(|keys| keys.iter().any(|other| other == key));
    let properties = schema.get("properties").and_then(Value::as_object);
    let keys = properties.into_iter().flatten().map(|(name, schema)| {
        let key = Key {
            doc: doc(schema),
            required: is_required(name),
            default: schema.get("default").cloned(),
            shape: Shape::read(schema),
        };
        (name.clone(), key)
    });
    Table { doc: doc(schema), keys: keys.collect() }
}

/// A description: text, and maybe an example between fences.
fn doc(schema: &Value) -> Doc {
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let (text, fenced) = description.split_once("```toml").unwrap_or((description, ""));
    let example = fenced.split_once("```").map(|(example, _)| example.trim().to_owned());
    Doc { text: text.split_whitespace().collect::<Vec<_>>().join(" "), example }
}

fn leaf(schema: &Value) -> Leaf {
    let can_be = |name: &str| match schema.get("type") {
        Some(Value::Array(types)) => types.iter().any(|other| other == name),
        Some(only) => only == name,
        None => false,
    };
    let mut leaf = Leaf {
        kind: "text".to_owned(),
        integer: can_be("integer"),
        number: can_be("number"),
        boolean: can_be("boolean"),
        secret: schema.get("writeOnly").is_some_and(|value| value == true),
        choices: Vec::new(),
    };
    let variants = schema.get("oneOf").and_then(Value::as_array);
    for choice in variants.into_iter().flatten() {
        if let Some(text) = choice.get("const").and_then(Value::as_str) {
            leaf.choices.push((text.to_owned(), doc(choice).text));
        }
    }
    if let Some(title) = schema.get("title").and_then(Value::as_str) {
        leaf.kind = title.to_owned();
    } else if leaf.boolean {
        leaf.kind = "boolean".to_owned();
    } else if leaf.integer {
        leaf.kind = "integer".to_owned();
    } else if !leaf.choices.is_empty() {
        leaf.kind = "choice".to_owned();
    }
    leaf
}
