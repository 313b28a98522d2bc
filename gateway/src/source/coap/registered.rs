//! The resource directory of a source (RFC 9176): what its nodes register and look up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proto::Instant;
use proto::coap::directory::{Lookup, Requester, Simple};
use proto::coap::{Method, OptionNumber, Request, Response};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::resources::{Resources, Sender, Way, not_allowed, not_found};
use crate::clock;
use crate::config::Id;
use crate::nodes::Nodes;

/// The port that a base URI leaves out (RFC 7252 §6.1).
const COAP_PORT: u16 = 5683;

/// The nodes that have registered here.
pub(super) struct Registered {
    source: Id,
    nodes: Arc<Nodes>,
}

/// A lookup: what is asked for, and from which link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Look {
    what: Lookup,
    zone: Option<u32>,
    request: Request,
}

impl Look {
    pub(super) fn new(what: Lookup, sender: Sender, request: &Request) -> Self {
        // What makes no difference to the answer is left out, so that equal lookups are equal.
        let is_part = |number| matches!(number, OptionNumber::URI_QUERY | OptionNumber::ACCEPT);
        let options = request.options.iter().filter(|(number, _)| is_part(*number));
        let bare = Request::new(request.method);
        let request = options.fold(bare, |request, (number, value)| request.option(number, value));
        Self { what, zone: requester(sender).zone, request }
    }
}

impl Registered {
    /// The directory of a source, if it has one.
    pub(super) fn of(source: &Id, nodes: &Arc<Nodes>) -> Option<Self> {
        nodes.with(source, |_, _| Self { source: source.clone(), nodes: Arc::clone(nodes) })
    }

    pub(super) const fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    pub(super) fn register(&self, sender: Sender, request: &Request) -> Response {
        let from = requester(sender);
        let done = self.nodes.with(&self.source, |nodes, now| nodes.register(now, &from, request));
        done.unwrap_or_else(not_found)
    }

    pub(super) fn register_simply(&self, sender: Sender, request: &Request) -> Simple {
        let from = requester(sender);
        let begin =
            self.nodes.with(&self.source, |nodes, now| nodes.register_simply(now, &from, request));
        begin.unwrap_or_else(|| Simple::Answer(not_found()))
    }

    /// The answer to a simple registration whose sender has said what it has.
    pub(super) fn finish_simply(
        &self,
        sender: Sender,
        request: &Request,
        fetched: &Response,
    ) -> Response {
        let from = requester(sender);
        let done = self
            .nodes
            .with(&self.source, |nodes, now| nodes.finish_simply(now, &from, request, fetched));
        done.unwrap_or_else(not_found)
    }

    /// Updates or removes a registration.
    pub(super) fn change(&self, sender: Sender, id: &str, request: &Request) -> Response {
        let from = requester(sender);
        let done = self.nodes.with(&self.source, |nodes, now| match request.method {
            Method::Post => nodes.update(now, &from, id, request),
            Method::Delete => nodes.remove(id),
            Method::Get | Method::Put | Method::Fetch | Method::Patch | Method::IPatch => {
                not_allowed("POST to refresh, DELETE")
            }
        });
        done.unwrap_or_else(not_found)
    }

    pub(super) fn look(&self, look: &Look) -> Response {
        let answer = self
            .nodes
            .with(&self.source, |nodes, _| nodes.lookup(look.zone, look.what, &look.request));
        answer.unwrap_or_else(not_found)
    }

    /// Where a device has registered from, if it has.
    pub(super) fn address_of(&self, device: &str) -> Option<SocketAddr> {
        self.nodes.find_at(&self.source, device)?.1
    }

    /// The name that who sends from there has registered with.
    pub(super) fn name_of(&self, sender: Sender) -> Option<String> {
        let from = requester(sender);
        let name = self.nodes.with(&self.source, |nodes, _| {
            nodes.at(&from).map(|registration| registration.endpoint().to_owned())
        });
        name.flatten()
    }
}

/// Ends registrations when their lifetime is over.
pub(super) async fn expire(resources: Arc<Resources>, stop: CancellationToken) {
    let Some(Registered { source, nodes }) = &resources.registered else { return };
    let mut changes = nodes.changes();
    loop {
        // What was due is done by then. A refresh puts it off, which is seen at the old time.
        let deadline = nodes.with(source, |nodes, _| nodes.deadline()).flatten();
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep_until(clock::deadline(deadline.unwrap_or(Instant::FAR_FUTURE))),
                if deadline.is_some() => {}
        }
    }
}

/// Where a request comes from, as the directory sees it. Clients over TCP cannot be reached at the
/// port that they come from.
fn requester(sender: Sender) -> Requester {
    let address = SocketAddr::new(sender.peer.ip().to_canonical(), sender.peer.port());
    let base = match sender.way {
        Way::Stream => None,
        Way::Datagram(_) => {
            // RFC 7252 §6.5: without the port where it is the default one.
            let host = match address.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            };
            Some(match address.port() {
                COAP_PORT => format!("coap://{host}"),
                port => format!("coap://{host}:{port}"),
            })
        }
    };
    let zone = match sender.peer {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => Some(v6.scope_id()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    };
    Requester { base, zone }
}

#[cfg(test)]
mod tests {
    use proto::coap::Delivery;

    use super::*;

    #[test]
    fn a_base_uri_is_an_address_without_the_default_port() {
        // RFC 9176 §5, RFC 7252 §6.5
        let of =
            |peer: &str, way| requester(Sender { peer: peer.parse().unwrap(), way, socket: 0 });
        let udp = Way::Datagram(Delivery::Unicast);
        let table = [
            ("10.0.0.1:5683", udp, Some("coap://10.0.0.1"), None),
            ("[::ffff:10.0.0.1]:61616", udp, Some("coap://10.0.0.1:61616"), None),
            ("[2001:db8::1]:5683", udp, Some("coap://[2001:db8::1]"), None),
            ("[fe80::1%4]:7", udp, Some("coap://[fe80::1]:7"), Some(4)),
            ("10.0.0.1:5683", Way::Stream, None, None),
        ];
        for (peer, way, base, zone) in table {
            let expected = Requester { base: base.map(str::to_owned), zone };
            assert_eq!(of(peer, way), expected, "{peer}");
        }
    }
}
