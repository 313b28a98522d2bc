//! Where the nodes of the server are, for orders to them.
//!
//! Requests go out from the sockets to which nodes send: what lets the requests of a node out, a firewall
//! or a translator of addresses, lets ours in.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use proto::Reading;

use super::resources::{Resources, Sender, Way};
use crate::commands::Mailbox;
use crate::nodes::Nodes;
use crate::source::coap_orders::{Caller, Place, Places};
use crate::source::recent::Recent;

/// What a source has for orders.
#[derive(Debug, Default)]
pub(super) struct NodeOrders {
    /// Where devices have sent from last, and to which socket.
    whereabouts: Mutex<Recent<(usize, SocketAddr)>>,
    /// Orders for devices that ask for them, where there are such.
    pub(super) mailbox: Option<Mailbox>,
}

/// The nodes that a source knows.
pub(super) struct KnownNodes {
    pub(super) resources: Arc<Resources>,
    pub(super) nodes: Arc<Nodes>,
    /// The sockets of the source by their numbers, and who sends from them.
    pub(super) sockets: Vec<(SocketAddr, Caller)>,
}

impl NodeOrders {
    pub(super) fn new(mailbox: Option<Mailbox>) -> Self {
        Self { whereabouts: Mutex::default(), mailbox }
    }

    /// A device has sent something.
    pub(super) fn note(&self, sender: Sender, device: &str) {
        let Way::Datagram(_) = sender.way else { return };
        let place = (sender.socket, sender.peer);
        let mut whereabouts = self.whereabouts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = whereabouts.hear(device, || place) {
            *known = place;
        }
    }

    /// The same of all devices of some readings.
    pub(super) fn note_readings(&self, sender: Sender, readings: &[Reading]) {
        for of_one in readings.chunk_by(|one, next| one.device == next.device) {
            if let Some(reading) = of_one.first() {
                self.note(sender, &reading.device);
            }
        }
    }

    fn whereabouts(&self, device: &str) -> Option<(usize, SocketAddr)> {
        let whereabouts = self.whereabouts.lock().unwrap_or_else(PoisonError::into_inner);
        whereabouts.get(device).copied()
    }
}

impl Places for KnownNodes {
    /// Where it is registered, else where it has sent from last.
    fn find(&self, device: &str) -> Option<Place> {
        let Resources { context, node_orders, .. } = &*self.resources;
        let heard = node_orders.as_ref().and_then(|node_orders| node_orders.whereabouts(device));
        let heard = heard.map(|(socket, peer)| Place::Heard { socket, peer });
        match self.nodes.find(&context.name, device) {
            Some((_, Some(address))) => match heard {
                Some(Place::Heard { peer, .. }) if is_same(peer, address) => heard,
                Some(_) | None => Some(Place::Address(address)),
            },
            // A base that is no CoAP over UDP is none that can be sent to.
            Some((base, None)) => base.parse().ok().map(Place::Url),
            None => heard,
        }
    }

    fn reach(&self, address: SocketAddr) -> Option<(&Caller, SocketAddr)> {
        self.sockets.iter().find_map(|(local, caller)| Some((caller, from(*local, address)?)))
    }

    fn socket(&self, number: usize) -> Option<&Caller> {
        self.sockets.get(number).map(|(_, caller)| caller)
    }
}

fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip().to_canonical(), one.port()) == (other.ip().to_canonical(), other.port())
}

/// What `address` is called at a socket that is bound to `local`, if it can be reached from there.
fn from(local: SocketAddr, address: SocketAddr) -> Option<SocketAddr> {
    if !local.ip().is_unspecified() && local.ip().is_loopback() != address.ip().is_loopback() {
        return None;
    }
    match (local, address) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_)) => {
            Some(address)
        }
        // `[::]` takes IPv4 too.
        (SocketAddr::V6(local), SocketAddr::V4(v4)) if local.ip().is_unspecified() => {
            Some(SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port()))
        }
        (SocketAddr::V6(_), SocketAddr::V4(_)) | (SocketAddr::V4(_), SocketAddr::V6(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_reached_from_a_socket_of_its_family() {
        let from = |local: &str, address: &str| {
            from(local.parse().unwrap(), address.parse().unwrap()).map(|to| to.to_string())
        };
        for (local, address, to) in [
            ("0.0.0.0:5683", "10.0.0.1:7", Some("10.0.0.1:7")),
            ("[::]:5683", "10.0.0.1:7", Some("[::ffff:10.0.0.1]:7")),
            ("[::]:5683", "[2001:db8::1]:7", Some("[2001:db8::1]:7")),
            ("[::1]:5683", "127.0.0.1:7", None),
            ("127.0.0.1:5683", "127.0.0.1:7", Some("127.0.0.1:7")),
            ("127.0.0.1:5683", "10.0.0.1:7", None),
            ("10.0.0.9:5683", "127.0.0.1:7", None),
            ("0.0.0.0:5683", "[::1]:7", None),
        ] {
            assert_eq!(from(local, address).as_deref(), to, "{local} {address}");
        }
    }
}
