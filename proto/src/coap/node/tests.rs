//! Nodes against datagrams, and against each other over a lossy network.

mod blocks;
mod cost;
mod group;
mod observing;
mod pairs;
mod protection;

use alloc::vec::Vec;

use super::*;
use crate::coap::{
    Block, BlockSize, Code, EchoConfig, Message, MessageType, Method, Options, TransferConfig,
    encode,
};

const SECOND: Duration = Duration::from_secs(1);
const PEER: u16 = 7;
const ACK: MessageType = MessageType::Acknowledgement;
const CON: MessageType = MessageType::Confirmable;
const NON: MessageType = MessageType::NonConfirmable;

/// A node, its clock and the peer's message ids.
struct Bench {
    node: Node<u16>,
    now: Instant,
    next_id: u16,
}

/// A message of the node, owned.
#[derive(Debug, PartialEq)]
struct Sent {
    kind: MessageType,
    code: Code,
    message_id: u16,
    token: Token,
    options: Options,
    payload: Vec<u8>,
}

impl Sent {
    fn block(&self, number: OptionNumber) -> Option<(u32, bool, usize)> {
        let block = Block::of(&self.options, number, BlockSize::MAX).unwrap()?;
        Some((block.number, block.more, block.size.bytes()))
    }
}

impl Bench {
    fn new(config: NodeConfig) -> Self {
        let now = Instant::ZERO + 1000 * SECOND;
        Self { node: Node::new(config, 1), now, next_id: 0 }
    }

    fn with_transfer(transfer: TransferConfig) -> Self {
        let echo = EchoConfig { amplification: None, ..Default::default() };
        let server = ServerConfig { transfer: transfer.clone(), echo, ..Default::default() };
        Self::new(NodeConfig { server, client: transfer, ..Default::default() })
    }

    /// Takes all outputs.
    fn drain(&mut self) -> (Vec<Sent>, Vec<NodeEvent<u16>>) {
        let (mut sent, mut events) = (Vec::new(), Vec::new());
        loop {
            match self.node.poll_output() {
                NodeOutput::Wait(_) => return (sent, events),
                NodeOutput::Event(event) => events.push(event),
                NodeOutput::Transmit { datagram, .. } => {
                    let message = Message::parse(&datagram).unwrap();
                    sent.push(Sent {
                        kind: message.kind(),
                        code: message.code(),
                        message_id: message.message_id(),
                        token: message.token(),
                        options: Options::recognise(message.options(), NODE_REQUEST_OPTIONS)
                            .unwrap(),
                        payload: message.payload().to_vec(),
                    });
                }
            }
        }
    }

    fn receive(&mut self, datagram: &[u8]) -> (Vec<Sent>, Vec<NodeEvent<u16>>) {
        self.node.handle_datagram(self.now, PEER, datagram, Delivery::Unicast);
        self.drain()
    }

    /// Receives a request in a message of its own.
    fn ask(&mut self, token: &[u8], request: &Request) -> (Vec<Sent>, Vec<NodeEvent<u16>>) {
        self.next_id += 1;
        let kind = if request.confirmable { CON } else { NON };
        let (code, options) = (request.method.code(), &request.options);
        let token = Token::new(token).unwrap();
        let (id, payload) = (self.next_id, &request.payload);
        let datagram = encode::message(kind, code, id, token, options, payload, 65_507).unwrap();
        self.receive(&datagram)
    }

    /// Receives a request that the caller is asked for.
    #[track_caller]
    fn asked(&mut self, token: &[u8], request: &Request) -> (Ask<u16>, Request) {
        let (sent, mut events) = self.ask(token, request);
        assert_eq!(sent, []);
        match events.pop() {
            Some(NodeEvent::Request { ask, request, .. }) => (ask, request),
            other => panic!("expected a request: {other:?}"),
        }
    }

    /// Receives a request that is answered without the caller.
    #[track_caller]
    fn answered(&mut self, token: &[u8], request: &Request) -> Sent {
        let (sent, events) = self.ask(token, request);
        assert_eq!(events, []);
        only(sent)
    }

    /// Answers the caller's way.
    #[track_caller]
    fn respond(&mut self, ask: Ask<u16>, response: Response) -> Sent {
        self.node.respond(self.now, ask, response);
        only(self.drain().0)
    }

    /// Receives the response to a request of the node.
    fn reply(&mut self, to: &Sent, response: &Response) -> (Vec<Sent>, Vec<NodeEvent<u16>>) {
        let Response { code, options, payload } = response;
        let (id, token) = (to.message_id, to.token);
        let datagram = encode::message(ACK, *code, id, token, options, payload, 65_507).unwrap();
        self.receive(&datagram)
    }

    fn sleep(&mut self, duration: Duration) -> (Vec<Sent>, Vec<NodeEvent<u16>>) {
        let end = self.now + duration;
        let (mut sent, mut events) = self.drain();
        while let NodeOutput::Wait(Some(at)) = self.node.poll_output()
            && at <= end
        {
            self.now = self.now.max(at);
            self.node.handle_timeout(self.now);
            let (more_sent, more_events) = self.drain();
            sent.extend(more_sent);
            events.extend(more_events);
        }
        self.now = end;
        (sent, events)
    }
}

#[track_caller]
fn only<T: Debug>(items: Vec<T>) -> T {
    match <[T; 1]>::try_from(items) {
        Ok([item]) => item,
        Err(items) => panic!("expected one: {items:?}"),
    }
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

fn content(payload: impl Into<Vec<u8>>) -> Response {
    Response::new(Code::CONTENT).payload(payload)
}

fn block(number: u32, more: bool, bytes: usize) -> u32 {
    Block { number, more, size: BlockSize::fitting(bytes).unwrap() }.encode()
}

fn with(mut request: Request, number: OptionNumber, value: u32) -> Request {
    request.options.push_uint(number, value);
    request
}

/// Not a check: prints what a notification costs with 10,000 observers of one resource.
#[test]
#[ignore = "a measurement, not a check"]
#[expect(clippy::disallowed_methods, reason = "a measurement needs the real clock")]
fn notification_cost() {
    extern crate std;
    let mut node = Bench::with_transfer(TransferConfig::default()).node;
    let (now, resource) = (Instant::ZERO, ResourceId(1));
    for peer in 0..10_000_u16 {
        let options = with(Request::new(Method::Get), OptionNumber::OBSERVE, 0).options;
        let (code, token) = (Method::Get.code(), Token::new(b"t").unwrap());
        let get = encode::message(NON, code, 1, token, &options, b"", 1152).unwrap();
        node.handle_datagram(now, peer, &get, Delivery::Unicast);
        let NodeOutput::Event(NodeEvent::Request { ask, .. }) = node.poll_output() else {
            panic!("not a request");
        };
        node.respond_observed(now, ask, resource, content("0"));
        while let NodeOutput::Transmit { .. } = node.poll_output() {}
    }
    let start = std::time::Instant::now();
    let mut sent = 0_u32;
    for round in 0..20_u8 {
        node.notify(now, resource, content([round; 40]));
        while let NodeOutput::Transmit { .. } = node.poll_output() {
            sent += 1;
        }
    }
    assert_eq!(sent, 200_000);
    std::println!("{:?} a notification, {sent} sent", start.elapsed() / sent);
}
