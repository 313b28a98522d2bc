//! The address of a CoAP node.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::authority::{self, AuthorityFault};
use super::text_value;

/// CoAP over UDP (RFC 7252 §6.1).
const DEFAULT_PORT: u16 = 5683;

/// `coap://host[:port]`. An IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeUrl {
    host: String,
    port: u16,
}

/// Why a text is no node's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NodeUrlError {
    #[error("expected `coap://` before the host: coap://{0}")]
    NoScheme(String),
    #[error("expected the scheme coap: nodes are asked over UDP, not by `{0}`")]
    Scheme(String),
    #[error("expected no user in the address of a node")]
    UserInfo,
    #[error("expected a host name or an address after `coap://`")]
    Host,
    #[error("expected an IPv6 address in brackets, such as coap://[2001:db8::7]")]
    Ipv6,
    #[error("expected a port from 1 to 65535 after `:`")]
    Port,
    #[error(
        "expected nothing after the port: coap://host:port\nwrite the path in `resources`, such as resources.temp = {{ path = \"{0}\" }}"
    )]
    Path(String),
}

impl NodeUrl {
    /// The host: a name, or an address (IPv6 without its brackets).
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Where the node is, if the host is an address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }
}

impl FromStr for NodeUrl {
    type Err = NodeUrlError;

    fn from_str(text: &str) -> Result<Self, NodeUrlError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(NodeUrlError::NoScheme(text.to_owned()));
        };
        if scheme != "coap" {
            return Err(NodeUrlError::Scheme(scheme.to_owned()));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(NodeUrlError::UserInfo);
        }
        let parsed = authority::parse(authority, DEFAULT_PORT);
        let (host, port) = parsed.map_err(|fault| match fault {
            AuthorityFault::Host => NodeUrlError::Host,
            AuthorityFault::Ipv6 => NodeUrlError::Ipv6,
            AuthorityFault::Port => NodeUrlError::Port,
        })?;
        // `coap://host/` is the same as `coap://host` (RFC 7252 §6.3).
        match path {
            "" | "/" => Ok(Self { host, port }),
            path => Err(NodeUrlError::Path(path.to_owned())),
        }
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.contains(':') {
            true => write!(f, "coap://[{host}]:{port}"),
            false => write!(f, "coap://{host}:{port}"),
        }
    }
}

text_value!(NodeUrl, "url", "expected an address such as \"coap://192.0.2.7\"", {
    "pattern": r"^coap://(\[[0-9A-Fa-f:.]+\]|[^\[\]@:/?#]+)(:[0-9]{1,5})?/?$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_at_a_host_and_a_port() {
        for (text, host, port, is_address) in [
            ("coap://192.0.2.7", "192.0.2.7", 5683, true),
            ("coap://Roof.lan:5684", "roof.lan", 5684, false),
            ("coap://[2001:db8::7]/", "2001:db8::7", 5683, true),
            ("coap://[::1]:1", "::1", 1, true),
        ] {
            let url: NodeUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port));
            assert_eq!(url.address().is_some(), is_address, "{text}");
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn what_is_no_node_is_refused_by_name() {
        use NodeUrlError as E;
        for (text, error) in [
            ("192.0.2.7", E::NoScheme("192.0.2.7".to_owned())),
            ("coaps://h", E::Scheme("coaps".to_owned())),
            ("coap+tcp://h", E::Scheme("coap+tcp".to_owned())),
            ("coap://u@h", E::UserInfo),
            ("coap://", E::Host),
            ("coap://a b", E::Host),
            ("coap://2001:db8::7", E::Ipv6),
            ("coap://h:0", E::Port),
            ("coap://h/temp", E::Path("/temp".to_owned())),
            ("coap://h?x", E::Path("?x".to_owned())),
        ] {
            assert_eq!(text.parse::<NodeUrl>(), Err(error), "{text}");
        }
    }
}
