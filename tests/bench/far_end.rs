//! The recording broker, on a thread and a runtime of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use device_sim::broker::{Broker, BrokerConfig, Counts, Recorded, Recording};
use tokio::sync::oneshot;

use super::Outcome;
use super::ledger::Ledger;

/// A broker that enters what arrives into a ledger.
pub(crate) struct FarEnd {
    address: SocketAddr,
    connected: mpsc::Receiver<()>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<Counts>>,
}

impl FarEnd {
    /// Starts it on a free port.
    pub(crate) fn start(ledger: &Arc<Ledger>) -> Outcome<Self> {
        let clock = ledger.clock();
        let ledger = Arc::clone(ledger);
        let record = move |message: Recorded| ledger.handle_arrived(&message.payload, message.at);
        let recording = Recording::Call(Box::new(record));
        let config = BrokerConfig { recording, clock, ..BrokerConfig::default() };
        let (started, address) = mpsc::sync_channel(1);
        let (first, connected) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || serve(config, &started, &first, stopped));
        Ok(Self { address: address.recv()?, connected, stop, thread })
    }

    /// Waits until its client is there.
    pub(crate) fn wait_for_client(&self, patience: Duration) -> Outcome<()> {
        let connected = self.connected.recv_timeout(patience);
        connected.map_err(|_| "the client did not connect to the broker".into())
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; an error if a client broke the protocol or a connection was cut short.
    pub(crate) fn stop(self) -> Outcome<()> {
        self.stop.send(()).map_err(|()| "the broker ended early")?;
        let counts = self.thread.join().map_err(|_| "the broker panicked")??;
        if counts.violations + counts.timeouts + counts.takeovers > 0 || counts.connects != 1 {
            return Err(format!("the connection to the broker did not last: {counts:?}").into());
        }
        Ok(())
    }
}

fn serve(
    config: BrokerConfig,
    started: &mpsc::SyncSender<SocketAddr>,
    connected: &mpsc::SyncSender<()>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<Counts> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let broker = Broker::start(config).await?;
        started.send(broker.address()).map_err(io::Error::other)?;
        // An error means that the run has failed, which is reported there.
        tokio::select! {
            _ = &mut stopped => {}
            there = broker.wait_for(Duration::MAX, |counts| counts.connects > 0) => {
                there.map_err(io::Error::other)?;
                let _ = connected.try_send(());
                let _ = stopped.await;
            }
        }
        Ok(broker.shutdown().await)
    })
}
