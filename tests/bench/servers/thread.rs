//! Servers on a thread of this program.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use device_sim::plugtest::{PlugtestConfig, PlugtestServer};
use tokio::sync::oneshot;

use crate::Outcome;
use crate::process::own_thread_cpu;

/// The largest datagram that is echoed.
const MAX_DATAGRAM: usize = 1500;
/// What ends the echo.
const END: &[u8] = b"";

/// A server that tells in the end what its thread has used.
pub(super) struct ServerThread {
    /// Where it listens.
    pub(super) address: SocketAddr,
    stop: Box<dyn FnOnce() -> Outcome<()>>,
    thread: JoinHandle<Outcome<Duration>>,
}

impl ServerThread {
    /// The server of `device-sim plugtest`.
    pub(super) fn plugtest() -> Outcome<Self> {
        let (started, address) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let server = PlugtestServer::start(PlugtestConfig::default()).await?;
                started.send(server.address())?;
                stopped.await?;
                server.shutdown().await;
                own_thread_cpu()
            })
        });
        let stop = || stop.send(()).map_err(|()| "the plugtest server ended early".into());
        Ok(Self { address: address.recv()?, stop: Box::new(stop), thread })
    }

    /// Sends every datagram back.
    pub(super) fn echo() -> Outcome<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; MAX_DATAGRAM];
            loop {
                let (len, from) = socket.recv_from(&mut buffer)?;
                match buffer.get(..len).unwrap_or_default() {
                    END => return own_thread_cpu(),
                    datagram => socket.send_to(datagram, from)?,
                };
            }
        });
        let stop = move || {
            UdpSocket::bind("127.0.0.1:0")?.send_to(END, address)?;
            Ok(())
        };
        Ok(Self { address, stop: Box::new(stop), thread })
    }

    /// Ends it; the processor time that it has used.
    pub(super) fn stop(self) -> Outcome<Duration> {
        (self.stop)()?;
        self.thread.join().map_err(|_| "a server panicked")?
    }
}
