//! `gateway store status`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::place::{Place, ask_gateway, fail};
use crate::cli::{ConfigArgs, Output};
use crate::control::Request;
use crate::exit::Exit;
use crate::store::{Archive, DeadCounts, Dropped, FILE, SetAside, Standing, copies, set_aside};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// A store that was copied or set aside, instead of the gateway's own
    file: Option<PathBuf>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Where a store stands.
#[derive(Clone, Debug, Serialize)]
struct Report {
    file: PathBuf,
    /// The gateway that uses it, such as `process 17`.
    used_by: Option<String>,
    /// Bytes of readings on disk, with what SQLite needs around them.
    bytes: u64,
    /// The number that the next reading gets.
    next: u64,
    /// Readings that each broker has not acknowledged.
    waiting: BTreeMap<String, u64>,
    /// Readings that were dropped for each broker, ever, by reason.
    dropped: BTreeMap<String, Dropped>,
    /// Brokers that are not configured, and the lowest number that each has not acknowledged.
    orphans: BTreeMap<String, u64>,
    /// Readings that each broker would not take.
    dead: DeadCounts,
    /// Parts that were found damaged since the gateway was started, and their numbers.
    damaged: u64,
    damaged_numbers: u64,
    /// Damaged files that were replaced.
    set_aside: Vec<SetAside>,
    /// Copies of damaged chunks, and their folder.
    copies: usize,
    copies_in: PathBuf,
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Result<Exit, Exit> {
    let report = match Place::find(arguments.file.as_deref(), config)? {
        Place::Gateway { state_dir, holder } => of_gateway(&state_dir, holder)?,
        Place::File(file) => of_file(file)?,
    };
    Ok(match arguments.json {
        true => Output::lock().finish_json(&json!(report), Exit::Ok),
        false => Output::lock().finish(&text(&report), Exit::Ok),
    })
}

fn of_gateway(state_dir: &Path, holder: String) -> Result<Report, Exit> {
    let mut store = Value::Null;
    ask_gateway(state_dir, &holder, &Request::Status, |line| {
        let status: Value = serde_json::from_str(line).unwrap_or_default();
        store = status.get("store").cloned().unwrap_or_default();
        true
    })?;
    Ok(Report {
        used_by: Some(holder),
        bytes: member(&store, "used_bytes"),
        next: member(&store, "next"),
        waiting: member(&store, "pending"),
        dropped: member(&store, "dropped"),
        orphans: member(&store, "orphans"),
        dead: member(&store, "dead"),
        damaged: member(&store, "damaged"),
        damaged_numbers: member(&store, "damaged_numbers"),
        ..Report::beside(state_dir.join(FILE))
    })
}

/// A member of a status, which a gateway of another version may not have.
fn member<T: DeserializeOwned + Default>(store: &Value, key: &str) -> T {
    store.get(key).and_then(|value| T::deserialize(value).ok()).unwrap_or_default()
}

fn of_file(file: PathBuf) -> Result<Report, Exit> {
    let archive = Archive::open(&file).map_err(|error| fail(&error))?;
    let (orphans, brokers): (BTreeMap<_, _>, BTreeMap<_, _>) =
        archive.standings().map_err(|error| fail(&error))?.into_iter().partition(is_orphan);
    let waiting = brokers.iter().map(|(name, broker)| (name.clone(), broker.pending));
    let dropped = brokers.iter().map(|(name, broker)| (name.clone(), broker.dropped));
    Ok(Report {
        bytes: archive.used_bytes(),
        next: archive.next(),
        waiting: waiting.collect(),
        dropped: dropped.collect(),
        orphans: orphans.into_iter().map(|(name, broker)| (name, broker.lowest)).collect(),
        dead: archive.dead_counts().map_err(|error| fail(&error))?,
        ..Report::beside(file)
    })
}

const fn is_orphan(broker: &(String, Standing)) -> bool {
    broker.1.is_orphan
}

impl Report {
    /// What the folder of a store says.
    fn beside(file: PathBuf) -> Self {
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new(".")).to_owned();
        let (copies, copies_in) = copies(&directory);
        Self {
            file,
            used_by: None,
            bytes: 0,
            next: 1,
            waiting: BTreeMap::new(),
            dropped: BTreeMap::new(),
            orphans: BTreeMap::new(),
            dead: BTreeMap::new(),
            damaged: 0,
            damaged_numbers: 0,
            // A folder that cannot be listed holds nothing that could be shown.
            set_aside: set_aside(&directory).unwrap_or_default(),
            copies,
            copies_in,
        }
    }
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let by = report.used_by.as_ref().map_or("no gateway".to_owned(), Clone::clone);
    let _ = writeln!(out, "store    {}, used by {by}", report.file.display());
    let _ = writeln!(out, "         {} bytes, the next number is {}", report.bytes, report.next);
    for (broker, waiting) in &report.waiting {
        let dropped = report.dropped.get(broker).map_or(0, |dropped| dropped.total());
        let dead = report.dead.get(broker).copied().unwrap_or(0);
        let _ = write!(out, "broker   {broker}: {waiting} waiting");
        for (count, word) in [(dropped, "dropped"), (dead, "dead letters")] {
            if count > 0 {
                let _ = write!(out, ", {count} {word}");
            }
        }
        let _ = writeln!(out);
    }
    for (broker, lowest) in &report.orphans {
        let _ = writeln!(out, "broker   {broker}: not configured, stands at reading {lowest}");
    }
    let known = |broker: &String| report.waiting.contains_key(broker);
    for (broker, dead) in report.dead.iter().filter(|(broker, _)| !known(broker)) {
        let _ = writeln!(out, "broker   {broker}: {dead} dead letters");
    }
    if report.damaged > 0 {
        let (damaged, numbers) = (report.damaged, report.damaged_numbers);
        let _ = writeln!(out, "damaged  {damaged} parts, with up to {numbers} readings");
    }
    for SetAside { file, bytes } in &report.set_aside {
        let _ = writeln!(out, "aside    {}, {bytes} bytes", file.display());
    }
    if report.copies > 0 {
        let (copies, folder) = (report.copies, report.copies_in.display());
        let _ = writeln!(out, "copies   of {copies} damaged chunks in {folder}");
    }
    out
}
