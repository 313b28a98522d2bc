//! A client of a TCP source that replies.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::{io, time::Duration};

use super::clock::PATIENCE;

#[derive(Debug)]
pub(crate) struct LineClient {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

/// The half of a client that writes.
#[derive(Debug)]
pub(crate) struct LineWriter(TcpStream);

impl LineWriter {
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

impl LineClient {
    pub(crate) fn connect(gateway: SocketAddr) -> io::Result<Self> {
        Self::connect_with(gateway, PATIENCE)
    }

    /// A client that waits at most so long for a reply.
    pub(crate) fn connect_with(gateway: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&gateway, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { reader: BufReader::new(stream.try_clone()?), stream })
    }

    /// The same connection, to write to it from another thread.
    pub(crate) fn writer(&self) -> LineWriter {
        LineWriter(self.stream.try_clone().unwrap())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next reply, without its line end.
    pub(crate) fn reply(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches('\n').to_owned()),
        }
    }

    pub(crate) fn ask(&mut self, line: &str) -> io::Result<String> {
        self.send(format!("{line}\n").as_bytes())?;
        self.reply()
    }

    /// Leaves with a reply unread, for which the system resets the connection.
    pub(crate) fn reset(self) {
        assert_eq!(self.stream.peek(&mut [0]).unwrap(), 1, "a reply");
    }
}
