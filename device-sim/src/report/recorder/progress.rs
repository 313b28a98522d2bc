//! What those see who look on while a scenario runs.

use std::time::Duration;

use proto::Instant;

use super::Recorder;
use crate::live::{FleetProgress, LogLine, Progress, Stage};

impl Recorder {
    /// How it stands at `now`.
    pub fn progress(&self, now: Instant, stage: Stage) -> Progress {
        let fleets = self.fleets.iter().map(|(name, fleet, pulse)| {
            let past = pulse.past(now);
            let last = past.last().copied().unwrap_or_default();
            let via: Vec<_> = fleet.via.iter().map(|via| via.name()).collect();
            let over = [fleet.refused, fleet.unanswered, fleet.injured, fleet.arrived, fleet.lost];
            FleetProgress {
                name: name.clone(),
                via: via.join(", "),
                devices: fleet.devices,
                sent_per_second: last.sent,
                arrived_per_second: last.arrived,
                generated: fleet.generated,
                sent: fleet.sent,
                arrived: fleet.arrived,
                on_the_way: over.into_iter().fold(fleet.sent, u64::saturating_sub),
                lost: fleet.lost,
                latencies: past.iter().map(|beat| beat.latency).collect(),
            }
        });
        let micros = now.as_micros();
        let active = |span: &&super::Span| span.from_us <= micros && micros < span.to_us;
        let left = |span: &super::Span| {
            (span.fault.clone(), Duration::from_micros(span.to_us.saturating_sub(micros)))
        };
        Progress {
            scenario: self.plan.scenario.clone(),
            elapsed: Duration::from_micros(micros),
            duration: self.plan.duration,
            stage,
            fleets: fleets.collect(),
            faults: self.phases.spans().iter().filter(active).map(left).collect(),
            log: self.log_at(micros),
        }
    }

    /// Faults that began or ended, and readings that failed, in order of time.
    fn log_at(&self, now_us: u64) -> Vec<LogLine> {
        let line = |at_us: u64, text: String| LogLine {
            at: Duration::from_micros(at_us),
            text,
            is_bad: false,
        };
        let faults = self.phases.spans().iter().flat_map(|span| {
            let begins = line(span.from_us, format!("{} begins", span.fault));
            let ends = line(span.to_us, format!("{} is over", span.fault));
            [begins, ends]
        });
        let now = Duration::from_micros(now_us);
        let mut log: Vec<_> =
            faults.filter(|line| line.at <= now).chain(self.log.iter().cloned()).collect();
        log.sort_by_key(|line| line.at);
        log.drain(..log.len().saturating_sub(super::MAX_LOG));
        log
    }
}
