//! "Did you mean": the name that is nearest to a misspelt one, and the place where a key belongs.

pub use crate::suggest::nearest;

use super::shape::{Shape, Table};
use super::strict::TAG;

/// What to do about `key`, which the table of `shape` does not have.
///
/// `tag` is the table's `type`, where it has one.
pub fn for_key(key: &str, shape: &Shape, tag: Option<&str>) -> Option<String> {
    let own = match (shape, tag) {
        (Shape::Table(table), _) => Some(table),
        (Shape::Tagged(variants), Some(tag)) => variants.get(tag),
        (Shape::Tagged(_), None) | (Shape::Named(_) | Shape::List(_) | Shape::Leaf(_), _) => None,
    };
    if let Some(inner) = own.and_then(|table| inside(key, table)) {
        return Some(format!("`{key}` belongs into `{inner}`: did you mean `{inner}.{key}`?"));
    }
    let names = own.into_iter().flat_map(|table| table.keys.keys()).map(String::as_str);
    if let Some(similar) = nearest(key, names.clone()) {
        return Some(format!("a key with a similar name exists: `{similar}`"));
    }
    if let Shape::Tagged(variants) = shape {
        let holds = |(_, table): &(&String, &Table)| table.keys.contains_key(key);
        if let Some((other, _)) = variants.iter().find(holds) {
            return Some(format!("`{key}` is a key of `{TAG} = \"{other}\"`"));
        }
    }
    let keys: Vec<_> = names.filter(|name| *name != TAG).collect();
    match keys.as_slice() {
        [] => None,
        keys => Some(format!("the keys here are {}", super::words::all_of(keys))),
    }
}

/// The key of a table inside `table` that has `key`.
fn inside<'a>(key: &str, table: &'a Table) -> Option<&'a str> {
    if key == TAG {
        return None;
    }
    let holds = |shape: &Shape| match shape {
        Shape::Table(table) => table.keys.contains_key(key),
        Shape::Tagged(variants) => variants.values().any(|table| table.keys.contains_key(key)),
        Shape::Named(_) | Shape::List(_) | Shape::Leaf(_) => false,
    };
    table.keys.iter().find(|(_, inner)| holds(&inner.shape)).map(|(name, _)| name.as_str())
}
