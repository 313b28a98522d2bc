//! The socket: found, opened, and made to notice a link that is dead.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};

use crate::config::BrokerUrl;

/// The most addresses of a host that are tried; the system sorts the best ones first.
const MAX_ADDRESSES: usize = 8;
/// Silence after which the system asks the broker's machine whether it is there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// The pause between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The addresses of the host.
pub(super) async fn resolve(url: &BrokerUrl) -> io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((url.host(), url.port())).await?.take(MAX_ADDRESSES).collect())
}

/// Opens a connection that ends when bytes stay unconfirmed for `user_timeout`, also those of a
/// keep-alive question (RFC 5482, tcp(7)).
pub(crate) async fn connect(address: SocketAddr, user_timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(user_timeout))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_notices_a_dead_link_and_does_not_wait_to_send() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let timeout = Duration::from_secs(7);
        let stream = connect(listener.local_addr().unwrap(), timeout).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(timeout));
    }
}
