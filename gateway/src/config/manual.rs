//! The manual of the configuration, written from the schema: `docs/configuration.md`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Config;
use super::shape::{Doc, Key, List, Shape, Table};
use super::strict::TAG;

/// Sections in the order in which one writes a file; a test watches that none is missing.
const SECTIONS: [&str; 8] =
    ["gateway", "store", "sources", "brokers", "routes", "commands", "operations", "groups"];

const INTRODUCTION: &str = include_str!("manual/introduction.md");

/// The manual in Markdown.
pub(crate) fn manual() -> String {
    let mut text = INTRODUCTION.to_owned();
    if let Shape::Table(root) = Shape::of::<Config>() {
        for (name, key) in SECTIONS.iter().filter_map(|name| root.keys.get_key_value(*name)) {
            section(&mut text, name, key);
        }
    }
    text
}

fn section(text: &mut String, name: &str, key: &Key) {
    match &key.shape {
        Shape::Named(inner) => {
            heading(text, 2, &format!("`[{name}.NAME]`"), &key.doc);
            if let Shape::Table(table) = &**inner {
                keys(text, table);
                parts(text, table);
            }
        }
        Shape::Table(table) => {
            heading(text, 2, &format!("`[{name}]`"), &key.doc);
            keys(text, table);
            parts(text, table);
        }
        Shape::Tagged(_) | Shape::List(_) | Shape::Leaf(_) => {}
    }
}

/// The tables inside of a table.
fn parts(text: &mut String, table: &Table) {
    for (name, key) in ["link", "frame", "decode", "units", "tls", "value", "via"]
        .iter()
        .filter_map(|n| table.keys.get_key_value(*n))
    {
        match &key.shape {
            Shape::Tagged(variants) => {
                heading(text, 3, &format!("`{name}`"), &key.doc);
                for (tag, variant) in variants {
                    let title = format!("`{name} = {{ {TAG} = \"{tag}\" }}`");
                    heading(text, 4, &title, &variant.doc);
                    keys(text, variant);
                    inner_tables(text, name, tag, variant, &mut BTreeSet::new());
                }
            }
            Shape::Table(inner) => {
                heading(text, 3, &format!("`{name}`"), &key.doc);
                keys(text, inner);
            }
            Shape::Named(inner) => {
                heading(text, 3, &format!("`{name}.NAME`"), &key.doc);
                let Shape::Table(inner) = &**inner else { continue };
                keys(text, inner);
                for (named, key) in &inner.keys {
                    if let Shape::Named(part) = &key.shape
                        && let Shape::Table(part) = &**part
                    {
                        heading(text, 4, &format!("`{name}.NAME.{named}.NAME`"), &part.doc);
                        keys(text, part);
                    }
                }
            }
            Shape::List(_) | Shape::Leaf(_) => {}
        }
    }
}

/// The tables in a variant: one, as many as the operator names, and those in its arrays. Tables that
/// are shown already, by what they are, are not shown again.
fn inner_tables<'a>(
    text: &mut String,
    path: &str,
    tag: &str,
    table: &'a Table,
    shown: &mut BTreeSet<&'a str>,
) {
    for (name, key) in &table.keys {
        let path = format!("{path}.{name}");
        let (title, doc, inner) = match &key.shape {
            Shape::Table(inner) => (format!("`{path}` in `{tag}`"), &key.doc, inner),
            Shape::Named(inner) => {
                let Shape::Table(inner) = &**inner else { continue };
                (format!("`{path}.NAME` in `{tag}`"), &inner.doc, inner)
            }
            Shape::List(List { element, .. }) => {
                let Shape::Table(inner) = &**element else { continue };
                (format!("Each of `{path}` in `{tag}`"), &inner.doc, inner)
            }
            Shape::Tagged(_) | Shape::Leaf(_) => continue,
        };
        if inner.keys.is_empty() || shown.insert(&inner.doc.text) {
            heading(text, 5, &title, doc);
            keys(text, inner);
            inner_tables(text, &path, tag, inner, shown);
        }
    }
}

// Writing to a string cannot fail.

fn heading(text: &mut String, level: usize, title: &str, doc: &Doc) {
    let _ = write!(text, "\n{} {title}\n\n{}\n", "#".repeat(level), doc.text);
    if let Some(example) = &doc.example {
        let _ = write!(text, "\n```toml\n{example}\n```\n");
    }
}

fn keys(text: &mut String, table: &Table) {
    // The tag of a variant stands in its title; a `type` with choices is a key like others.
    let is_key = |key: &Key| matches!(&key.shape, Shape::Leaf(leaf) if !leaf.choices.is_empty());
    let keys = table.keys.iter().filter(|(name, key)| *name != TAG || is_key(key));
    let mut keys: Vec<_> = keys.collect();
    if keys.is_empty() {
        text.push_str("\nIt has no keys.\n");
        return;
    }
    keys.sort_by_key(|(_, key)| !key.required);
    text.push_str("\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
    for (name, key) in keys {
        let default = match &key.default {
            _ if key.required => "required".to_owned(),
            Some(value) => format!("`{value}`"),
            None => String::new(),
        };
        let meaning = cell(&meaning(key));
        let _ = writeln!(text, "| `{name}` | {} | {default} | {meaning} |", kind(&key.shape));
    }
}

fn meaning(key: &Key) -> String {
    let mut text = key.doc.text.clone();
    match &key.shape {
        Shape::Leaf(leaf) => {
            for (choice, meaning) in &leaf.choices {
                let _ = write!(text, "<br>`\"{choice}\"`: {meaning}");
            }
        }
        // The rest stands in its own section.
        Shape::Table(_) => text.truncate(text.find(". ").map_or(text.len(), |end| end + 1)),
        Shape::Named(_) | Shape::Tagged(_) | Shape::List(_) => {}
    }
    text
}

fn kind(shape: &Shape) -> String {
    match shape {
        Shape::Leaf(leaf) => leaf.kind.clone(),
        Shape::List(List { element, or_one: false }) => format!("array of {}", kind(element)),
        Shape::List(List { element, or_one: true }) => {
            let kind = kind(element);
            format!("{kind} or array of {kind}")
        }
        Shape::Tagged(_) => format!("table with a `{TAG}`"),
        Shape::Table(_) | Shape::Named(_) => "table".to_owned(),
    }
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_in_the_manual() {
        let Shape::Table(root) = Shape::of::<Config>() else { panic!("the root is a table") };
        let mut sections = SECTIONS.to_vec();
        sections.sort_unstable();
        assert_eq!(root.keys.keys().collect::<Vec<_>>(), sections);
    }
}
