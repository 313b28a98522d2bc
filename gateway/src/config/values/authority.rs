//! The host and port of an address.

use std::net::Ipv6Addr;

/// Why a text is no host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthorityFault {
    /// No host, or characters that are in none.
    Host,
    /// An IPv6 address without brackets, or none in them.
    Ipv6,
    /// No port from 1 to 65535.
    Port,
}

/// The host (a name in lower case, or an address, IPv6 without its brackets) and the port of
/// `host[:port]`.
pub(super) fn parse(text: &str, default_port: u16) -> Result<(String, u16), AuthorityFault> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(AuthorityFault::Ipv6)?;
            let address: Ipv6Addr = host.parse().map_err(|_| AuthorityFault::Ipv6)?;
            (address.to_string(), port)
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            if port.matches(':').count() > 1 {
                return Err(AuthorityFault::Ipv6);
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let in_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(in_host) {
        return Err(AuthorityFault::Host);
    }
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(AuthorityFault::Port)?,
        None if port.is_empty() => default_port,
        None => return Err(AuthorityFault::Port),
    };
    Ok((host, port))
}
