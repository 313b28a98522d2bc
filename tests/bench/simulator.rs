//! The device simulator as what is measured: a fleet on a thread of its own.

use std::time::Duration;

use device_sim::fleet::FleetBuilder;
use device_sim::report;
use device_sim::scenario::model::Delivery;

use super::Outcome;
use super::clock::now;
use super::process::own_thread_cpu;

/// What a fleet has done.
pub(crate) struct Played {
    /// From its first message to the last answer.
    pub(crate) elapsed: Duration,
    /// Processor time of the simulator meanwhile: devices, ledger and far end.
    pub(crate) cpu: Duration,
    /// What became of its readings.
    pub(crate) total: report::Fleet,
}

/// What has to be true at the end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// All that was measured was sent, and answered where there are answers.
    Sent,
    /// All that was answered has arrived.
    Delivered,
}

/// Plays a fleet to its end.
pub(crate) fn play(fleet: FleetBuilder, goal: Goal) -> Outcome<Played> {
    let playing = std::thread::spawn(move || -> Outcome<Played> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let fleet = fleet.start().await?;
            let (start, cpu) = (now(), own_thread_cpu()?);
            let delivered = fleet.verify().await?;
            let (elapsed, cpu) = (now() - start, own_thread_cpu()? - cpu);
            if goal == Goal::Delivered {
                delivered.check(Delivery::AtLeastOnce)?;
            }
            Ok(Played { elapsed, cpu, total: delivered.report().total() })
        })
    });
    let played = playing.join().map_err(|_| "the simulator panicked")??;
    let total = &played.total;
    let answered = if total.acknowledges() { total.acknowledged } else { total.sent };
    if answered == 0 || answered != total.generated {
        return Err(format!("not all was sent and answered: {total:?}").into());
    }
    Ok(played)
}
