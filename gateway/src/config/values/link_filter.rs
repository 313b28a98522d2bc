//! Which links of a node are meant.

use std::fmt;
use std::str::FromStr;

use proto::coap::link_format::{Filter, Link};

use super::text_value;

/// What a link must have: `rt=temperature*`, or `obs` (RFC 6690 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkFilter(String);

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkFilterError {
    #[error(
        "expected the name of an attribute, such as \"rt=temperature*\", \"ct=112\" or \"obs\""
    )]
    Name,
    #[error(
        "expected one attribute: write several as an array, such as [\"rt=temperature\", \"obs\"]"
    )]
    Several,
}

impl LinkFilter {
    /// Whether a link has it.
    pub(crate) fn matches(&self, link: &Link) -> bool {
        Filter::new(&self.0).matches(link)
    }
}

impl FromStr for LinkFilter {
    type Err = LinkFilterError;

    fn from_str(text: &str) -> Result<Self, LinkFilterError> {
        let name = text.split('=').next().unwrap_or_default();
        // RFC 6690 §2: parmname
        let in_name = |c: char| c.is_ascii_alphanumeric() || "!#$&+-.^_`|~*".contains(c);
        if name.is_empty() || !name.chars().all(in_name) {
            return Err(LinkFilterError::Name);
        }
        match text.contains(['&', ';']) {
            true => Err(LinkFilterError::Several),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for LinkFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_value!(LinkFilter, "filter", "expected a filter such as \"rt=temperature*\"", {});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_an_attribute_and_what_it_is() {
        for text in ["rt=temperature*", "if=core.s", "ct=112", "obs", "href=/sensors/*"] {
            assert_eq!(text.parse::<LinkFilter>().unwrap().to_string(), text);
        }
        assert_eq!("".parse::<LinkFilter>(), Err(LinkFilterError::Name));
        assert_eq!("a b=1".parse::<LinkFilter>(), Err(LinkFilterError::Name));
        assert_eq!("rt=a;obs".parse::<LinkFilter>(), Err(LinkFilterError::Several));
    }
}
