//! Durable appends alone: what a commit costs, without a network.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use device_sim::clock::Clock;
use proto::{Instant, Reading, TimeQuality, Value};
use tokio::sync::oneshot;

use super::Outcome;
use super::clock;
use super::figure::{Metric, Run, number};
use super::gateway::Folder;
use super::process::own_cpu;
use super::store::{Batch, Content, Lane, Limits, Policy, Record, Spool, WhenFull};

/// Bytes of a record with its length.
const RECORD: usize = 150;
/// Text in a record that makes it as long as that.
const TEXT: usize = 101;
/// More than a run writes.
const QUOTA: u64 = 4 << 30;

/// Appends records to the gateway's store for a while: the next batch is encoded while one is
/// committed on the storage thread, as the gateway does it.
pub(crate) fn spool(dir: &Path, batch: u32, duration: Duration) -> Outcome<Run> {
    let folder = Folder::create(dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let lanes = [Lane::only("far", Limits::default())];
    let when_full = WhenFull::DropNewest;
    let policy = Policy { quota: QUOTA, min_free: 0, when_full, keep: Duration::ZERO };
    let (spool, thread) = Spool::open(folder.0.join("state"), policy, &lanes)?;
    let cursor = spool.cursor("far").ok_or("the store does not know its broker")?;
    let mut committing: Option<oneshot::Receiver<_>> = None;
    let run = run(batch, duration, || {
        runtime.block_on(async {
            let mut filling = Batch::default();
            for _ in 0..batch {
                filling.push(record());
            }
            if let Some(committing) = committing.take() {
                committing.await??;
                // As with a broker that keeps up.
                cursor.release_open(spool.status().next);
            }
            let (receipt, outcome) = oneshot::channel();
            spool.append(filling, receipt, clock::wall()).await;
            committing = Some(outcome);
            Ok(())
        })
    })?;
    let status = spool.status();
    drop((spool, cursor));
    thread.join().map_err(|_| "the storage thread panicked")??;
    match status.committed_bytes == (status.next - 1) * u64::try_from(RECORD)? {
        true => Ok(run),
        false => Err(format!("a record is not {RECORD} bytes long: {status:?}").into()),
    }
}

fn record() -> Record {
    let now = clock::wall();
    Record {
        n: 0,
        source: "load".into(),
        content: Content::Reading(Reading {
            device: "th-0001".to_owned(),
            name: "value".to_owned(),
            unit: None,
            value: Value::Text("r".repeat(TEXT)),
            time: now,
            time_quality: TimeQuality::Gateway,
            epoch: None,
            sequence: None,
        }),
        received: now,
        origin: None,
        moment: None,
    }
}

/// The same number of bytes to a file that grows: one write and one sync for each batch.
pub(crate) fn raw_log(dir: &Path, batch: u32, duration: Duration) -> Outcome<Run> {
    let folder = Folder::create(dir)?;
    let mut file = File::create(folder.0.join("log"))?;
    let data = vec![b'r'; RECORD * usize::try_from(batch)?];
    run(batch, duration, || {
        let crc = crc32fast::hash(&data);
        file.write_all(&[&crc.to_le_bytes(), data.as_slice()].concat())?;
        Ok(file.sync_data()?)
    })
}

fn run(batch: u32, duration: Duration, mut commit: impl FnMut() -> Outcome<()>) -> Outcome<Run> {
    let clock = Clock::start();
    let before = own_cpu()?;
    let mut commits = 0;
    while clock.now() - Instant::ZERO < duration {
        commit()?;
        commits += 1;
    }
    let elapsed = clock.now() - Instant::ZERO;
    let records = commits * u64::from(batch);
    let run = Run::default().with_rate(records, elapsed).with_cpu(records, own_cpu()? - before);
    Ok(run.with(Metric::Batch, number(batch.into())))
}
