//! Servers on a thread of this program.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use device_sim::broker::{Broker, BrokerConfig, Recording};
use device_sim::plugtest::{PlugtestConfig, PlugtestServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::process::own_thread_cpu;

/// The largest datagram that is echoed.
const MAX_DATAGRAM: usize = 1500;
/// What ends the echo.
const END: &[u8] = b"";
/// How much is read at once from a connection.
const READ_BYTES: usize = 4096;
const REPLY: &[u8] = b"ok\n";

/// A server that tells in the end what its thread has used.
pub(crate) struct ServerThread {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stop: Box<dyn FnOnce() -> Outcome<()>>,
    thread: JoinHandle<Outcome<Duration>>,
}

impl ServerThread {
    /// The server of `device-sim plugtest`.
    pub(crate) fn plugtest() -> Outcome<Self> {
        Self::on_runtime(async || {
            let server = PlugtestServer::start(PlugtestConfig::default()).await?;
            Ok((server.address(), server))
        })
    }

    /// A broker that counts what it receives.
    pub(crate) fn broker() -> Outcome<Self> {
        Self::on_runtime(async || {
            let recording = Recording::Count;
            let config = BrokerConfig { recording, ..BrokerConfig::default() };
            let broker = Broker::start(config).await?;
            Ok((broker.address(), broker))
        })
    }

    /// Answers every line of its clients with `ok`.
    pub(crate) fn replies() -> Outcome<Self> {
        Self::on_runtime(async || {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let mut tasks = JoinSet::new();
            tasks.spawn(reply_to_all(listener));
            Ok((address, tasks))
        })
    }

    /// What `start` has made lives until the end.
    fn on_runtime<S>(
        start: impl AsyncFnOnce() -> io::Result<(SocketAddr, S)> + Send + 'static,
    ) -> Outcome<Self> {
        let (started, address) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (address, _server) = start().await?;
                started.send(address)?;
                stopped.await?;
                own_thread_cpu()
            })
        });
        let stop = || stop.send(()).map_err(|()| "a server ended early".into());
        Ok(Self { address: address.recv()?, stop: Box::new(stop), thread })
    }

    /// Sends every datagram back.
    pub(super) fn echo() -> Outcome<Self> {
        Self::datagrams(|socket, datagram, from| socket.send_to(datagram, from).map(drop))
    }

    /// Does the same with every datagram.
    fn datagrams(handle: fn(&UdpSocket, &[u8], SocketAddr) -> io::Result<()>) -> Outcome<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; MAX_DATAGRAM];
            loop {
                let (len, from) = socket.recv_from(&mut buffer)?;
                match buffer.get(..len).unwrap_or_default() {
                    END => return own_thread_cpu(),
                    datagram => handle(&socket, datagram, from)?,
                }
            }
        });
        let stop = move || {
            UdpSocket::bind("127.0.0.1:0")?.send_to(END, address)?;
            Ok(())
        };
        Ok(Self { address, stop: Box::new(stop), thread })
    }

    /// Receives datagrams and answers none.
    pub(crate) fn sink() -> Outcome<Self> {
        Self::datagrams(|_, _, _| Ok(()))
    }

    /// Ends it; the processor time that it has used.
    pub(crate) fn stop(self) -> Outcome<Duration> {
        (self.stop)()?;
        self.thread.join().map_err(|_| "a server panicked")?
    }
}

async fn reply_to_all(listener: TcpListener) -> io::Result<()> {
    let mut clients = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        clients.spawn(reply(stream));
    }
}

async fn reply(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; READ_BYTES];
    loop {
        let len = stream.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        let lines = buffer.iter().take(len).filter(|byte| **byte == b'\n').count();
        stream.write_all(&REPLY.repeat(lines)).await?;
    }
}
