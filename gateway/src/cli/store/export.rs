//! `gateway store export`

use std::path::{Path, PathBuf};

use clap::Args;

use super::place::{Place, ask_gateway, check_unused, fail};
use super::time::Time;
use crate::causes::chain;
use crate::cli::output::remark;
use crate::cli::{ConfigArgs, Output};
use crate::control::Request;
use crate::exit::Exit;
use crate::pipeline::{Pattern, export_line};
use crate::store::{Archive, Examiner, Selection, StoreError};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// A store that was copied or set aside, instead of the gateway's own
    file: Option<PathBuf>,
    /// Only what was received at this time or later: 2026-11-20T22:39:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME")]
    from: Option<Time>,
    /// Only what was received before this time
    #[arg(long, value_name = "TIME")]
    to: Option<Time>,
    /// Only what this broker has not acknowledged
    #[arg(long, value_name = "BROKER")]
    broker: Option<String>,
    /// Only devices with such a name; `*` and `?` stand for any characters and any one
    #[arg(long, value_name = "PATTERN")]
    device: Option<Pattern>,
}

pub(super) fn run(arguments: &Arguments, config: &ConfigArgs) -> Result<Exit, Exit> {
    let selection = Selection {
        from_ns: arguments.from.map(Time::as_nanos),
        to_ns: arguments.to.map(Time::as_nanos),
        broker: arguments.broker.clone(),
        device: arguments.device.clone(),
    };
    match Place::find(arguments.file.as_deref(), config)? {
        Place::Gateway { state_dir, holder } => from_gateway(&state_dir, &holder, selection),
        Place::File(file) => from_file(&file, &selection),
    }
}

fn from_gateway(state_dir: &Path, holder: &str, selection: Selection) -> Result<Exit, Exit> {
    let mut output = Output::lock();
    let mut unwritten = None;
    let asked = ask_gateway(state_dir, holder, &Request::StoreExport(selection), |line| {
        unwritten = output.write(line.as_bytes()).err();
        unwritten.is_none()
    });
    match unwritten {
        Some(exit) => Err(exit),
        None => asked.map(|()| output.finish("", Exit::Ok)),
    }
}

fn from_file(file: &Path, selection: &Selection) -> Result<Exit, Exit> {
    let mut archive = match Archive::open(file) {
        Err(damage @ StoreError::Damaged { .. }) => salvaged(file, &damage)?,
        opened => opened.map_err(|error| fail(&error))?,
    };
    let choice = selection.choice(archive.cursors()).map_err(|error| fail(&error))?;
    let mut output = Output::lock();
    let mut examiner = Examiner::new(archive.next(), archive.cursors());
    let mut from = choice.first();
    while from < archive.next() {
        let chunks = match archive.read(from) {
            Err(damage @ StoreError::Damaged { .. }) if !archive.is_salvaged() => {
                archive = salvaged(file, &damage)?;
                continue;
            }
            read => read.map_err(|error| fail(&error))?,
        };
        check_unused(file).map_err(|error| fail(&error))?;
        for chunk in &chunks {
            examiner.handle_chunk(chunk);
            from = chunk.end;
            for record in chunk.records.iter().filter(|record| choice.takes(record)) {
                output.write(&export_line(record))?;
            }
        }
    }
    let verdict = examiner.finish();
    if verdict.damaged > 0 {
        remark(&format!(
            "up to {} readings cannot be read; `gateway store verify` says which",
            verdict.damaged_numbers
        ));
    }
    Ok(output.finish("", Exit::Ok))
}

/// What can be read of a damaged file.
fn salvaged(file: &Path, damage: &StoreError) -> Result<Archive, Exit> {
    remark(&format!("{}; what can be read of it follows", chain(damage)));
    Archive::open_damaged(file).map_err(|error| fail(&error))
}
