//! URIs and paths: what a base URI is, and what a link leads to from there.

use alloc::format;
use alloc::string::String;
use core::net::Ipv6Addr;

use super::super::link_format::Link;

/// The longest base URI.
const MAX_BASE: usize = 255;

/// What is wrong with a base URI (RFC 9176 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BaseFault {
    /// Not what links can be resolved against.
    #[error("base is scheme://host or scheme://host:port, with at most {MAX_BASE} characters")]
    Form,
    /// It would say nothing on another machine.
    #[error("base has no zone identifier")]
    Zone,
    /// It would not be known on which link.
    #[error("a base that is link-local is for requests from a link-local address")]
    Link,
}

/// Checks a base URI: the scheme and the authority alone.
pub(super) fn check_base(base: &str) -> Result<(), BaseFault> {
    let (scheme, authority) = base.split_once("://").ok_or(BaseFault::Form)?;
    if authority.starts_with('[') && authority.contains('%') {
        return Err(BaseFault::Zone);
    }
    let is_sound = is_scheme(scheme)
        && !authority.is_empty()
        && !authority.contains(['/', '?', '#'])
        && base.len() <= MAX_BASE
        && Link::new(base).is_ok();
    if is_sound { Ok(()) } else { Err(BaseFault::Form) }
}

/// Whether a base URI has a link-local address (RFC 9176 §3.4).
pub(super) fn is_link_local(base: &str) -> bool {
    let host = base.split_once("://[").and_then(|(_, rest)| rest.split_once(']'));
    let address = host.and_then(|(address, _)| address.parse::<Ipv6Addr>().ok());
    address.is_some_and(|address| address.is_unicast_link_local())
}

/// Whether a reference is what Limited Link Format allows: a URI, or an absolute path
/// (RFC 9176 appendix C).
pub(super) fn is_limited(reference: &str) -> bool {
    is_uri(reference) || (reference.starts_with('/') && !reference.starts_with("//"))
}

/// Resolves such a reference (RFC 3986 §5.2): the base has no path of its own.
pub(super) fn resolve(base: &str, reference: &str) -> String {
    if is_uri(reference) { reference.into() } else { format!("{base}{reference}") }
}

fn is_uri(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
}

/// RFC 3986 §3.1
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_a_scheme_and_an_authority() {
        // RFC 9176 §5
        for base in ["coap://[2001:db8:3::123]:61616", "coaps+tcp://h.example", "coap://10.0.0.1:1"]
        {
            assert_eq!(check_base(base), Ok(()), "{base}");
        }
        let long = format!("coap://{}", "h".repeat(MAX_BASE));
        for base in ["", "h", "//h", "coap:h", "coap://", "coap://h/", "coap://h?q", "coap://h#f"] {
            assert_eq!(check_base(base), Err(BaseFault::Form), "{base}");
        }
        for base in ["1coap://h", "://h", "co ap://h", "coap://h h", "coap://h>", &long] {
            assert_eq!(check_base(base), Err(BaseFault::Form), "{base}");
        }
        assert_eq!(check_base("coap://[fe80::1%25eth0]"), Err(BaseFault::Zone));
        assert!(is_link_local("coap://[fe80::1]:5683") && !is_link_local("coap://[2001:db8::1]"));
    }

    #[test]
    fn references_are_uris_or_absolute_paths() {
        // RFC 9176 appendix C; RFC 3986 §4.2: `a:b/c` begins with a scheme, `./a:b` does not.
        for reference in ["/", "/a", "/a:b", "http://h/x", "urn:dev:1", "coap://h"] {
            assert!(is_limited(reference), "{reference}");
        }
        for reference in ["", "a", "a/b:c", "//h/a", "?q", "#f", "../a", "./a:b", "1:2"] {
            assert!(!is_limited(reference), "{reference}");
        }
        assert_eq!(resolve("coap://h", "/a?b"), "coap://h/a?b");
        assert_eq!(resolve("coap://h", "http://x/a"), "http://x/a");
    }
}
