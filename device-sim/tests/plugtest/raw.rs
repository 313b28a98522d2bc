//! A client that sees every message: it sends and receives datagrams.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use proto::coap::{
    Block, BlockSize, Code, Message, MessageType, Method, OptionNumber, Options, Request,
};

/// The deadline of everything that must happen.
const SOON: Duration = Duration::from_secs(20);
/// Other messages that may come before the one that is waited for.
const MAX_OTHERS: usize = 50;

/// A socket that is connected to the server.
pub(crate) struct Raw {
    socket: UdpSocket,
    next_id: u16,
}

/// A message that arrived.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) kind: MessageType,
    pub(crate) code: Code,
    pub(crate) id: u16,
    pub(crate) token: Vec<u8>,
    pub(crate) options: Options,
    pub(crate) payload: Vec<u8>,
}

impl Received {
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.payload).unwrap()
    }

    pub(crate) fn observe(&self) -> Option<u32> {
        self.options.first_uint(OptionNumber::OBSERVE)
    }

    pub(crate) fn block2(&self) -> Option<Block> {
        Block::of(&self.options, OptionNumber::BLOCK2, BlockSize::MAX).unwrap()
    }
}

impl Raw {
    pub(crate) fn connect(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        Self { socket, next_id: 0x4000 }
    }

    /// Sends a request; its message id.
    pub(crate) fn send(&mut self, token: &[u8], request: &Request) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        let kind = if request.confirmable { 0 } else { 1 };
        let code = request.method.code();
        self.socket.send(&encode(kind, code, id, token, request)).unwrap();
        id
    }

    /// Sends an Empty message.
    pub(crate) fn send_empty(&self, kind: MessageType, id: u16) {
        let kind = match kind {
            MessageType::Confirmable => 0,
            MessageType::NonConfirmable => 1,
            MessageType::Acknowledgement => 2,
            MessageType::Reset => 3,
        };
        let [high, low] = id.to_be_bytes();
        self.socket.send(&[1 << 6 | kind << 4, 0, high, low]).unwrap();
    }

    /// The next message, which must come soon.
    pub(crate) fn receive(&self) -> Received {
        self.receive_within(SOON).expect("a message in time")
    }

    /// The next message, if one comes in time.
    pub(crate) fn receive_within(&self, within: Duration) -> Option<Received> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut buffer = [0; 2048];
        match self.socket.recv(&mut buffer) {
            Ok(len) => Some(parse(&buffer[..len])),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// All messages that are there already.
    pub(crate) fn waiting(&self) -> Vec<Received> {
        let all = || self.receive_within(Duration::from_millis(1));
        std::iter::from_fn(all).collect()
    }

    /// Sends a Confirmable request; the piggybacked response (RFC 7252 §5.2.1).
    pub(crate) fn ask(&mut self, token: &[u8], request: &Request) -> Received {
        assert!(request.confirmable);
        let id = self.send(token, request);
        let response = self.receive();
        assert_eq!((response.kind, response.id), (MessageType::Acknowledgement, id));
        assert_eq!(response.token, token);
        response
    }

    /// Registers as an observer; the response.
    pub(crate) fn observe(&mut self, token: &[u8], path: &str) -> Received {
        let request = get(path).option(OptionNumber::OBSERVE, &[]);
        let response = self.ask(token, &request);
        assert_eq!(response.code, Code::CONTENT);
        assert!(response.observe().is_some(), "{response:?}");
        response
    }

    /// The next notification, acknowledged if it wants that.
    pub(crate) fn notification(&self) -> Received {
        let notification = self.receive();
        if notification.kind == MessageType::Confirmable {
            self.send_empty(MessageType::Acknowledgement, notification.id);
        }
        notification
    }

    /// The first message that is `wanted`, after notifications that are not.
    pub(crate) fn receive_among_notifications(&self, wanted: fn(&Received) -> bool) -> Received {
        let mut messages = std::iter::repeat_with(|| self.notification()).take(MAX_OTHERS);
        messages.find(wanted).expect("the message among many notifications")
    }
}

pub(crate) fn get(path: &str) -> Request {
    Request::new(Method::Get).path(path)
}

pub(crate) fn put(path: &str, payload: &str) -> Request {
    Request::new(Method::Put).path(path).content_format(0).payload(payload)
}

fn parse(datagram: &[u8]) -> Received {
    let message = Message::parse(datagram).unwrap();
    let mut options = Options::new();
    message.options().for_each(|(number, value)| options.push(number, value));
    Received {
        kind: message.kind(),
        code: message.code(),
        id: message.message_id(),
        token: message.token().to_vec(),
        options,
        payload: message.payload().to_vec(),
    }
}

/// RFC 7252 §3.
fn encode(kind: u8, code: Code, id: u16, token: &[u8], request: &Request) -> Vec<u8> {
    let token_length = u8::try_from(token.len()).unwrap();
    let mut datagram = vec![1 << 6 | kind << 4 | token_length, code.as_byte()];
    datagram.extend(id.to_be_bytes());
    datagram.extend(token);
    let mut previous = 0;
    for (number, value) in request.options.iter() {
        let (delta, extended_delta) = split(number.0 - previous);
        let (length, extended_length) = split(u16::try_from(value.len()).unwrap());
        datagram.push(delta << 4 | length);
        datagram.extend(extended_delta);
        datagram.extend(extended_length);
        datagram.extend(value);
        previous = number.0;
    }
    if !request.payload.is_empty() {
        datagram.push(0xff);
        datagram.extend(&request.payload);
    }
    datagram
}

/// A delta or length as its nibble and what extends it.
fn split(value: u16) -> (u8, Vec<u8>) {
    match value {
        0..13 => (u8::try_from(value).unwrap(), vec![]),
        13..269 => (13, vec![u8::try_from(value - 13).unwrap()]),
        _ => (14, (value - 269).to_be_bytes().to_vec()),
    }
}
