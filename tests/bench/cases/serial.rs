//! Many serial ports at once, at a rate that is given.

use std::fmt::Write as _;
use std::time::Duration;

use super::links::gateway;
use super::{Case, Plan, WINDOW, case};
use crate::Outcome;
use crate::bare_serial::BareSerial;
use crate::figure::Run;
use crate::gateway::Setup;
use crate::load::SerialPorts;

/// A case, and what it is held against.
pub(super) const RATIOS: &[(&str, &str)] = &[
    ("serial-64", "bare-serial-64"),
    ("serial-64-gathered", "bare-serial-64"),
    ("serial-64-gathered", "serial-64"),
];

/// 100 lines a second of each of 64 ports.
const INTERVAL: Duration = Duration::from_nanos(156_250);
/// Ten seconds of that.
const LINES: u32 = 64_000;

/// The gateway beside the least that reads ports.
pub(super) fn ports() -> Vec<Case> {
    vec![
        case(
            "serial-64",
            "JSON lines of 64 serial ports, 100 a second each → store → PUBACK, window 100",
            |plan| measure(plan, "0s"),
        ),
        case(
            "serial-64-gathered",
            "the same with commit_interval 10ms: a sync for what came meanwhile",
            |plan| measure(plan, "10ms"),
        ),
        case("bare-serial-64", "the same lines, split and counted and nothing else", bare),
    ]
}

fn measure(plan: &Plan, commit_interval: &'static str) -> Outcome<Run> {
    let ports = SerialPorts::plug_in()?;
    let mut sources = String::new();
    for (number, path) in ports.paths().enumerate() {
        writeln!(
            sources,
            "[sources.port-{number}]\nlink = {{ type = \"serial\", path = {path:?} }}\n\
             decode = {{ type = \"json\", device = \"device\", seq = \"seq\" }}"
        )?;
    }
    let setup = Setup { sources, commit_interval, ..Setup::new("", WINDOW) };
    let run = gateway(plan, LINES, &setup, |ledger, _| ports.send(ledger, INTERVAL))?;
    Ok(run.with_busy())
}

fn bare(plan: &Plan) -> Outcome<Run> {
    let ports = SerialPorts::plug_in()?;
    let ledger = plan.ledger(LINES);
    let bare = BareSerial::start(ports.paths(), &ledger)?;
    ports.send(&ledger, INTERVAL)?;
    let cpu = bare.stop()?;
    Ok(ledger.run()?.with_cpu(ledger.arrived(), cpu).with_busy())
}
