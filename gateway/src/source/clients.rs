//! Clients that connect: each is served by a task of its own, up to a limit.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Context;
use crate::supervisor::Supervisor;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// The pause after a client could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Why one is turned away.
pub(super) const TOO_MANY: &str = "too many clients at a time; see `link.max_clients`";

/// Where clients connect.
pub(super) struct Clients {
    listeners: Vec<TcpListener>,
    max: usize,
}

impl Clients {
    /// Up to `max` clients at a time.
    pub(super) fn new(listeners: Vec<TcpListener>, max: u16) -> Self {
        Self { listeners, max: usize::from(max) }
    }

    /// Serves clients until `stop` is cancelled, then waits for them to end: `serve` sees to that.
    pub(super) async fn run<F>(
        self,
        context: &Context,
        stop: &CancellationToken,
        serve: impl Fn(TcpStream, SocketAddr) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut clients: Supervisor<()> = Supervisor::new();
        let mut count = 0;
        loop {
            context.status.set_clients(count);
            tokio::select! {
                () = stop.cancelled() => break,
                _ = clients.next_end(), if !clients.is_empty() => count -= 1,
                accepted = self.accept() => match accepted {
                    Ok((_, peer)) if !context.allows(peer) => {}
                    Ok((_, peer)) if count >= self.max => {
                        context.refuse("too_many_clients", peer, TOO_MANY, b"");
                    }
                    Ok((stream, peer)) => {
                        count += 1;
                        let _ = stream.set_nodelay(true);
                        clients.start(format!("tcp client {peer}"), serve(stream, peer));
                    }
                    // Out of descriptors, most likely: those in use come back.
                    Err(error) => {
                        warn!(source = %context.name, %error, "cannot accept a client");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        // Clients end by themselves once their receipts are settled.
        while clients.next_end().await.is_some() {}
        context.status.set_clients(0);
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|task| {
            let mut accepted = self.listeners.iter().map(|listener| listener.poll_accept(task));
            accepted.find(Poll::is_ready).unwrap_or(Poll::Pending)
        })
        .await
    }
}

/// A TCP socket that listens.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    // Connections of an earlier process that linger are no reason not to start.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
