//! A CoAP node made by hand, so that tests see every datagram (RFC 7252).

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use proto::coap::{Message, MessageType};

use super::clock::Deadline;

/// Much shorter than ACK_TIMEOUT: these nodes are in a hurry.
const RETRANSMIT: Duration = Duration::from_millis(150);

/// What a node was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `2.04`.
    pub(crate) code: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) max_age: Option<u32>,
    /// Whether it came after an empty acknowledgement.
    pub(crate) separate: bool,
    /// How often the request was sent.
    pub(crate) sent: u32,
}

/// A node with a socket of its own.
#[derive(Debug)]
pub(crate) struct Node {
    socket: UdpSocket,
    message_id: u16,
}

impl Node {
    pub(crate) fn new(gateway: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(gateway).unwrap();
        Self { socket, message_id: 0 }
    }

    /// Sends a datagram as it is.
    pub(crate) fn send(&self, datagram: &[u8]) {
        // A gateway that does not run answers the one before with "connection refused".
        let _ = self.socket.send(datagram);
    }

    /// The next datagram, unless the time is over.
    pub(crate) fn receive(&self, within: Duration) -> Option<Vec<u8>> {
        let deadline = Deadline::after(within);
        let mut buffer = [0; 2048];
        while !deadline.has_passed() {
            self.socket.set_read_timeout(Some(deadline.left())).unwrap();
            match self.socket.recv(&mut buffer) {
                Ok(count) => return Some(buffer[..count].to_vec()),
                // The gateway's port was closed a moment ago; or the time is over.
                Err(_) => std::thread::yield_now(),
            }
        }
        None
    }

    /// Posts in a Confirmable message and sends it again until there is an answer; `None` where
    /// none came in time, or the gateway forgot what it had acknowledged to have received.
    pub(crate) fn post(
        &mut self,
        path: &str,
        format: Option<u16>,
        payload: &[u8],
        within: Duration,
    ) -> Option<Answer> {
        self.message_id = self.message_id.wrapping_add(1);
        let token = self.message_id.to_be_bytes();
        let datagram = request(self.message_id, &token, path, format, payload);
        let deadline = Deadline::after(within);
        let (mut separate, mut sent) = (false, 0);
        while !deadline.has_passed() {
            if !separate {
                self.send(&datagram);
                sent += 1;
            }
            let again = Deadline::after(RETRANSMIT);
            while !again.has_passed() {
                let Some(received) = self.receive(again.left()) else { break };
                let message = Message::parse(&received).unwrap();
                let kind = message.kind();
                assert_ne!(kind, MessageType::Reset, "in answer to {datagram:02x?}");
                if kind == MessageType::Acknowledgement && message.token().is_empty() {
                    separate |= message.message_id() == self.message_id;
                } else if *message.token() == token {
                    if kind == MessageType::Confirmable {
                        self.send(&acknowledgement(message.message_id()));
                    }
                    return Some(answer(&message, separate, sent));
                }
            }
        }
        None
    }
}

pub(crate) fn answer(message: &Message<'_>, separate: bool, sent: u32) -> Answer {
    let number = |value: &[u8]| value.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte));
    let max_age = message.options().find(|(option, _)| option.0 == 14);
    Answer {
        code: message.code().to_string(),
        payload: message.payload().to_vec(),
        max_age: max_age.map(|(_, value)| number(value)),
        separate,
        sent,
    }
}

/// An empty Acknowledgement.
pub(crate) fn acknowledgement(message_id: u16) -> Vec<u8> {
    let [high, low] = message_id.to_be_bytes();
    vec![0x60, 0, high, low]
}

/// A Confirmable POST.
pub(crate) fn request(
    message_id: u16,
    token: &[u8],
    path: &str,
    format: Option<u16>,
    payload: &[u8],
) -> Vec<u8> {
    const URI_PATH: u8 = 11;
    const CONTENT_FORMAT: u8 = 12;
    let mut datagram = vec![0x40 | token.len() as u8, 0x02];
    datagram.extend(message_id.to_be_bytes());
    datagram.extend(token);
    let mut previous = 0;
    let mut option = |number: u8, value: &[u8]| {
        let delta = number - previous;
        previous = number;
        // RFC 7252 §3.1: a length from 13 on is one more byte.
        match value.len() {
            length @ 0..13 => datagram.push(delta << 4 | length as u8),
            length => datagram.extend([delta << 4 | 13, length as u8 - 13]),
        }
        datagram.extend(value);
    };
    for segment in path.split('/') {
        option(URI_PATH, segment.as_bytes());
    }
    if let Some(format) = format {
        let bytes = format.to_be_bytes();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        option(CONTENT_FORMAT, &bytes[zeros..]);
    }
    if !payload.is_empty() {
        datagram.push(0xff);
        datagram.extend(payload);
    }
    datagram
}
