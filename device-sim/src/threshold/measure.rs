//! What a metric came to in a run.

use std::time::Duration;

use super::Metric;
use crate::histogram::{Histogram, Quantile};
use crate::report::{Commands, Recovery, Report, text};

/// A value of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// So many, of so many.
    Count {
        /// The count.
        count: u64,
        /// What a share is of.
        of: u64,
    },
    /// So long.
    Duration(Duration),
}

/// A value with its explanation; or why there is none.
pub(super) type Finding = Result<(Measured, String), &'static str>;

impl Metric {
    /// What it comes to.
    pub(super) fn measure(self, report: &Report, except: &[String]) -> Finding {
        let total = report.total();
        let share = |count: u64, of: u64, what: &str| {
            Ok((Measured::Count { count, of }, format!("{count} of {of} {what}")))
        };
        let of_sent = |count| share(count, total.sent, "that were sent");
        let of_arrived = |count| share(count, total.arrived, "that arrived");
        let latency = |read: fn(&Histogram) -> Option<Duration>| {
            let latency = report.latency_except(except);
            let found = read(&latency).ok_or("no reading arrived whose latency counts")?;
            let text = format!("{} over {} readings", text::duration(found), latency.count());
            Ok((Measured::Duration(found), text))
        };
        let of_commands = |read: fn(&Commands) -> u64| {
            let commands = report.commands.as_ref().filter(|commands| commands.sent > 0);
            let commands = commands.ok_or("no command was sent")?;
            share(read(commands), commands.sent, "commands")
        };
        match self {
            Self::CommandsDone => of_commands(|commands| commands.done),
            Self::CommandsExpired => of_commands(|commands| commands.expired),
            Self::CommandsFailed => of_commands(|commands| commands.failed),
            Self::CommandsFalseDone => of_commands(|commands| commands.false_done),
            Self::CommandsNoOutcome => of_commands(|commands| commands.no_outcome),
            Self::CommandsRepeated => of_commands(|commands| commands.repeated),
            Self::CommandsSent => of_commands(|commands| commands.sent),
            Self::CommandsUnasked => of_commands(|commands| commands.unasked),
            Self::CommandsUnknown => of_commands(|commands| commands.unknown),
            Self::Acknowledged => of_sent(total.acknowledged),
            Self::Arrived => of_sent(total.arrived),
            Self::Lost => of_sent(total.lost),
            Self::Refused => of_sent(total.refused),
            Self::Unanswered => of_sent(total.unanswered),
            Self::Duplicates => of_arrived(total.duplicates),
            Self::Late => of_arrived(total.late),
            Self::OutOfOrder => of_arrived(total.out_of_order),
            Self::WrongValue => of_arrived(total.wrong_value),
            Self::Unknown => share(report.unknown, total.arrived, "beside those that arrived"),
            Self::LatencyMax => latency(Histogram::max),
            Self::LatencyMin => latency(Histogram::min),
            Self::LatencyP50 => latency(|latency| latency.quantile(Quantile::P50)),
            Self::LatencyP90 => latency(|latency| latency.quantile(Quantile::P90)),
            Self::LatencyP95 => latency(|latency| latency.quantile(Quantile::P95)),
            Self::LatencyP99 => latency(|latency| latency.quantile(Quantile::P99)),
            Self::LatencyP999 => latency(|latency| latency.quantile(Quantile::P999)),
            Self::Recovery => {
                let counts = |recovery: &&Recovery| !except.contains(&recovery.span.fault);
                slowest(report.recoveries.iter().filter(counts))
            }
        }
    }
}

/// The longest recovery.
fn slowest<'a>(recoveries: impl Iterator<Item = &'a Recovery>) -> Finding {
    let mut slowest: Option<(Duration, &Recovery)> = None;
    for recovery in recoveries {
        let took =
            recovery.took().ok_or("something was lost in a fault, and nothing came again")?;
        if slowest.is_none_or(|(longest, _)| took > longest) {
            slowest = Some((took, recovery));
        }
    }
    let (took, recovery) = slowest.ok_or("no fault that counts ended before the run did")?;
    let text = format!("{} after `{}`", text::duration(took), recovery.span.fault);
    Ok((Measured::Duration(took), text))
}
