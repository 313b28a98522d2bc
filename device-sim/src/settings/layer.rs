//! One layer of the configuration: a file, a variable of the environment, or a `--set`.
//!
//! A layer knows where each of its values was written. `config` merges the layers; it keeps no
//! places, so the place of a merged value is that in the last layer which has its path.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use config::{ConfigError, Map, Source, Value, ValueKind};

use super::report::Place;
use super::source_file::SourceFile;
use super::tree::{KeyPath, Node, Step};

/// The only key that `config` sees at its top. It reads a dot or bracket in a top-level key as a
/// path, so what the operator wrote goes one level below.
const ROOT: &str = "root";

/// Where the parts of a layer come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// What the service manager handed over, by the name that messages use.
    Service(String),
    /// A file that was read.
    File(Arc<SourceFile>),
    /// A variable or an argument: the name that messages use, and what it sets.
    Text {
        /// The name.
        name: String,
        /// The path of its value.
        path: KeyPath,
    },
}

/// The bytes of a key and of its value.
#[derive(Clone, Debug)]
pub struct Spot {
    /// The key, or the element of an array.
    pub key: Range<usize>,
    /// The value; the header of a table.
    pub value: Range<usize>,
}

impl Spot {
    /// Whether the value is a table under a header, which has the key in it.
    const fn is_header(&self) -> bool {
        self.value.start < self.key.start && self.key.end <= self.value.end
    }
}

/// What a place shall show of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The key.
    Key,
    /// The key of a value that nobody knows: it may be a misspelt secret, so it is not shown.
    UnknownKey,
    /// The value.
    Value,
}

/// One layer.
#[derive(Clone)]
pub struct Layer {
    origin: Origin,
    spots: BTreeMap<KeyPath, Spot>,
    values: HashMap<String, Value>,
}

impl Layer {
    /// A file's values and where they stand.
    pub fn file(
        file: Arc<SourceFile>,
        spots: BTreeMap<KeyPath, Spot>,
        values: HashMap<String, Value>,
    ) -> Self {
        Self { origin: Origin::File(file), spots, values }
    }

    /// One value at `path`, from `origin`.
    pub fn assignment(origin: Origin, path: &KeyPath, value: Value) -> Self {
        let mut paths = vec![path.clone()];
        inner_paths(&value, path, &mut paths);
        let mut here = path.parent();
        while !here.steps().is_empty() {
            paths.push(here.clone());
            here = here.parent();
        }
        let nowhere = Spot { key: 0..0, value: 0..0 };
        let spots = paths.into_iter().map(|path| (path, nowhere.clone())).collect();

        let value = path.steps().iter().rev().fold(value, |value, step| match step {
            Step::Key(key) => Value::new(None, Map::from([(key.clone(), value)])),
            Step::Index(_) => value,
        });
        let values = value.into_table().unwrap_or_default();
        Self { origin, spots, values }
    }

    /// Where this layer comes from.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether this layer has a value at `path`.
    pub fn has(&self, path: &KeyPath) -> bool {
        self.spots.contains_key(path)
    }

    /// The paths of this layer's values.
    pub fn paths(&self) -> impl Iterator<Item = &KeyPath> {
        self.spots.keys()
    }

    /// The place of the value at `path`, which this layer has; `position` is that of the layer.
    fn place(&self, position: usize, path: &KeyPath, aim: Aim) -> Option<Place> {
        let spot = self.spots.get(path)?;
        Some(match &self.origin {
            Origin::Service(name) | Origin::Text { name, .. } => {
                Place::Named { layer: position, name: name.clone() }
            }
            Origin::File(file) => {
                let span = match aim {
                    Aim::Key | Aim::UnknownKey if !spot.is_header() => spot.key.clone(),
                    Aim::Key | Aim::UnknownKey | Aim::Value => spot.value.clone(),
                };
                let cut = aim == Aim::UnknownKey;
                let context = self.header_around(path).map(|spot| spot.value.start);
                Place::Span { layer: position, file: Arc::clone(file), span, context, cut }
            }
        })
    }

    /// The header of the innermost table around the value at `path`.
    fn header_around(&self, path: &KeyPath) -> Option<&Spot> {
        let begins = self.spots.get(path).map(|spot| spot.key.start)?;
        let mut inner = path.clone();
        while let Some((outer, _)) = inner.split_last() {
            // The header of an array's element, [[faults]], is all that its span has of it.
            let is_element = matches!(outer.steps().last(), Some(Step::Index(_)));
            let is_header =
                |spot: &Spot| spot.is_header() || is_element && spot.value.end <= begins;
            match self.spots.get(&outer) {
                Some(spot) if is_header(spot) => return Some(spot),
                Some(_) | None => inner = outer,
            }
        }
        None
    }
}

/// Names the layer alone: its values may be secrets.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let values = Value::new(None, ValueKind::Table(self.values.clone()));
        Ok(Map::from([(ROOT.to_owned(), values)]))
    }
}

/// The layers, the strongest last.
#[derive(Clone, Debug, Default)]
pub struct Layers(Vec<Layer>);

impl Layers {
    /// Adds a stronger layer.
    pub fn push(&mut self, layer: Layer) {
        self.0.push(layer);
    }

    /// Adds a stronger layer, if there is one.
    pub fn extend(&mut self, layer: Option<Layer>) {
        self.0.extend(layer);
    }

    /// Whether the operator wrote nothing: the service manager does not count.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|layer| matches!(layer.origin, Origin::Service(_)))
    }

    /// The layers, the weakest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Layer> {
        self.0.iter()
    }

    /// The position that the next layer gets.
    pub fn next_position(&self) -> usize {
        self.0.len()
    }

    /// All layers in one tree.
    ///
    /// # Errors
    ///
    /// None in practice: the layers were read before, and merging cannot fail.
    pub fn merge(&self) -> Result<Node, ConfigError> {
        let builder = self
            .iter()
            .cloned()
            .fold(config::Config::builder(), |builder, layer| builder.add_source(layer));
        let mut merged = builder.build()?.cache.into_table()?;
        let root = merged.remove(ROOT).and_then(Node::from_value);
        Ok(root.unwrap_or_else(|| Node::Table(BTreeMap::new())))
    }

    /// Where the value at `path` stands; where it has no place, what it is in.
    pub fn place(&self, path: &KeyPath, aim: Aim) -> Place {
        let mut path = path.clone();
        let mut aim = aim;
        loop {
            if let Some(place) = self.places(&path, aim).next() {
                return place;
            }
            if path.steps().is_empty() {
                return Place::Nowhere;
            }
            path = path.parent();
            aim = Aim::Key;
        }
    }

    /// Where the value at `path` stands, if it was written at all.
    pub fn written(&self, path: &KeyPath) -> Option<Place> {
        self.places(path, Aim::Value).next()
    }

    /// Where the value at `path` was set that the last layer overrides.
    pub fn overridden(&self, path: &KeyPath) -> Option<Place> {
        self.places(path, Aim::Value).nth(1)
    }

    /// The places of the value at `path`, the strongest first.
    fn places(&self, path: &KeyPath, aim: Aim) -> impl Iterator<Item = Place> {
        let first = self.first_layer(path);
        let layers = self.0.iter().enumerate().skip(first).rev();
        layers.filter_map(move |(position, layer)| layer.place(position, path, aim))
    }

    /// The first layer whose value at `path` counts. A layer replaces an array whole, so what weaker
    /// layers have inside of it does not.
    fn first_layer(&self, path: &KeyPath) -> usize {
        let mut inner = path.clone();
        let mut first = 0;
        while let Some((outer, step)) = inner.split_last() {
            if matches!(step, Step::Index(_)) {
                first = first.max(self.0.iter().rposition(|layer| layer.has(&outer)).unwrap_or(0));
            }
            inner = outer;
        }
        first
    }
}

fn inner_paths(value: &Value, path: &KeyPath, paths: &mut Vec<KeyPath>) {
    let mut add = |value: &Value, path: KeyPath| {
        inner_paths(value, &path, paths);
        paths.push(path);
    };
    match &value.kind {
        ValueKind::Table(table) => {
            table.iter().for_each(|(key, value)| add(value, path.key(key)));
        }
        ValueKind::Array(array) => {
            array.iter().enumerate().for_each(|(index, value)| add(value, path.index(index)));
        }
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)
        | ValueKind::String(_) => {}
    }
}
