//! A file for a node: announced, and sent block by block as the node asks for it.
//!
//! Nothing of it is kept here. The node says how much it has, so that it goes on there after any end of the
//! gateway, and begins anew where the node has lost it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proto::link::{CommandOutcome, FileSender, FileStep, Offer, Reply, SHA256_BYTES, Sha256Sum};
use proto::{Instant, Value};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::calls::{Caller, HubEnded};
use super::orders::{End, failed, not_sent, reach};
use super::payload::{bad_answer, refusal};
use crate::clock;
use crate::commands::Order;
use crate::config::FileVia;
use crate::source::folder::open_below;

/// Bytes that are read at a time for the checksum.
const CHUNK: usize = 64 * 1024;
/// The shortest time between two messages that say how far it is, unless it is a twentieth further.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Sends the file that an order names.
pub(super) async fn send_file(
    order: &Order,
    via: &FileVia,
    caller: &Caller,
) -> Result<End, HubEnded> {
    let Some(Value::Text(name)) = order.value.clone() else {
        return Ok(failed("value", "expected the name of a file"));
    };
    let (folder, max) = (via.folder.clone(), via.max.bytes());
    let opened = spawn_blocking(move || open(&folder, name, max)).await;
    let (file, offer) = match opened.map_err(io::Error::other).and_then(|opened| opened) {
        Ok(opened) => opened,
        Err(error) => return Ok(failed("file", format!("cannot read the file: {error}"))),
    };
    let (sha256, mut progress) = (offer.sha256, Progress::of(offer.size));
    let mut sender = FileSender::new(via.code, order.id().to_owned(), offer);
    let mut call = sender.announcement();
    let mut is_begun = false;
    loop {
        let slot = reach(order, caller).await?;
        if !is_begun && !order.begin().await {
            return Ok(End::Void);
        }
        is_begun = true;
        let Some(payload) = call.encode() else {
            return Ok(failed("too_long", "the file cannot be announced"));
        };
        let sent = caller.send(slot, payload, order.deadline).await?;
        let Ok(CommandOutcome::Answered(payload)) = sent else {
            if let Some(end) = not_sent(&sent) {
                return Ok(end);
            }
            // Who starts again is asked what it has.
            call = sender.announcement();
            continue;
        };
        let reply = match Reply::decode(&payload) {
            Ok(reply) => reply,
            Err(fault) => return Ok(End::Failed(bad_answer(&fault.to_string()))),
        };
        match sender.handle_reply(reply) {
            FileStep::Block { offset, len } => {
                if progress.begins() {
                    order.delivered().await;
                }
                if progress.is_due(clock::now(), offset) {
                    order.progress(json!({ "bytes": offset, "size": progress.size })).await;
                }
                match read(&file, offset, len).await {
                    Ok(bytes) => call = sender.block(offset, bytes),
                    Err(error) => {
                        let why = format!("it changed while it was sent: {error}");
                        return Ok(failed("file", why));
                    }
                }
            }
            FileStep::Done => return Ok(End::Done(Some(json!({ "sha256": hex(&sha256) })))),
            FileStep::Checksum => {
                let why = "the node has another checksum of it, and has thrown it away";
                return Ok(failed("checksum", why));
            }
            FileStep::Refused(reply) => return Ok(End::Failed(refusal(reply))),
            FileStep::Stuck => return Ok(failed("stuck", "the node asks for nothing further on")),
        }
    }
}

/// Opens a file and finds out what is to be announced of it.
fn open(folder: &Path, name: String, max: u64) -> io::Result<(Arc<File>, Offer)> {
    let (file, size) = open_below(folder, &name)?;
    let fits = u32::try_from(size).ok().filter(|_| size <= max);
    let size = fits.ok_or_else(|| {
        io::Error::other(format!("it has {size} bytes, and `via.max` allows {max}"))
    })?;
    let mut sum = Sha256Sum::default();
    let (mut at, mut chunk) = (0, vec![0; CHUNK]);
    while at < u64::from(size) {
        let left = usize::try_from(u64::from(size) - at).unwrap_or(CHUNK).min(CHUNK);
        let part = chunk.get_mut(..left).unwrap_or_default();
        file.read_exact_at(part, at)?;
        sum.add(part);
        at += left as u64;
    }
    Ok((Arc::new(file), Offer { name, size, sha256: sum.finish() }))
}

async fn read(file: &Arc<File>, offset: u32, len: u32) -> io::Result<Vec<u8>> {
    let file = Arc::clone(file);
    let read = spawn_blocking(move || {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut bytes, offset.into()).map(|()| bytes)
    });
    read.await.map_err(io::Error::other)?
}

fn hex(bytes: &[u8; SHA256_BYTES]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How far a file is, and when that is told.
struct Progress {
    size: u32,
    told: Option<(Instant, u32)>,
    has_begun: bool,
}

impl Progress {
    const fn of(size: u32) -> Self {
        Self { size, told: None, has_begun: false }
    }

    /// Whether this is the first answer.
    fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.has_begun, true)
    }

    /// Whether that the node has so much is told.
    fn is_due(&mut self, now: Instant, bytes: u32) -> bool {
        let is_due = self.told.is_none_or(|(at, told)| {
            let further = bytes.abs_diff(told);
            further > 0 && (now - at >= PROGRESS_EVERY || further >= (self.size / 20).max(1))
        });
        if is_due {
            self.told = Some((now, bytes));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    use crate::store::tests::Folder;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn progress_is_told_each_second_or_each_twentieth() {
        let mut progress = Progress::of(1000);
        let due = [(0, 0), (1, 49), (2, 50), (3, 51), (1001, 99), (1002, 99), (1003, 100)]
            .map(|(ms, bytes)| progress.is_due(at(ms), bytes));
        assert_eq!(due, [true, false, true, false, false, true, false]);
        assert!(!progress.is_due(at(5000), 99), "nothing has changed");
        assert!(progress.is_due(at(5001), 100));
        assert!(progress.begins() && !progress.begins());
    }

    #[test]
    fn only_files_in_the_folder_that_are_small_enough_are_announced() {
        let dir = Folder::new();
        let folder = dir.path().join("files");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a"), [7; 3000]).unwrap();
        fs::write(dir.path().join("secret"), "x").unwrap();
        symlink("../secret", folder.join("link")).unwrap();
        let (file, offer) = open(&folder, "a".to_owned(), 3000).unwrap();
        assert_eq!(offer.size, 3000);
        let mut sum = Sha256Sum::default();
        sum.add(&[7; 3000]);
        assert_eq!(offer.sha256, sum.finish());
        assert_eq!(file.metadata().unwrap().len(), 3000);
        for (name, max) in [("a", 2999), ("b", 9), ("../secret", 9), ("link", 9), (".", 9)] {
            assert!(open(&folder, name.to_owned(), max).is_err(), "{name}");
        }
    }
}
