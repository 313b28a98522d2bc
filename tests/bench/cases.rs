//! What is measured, and what is held against what.

mod commands;
mod cores;
mod disk;
mod http;
mod links;
mod peers;
mod publishers;
mod requests;
mod routes;
mod serial;
mod simulator;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Outcome;
use super::figure::Run;
use super::ledger::Ledger;

/// What holds for every case of a call.
pub(crate) struct Plan {
    /// Folder for the stores.
    pub(crate) dir: PathBuf,
    /// A tenth of the readings.
    pub(crate) quick: bool,
}

impl Plan {
    /// So many, or a tenth of them.
    pub(crate) fn count(&self, count: u32) -> u32 {
        if self.quick { count / 10 } else { count }
    }

    /// A ledger for so many, or for a tenth of them.
    pub(crate) fn ledger(&self, readings: u32) -> Arc<Ledger> {
        Arc::new(Ledger::new(self.count(readings)))
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { 1000 })
    }
}

/// One thing to measure.
pub(crate) struct Case {
    /// Short and unique.
    pub(crate) name: &'static str,
    /// What its figures are of.
    pub(crate) what: &'static str,
    /// Measures it once.
    pub(crate) run: Measure,
    /// Why it cannot be measured here.
    pub(crate) missing: Box<dyn Fn() -> Option<String>>,
    /// Whether it takes a while to tell what is written to the disk.
    pub(crate) is_wear: bool,
}

type Measure = Box<dyn Fn(&Plan) -> Outcome<Run>>;

/// A case, and what it is held against: a limit of the machine, or a program of others.
pub(crate) fn ratios() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        links::RATIOS,
        serial::RATIOS,
        http::RATIOS,
        publishers::RATIOS,
        routes::RATIOS,
        peers::RATIOS,
        requests::RATIOS,
        disk::RATIOS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

const TCP: &str = "link = { type = \"tcp\", bind = ADDRESS, reply = true }\n\
                   frame = { type = \"lines\" }\n\
                   decode = { type = \"json\", device = \"device\", seq = \"seq\" }";

/// Publishes under way by default.
const WINDOW: u16 = 100;
/// Where a broker is far away.
const FAR: u16 = 1000;
/// Where the window is no limit.
const WIDE: u16 = 5000;
const FAST: u32 = 300_000;

/// All cases, each of the gateway's beside what it is held against.
pub(crate) fn cases() -> Vec<Case> {
    [
        links::links(),
        serial::ports(),
        http::posts(),
        publishers::publishers(),
        routes::routes(),
        publishers::mosquitto(),
        peers::peers(),
        requests::requests(),
        commands::commands(),
        simulator::fleets(),
        cores::framings(),
        cores::formats(),
        cores::buses(),
        disk::stores(),
        disk::wears(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn case(
    name: &'static str,
    what: &'static str,
    run: impl Fn(&Plan) -> Outcome<Run> + 'static,
) -> Case {
    Case { name, what, run: Box::new(run), missing: Box::new(|| None), is_wear: false }
}
