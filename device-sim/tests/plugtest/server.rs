//! A server for one test, on a thread of its own.

use std::net::SocketAddr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use device_sim::plugtest::{PlugtestConfig, PlugtestServer};
use tokio::sync::oneshot;

/// How often observable resources change in a test.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// A running server; it is stopped when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _background: Background,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    pub(crate) fn start_at(bind: &str) -> Self {
        let config = PlugtestConfig {
            bind: bind.to_owned(),
            interval: INTERVAL,
            separate_after: Duration::from_millis(50),
            ack_timeout: Duration::from_millis(50),
        };
        let (address, background) = Background::start(|address, stop| async move {
            let server = PlugtestServer::start(config).await.unwrap();
            address.send(server.address()).unwrap();
            // An error says that the test is over, and nothing else is ever sent.
            let _ = stop.await;
            server.shutdown().await;
        });
        Self { address, _background: background }
    }
}

/// A thread that runs something until it is dropped.
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Runs what `make` makes, which has to tell its address and to end when `stop` resolves.
    pub(crate) fn start<F: Future<Output = ()>>(
        make: impl FnOnce(SyncSender<SocketAddr>, oneshot::Receiver<()>) -> F + Send + 'static,
    ) -> (SocketAddr, Self) {
        let (sender, address) = sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().build().unwrap().block_on(make(sender, stopped));
        });
        let background = Self { stop: Some(stop), thread: Some(thread) };
        (address.recv().unwrap(), background)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the thread behind the test failed");
        }
    }
}
