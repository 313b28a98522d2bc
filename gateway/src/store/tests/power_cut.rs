//! A power cut: what was synced is there, of the rest any part.
//!
//! This test runs itself under strace as a process that appends, and so gets every write and every
//! sync in their order. It then plays them up to some point: what was synced before it is on the
//! disk, and of the writes after that a random choice of sectors; now and then the block around one
//! is destroyed, with what was synced before. That is what a disk may do which orders nothing
//! between two syncs. No special rights are needed, nor a block device.
//!
//! The control is the same without the syncs: there, acknowledged records have to be lost, else the
//! test would prove nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use proto::Rng;

use super::super::log::Log as _;
use super::super::repair::set_aside;
use super::super::sqlite::SqliteLog;
use super::*;

/// Tells the writer where to write; its tests do nothing without it.
const FOLDER: &str = "GATEWAY_POWER_CUT_FOLDER";
/// What the writer takes for SQLite's `synchronous`.
const SYNCHRONOUS: &str = "GATEWAY_POWER_CUT_SYNCHRONOUS";
/// So small that the write-ahead log is moved into the file, and begun anew, many times.
const SMALL: u64 = 1024 * 1024;
const COMMITS: u64 = 150;
const CUTS: u64 = 250;
/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// What flash may destroy when the power goes while a part of it is written.
const BLOCK: usize = 4096;

/// Runs in a process of its own.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let (mut log, _) = SqliteLog::open(&folder.join("state"), SMALL, 0).unwrap();
    if let Ok(synchronous) = std::env::var(SYNCHRONOUS) {
        log.set_synchronous(&synchronous);
    }
    let mut acknowledged = fs::File::create(folder.join("acknowledged")).unwrap();
    let mut rng = Rng::new(11);
    let mut released = 1;
    for _ in 0..COMMITS {
        let first = log.next();
        let records = if rng.below(5) == 0 { 150 } else { 1 + rng.below(5) };
        // Brokers follow some way behind, and what they have is deleted at once.
        released = first.saturating_sub(200).max(released);
        log.append(&batch(first..first + records), later(), &cursors(released), released).unwrap();
        // In one call.
        let line = format!("{} {released}\n", log.next());
        acknowledged.write_all(line.as_bytes()).unwrap();
    }
    // As if it went on: nothing is closed.
    std::mem::forget(log);
}

/// One call of the writer that matters to the disk.
#[derive(Debug)]
enum Event {
    Write {
        file: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        len: usize,
    },
    Sync {
        file: String,
    },
    Unlink {
        file: String,
    },
    /// Everything below the first number is acknowledged, below the second released.
    Acknowledged {
        next: u64,
        released: u64,
    },
}

/// The calls of a writer; `None`, with the reason printed, where strace may not watch.
fn record_calls(synchronous: Option<&str>) -> Option<Vec<Event>> {
    let folder = Folder::new();
    let trace = folder.path().join("trace");
    let calls = "trace=pwrite64,write,ftruncate,fdatasync,fsync,unlink";
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-xx", "-y", "-s", "1000000", "-e", calls, "-o"]).arg(&trace);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "store::tests::power_cut::writer", "--test-threads", "1"]);
    command.env(FOLDER, folder.path());
    if let Some(synchronous) = synchronous {
        command.env(SYNCHRONOUS, synchronous);
    }
    let output = match command.output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            println!("skipped: strace: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Err(error) => {
            println!("skipped: strace cannot be run: {error}");
            return None;
        }
    };
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    let trace = fs::read_to_string(trace).unwrap();
    Some(trace.lines().filter_map(event).collect())
}

/// A line such as `17 pwrite64(5<\x2f\x74>, "\x00\x01", 2, 4096) = 2`.
fn event(line: &str) -> Option<Event> {
    let (_, line) = line.split_once(' ')?;
    let (call, rest) = line.trim_start().split_once('(')?;
    if call == "unlink" {
        let path = unescaped(rest.split('"').nth(1)?);
        return Some(Event::Unlink { file: name(&path)? });
    }
    let (path, rest) = rest.split_once('<')?.1.split_once('>')?;
    let file = name(&unescaped(path))?;
    let arguments: Vec<&str> = rest.split(')').next()?.split(", ").collect();
    Some(match call {
        "fdatasync" | "fsync" => Event::Sync { file },
        "ftruncate" => Event::Truncate { file, len: arguments.last()?.parse().ok()? },
        "write" if file == "acknowledged" => {
            let text = String::from_utf8(unescaped(arguments[1].trim_matches('"'))).unwrap();
            let (next, released) = text.trim().split_once(' ')?;
            Event::Acknowledged { next: next.parse().ok()?, released: released.parse().ok()? }
        }
        "pwrite64" => Event::Write {
            file,
            at: arguments.last()?.parse().ok()?,
            bytes: unescaped(arguments[1].trim_matches('"')),
        },
        _ => return None,
    })
}

/// The name of a file in one of the writer's folders.
fn name(path: &[u8]) -> Option<String> {
    let path = PathBuf::from(String::from_utf8(path.to_vec()).ok()?);
    path.starts_with(std::env::temp_dir()).then_some(())?;
    Some(path.file_name()?.to_str()?.to_owned())
}

/// `\x2f` for every byte; what is not escaped stands for itself.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        (bytes, rest) = match after {
            [b'x', high, low, after @ ..] if *first == b'\\' => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                (bytes, after)
            }
            _ => {
                bytes.push(*first);
                (bytes, after)
            }
        };
    }
    bytes
}

/// A file on a disk that has power.
#[derive(Default)]
struct Disk {
    synced: Vec<u8>,
    /// Places and bytes, or a new length, in their order.
    unsynced: Vec<(usize, Option<Vec<u8>>)>,
}

impl Disk {
    fn sync(&mut self) {
        for (at, bytes) in self.unsynced.drain(..) {
            apply(&mut self.synced, at, bytes.as_deref());
        }
    }

    /// What is there after the power was cut.
    fn cut(&self, rng: &mut Rng) -> Vec<u8> {
        let mut content = self.synced.clone();
        for (at, bytes) in &self.unsynced {
            match bytes {
                None if rng.below(2) == 0 => apply(&mut content, *at, None),
                None => {}
                Some(bytes) => {
                    for (index, sector) in bytes.chunks(SECTOR).enumerate() {
                        if rng.below(2) == 0 {
                            apply(&mut content, at + index * SECTOR, Some(sector));
                        }
                    }
                    if rng.below(8) == 0 {
                        let block = at / BLOCK * BLOCK;
                        let end = content.len().min(block + BLOCK);
                        rng.fill(content.get_mut(block..end).unwrap_or_default());
                    }
                }
            }
        }
        content
    }
}

fn apply(content: &mut Vec<u8>, at: usize, bytes: Option<&[u8]>) {
    match bytes {
        None => content.resize(at, 0),
        Some(bytes) => {
            content.resize(content.len().max(at + bytes.len()), 0);
            content[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

/// What a power cut does.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Acknowledged records that are gone.
    lost: usize,
    /// Whether the file was taken for damaged.
    is_set_aside: bool,
}

/// Cuts the power at `end` and opens the store again; fails on a record that is wrong.
fn cut_at(events: &[Event], end: usize, rng: &mut Rng) -> Outcome {
    let mut disks: BTreeMap<&str, Disk> = BTreeMap::new();
    let mut acknowledged = (1, 1);
    for event in &events[..end] {
        match event {
            Event::Write { file, at, bytes } => {
                disks.entry(file).or_default().unsynced.push((*at, Some(bytes.clone())));
            }
            Event::Truncate { file, len } => {
                disks.entry(file).or_default().unsynced.push((*len, None));
            }
            Event::Sync { file } => disks.entry(file).or_default().sync(),
            Event::Unlink { file } => drop(disks.remove(file.as_str())),
            Event::Acknowledged { next, released } => acknowledged = (*next, *released),
        }
    }
    let folder = Folder::new();
    for (name, disk) in disks.iter().filter(|(name, _)| name.contains('.') || **name == "numbers") {
        fs::write(folder.path().join(name), disk.cut(rng)).unwrap();
    }
    let (log, known) = SqliteLog::open(folder.path(), SMALL, 0).unwrap();
    let (next, released) = acknowledged;
    let found: BTreeMap<u64, u64> = records(&log, 1).into_iter().collect();
    assert!(found.iter().all(|(n, value)| n == value), "at {end}: a wrong record");
    assert!(
        known.values().all(|cursor| cursor.progress.next() <= log.next()),
        "at {end}: {known:?}"
    );
    let lost = (released..next).filter(|n| !found.contains_key(n)).count();
    assert!(lost > 0 || log.next() >= next, "at {end}: a number would be used again");
    Outcome { lost, is_set_aside: !set_aside(folder.path()).unwrap().is_empty() }
}

/// The points at which the power is cut: from the first acknowledgement on.
fn cuts(events: &[Event], rng: &mut Rng) -> Vec<usize> {
    let is_acknowledged = |event: &Event| matches!(event, Event::Acknowledged { .. });
    let first = events.iter().position(is_acknowledged).unwrap();
    let last = (events.len() - first) as u64;
    (0..CUTS).map(|_| first + 1 + usize::try_from(rng.below(last)).unwrap()).collect()
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let Some(events) = record_calls(None) else { return };
    let syncs = events.iter().filter(|event| matches!(event, Event::Sync { .. })).count();
    let to_file = |event: &Event| matches!(event, Event::Write { file, .. } if file == "spool.db");
    let checkpoints = events.iter().filter(|event| to_file(event)).count();
    assert!(syncs as u64 > COMMITS && checkpoints > 50, "{syncs} syncs, {checkpoints} writes");
    let mut rng = Rng::new(12);
    for end in cuts(&events, &mut rng) {
        let nothing = Outcome { lost: 0, is_set_aside: false };
        assert_eq!(cut_at(&events, end, &mut rng), nothing, "cut after call {end}");
    }
}

/// The control.
#[test]
fn a_power_cut_loses_what_was_not_synced() {
    let Some(events) = record_calls(Some("NORMAL")) else { return };
    let mut rng = Rng::new(13);
    let cuts = cuts(&events, &mut rng);
    let outcomes = cuts.into_iter().map(|end| cut_at(&events, end, &mut rng));
    let lost = outcomes.filter(|outcome| outcome.lost > 0).count();
    assert!(lost as u64 > CUTS / 4, "only {lost} of {CUTS} cuts lost something");
}
