//! What is told at the end.

use std::fmt::Write as _;
use std::time::Duration;

use device_sim::ledger::{Tally, Verdict};
use proto::Instant;
use serde_json::{Value, json};

use super::Options;

/// What became of every reading.
pub(crate) struct Summary {
    devices: u16,
    seed: u64,
    took: Duration,
    verdict: Verdict,
}

impl Summary {
    pub(super) fn new(options: &Options, end: Instant, verdict: Verdict) -> Self {
        let took = end - Instant::ZERO;
        Self { devices: options.devices, seed: options.seed, took, verdict }
    }

    /// Whether everything that was accepted has arrived as it was sent.
    pub(crate) fn is_good(&self) -> bool {
        self.verdict.is_good()
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "ok": self.is_good(),
            "devices": self.devices,
            "seed": self.seed,
            "seconds": self.took.as_secs_f64(),
            "transports": self.verdict.transports,
            "total": self.verdict.total(),
            "unknown": self.verdict.unknown,
        })
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let mut text =
            row("", ["sent", "acknowledged", "arrived", "lost", "duplicates"].map(str::to_owned));
        for (via, tally) in &self.verdict.transports {
            text.push_str(&counts(via.name(), tally, via.acknowledges()));
        }
        let total = self.verdict.total();
        text.push_str(&counts(
            "total",
            &total,
            self.verdict.transports.keys().any(|via| via.acknowledges()),
        ));
        text.push('\n');
        let mut tell = |count: u64, what: &str| {
            if count > 0 {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{count} {what}");
            }
        };
        tell(total.lost, "readings were accepted and never arrived");
        tell(total.wrong, "readings arrived with another value than was sent");
        tell(self.verdict.unknown, "readings arrived that nobody has sent");
        let seconds = self.took.as_secs_f64();
        let _ = match self.is_good() {
            true => writeln!(
                text,
                "ok: every accepted reading arrived ({seconds:.1} s, {} devices, seed {})",
                self.devices, self.seed
            ),
            false => writeln!(
                text,
                "failed after {seconds:.1} s; again with --devices {} --seed {}",
                self.devices, self.seed
            ),
        };
        text
    }
}

fn counts(name: &str, tally: &Tally, acknowledges: bool) -> String {
    let acknowledged = if acknowledges { tally.acknowledged.to_string() } else { "-".to_owned() };
    let Tally { sent, arrived, lost, duplicates, .. } = *tally;
    row(
        name,
        [
            sent.to_string(),
            acknowledged,
            arrived.to_string(),
            lost.to_string(),
            duplicates.to_string(),
        ],
    )
}

fn row(name: &str, [sent, acknowledged, arrived, lost, duplicates]: [String; 5]) -> String {
    format!("{name:<8}{sent:>10}{acknowledged:>14}{arrived:>10}{lost:>8}{duplicates:>12}\n")
}
