//! The figures, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::Outcome;
use super::cases::{self, Case};
use super::figure::{Metric, Row, Run, Spread};
use super::machine::Machine;

/// Everything that one call has measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    runs: usize,
    rows: Vec<Row>,
    ratios: Vec<Ratio>,
    skipped: Vec<Skipped>,
}

/// A case beside what it is held against, round by round: the two ran one after the other, so that
/// their ratio holds also where the machine's speed changes.
#[derive(Debug, Serialize)]
struct Ratio {
    name: &'static str,
    against: &'static str,
    /// Of the rates, where both were measured: more is better.
    rate: Option<Spread>,
    /// The same of the processor time: less is better.
    cpu: Option<Spread>,
}

/// A case that cannot be measured here.
#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) name: &'static str,
    pub(crate) why: String,
}

impl Report {
    /// From every case's runs, in the order of the rounds.
    pub(crate) fn new(
        machine: Machine,
        rounds: usize,
        measured: &[(Case, Vec<Run>)],
        skipped: Vec<Skipped>,
    ) -> Self {
        let row = |(case, runs): &(Case, Vec<Run>)| Row::new(case.name, case.what, runs);
        let runs = |name: &str| {
            measured.iter().find(|(case, _)| case.name == name).map(|(_, runs)| runs.as_slice())
        };
        let ratio = |(name, against)| {
            let (ours, theirs) = (runs(name)?, runs(against)?);
            let of = |metric| ratios(metric, ours, theirs);
            Some(Ratio { name, against, rate: of(Metric::Rate), cpu: of(Metric::CpuMicros) })
        };
        Self {
            machine,
            runs: rounds,
            rows: measured.iter().map(row).collect(),
            ratios: cases::ratios().filter_map(ratio).collect(),
            skipped,
        }
    }

    /// The tables, as Markdown; columns that nothing was measured for are left out.
    pub(crate) fn table(&self) -> String {
        let has = |metric: &Metric| self.rows.iter().any(|row| row.figures.contains_key(metric));
        let columns: Vec<Metric> = Metric::ALL.into_iter().filter(has).collect();
        let mut out = format!("{}\nMedian of {} runs (min–max).\n\n", self.machine, self.runs);
        // Writing to a string cannot fail.
        let _ = write!(out, "| case |");
        for column in &columns {
            let _ = write!(out, " {} |", column.head());
        }
        let _ = writeln!(out, "\n|---|{}", "---:|".repeat(columns.len()));
        for row in &self.rows {
            let _ = write!(out, "| {} |", row.name);
            for column in &columns {
                let _ = write!(out, " {} |", cell(row.figures.get(column), column.digits()));
            }
            out.push('\n');
        }
        if !self.ratios.is_empty() {
            out.push_str("\n| case | against | rate ratio | CPU ratio |\n|---|---|---:|---:|\n");
        }
        for Ratio { name, against, rate, cpu } in &self.ratios {
            let (rate, cpu) = (cell(rate.as_ref(), 2), cell(cpu.as_ref(), 2));
            let _ = writeln!(out, "| {name} | {against} | {rate} | {cpu} |");
        }
        out.push('\n');
        for row in &self.rows {
            let _ = writeln!(out, "- `{}`: {}", row.name, row.what);
        }
        for Skipped { name, why } in &self.skipped {
            let _ = writeln!(out, "- `{name}` was not measured: {why}");
        }
        out
    }

    /// Everything, as JSON.
    pub(crate) fn json(&self) -> Outcome<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// The ratio of each round.
fn ratios(metric: Metric, ours: &[Run], theirs: &[Run]) -> Option<Spread> {
    let ratio = |(ours, theirs): (&Run, &Run)| {
        // A short run may be below the resolution of processor time.
        let theirs = theirs.get(metric).filter(|theirs| *theirs > 0.0)?;
        Some(ours.get(metric)? / theirs)
    };
    Spread::of(ours.iter().zip(theirs).filter_map(ratio).collect())
}

fn cell(spread: Option<&Spread>, digits: usize) -> String {
    let Some(Spread { median, min, max }) = spread else { return String::new() };
    let text = |value: f64| format!("{value:.digits$}");
    match (text(*median), text(*min), text(*max)) {
        (median, min, max) if min == max => median,
        (median, min, max) => format!("{median} ({min}–{max})"),
    }
}
