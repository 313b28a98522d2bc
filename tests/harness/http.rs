//! A client of an HTTP source that says every byte itself, so that it can say wrong ones.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use super::clock::PATIENCE;

/// A connection.
#[derive(Debug)]
pub(crate) struct HttpClient {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lines of the head, with names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.headers.iter().find(|(known, _)| known == name);
        line.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl HttpClient {
    pub(crate) fn connect(gateway: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&gateway, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::new(stream.try_clone()?), stream })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends nothing more.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        self.answer_to("GET")
    }

    /// The next answer to a request of this method; one to HEAD has no body.
    pub(crate) fn answer_to(&mut self, method: &str) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.ok_or_else(|| io::Error::other(format!("no HTTP: {first}")))?;
        let mut answer = Answer { status, ..Answer::default() };
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        if let Some(length) = length.filter(|_| method != "HEAD") {
            let mut body = vec![0; length];
            self.reader.read_exact(&mut body)?;
            answer.body = String::from_utf8_lossy(&body).into_owned();
        }
        Ok(answer)
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }

    /// Whether the gateway has closed the connection, once it has or sends more.
    pub(crate) fn is_closed(&mut self) -> bool {
        !matches!(self.reader.read(&mut [0]), Ok(1))
    }

    pub(crate) fn ask(&mut self, head: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(&request(head, body))?;
        self.answer_to(head.split(' ').next().unwrap_or_default())
    }
}

/// A request: its first line without the version, and lines of its head; what every request has is
/// added.
pub(crate) fn request(head: &str, body: &[u8]) -> Vec<u8> {
    let (first, lines) = head.split_once('\n').unwrap_or((head, ""));
    let mut text = format!("{first} HTTP/1.1\r\nHost: gw\r\n");
    for line in lines.lines() {
        text.push_str(&format!("{line}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// One request over a connection of its own.
pub(crate) fn ask(gateway: SocketAddr, head: &str, body: &[u8]) -> Answer {
    HttpClient::connect(gateway).unwrap().ask(head, body).unwrap()
}
