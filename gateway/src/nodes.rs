//! Nodes that have registered at a CoAP source (RFC 9176): one directory for each source, and for
//! everybody else who is registered and when that changes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, Mutex, PoisonError};

use proto::Instant;
use proto::coap::directory::{Directory, DirectoryConfig, Registration};
use proto::coap::link_format::Link;
use tokio::sync::watch;

use crate::clock;
use crate::config::Id;

/// The port of a base URI that has none (RFC 7252 §6.1).
const COAP_PORT: u16 = 5683;

/// The directories.
#[derive(Debug)]
pub(crate) struct Nodes {
    directories: BTreeMap<Id, Mutex<Directory>>,
    /// How often anything has changed that a lookup shows.
    changes: watch::Sender<u64>,
}

/// A registered node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it has registered.
    pub(crate) source: Id,
    /// Its name (`ep`), which is that of the device.
    pub(crate) name: String,
    /// Its sector (`d`).
    pub(crate) sector: Option<String>,
    /// Where it is: scheme, host and port.
    pub(crate) base: String,
    /// The same as the address of a socket, where the host is an address and the scheme `coap`.
    pub(crate) address: Option<SocketAddr>,
    /// Its registration, such as `/rd/1`.
    pub(crate) location: String,
    /// When it has registered or refreshed that.
    pub(crate) registered: Instant,
    /// When the registration ends.
    pub(crate) expires: Instant,
    /// Attributes of its registration, such as its type (`et`).
    pub(crate) attributes: Vec<(String, String)>,
    /// Its resources, as absolute URIs.
    pub(crate) links: Vec<Link>,
}

impl Nodes {
    /// Directories for these sources, each with a random seed.
    pub(crate) fn new(sources: impl Iterator<Item = (Id, u64)>) -> Arc<Self> {
        let empty = |seed| Mutex::new(Directory::new(DirectoryConfig::default(), seed));
        let directories = sources.map(|(source, seed)| (source, empty(seed))).collect();
        Arc::new(Self { directories, changes: watch::Sender::new(0) })
    }

    /// Changes of what [`registered`](Self::registered) gives, but for `registered` and `expires`.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All that are registered now.
    pub(crate) fn registered(&self) -> Vec<Node> {
        let all = self.directories.keys().filter_map(|source| {
            self.with(source, |directory, _| {
                let nodes = directory.registrations().map(|it| Node::new(source, it));
                nodes.collect::<Vec<_>>()
            })
        });
        all.flatten().collect()
    }

    /// Where a device is registered, at this source or else at another one: its base, and that as the
    /// address of a socket where it is one.
    pub(crate) fn find(&self, source: &Id, device: &str) -> Option<(String, Option<SocketAddr>)> {
        let others = self.directories.keys().filter(|other| *other != source);
        std::iter::once(source).chain(others).find_map(|source| self.find_at(source, device))
    }

    /// The same at one source.
    pub(crate) fn find_at(
        &self,
        source: &Id,
        device: &str,
    ) -> Option<(String, Option<SocketAddr>)> {
        let found = self.with(source, |directory, _| {
            let found = directory.registrations().find(|it| it.endpoint() == device)?;
            let base = found.base().to_owned();
            let address = address(&base, found.zone());
            Some((base, address))
        });
        found.flatten()
    }

    /// Does something with the directory of a source as it is now, if it has one.
    pub(crate) fn with<T>(
        &self,
        source: &Id,
        act: impl FnOnce(&mut Directory, Instant) -> T,
    ) -> Option<T> {
        let mut directory =
            self.directories.get(source)?.lock().unwrap_or_else(PoisonError::into_inner);
        let before = directory.version();
        let now = clock::now();
        directory.handle_timeout(now);
        let outcome = act(&mut directory, now);
        let is_changed = directory.version() != before;
        drop(directory);
        if is_changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
        Some(outcome)
    }
}

impl Node {
    fn new(source: &Id, registration: &Registration) -> Self {
        let base = registration.base();
        Self {
            source: source.clone(),
            name: registration.endpoint().to_owned(),
            sector: registration.sector().map(str::to_owned),
            base: base.to_owned(),
            address: address(base, registration.zone()),
            location: registration.location().to_owned(),
            registered: registration.registered(),
            expires: registration.expires(),
            attributes: registration
                .attributes()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            links: registration.links().to_vec(),
        }
    }
}

/// The socket of a base URI such as `coap://[fe80::1]`, on the link `zone`.
fn address(base: &str, zone: Option<u32>) -> Option<SocketAddr> {
    let authority = base.strip_prefix("coap://")?;
    if let Ok(address) = authority.parse::<SocketAddr>() {
        return Some(on_link(address, zone));
    }
    let host = authority.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = match host {
        Some(host) => IpAddr::V6(host.parse::<Ipv6Addr>().ok()?),
        None => authority.parse().ok()?,
    };
    Some(on_link(SocketAddr::new(ip, COAP_PORT), zone))
}

fn on_link(address: SocketAddr, zone: Option<u32>) -> SocketAddr {
    match (address, zone) {
        (SocketAddr::V6(v6), Some(zone)) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, zone).into(),
        (address, _) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_uri_with_an_address_is_a_socket() {
        let socket = |base, zone| address(base, zone).map(|address| address.to_string());
        let table = [
            ("coap://10.0.0.1", None, Some("10.0.0.1:5683")),
            ("coap://10.0.0.1:61616", None, Some("10.0.0.1:61616")),
            ("coap://[2001:db8::1]", None, Some("[2001:db8::1]:5683")),
            ("coap://[fe80::1]:7", Some(3), Some("[fe80::1%3]:7")),
            ("coap://node.example", None, None),
            ("coaps://10.0.0.1", None, None),
            ("coap+tcp://10.0.0.1", None, None),
        ];
        for (base, zone, expected) in table {
            assert_eq!(socket(base, zone).as_deref(), expected, "{base}");
        }
    }
}
