//! A store that is full of readings when the gateway starts and its broker is there again.
//!
//! They are put in by the gateway itself while nobody listens where its broker should be. Then it
//! is killed, as a power cut would, and started again: it recovers its store, accepts new readings,
//! and hands the old ones over.

use std::rc::Rc;
use std::sync::Arc;

use super::Outcome;
use super::cases::Plan;
use super::far_end::FarEnd;
use super::figure::{Metric, Run};
use super::gateway::{Folder, Gateway, Setup, free_address};
use super::ledger::Ledger;
use super::load::send_lines;

/// Measures the start, and how fast the readings of a ledger leave the store.
pub(crate) fn drain(plan: &Plan, ledger: &Arc<Ledger>, setup: &Setup) -> Outcome<Run> {
    let folder = Rc::new(Folder::create(&plan.dir)?);
    fill(ledger, &folder, setup)?;
    let far_end = FarEnd::start(ledger)?;
    let mut gateway = Gateway::spawn(setup, &folder, far_end.address())?;
    let start = gateway.first_answer()?;
    ledger.settle();
    let (cpu, rss) = (gateway.cpu()?, gateway.max_rss_mib()?);
    gateway.stop()?;
    far_end.stop()?;
    let run = ledger.drained()?.with_cpu(ledger.arrived(), cpu).with(Metric::RssMib, rss);
    Ok(run.with(Metric::Start, start.as_secs_f64() * 1e3))
}

/// Puts every reading into the store in a folder, by a gateway that is killed in the end.
pub(crate) fn fill(ledger: &Ledger, folder: &Rc<Folder>, setup: &Setup) -> Outcome<()> {
    let nobody = free_address()?;
    let mut gateway = Gateway::spawn(setup, folder, nobody)?;
    gateway.first_answer()?;
    send_lines(ledger, gateway.address)
}
