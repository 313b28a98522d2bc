//! One UDP address: the loop around a node.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::Instant;
use proto::coap::{Delivery, Node, NodeEvent, NodeOutput};
use tokio::net::UdpSocket;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::resources::Resources;
use super::serving::Serving;
use crate::clock;
use crate::store::Origin;

/// The largest datagram there is.
const MAX_DATAGRAM: usize = 65_535;
/// Datagrams taken before other tasks get a turn.
const TURN: usize = 64;

/// A server at one address.
pub(super) struct Server {
    resources: Arc<Resources>,
    socket: UdpSocket,
    node: Node<SocketAddr>,
    serving: Serving<SocketAddr>,
}

impl Server {
    pub(super) fn new(
        resources: Arc<Resources>,
        socket: UdpSocket,
        node: Node<SocketAddr>,
    ) -> Self {
        Self { serving: Serving::new(Arc::clone(&resources)), resources, socket, node }
    }

    /// Runs until `stop` is cancelled and every request that was taken is answered.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let wait = self.drain().await;
            let stopping = stop.is_cancelled();
            if stopping && self.serving.is_idle() {
                return;
            }
            tokio::select! {
                () = stop.cancelled(), if !stopping => {}
                news = self.serving.next() => self.serving.tell(&mut self.node, news),
                // An error is one of an earlier datagram (ICMP), which reading takes away.
                _ = self.socket.readable(), if !stopping => self.receive(&mut buffer),
                () = sleep_until(clock::deadline(wait.unwrap_or(Instant::FAR_FUTURE))),
                    if wait.is_some() => self.node.handle_timeout(clock::now()),
            }
        }
    }

    /// Sends what the node has to send and handles its events; the time until which it waits.
    async fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.node.poll_output() {
                NodeOutput::Transmit { to, datagram } => {
                    if let Err(error) = self.socket.send_to(&datagram, to).await {
                        let source = &self.resources.context.name;
                        debug!(%source, peer = %to, %error, "cannot send");
                    }
                }
                NodeOutput::Event(event) => self.handle_event(event),
                NodeOutput::Wait(until) => return until,
            }
        }
    }

    /// Takes what has arrived, for one turn.
    fn receive(&mut self, buffer: &mut [u8]) {
        let now = clock::now();
        for _ in 0..TURN {
            match self.socket.try_recv_from(buffer) {
                Ok((len, peer)) => {
                    let datagram = buffer.get(..len).unwrap_or_default();
                    self.node.handle_datagram(now, peer, datagram, Delivery::Unicast);
                }
                // An ICMP error of an earlier datagram, or nothing more to read.
                Err(_) => return,
            }
        }
    }

    fn handle_event(&mut self, event: NodeEvent<SocketAddr>) {
        match event {
            NodeEvent::Request { ask, from, message_id, token, request, .. } => {
                let origin = Origin { peer: from, message_id, token: token.to_vec() };
                self.serving.handle_request(&mut self.node, ask, from, Some(origin), &request);
            }
            NodeEvent::Unobserved { resource } => self.serving.handle_unobserved(resource),
            NodeEvent::Malformed { from, fault } => {
                self.resources.context.refuse("malformed", from, fault, b"");
            }
            // This node makes no requests.
            NodeEvent::Call(_) => {}
        }
    }
}
