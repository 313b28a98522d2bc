//! The least that reads serial ports: lines are split and entered into the ledger by the number in
//! them; nothing else is decoded, and nothing is kept or passed on.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_serial::{SerialPortBuilderExt as _, SerialStream};

use super::Outcome;
use super::ledger::Ledger;
use super::process::own_thread_cpu;

/// As the gateway has it; a pseudo-terminal has no speed.
const BAUD: u32 = 115_200;

/// A reader on a thread and a runtime of its own.
pub(crate) struct BareSerial {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Outcome<Duration>>,
}

impl BareSerial {
    /// Opens the ports at these paths.
    pub(crate) fn start<'a>(
        paths: impl Iterator<Item = &'a str>,
        ledger: &Arc<Ledger>,
    ) -> Outcome<Self> {
        let ledger = Arc::clone(ledger);
        let paths: Vec<String> = paths.map(str::to_owned).collect();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut readers = JoinSet::new();
                for path in paths {
                    let port = tokio_serial::new(path, BAUD).open_native_async()?;
                    readers.spawn(read(port, Arc::clone(&ledger)));
                }
                ready.send(())?;
                let before = own_thread_cpu()?;
                tokio::select! {
                    _ = stopped => Ok(own_thread_cpu()? - before),
                    ended = readers.join_next() => {
                        ended.ok_or("no ports")???;
                        Err("a port has ended".into())
                    }
                }
            })
        });
        is_ready.recv()?;
        Ok(Self { stop, thread })
    }

    /// Ends it; the processor time that it has used.
    pub(crate) fn stop(self) -> Outcome<Duration> {
        self.stop.send(()).map_err(|()| "the reader ended early")?;
        self.thread.join().map_err(|_| "the reader panicked")?
    }
}

async fn read(port: SerialStream, ledger: Arc<Ledger>) -> Outcome<()> {
    let clock = ledger.clock();
    let mut port = BufReader::new(port);
    let mut line = Vec::new();
    while port.read_until(b'\n', &mut line).await? > 0 {
        ledger.handle_arrived(&line, clock.now());
        line.clear();
    }
    Ok(())
}
