//! Throughput, processor time, memory and latency of the built gateway, and the limits of the
//! machine under it, measured in the same run: `cargo bench -p gateway --bench throughput`.
//!
//! A [`Case`](cases::Case) starts everything it needs, drives a number of readings through it and
//! stops it again; what it returns is one [`Run`](figure::Run). Cases take turns, so that a slow
//! minute of the machine hits gateway and limit alike. A run that fails fails the benchmark: no
//! figure is printed that was not measured.

mod bare;
mod bare_durable;
mod cases;
mod codec;
mod echo;
mod far_end;
mod figure;
mod gateway;
mod ledger;
mod load;
mod machine;
mod options;
mod process;
mod report;
mod store;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use self::cases::{Plan, cases};
use self::figure::{Row, Run};
use self::machine::Machine;
use self::options::Options;
use self::report::Report;

/// What can fail, with whatever it failed with: a benchmark only stops and says so.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match measure(&Options::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Outcome<()> {
    let machine = Machine::look(&options.dir)?;
    let plan = Plan { dir: options.dir.clone(), quick: options.quick };
    let chosen: Vec<_> = cases().into_iter().filter(|case| options.wants(case.name)).collect();
    if chosen.is_empty() {
        return Err("no case has such a name".into());
    }
    let mut runs: Vec<Vec<Run>> = chosen.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.runs() {
        for (case, runs) in chosen.iter().zip(&mut runs) {
            writeln!(std::io::stderr().lock(), "run {round}: {}", case.name)?;
            runs.push((case.run)(&plan).map_err(|error| format!("{}: {error}", case.name))?);
        }
    }
    let rows = chosen.iter().zip(&runs).map(|(case, runs)| Row::new(case.name, case.what, runs));
    let report = Report::new(machine, options.runs(), rows.collect());
    std::io::stdout().lock().write_all(report.table().as_bytes())?;
    if let Some(path) = &options.json {
        std::fs::write(path, report.json()?)?;
    }
    Ok(())
}
