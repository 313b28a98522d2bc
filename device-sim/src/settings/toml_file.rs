//! A TOML file as a layer: its values with the bytes where they stand, and what is no TOML.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use config::{Value, ValueKind};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::findings::Findings;
use super::layer::{Layer, Spot};
use super::report::{Place, Problem, reason};
use super::shape::Shape;
use super::source_file::SourceFile;
use super::syntax::{self, Mistake};
use super::tree::{KeyPath, Node, Step};

/// The largest configuration file.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the file at `path` as the layer at `position`; `None` where it cannot be read. What is
/// wrong with it goes to `findings`.
pub fn read(path: &Path, position: usize, shape: &Shape, findings: &mut Findings) -> Option<Layer> {
    let name = path.display().to_string();
    let place = Place::Named { layer: position, name: name.clone() };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let problem = Problem::new(format!("cannot read the file: {}", reason(&error)), place);
        findings.unreadable(problem);
        return None;
    }
    if bytes.len() as u64 > MAX_BYTES {
        findings.unreadable(Problem::new("the file is larger than 1 MiB", place));
        return None;
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(parse(name, text, position, shape, findings)),
        Err(error) => {
            let valid = error.as_bytes().get(..error.utf8_error().valid_up_to());
            let line = valid.unwrap_or_default().iter().filter(|byte| **byte == b'\n').count() + 1;
            let title = format!("line {line} is not UTF-8 text");
            findings.unreadable(Problem::new(title, place).help("save the file in UTF-8"));
            None
        }
    }
}

fn parse(
    name: String,
    text: String,
    position: usize,
    shape: &Shape,
    findings: &mut Findings,
) -> Layer {
    let (mistakes, readable) = syntax::mistakes(&text);
    let (document, _) = DeTable::parse_recoverable(&readable);
    let mut found = Found::default();
    let root = KeyPath::default();
    let values = found.table(document.get_ref(), &root);

    let merged = Value::new(None, ValueKind::Table(values.clone()));
    let tree = Node::from_value(merged).unwrap_or_else(|| Node::Table(BTreeMap::new()));
    let secrets = found.spots.iter().filter(|(path, _)| can_be_secret(path, &tree, shape));
    let secrets = secrets.map(|(_, spot)| spot.value.clone()).collect();
    let file = Arc::new(SourceFile::new(name, text, secrets));

    let at = |span| {
        let file = Arc::clone(&file);
        Place::Span { layer: position, file, span, context: None, cut: false }
    };
    for Mistake { span, title, expected, hides_rest } in mistakes {
        let problem = Problem::new(title, at(span)).expected(expected);
        match hides_rest {
            true => findings.unreadable_from(problem),
            false => findings.unreadable(problem),
        }
    }
    for (path, what, expected) in std::mem::take(&mut found.refused) {
        let span = found.spots.get(&path).map(|spot| spot.value.clone()).unwrap_or_default();
        findings.fail(path, Problem::new(what, at(span)).expected(expected));
    }
    Layer::file(file, found.spots, values)
}

/// Whether a value is a secret, or one under a misspelt key.
fn can_be_secret(path: &KeyPath, tree: &Node, shape: &Shape) -> bool {
    let misspelt = || {
        let Some((parent, Step::Key(key))) = path.split_last() else { return false };
        let table = shape.table_at(&parent, tree);
        table.is_some_and(|table| table.has_secret() && !table.keys.contains_key(key))
    };
    shape.is_secret(path, tree) || misspelt()
}

/// What was found on the way through a document.
#[derive(Default)]
struct Found {
    spots: BTreeMap<KeyPath, Spot>,
    /// Values of types that the configuration does not know: path, what is there, what is expected.
    refused: Vec<(KeyPath, &'static str, &'static str)>,
}

impl Found {
    fn table(&mut self, table: &DeTable<'_>, path: &KeyPath) -> HashMap<String, Value> {
        let mut values = HashMap::new();
        for (key, value) in table.iter() {
            let path = path.key(key.get_ref());
            self.spots.insert(path.clone(), Spot { key: key.span(), value: value.span() });
            if let Some(value) = self.value(value, &path) {
                values.insert(key.get_ref().to_string(), value);
            }
        }
        values
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, path: &KeyPath) -> Option<Value> {
        let kind = match value.get_ref() {
            DeValue::Boolean(value) => ValueKind::Boolean(*value),
            DeValue::String(text) => ValueKind::String(text.to_string()),
            DeValue::Float(number) => ValueKind::Float(number.as_str().parse().ok()?),
            DeValue::Table(table) => ValueKind::Table(self.table(table, path)),
            DeValue::Integer(number) => match integer(number) {
                Some(number) => ValueKind::I64(number),
                None => {
                    return self.refuse(
                        path,
                        "invalid value: integer out of range",
                        "expected an integer of at most 64 bits",
                    );
                }
            },
            DeValue::Datetime(_) => {
                return self.refuse(
                    path,
                    "invalid type: date or time",
                    "expected another type: no key is a date; write text in quotes",
                );
            }
            DeValue::Array(array) => {
                let mut values = Vec::new();
                for (index, element) in array.iter().enumerate() {
                    let path = path.index(index);
                    let span = element.span();
                    self.spots.insert(path.clone(), Spot { key: span.clone(), value: span });
                    // An element that is refused keeps its place, so that the others keep theirs.
                    let kind = self.value(element, &path).unwrap_or_default();
                    values.push(kind);
                }
                ValueKind::Array(values)
            }
        };
        Some(Value::new(None, kind))
    }

    fn refuse(
        &mut self,
        path: &KeyPath,
        what: &'static str,
        expected: &'static str,
    ) -> Option<Value> {
        self.refused.push((path.clone(), what, expected));
        None
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Reads one TOML value, such as an inline table, without places.
pub fn parse_value(text: &str) -> Option<Value> {
    let value = DeValue::parse(text).ok()?;
    let mut found = Found::default();
    let value = found.value(&value, &KeyPath::default());
    value.filter(|_| found.refused.is_empty())
}
