//! A CoAP server that goes on when it is told to, without a socket: the node, the resources and the
//! pending answers of a running one, over UDP.
//!
//! It takes readings. Files, topics, orders and the directory are not there: a rehearsal has nobody who asks
//! for them.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use proto::Instant;
use proto::coap::{Delivery, Node, NodeEvent, NodeOutput};

use super::resources::{Resources, Sender, Way, accepted, busy};
use super::serving::{Fetch, Serving};
use super::{Latest, Rates, Stored, node_config};
use crate::clock;
use crate::config::CoapLink;
use crate::source::{Context, SourceStatus};
use crate::store::{Origin, Spool, StoreError};

/// A server.
pub(crate) struct SteppedCoap {
    resources: Arc<Resources>,
    node: Node<SocketAddr>,
    serving: Serving<SocketAddr>,
    wait: Option<Instant>,
    outgoing: Vec<(SocketAddr, Vec<u8>)>,
}

impl SteppedCoap {
    /// One that remembers the messages whose readings are on disk.
    pub(in crate::source) async fn open(
        context: Context,
        link: &CoapLink,
        spool: &Spool,
        seed: u64,
    ) -> Result<Self, StoreError> {
        let resources = Arc::new(Resources {
            latest: Latest::new(),
            files: None,
            bridge: None,
            rates: link.max_rate.map(Rates::new),
            registered: None,
            node_orders: None,
            context,
        });
        let mut node = Node::new(node_config(link), seed);
        let mut stored = Stored::default();
        stored.read(spool, &resources).await?;
        for (origin, age) in &stored.known {
            if let Origin::Coap { peer, message_id, token } = origin {
                node.remember(clock::now(), *peer, *message_id, token, *age, accepted());
            }
        }
        let serving = Serving::new(Arc::clone(&resources));
        Ok(Self { resources, node, serving, wait: None, outgoing: Vec::new() })
    }

    pub(in crate::source) fn status(&self) -> &SourceStatus {
        &self.resources.context.status
    }

    pub(in crate::source) fn handle_datagram(&mut self, from: SocketAddr, datagram: &[u8]) {
        if self.resources.context.allows(from) {
            self.node.handle_datagram(clock::now(), from, datagram, Delivery::Unicast);
            self.drain();
        }
    }

    pub(in crate::source) fn poll_timeout(&self) -> Instant {
        self.wait.unwrap_or(Instant::FAR_FUTURE)
    }

    /// Does what is due, and answers what is on disk by now; whether there was something.
    pub(in crate::source) fn step(&mut self) -> bool {
        let mut has_moved = false;
        if self.poll_timeout() <= clock::now() {
            self.node.handle_timeout(clock::now());
            self.drain();
            has_moved = true;
        }
        while let Some(news) = self.serving.next().now_or_never() {
            self.serving.tell(&mut self.node, news);
            self.drain();
            has_moved = true;
        }
        has_moved
    }

    pub(in crate::source) fn poll_datagrams(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.outgoing)
    }

    fn drain(&mut self) {
        loop {
            match self.node.poll_output() {
                NodeOutput::Transmit { to, datagram } => {
                    self.outgoing.push((to, datagram.to_vec()));
                }
                NodeOutput::Event(event) => self.handle_event(event),
                NodeOutput::Wait(until) => {
                    self.wait = until;
                    return;
                }
            }
        }
    }

    fn handle_event(&mut self, event: NodeEvent<SocketAddr>) {
        match event {
            NodeEvent::Request { ask, from, delivery, message_id, token, request } => {
                let sender = Sender { peer: from, way: Way::Datagram(delivery), socket: 0 };
                let origin = Some(Origin::Coap { peer: from, message_id, token: token.to_vec() });
                let (node, serving) = (&mut self.node, &mut self.serving);
                if let Some(Fetch { ask, .. }) =
                    serving.handle_request(node, ask, sender, origin, &request)
                {
                    node.respond(clock::now(), ask, busy());
                }
            }
            NodeEvent::Unobserved { resource } => self.serving.handle_unobserved(resource),
            NodeEvent::Malformed { from, fault } => {
                self.resources.context.refuse("malformed", from, fault, b"");
            }
            // It asks nobody.
            NodeEvent::Call(_) => {}
        }
    }
}
