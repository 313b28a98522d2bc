//! A listening port that can be closed and opened again.
//!
//! Two sockets are bound to the port: one for as long as the door exists, so that nobody else is
//! given the port while it is closed, and one that listens. Closing does not rely on the listening
//! descriptor being the last one: a process that is being started elsewhere in the program holds a
//! copy of every descriptor until its `exec`, and a port whose listening socket is merely dropped
//! would go on to accept meanwhile. The socket itself is told to listen no more.

use std::io;
use std::net::{Shutdown, SocketAddr};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const BACKLOG: u32 = 1024;

/// A TCP port. While it is closed connections are refused, yet it stays bound.
#[derive(Debug)]
pub(crate) struct Door {
    address: SocketAddr,
    /// Bound and never listening.
    _reserved: TcpSocket,
    listener: Option<TcpListener>,
}

impl Door {
    /// Binds and listens.
    pub(crate) async fn bind(address: &str) -> io::Result<Self> {
        let mut failure = io::ErrorKind::NotFound.into();
        for address in tokio::net::lookup_host(address).await? {
            match Self::bind_to(address) {
                Ok(door) => return Ok(door),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn bind_to(address: SocketAddr) -> io::Result<Self> {
        let reserved = bound(address)?;
        let address = reserved.local_addr()?;
        let listener = Some(bound(address)?.listen(BACKLOG)?);
        Ok(Self { address, _reserved: reserved, listener })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection; never while closed.
    pub(crate) async fn accept(&self) -> io::Result<TcpStream> {
        match &self.listener {
            Some(listener) => listener.accept().await.map(|(stream, _)| stream),
            None => std::future::pending().await,
        }
    }

    pub(crate) fn close(&mut self) -> io::Result<()> {
        match self.listener.take() {
            Some(listener) => SockRef::from(&listener).shutdown(Shutdown::Both),
            None => Ok(()),
        }
    }

    pub(crate) fn open(&mut self) -> io::Result<()> {
        if self.listener.is_none() {
            self.listener = Some(bound(self.address)?.listen(BACKLOG)?);
        }
        Ok(())
    }
}

/// A socket on `address`, next to others of this program that do not listen.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let v4 = address.is_ipv4();
    let socket = if v4 { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    async fn assert_closed(door: &Door) {
        let refused = TcpStream::connect(door.address()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    async fn assert_open(door: &Door) {
        let (connected, accepted) = tokio::join!(TcpStream::connect(door.address()), door.accept());
        assert_eq!(
            connected.unwrap().local_addr().unwrap(),
            accepted.unwrap().peer_addr().unwrap()
        );
    }

    #[tokio::test]
    async fn closed_door_refuses_and_keeps_its_port() {
        let mut door = Door::bind("127.0.0.1:0").await.unwrap();
        door.close().unwrap();
        assert_closed(&door).await;
        let other = TcpSocket::new_v4().unwrap().bind(door.address()).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AddrInUse);
        door.open().unwrap();
        assert_open(&door).await;
    }

    #[tokio::test]
    async fn door_closes_and_opens_while_another_process_holds_its_descriptors() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let mut door = Door::bind(address).await.unwrap();
            let mut copies = Vec::new();
            for _ in 0..3 {
                // What a fork leaves in a process that has not called exec yet.
                let listener = door.listener.as_ref().unwrap();
                copies.push(listener.as_fd().try_clone_to_owned().unwrap());
                door.close().unwrap();
                assert_closed(&door).await;
                door.open().unwrap();
                assert_open(&door).await;
            }
        }
    }

    #[tokio::test]
    async fn occupied_port_is_an_error() {
        let door = Door::bind("127.0.0.1:0").await.unwrap();
        let error = Door::bind(&door.address().to_string()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
