//! How much memory a server takes at most: floods of everything that a node keeps a table of.
//!
//! What is counted are the bytes that the node asked its allocator for, after each datagram; the
//! allocator's own overhead and the moment in which a table is copied into a larger one come on
//! top. `cargo test -p proto --test memory -- --nocapture` prints what was measured; the limits
//! here are a quarter above that.

use std::alloc::System;
use std::net::{Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cap::Cap;
use coap_lite::{CoapOption, MessageType, Packet, RequestType};
use proto::Instant;
use proto::coap::{
    Ask, Code, Delivery, Node, NodeConfig, NodeEvent, NodeOutput, OptionNumber, ResourceId,
    Response,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// More peers than any table has room for.
const FLOOD: u32 = 36_000;
/// With all tables full.
const ALL: usize = 71 * MIB;
/// For a peer with one remembered request.
const PEER: usize = 840;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);
/// Tests at the same time would count each other's memory.
static TURN: Mutex<()> = Mutex::new(());

/// What the caller does with a request.
enum Answer {
    Now(Response),
    Observed(ResourceId, Response),
    Never,
}

/// A server and what it has taken.
struct Server {
    node: Node<SocketAddr>,
    now: Instant,
    before: usize,
    most: usize,
    _turn: MutexGuard<'static, ()>,
}

impl Server {
    fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let before = MEMORY.allocated();
        let node = Node::new(NodeConfig::default(), 1);
        Self { node, now: Instant::ZERO, before, most: 0, _turn: turn }
    }

    /// Takes a request of the peer with that number; the last message that is sent.
    fn receive(
        &mut self,
        peer: u32,
        datagram: &[u8],
        answer: impl FnMut() -> Answer,
    ) -> Option<Vec<u8>> {
        self.now = self.now + Duration::from_micros(100);
        let address = SocketAddr::from((Ipv6Addr::from_bits(1 << 64 | u128::from(peer)), 5683));
        self.node.handle_datagram(self.now, address, datagram, Delivery::Unicast);
        self.drain(answer)
    }

    fn drain(&mut self, mut answer: impl FnMut() -> Answer) -> Option<Vec<u8>> {
        let mut sent = None;
        loop {
            match self.node.poll_output() {
                NodeOutput::Transmit { datagram, .. } => sent = Some(datagram),
                NodeOutput::Event(NodeEvent::Request { ask, .. }) => self.answer(ask, answer()),
                NodeOutput::Event(_) => {}
                NodeOutput::Wait(_) => break,
            }
        }
        self.most = self.most.max(self.held());
        sent
    }

    fn answer(&mut self, ask: Ask<SocketAddr>, answer: Answer) {
        match answer {
            Answer::Now(response) => self.node.respond(self.now, ask, response),
            Answer::Observed(resource, response) => {
                self.node.respond_observed(self.now, ask, resource, response);
            }
            Answer::Never => drop(ask),
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.node.handle_timeout(self.now);
        self.drain(|| Answer::Never);
    }

    /// Bytes that it has now.
    fn held(&self) -> usize {
        MEMORY.allocated().saturating_sub(self.before)
    }

    fn flood_with_peers(&mut self, peers: u32) {
        let get = request(RequestType::Get, 1, &[(CoapOption::UriPath, b"time")], b"");
        for peer in 0..peers {
            self.receive(peer, &get, || Answer::Now(response(14)));
        }
    }

    /// Requests that the caller never answers, two of each peer.
    fn flood_with_exchanges(&mut self) {
        for number in 0..2 * FLOOD {
            let id = u16::try_from(2 + number % 2).expect("a small number");
            let post = request(RequestType::Post, id, &[(CoapOption::UriPath, b"r")], b"1");
            self.receive(number / 2, &post, || Answer::Never);
        }
        self.wait(Duration::from_secs(2));
    }

    /// Bodies that grow until there is no room, and first blocks of others.
    fn flood_with_block1(&mut self) {
        let numbers = |blocks: Range<u8>, peers: Range<u32>| {
            blocks.flat_map(move |block| peers.clone().map(move |peer| (block, peer)))
        };
        for (block, peer) in numbers(0..40, 0..256).chain(numbers(0..1, 256..2_000)) {
            let [high, low] = (u16::from(block) << 4 | 0x0e).to_be_bytes();
            let options = [(CoapOption::UriPath, &b"r"[..]), (CoapOption::Block1, &[high, low])];
            let put = request(RequestType::Put, 100 + u16::from(block), &options, &[b'x'; 1024]);
            self.receive(peer, &put, || Answer::Now(response(0)));
        }
    }

    /// First blocks of responses whose rest is never fetched.
    fn flood_with_block2(&mut self) {
        let get = request(RequestType::Get, 5, &[(CoapOption::UriPath, b"large")], &[b'x'; 600]);
        for peer in 0..2_000 {
            self.receive(peer, &get, || Answer::Now(response(100 * KIB)));
        }
    }

    /// Observers that acknowledge nothing, and states that they should be told.
    fn flood_with_observers(&mut self) {
        let options = [(CoapOption::Observe, &b""[..]), (CoapOption::UriPath, b"obs")];
        let get = request(RequestType::Get, 6, &options, b"");
        let resource = |peer: u32| ResourceId(u64::from(peer % 1000));
        for peer in 0..FLOOD {
            self.receive(peer, &get, || Answer::Observed(resource(peer), response(14)));
        }
        for _ in 0..3 {
            for number in 0..1000 {
                self.node.notify(self.now, resource(number), response(14));
            }
            self.drain(|| Answer::Never);
        }
    }

    /// Peers that show where they are.
    fn flood_with_echo(&mut self) {
        let path = (CoapOption::UriPath, &b"files"[..]);
        let get = request(RequestType::Get, 7, &[path], b"");
        for peer in 0..FLOOD {
            let challenge = self.receive(peer, &get, || Answer::Now(response(500)));
            let Some(challenge) = challenge else { continue };
            let challenge = Packet::from_bytes(&challenge).expect("a message");
            let number = CoapOption::from(OptionNumber::ECHO.0);
            let Some(echo) = challenge.get_first_option(number) else { continue };
            let again = request(RequestType::Get, 8, &[path, (number, echo)], b"");
            self.receive(peer, &again, || Answer::Now(response(500)));
        }
    }
}

fn request(
    method: RequestType,
    message_id: u16,
    options: &[(CoapOption, &[u8])],
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = Packet::new();
    packet.header.set_version(1);
    packet.header.set_type(MessageType::Confirmable);
    packet.header.code = coap_lite::MessageClass::Request(method);
    packet.header.message_id = message_id;
    packet.set_token(b"12345678".to_vec());
    for (number, value) in options {
        packet.add_option(*number, value.to_vec());
    }
    packet.payload = payload.to_vec();
    packet.to_bytes_unlimited().expect("options that fit")
}

fn response(len: usize) -> Response {
    Response::new(Code::CONTENT).payload(vec![b'x'; len])
}

#[test]
fn a_peer_takes_so_much() {
    let mut server = Server::new();
    server.flood_with_peers(10_000);
    let each = server.held() / 10_000;
    println!("a peer with one remembered request: {each} bytes");
    assert!(each <= PEER, "{each}");
}

#[test]
fn everything_flooded_at_once_stays_within_one_limit() {
    type Flood = fn(&mut Server);
    let floods: [(&str, Flood); 6] = [
        ("peers that showed where they are", Server::flood_with_echo),
        ("observers", Server::flood_with_observers),
        ("responses in blocks", Server::flood_with_block2),
        ("requests in blocks", Server::flood_with_block1),
        ("peers", |server| server.flood_with_peers(FLOOD)),
        ("unanswered requests", Server::flood_with_exchanges),
    ];
    let mut server = Server::new();
    for (name, flood) in floods {
        let before = server.held();
        flood(&mut server);
        println!("{name}: {} KiB more", server.held().saturating_sub(before) / KIB);
    }
    println!("at most {} KiB", server.most / KIB);
    assert!(server.most <= ALL, "{} KiB", server.most / KIB);
    let stats = server.node.server_stats();
    assert!(stats.observers_refused > 0 && stats.transfers_refused > 0, "{stats:?}");
    assert!(server.node.stats().refused_busy > 0 && server.node.stats().evicted > 0);
}
