//! Where a text becomes another value: here, and only where the key takes one.
//!
//! A key that takes text keeps the text as it is: the password `00123` stays that.

use super::shape::{Leaf, List, Shape};
use super::toml_file;
use super::tree::Node;

/// What a text from the environment or the command line is to a key of this shape.
pub fn from_text(text: &str, shape: &Shape) -> Node {
    let as_text = || Node::Text(text.to_owned());
    match shape {
        Shape::Leaf(Leaf { integer: true, .. }) => {
            text.parse().map_or_else(|_| as_text(), Node::Integer)
        }
        Shape::Leaf(Leaf { number: true, .. }) => {
            let integer = text.parse().map(Node::Integer);
            integer.or_else(|_| text.parse().map(Node::Float)).unwrap_or_else(|_| as_text())
        }
        Shape::Leaf(Leaf { boolean: true, .. }) => {
            text.parse().map_or_else(|_| as_text(), Node::Boolean)
        }
        Shape::List(_) if text.trim().starts_with('[') => {
            let parsed = toml_file::parse_value(text.trim()).and_then(Node::from_value);
            parsed.unwrap_or_else(as_text)
        }
        Shape::List(List { or_one: true, .. }) if !text.contains(',') => as_text(),
        Shape::List(list) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Node::Array(parts.map(|part| from_text(part, &list.element)).enumerate().collect())
        }
        Shape::Leaf(_) | Shape::Table(_) | Shape::Named(_) | Shape::Tagged(_) => as_text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_what_the_key_takes_and_nothing_else() {
        let leaf = |integer, boolean| Shape::Leaf(Leaf { integer, boolean, ..Leaf::default() });
        assert_eq!(from_text("00123", &leaf(false, false)), Node::Text("00123".to_owned()));
        assert_eq!(from_text("123", &leaf(true, false)), Node::Integer(123));
        assert_eq!(from_text("1883.7", &leaf(true, false)), Node::Text("1883.7".to_owned()));
        assert_eq!(from_text("true", &leaf(false, true)), Node::Boolean(true));
        assert_eq!(from_text("yes", &leaf(false, true)), Node::Text("yes".to_owned()));
        let number = Shape::Leaf(Leaf { number: true, ..Leaf::default() });
        assert_eq!(from_text("0.1", &number), Node::Float(0.1));
        assert_eq!(from_text("-7", &number), Node::Integer(-7));
        assert_eq!(from_text("a tenth", &number), Node::Text("a tenth".to_owned()));
        let list = |or_one| Shape::List(List { element: Box::new(leaf(false, false)), or_one });
        let ab = vec![(0, Node::Text("a".to_owned())), (1, Node::Text("b".to_owned()))];
        assert_eq!(from_text("a, b", &list(false)), Node::Array(ab.clone()));
        assert_eq!(from_text("a, b", &list(true)), Node::Array(ab.clone()));
        assert_eq!(from_text("[\"a\", \"b\"]", &list(true)), Node::Array(ab));
        let a = Node::Text("a".to_owned());
        assert_eq!(from_text("a", &list(true)), a);
        assert_eq!(from_text("a", &list(false)), Node::Array(vec![(0, a)]));
    }
}
