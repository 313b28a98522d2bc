//! A listening port that can be closed and opened again.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

const BACKLOG: u32 = 1024;

/// A TCP port. While it is closed connections are refused, yet it stays bound, so that nobody else
/// is given the port in between.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(TcpListener),
    /// Bound but not listening.
    Closed(TcpSocket),
    /// Another program took the port in the instant between the two.
    Lost,
}

impl Door {
    /// Binds and listens.
    pub(crate) async fn bind(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { address: listener.local_addr()?, state: State::Open(listener) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection; never while closed.
    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        match &self.state {
            State::Open(listener) => listener.accept().await.map(|(stream, _)| stream),
            State::Closed(_) | State::Lost => std::future::pending().await,
        }
    }

    pub(crate) fn close(&mut self) -> io::Result<()> {
        if let State::Open(_) = self.state {
            // A listening socket has to go before the address can be bound a second time.
            self.state = State::Lost;
            self.state = State::Closed(self.reserve()?);
        }
        Ok(())
    }

    pub(crate) fn open(&mut self) -> io::Result<()> {
        let socket = match std::mem::replace(&mut self.state, State::Lost) {
            open @ State::Open(_) => {
                self.state = open;
                return Ok(());
            }
            State::Closed(socket) => socket,
            State::Lost => self.reserve()?,
        };
        self.state = State::Open(socket.listen(BACKLOG)?);
        Ok(())
    }

    fn reserve(&self) -> io::Result<TcpSocket> {
        let v4 = self.address.is_ipv4();
        let socket = if v4 { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn closed_door_refuses_and_keeps_its_port() {
        let mut door = Door::bind("127.0.0.1:0").await.unwrap();
        door.close().unwrap();
        let refused = TcpStream::connect(door.address()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let other = TcpSocket::new_v4().unwrap().bind(door.address()).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AddrInUse);
        door.open().unwrap();
        let (connected, accepted) = tokio::join!(TcpStream::connect(door.address()), door.accept());
        assert_eq!(
            connected.unwrap().local_addr().unwrap(),
            accepted.unwrap().peer_addr().unwrap()
        );
    }
}
