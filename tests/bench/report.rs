//! The figures, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::Outcome;
use super::cases::RATIOS;
use super::figure::{Metric, Row, Spread};
use super::machine::Machine;

/// Everything that one call has measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    runs: usize,
    rows: Vec<Row>,
    ratios: Vec<Ratio>,
}

/// A case beside its limit.
#[derive(Debug, Serialize)]
struct Ratio {
    name: &'static str,
    limit: &'static str,
    /// Of the rates: more is better.
    rate: f64,
    /// Of the processor time, where both were measured: less is better.
    cpu: Option<f64>,
}

impl Report {
    pub(crate) fn new(machine: Machine, runs: usize, rows: Vec<Row>) -> Self {
        let ratio = |&(name, limit): &(&'static str, &'static str)| {
            let of = |metric| {
                let median = |name: &str| {
                    let row = rows.iter().find(|row| row.name == name)?;
                    Some(row.figures.get(&metric)?.median)
                };
                // A short run may be below the resolution of processor time.
                let limit = median(limit).filter(|limit| *limit > 0.0)?;
                Some(median(name)? / limit)
            };
            Some(Ratio { name, limit, rate: of(Metric::Rate)?, cpu: of(Metric::CpuMicros) })
        };
        let ratios = RATIOS.iter().filter_map(ratio).collect();
        Self { machine, runs, rows, ratios }
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
                let _ = write!(out, " {} |", cell(*column, row.figures.get(column)));
            }
            out.push('\n');
        }
        if !self.ratios.is_empty() {
            out.push_str("\n| case | against | rate ratio | CPU ratio |\n|---|---|---:|---:|\n");
        }
        for Ratio { name, limit, rate, cpu } in &self.ratios {
            let cpu = cpu.map(|cpu| format!("{cpu:.2}")).unwrap_or_default();
            let _ = writeln!(out, "| {name} | {limit} | {rate:.2} | {cpu} |");
        }
        out.push('\n');
        for row in &self.rows {
            let _ = writeln!(out, "- `{}`: {}", row.name, row.what);
        }
        out
    }

    /// Everything, as JSON.
    pub(crate) fn json(&self) -> Outcome<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

fn cell(metric: Metric, spread: Option<&Spread>) -> String {
    let Some(Spread { median, min, max }) = spread else { return String::new() };
    let digits = metric.digits();
    let text = |value: f64| format!("{value:.digits$}");
    match (text(*median), text(*min), text(*max)) {
        (median, min, max) if min == max => median,
        (median, min, max) => format!("{median} ({min}–{max})"),
    }
}
