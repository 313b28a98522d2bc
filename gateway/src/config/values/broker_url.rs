//! The address of a broker.

use std::fmt;
use std::str::FromStr;

use super::authority::{self, AuthorityFault};
use super::text_value;

/// The path of a WebSocket where none is given: what brokers use.
const DEFAULT_PATH: &str = "/mqtt";
/// The longest path.
const MAX_PATH: usize = 1024;

/// `scheme://host[:port]`, and `/path` for a WebSocket. An IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BrokerUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    /// Of a WebSocket alone.
    path: String,
}

/// How MQTT is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scheme {
    /// TCP.
    Mqtt,
    /// TLS over TCP.
    Mqtts,
    /// A WebSocket over TCP (MQTT 3.1.1 §6).
    Ws,
    /// A WebSocket over TLS.
    Wss,
}

/// Why a text is no broker's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokerUrlError {
    #[error("expected `mqtt://` or `mqtts://` before the host: mqtt://{0}")]
    NoScheme(String),
    #[error("expected the scheme mqtt, mqtts, ws or wss: `{0}` is none of them{instead}", instead = instead(.0))]
    Scheme(String),
    #[error(
        "expected no user and password in the address\n\
         write them as `username` and `password_file` of the broker"
    )]
    UserInfo,
    #[error("expected a host name or an address after `{0}://`")]
    Host(Scheme),
    #[error("expected an IPv6 address in brackets, such as {0}://[::1]:{port}", port = .0.default_port())]
    Ipv6(Scheme),
    #[error("expected a port from 1 to 65535 after `:`")]
    Port,
    #[error("expected nothing after the port: {0}://host:port")]
    Rest(Scheme),
    #[error("expected a path of at most {MAX_PATH} visible ASCII characters, without `?` and `#`")]
    Path,
}

/// What other clients call the schemes.
fn instead(scheme: &str) -> &'static str {
    match scheme {
        "tcp" => "; write mqtt://",
        "ssl" | "tls" | "mqtt+ssl" => "; write mqtts://",
        "http" => "; write ws://",
        "https" => "; write wss://",
        _ => "",
    }
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Mqtt, Self::Mqtts, Self::Ws, Self::Wss];

    const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// The registered port.
    const fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// Whether it is TLS that carries it.
    pub(crate) const fn is_secure(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// Whether it is a WebSocket.
    pub(crate) const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl BrokerUrl {
    /// How MQTT is carried.
    pub(crate) const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: a name, or an address (IPv6 without its brackets).
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, BrokerUrlError> {
        if text.contains('@') {
            return Err(BrokerUrlError::UserInfo);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(BrokerUrlError::NoScheme(text.to_owned()));
        };
        let known = Scheme::ALL.into_iter().find(|known| known.name() == scheme);
        let scheme = known.ok_or_else(|| BrokerUrlError::Scheme(scheme.to_owned()))?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let path = match (scheme.is_websocket(), rest) {
            (true, "") => DEFAULT_PATH,
            (true, path) => path,
            (false, "") => "",
            (false, _) => return Err(BrokerUrlError::Rest(scheme)),
        };
        let parsed = authority::parse(authority, scheme.default_port());
        let (host, port) = parsed.map_err(|fault| match fault {
            AuthorityFault::Host => BrokerUrlError::Host(scheme),
            AuthorityFault::Ipv6 => BrokerUrlError::Ipv6(scheme),
            AuthorityFault::Port => BrokerUrlError::Port,
        })?;
        // A query would be shown in logs, and keys tend to stand in one.
        let in_path = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
        if path.len() > MAX_PATH || !path.chars().all(in_path) {
            return Err(BrokerUrlError::Path);
        }
        Ok(Self { scheme, host, port, path: path.to_owned() })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port, path } = self;
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}{path}"),
            false => write!(f, "{scheme}://{host}:{port}{path}"),
        }
    }
}

text_value!(BrokerUrl, "url", "expected an address such as \"mqtt://localhost:1883\"", {
    "pattern": r"^(mqtts?://(\[[0-9A-Fa-f:.]+\]|[^\[\]@:/?#]+)(:[0-9]{1,5})?|wss?://(\[[0-9A-Fa-f:.]+\]|[^\[\]@:/?#]+)(:[0-9]{1,5})?(/[^?#@]*)?)$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_host_a_port_and_a_path() {
        use Scheme::{Mqtt, Mqtts, Ws, Wss};
        for (text, scheme, host, port, path) in [
            ("mqtt://localhost", Mqtt, "localhost", 1883, ""),
            ("mqtt://Broker.example:8883", Mqtt, "broker.example", 8883, ""),
            ("mqtt://192.0.2.1:1", Mqtt, "192.0.2.1", 1, ""),
            ("mqtt://[::1]", Mqtt, "::1", 1883, ""),
            ("mqtts://[2001:db8::1]:1884", Mqtts, "2001:db8::1", 1884, ""),
            ("mqtts://h", Mqtts, "h", 8883, ""),
            ("ws://h", Ws, "h", 80, "/mqtt"),
            ("wss://h:8443/", Wss, "h", 8443, "/"),
            ("wss://h/$iothub/websocket", Wss, "h", 443, "/$iothub/websocket"),
        ] {
            let url: BrokerUrl = text.parse().unwrap();
            assert_eq!((url.scheme(), url.host(), url.port()), (scheme, host, port));
            assert_eq!(url.path, path);
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        use BrokerUrlError as E;
        use Scheme::{Mqtt, Mqtts};
        for (text, error) in [
            ("localhost:1883", E::NoScheme("localhost:1883".to_owned())),
            ("ssl://h", E::Scheme("ssl".to_owned())),
            ("mqtt://user:pw@h", E::UserInfo),
            ("mqtt://", E::Host(Mqtt)),
            ("mqtt://a b", E::Host(Mqtt)),
            ("mqtts://::1", E::Ipv6(Mqtts)),
            ("mqtt://[::1", E::Ipv6(Mqtt)),
            ("mqtt://[::1]1883", E::Port),
            ("mqtt://h:0", E::Port),
            ("mqtt://h:65536", E::Port),
            ("mqtt://h:", E::Port),
            ("mqtts://h/topic", E::Rest(Mqtts)),
            ("mqtt://h?x", E::Rest(Mqtt)),
            ("wss://h/mqtt?token=x", E::Path),
            ("wss://h/a b", E::Path),
        ] {
            assert_eq!(text.parse::<BrokerUrl>(), Err(error), "{text}");
        }
    }
}
