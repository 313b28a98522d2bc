//! A server that the gateway connects to.

use std::fmt;
use std::str::FromStr;

use super::text_value;

/// A host and a port: `meter.example:4001`, `192.0.2.7:4001` or `[2001:db8::7]:4001`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    host: String,
    port: u16,
}

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostPortError {
    #[error("expected a host and a port, such as \"192.0.2.7:4001\"")]
    Syntax,
    #[error("expected a port from 1 to 65535 after the last colon")]
    Port,
    #[error("expected brackets around an IPv6 address, such as \"[2001:db8::7]:4001\"")]
    Brackets,
    #[error("expected a host and a port alone, such as \"192.0.2.7:4001\", without `{0}`")]
    Scheme(String),
}

impl HostPort {
    /// A name, or an address without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(HostPortError::Scheme(format!("{scheme}://")));
        }
        let (host, port) = text.rsplit_once(':').ok_or(HostPortError::Syntax)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(HostPortError::Port)?;
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(Some(address)) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            Some(_) => return Err(HostPortError::Brackets),
            None if host.contains(':') => return Err(HostPortError::Brackets),
            None => host,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(HostPortError::Syntax);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

text_value!(HostPort, "host and port", "expected a host and a port, such as \"192.0.2.7:4001\"", {
    "pattern": r"^([0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_and_addresses() {
        for (text, host) in [
            ("meter.example:4001", "meter.example"),
            ("192.0.2.7:4001", "192.0.2.7"),
            ("[2001:db8::7]:4001", "2001:db8::7"),
        ] {
            let parsed: HostPort = text.parse().unwrap();
            assert_eq!((parsed.host(), parsed.port()), (host, 4001));
            assert_eq!(parsed.to_string(), text);
        }
        for (text, error) in [
            ("meter", HostPortError::Syntax),
            (":4001", HostPortError::Syntax),
            ("a b:4001", HostPortError::Syntax),
            ("meter:0", HostPortError::Port),
            ("meter:http", HostPortError::Port),
            ("2001:db8::7:4001", HostPortError::Brackets),
            ("[meter]:4001", HostPortError::Brackets),
            ("tcp://meter:1", HostPortError::Scheme("tcp://".to_owned())),
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(error), "{text}");
        }
    }
}
