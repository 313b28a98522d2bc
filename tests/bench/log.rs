//! A plain file with a thread of its own: one write and one sync for all that waits.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Outcome;
use super::gateway::Folder;
use super::process::own_thread_cpu;

/// More than are ever under way.
const WAITING: usize = 1024;

/// The file.
pub(crate) struct Log {
    /// Where entries are handed in.
    pub(crate) inlet: mpsc::SyncSender<Entry>,
    thread: JoinHandle<Outcome<Duration>>,
    _folder: Folder,
}

/// What is to be kept, and who waits for it.
pub(crate) struct Entry {
    pub(crate) bytes: Bytes,
    pub(crate) synced: oneshot::Sender<()>,
}

impl Log {
    /// A new one in a folder under `dir`.
    pub(crate) fn create(dir: &Path) -> Outcome<Self> {
        let folder = Folder::create(dir)?;
        let file = File::create(folder.0.join("log"))?;
        let (inlet, entries) = mpsc::sync_channel(WAITING);
        let thread = std::thread::spawn(move || keep(file, &entries));
        Ok(Self { inlet, thread, _folder: folder })
    }

    /// Ends it, once nobody else has its inlet; the processor time that it has used.
    pub(crate) fn stop(self) -> Outcome<Duration> {
        drop(self.inlet);
        self.thread.join().map_err(|_| "the log panicked")?
    }
}

fn keep(mut file: File, entries: &mpsc::Receiver<Entry>) -> Outcome<Duration> {
    let mut bytes = Vec::new();
    while let Ok(first) = entries.recv() {
        let batch: Vec<Entry> = std::iter::once(first).chain(entries.try_iter()).collect();
        bytes.clear();
        for entry in &batch {
            bytes.extend_from_slice(&entry.bytes);
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        for entry in batch {
            // Who does not wait any more need not know.
            let _ = entry.synced.send(());
        }
    }
    own_thread_cpu()
}
