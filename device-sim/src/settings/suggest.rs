//! "Did you mean": the name that is nearest to a misspelt one, and the place where a key belongs.

use super::shape::{Shape, Table};
use super::strict::TAG;

/// The nearest of `names`, where one is near enough to be meant, and nearer than all others.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = wanted.chars().count();
    let most = (length / 3).max(1).min(length.saturating_sub(1));
    let distances = names.into_iter().map(|name| (strsim::damerau_levenshtein(wanted, name), name));
    let mut near: Vec<_> =
        distances.filter(|(far, name)| *far <= most || continues(wanted, name)).collect();
    near.sort_unstable();
    match near.as_slice() {
        [(nearest, _), (next, _), ..] if nearest == next => None,
        [(_, name), ..] => Some(*name),
        [] => None,
    }
}

/// Whether one is the start of the other and not too short to say anything: `pass`, `password`.
fn continues(wanted: &str, name: &str) -> bool {
    wanted.len() >= 3 && name.len() >= 3 && (name.starts_with(wanted) || wanted.starts_with(name))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let names = ["url", "username", "password", "window"];
        assert_eq!(nearest("usrname", names), Some("username"));
        assert_eq!(nearest("ulr", names), Some("url"));
        assert_eq!(nearest("pass", names), Some("password"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("x", ["a", "b"]), None);
        assert_eq!(nearest("senml", ["senml+json", "senml+cbor"]), None);
    }
}
