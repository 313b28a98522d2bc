//! Throughput, processor time, memory and latency of the built gateway, the limits of the machine
//! under it and what other programs make of them, measured in the same run:
//! `cargo bench -p gateway --bench throughput`.
//!
//! A [`Case`](cases::Case) starts everything it needs, drives a number of readings through it and
//! stops it again; what it returns is one [`Run`](figure::Run). Cases take turns, so that a slow
//! minute of the machine hits gateway and limit alike. A run that fails fails the benchmark: no
//! figure is printed that was not measured.

mod appends;
mod backlog;
mod bare;
mod bare_durable;
mod bare_http;
mod bare_serial;
mod cases;
mod codec;
mod commands;
mod decoders;
mod far_end;
mod fields;
mod figure;
mod frames;
mod gateway;
mod ledger;
mod load;
mod log;
mod machine;
mod modbus;
mod mosquitto;
mod options;
mod others;
mod peers;
mod process;
#[path = "../../fuzz/decoders.rs"]
mod readers;
mod report;
mod servers;
mod simulator;
mod wear;

/// The gateway's own store, from its sources: the crate is a binary and has no library to link.
#[path = "../../gateway/src"]
#[expect(dead_code, unused_imports, reason = "the benchmark uses a part of it")]
mod product {
    pub(crate) mod causes;
    pub(crate) mod clock;
    pub(crate) mod store;
    pub(crate) mod time_base;
}

/// What stands in for the pipeline: the benchmark selects nothing.
mod pipeline {
    #[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Pattern(String);

    impl Pattern {
        pub(crate) fn matches(&self, name: &str) -> bool {
            self.0 == name
        }
    }
}

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use self::cases::{Case, Plan, cases};
use self::figure::{Metric, Run};
use self::machine::Machine;
use self::options::Options;
use self::others::Others;
// Where the sources of the store look for them.
use self::product::{causes, clock, store, time_base};
use self::report::{Report, Skipped};

/// What can fail, with whatever it failed with: a benchmark only stops and says so.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How often a run is made until one is not disturbed.
const ATTEMPTS: u32 = 10;

fn main() -> ExitCode {
    match measure(&Options::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One run of a case, or the last of several that others disturbed.
fn run(case: &Case, plan: &Plan, round: usize, options: &Options) -> Outcome<Run> {
    let mut attempt = 1;
    loop {
        if options.calm.is_some() {
            Others::wait_until(|percent| options.is_calm(percent))?;
        }
        writeln!(std::io::stderr().lock(), "run {round}: {}", case.name)?;
        let others = Others::watch()?;
        let run = (case.run)(plan)?;
        let percent = others.percent()?;
        if attempt == ATTEMPTS || options.is_calm(percent) {
            return Ok(run.with(Metric::Others, percent));
        }
        attempt += 1;
    }
}

fn measure(options: &Options) -> Outcome<()> {
    let machine = Machine::look(&options.dir)?;
    let plan = Plan { dir: options.dir.clone(), quick: options.quick };
    let mut skipped = Vec::new();
    let mut measured: Vec<(Case, Vec<Run>)> = Vec::new();
    for case in cases().into_iter().filter(|case| options.wants(case)) {
        match (case.missing)() {
            Some(why) => {
                writeln!(std::io::stderr().lock(), "skipped: {}: {why}", case.name)?;
                skipped.push(Skipped { name: case.name, why });
            }
            None => measured.push((case, Vec::new())),
        }
    }
    if measured.is_empty() {
        return Err("no case that can be measured here has such a name".into());
    }
    for round in 1..=options.runs() {
        for (case, runs) in &mut measured {
            let run = run(case, &plan, round, options);
            runs.push(run.map_err(|error| format!("{}: {error}", case.name))?);
        }
    }
    let report = Report::new(machine, options.runs(), &measured, skipped);
    std::io::stdout().lock().write_all(report.table().as_bytes())?;
    if let Some(path) = &options.json {
        std::fs::write(path, report.json()?)?;
    }
    Ok(())
}
