//! Choosing links by a query (RFC 6690 §4.1).

use super::{LISTS, Link};

/// One argument of a query, such as `rt=temperature*`.
///
/// It asks for `href`, the target, or for any attribute. A `*` at the end stands for any rest. Of
/// an attribute that is a list one item has to match, or the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filter<'a> {
    name: &'a str,
    /// `None` asks only that the attribute is there.
    pattern: Option<Pattern<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pattern<'a> {
    Whole(&'a str),
    Prefix(&'a str),
}

impl<'a> Filter<'a> {
    /// The filter that a Uri-Query asks for.
    pub fn new(argument: &'a str) -> Self {
        let Some((name, pattern)) = argument.split_once('=') else {
            return Self { name: argument, pattern: None };
        };
        let pattern = match pattern.strip_suffix('*') {
            Some(prefix) => Pattern::Prefix(prefix),
            None => Pattern::Whole(pattern),
        };
        Self { name, pattern: Some(pattern) }
    }

    /// Whether a link is one of those that are asked for.
    pub fn matches(&self, link: &Link) -> bool {
        if self.name == "href" {
            return self.matches_value(link.target());
        }
        let is_list = LISTS.contains(&self.name);
        link.values(self.name).any(|value| {
            let mut items = value.split(' ').filter(|_| is_list);
            self.matches_value(value) || items.any(|item| self.matches_value(item))
        })
    }

    fn matches_value(&self, value: &str) -> bool {
        match self.pattern {
            None => true,
            Some(Pattern::Whole(whole)) => value == whole,
            Some(Pattern::Prefix(prefix)) => value.starts_with(prefix),
        }
    }
}
