//! Addresses of brokers.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use super::text_value;

/// The registered port of MQTT over TCP.
const DEFAULT_PORT: u16 = 1883;

/// `mqtt://host[:port]`: MQTT over TCP. An IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BrokerUrl {
    host: String,
    port: u16,
}

/// Why a text is no broker's address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokerUrlError {
    #[error("expected `mqtt://` before the host: mqtt://{0}")]
    NoScheme(String),
    #[error("expected the scheme `mqtt`: `{0}` is not supported (MQTT over plain TCP only)")]
    Scheme(String),
    #[error(
        "expected no user and password in the address\n\
         write them as `username` and `password_file` of the broker"
    )]
    UserInfo,
    #[error("expected a host name or an address after `mqtt://`")]
    Host,
    #[error("expected an IPv6 address in brackets, such as mqtt://[::1]:1883")]
    Ipv6,
    #[error("expected a port from 1 to 65535 after `:`")]
    Port,
    #[error("expected nothing after the port: mqtt://host:port")]
    Rest,
}

impl BrokerUrl {
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
        if scheme != "mqtt" {
            return Err(BrokerUrlError::Scheme(scheme.to_owned()));
        }
        if rest.contains(['/', '?', '#']) {
            return Err(BrokerUrlError::Rest);
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(BrokerUrlError::Ipv6)?;
                let address: Ipv6Addr = host.parse().map_err(|_| BrokerUrlError::Ipv6)?;
                (address.to_string(), port)
            }
            None => {
                let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
                if port.matches(':').count() > 1 {
                    return Err(BrokerUrlError::Ipv6);
                }
                (host.to_ascii_lowercase(), port)
            }
        };
        let in_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(in_host) {
            return Err(BrokerUrlError::Host);
        }
        let port = match port.strip_prefix(':') {
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or(BrokerUrlError::Port)?
            }
            None if port.is_empty() => DEFAULT_PORT,
            None => return Err(BrokerUrlError::Port),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "mqtt://[{}]:{}", self.host, self.port),
            false => write!(f, "mqtt://{}:{}", self.host, self.port),
        }
    }
}

text_value!(BrokerUrl, "url", "expected an address such as \"mqtt://localhost:1883\"", {
    "pattern": r"^mqtt://(\[[0-9A-Fa-f:.]+\]|[^\[\]@:/?#]+)(:[0-9]{1,5})?$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        for (text, host, port) in [
            ("mqtt://localhost", "localhost", 1883),
            ("mqtt://Broker.example:8883", "broker.example", 8883),
            ("mqtt://192.0.2.1:1", "192.0.2.1", 1),
            ("mqtt://[::1]", "::1", 1883),
            ("mqtt://[2001:db8::1]:1884", "2001:db8::1", 1884),
        ] {
            let url: BrokerUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port));
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        use BrokerUrlError as E;
        for (text, error) in [
            ("localhost:1883", E::NoScheme("localhost:1883".to_owned())),
            ("mqtts://h", E::Scheme("mqtts".to_owned())),
            ("ws://h", E::Scheme("ws".to_owned())),
            ("mqtt://user:pw@h", E::UserInfo),
            ("mqtt://", E::Host),
            ("mqtt://a b", E::Host),
            ("mqtt://::1", E::Ipv6),
            ("mqtt://[::1", E::Ipv6),
            ("mqtt://[::1]1883", E::Port),
            ("mqtt://h:0", E::Port),
            ("mqtt://h:65536", E::Port),
            ("mqtt://h:", E::Port),
            ("mqtt://h/topic", E::Rest),
        ] {
            assert_eq!(text.parse::<BrokerUrl>(), Err(error), "{text}");
        }
    }
}
