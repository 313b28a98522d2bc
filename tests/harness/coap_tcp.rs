//! A CoAP client over TCP made by hand, so that tests see every byte (RFC 8323).

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use proto::coap::Message;

use super::clock::PATIENCE;
use super::coap::{Answer, answer, request};

/// A CSM without options (RFC 8323 §5.3).
pub(crate) const CSM: &[u8] = b"\x00\xe1";

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// `2.04`.
    pub(crate) code: String,
    pub(crate) token: Vec<u8>,
    /// Options and payload.
    body: Vec<u8>,
    byte: u8,
}

impl Received {
    /// It as a response.
    pub(crate) fn answer(&self) -> Answer {
        let header = [0x50 | self.token.len() as u8, self.byte, 0, 0];
        let datagram = [&header, self.token.as_slice(), self.body.as_slice()].concat();
        answer(&Message::parse(&datagram).unwrap(), false, 1)
    }

    /// The text in it, behind its options.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client with a connection.
#[derive(Debug)]
pub(crate) struct StreamNode {
    stream: TcpStream,
}

impl StreamNode {
    /// Connects; both sides have said what they can do.
    pub(crate) fn connect(gateway: SocketAddr) -> io::Result<Self> {
        Self::connect_with(gateway, PATIENCE)
    }

    /// One that waits at most so long for an answer.
    pub(crate) fn connect_with(gateway: SocketAddr, patience: Duration) -> io::Result<Self> {
        let mut node = Self::connect_silently(gateway, patience)?;
        node.send(CSM)?;
        assert_eq!(node.receive()?.code, "7.01");
        Ok(node)
    }

    /// One that has not said anything.
    pub(crate) fn connect_silently(gateway: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&gateway, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Gives up to send after this time.
    pub(crate) fn set_write_timeout(&self, timeout: Duration) {
        self.stream.set_write_timeout(Some(timeout)).unwrap();
    }

    /// The next message.
    pub(crate) fn receive(&mut self) -> io::Result<Received> {
        let [first] = self.take()?;
        let length = match first >> 4 {
            13 => 13 + usize::from(u8::from_be_bytes(self.take()?)),
            14 => 269 + usize::from(u16::from_be_bytes(self.take()?)),
            15 => panic!("nothing that the gateway says is so long"),
            length => usize::from(length),
        };
        let [byte] = self.take()?;
        let mut token = vec![0; usize::from(first & 0x0f)];
        self.stream.read_exact(&mut token)?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let code = format!("{}.{:02}", byte >> 5, byte & 0x1f);
        Ok(Received { code, token, body, byte })
    }

    /// Posts and waits for the answer.
    pub(crate) fn post(
        &mut self,
        path: &str,
        format: Option<u16>,
        payload: &[u8],
    ) -> io::Result<Answer> {
        self.send(&stream_request(b"post", path, format, payload))?;
        let received = self.receive()?;
        assert_eq!(received.token, b"post");
        Ok(received.answer())
    }

    /// Whether the gateway has closed the connection, once everything is read.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }

    fn take<const COUNT: usize>(&mut self) -> io::Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// A POST: what a datagram has, with a length in place of type and message id (RFC 8323 §3.2).
pub(crate) fn stream_request(
    token: &[u8],
    path: &str,
    format: Option<u16>,
    payload: &[u8],
) -> Vec<u8> {
    let datagram = request(0, token, path, format, payload);
    let (header, rest) = datagram.split_at(4);
    let length = rest.len() - token.len();
    let mut stream = match length {
        0..13 => vec![(length as u8) << 4],
        13..269 => vec![0xd0, (length - 13) as u8],
        _ => [&[0xe0][..], &((length - 269) as u16).to_be_bytes()].concat(),
    };
    stream[0] |= token.len() as u8;
    stream.push(header[1]);
    stream.extend(rest);
    stream
}
