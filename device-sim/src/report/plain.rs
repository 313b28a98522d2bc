//! A report for a terminal or a log.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use super::example::printable;
use super::phase::Phase;
use super::text::{count, duration, share};
use super::{Example, Fleet, Report};

/// Columns of the name of a threshold, a phase, a fleet.
const NAME: usize = 20;
/// Columns of the name of what was seen within the gateway.
const REHEARSAL: usize = 32;

/// Whether to use colours: those that every terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// No escape sequence is written.
    Never,
    /// Green for what is good, red for what is not, pale for the rest.
    Always,
}

#[derive(Clone, Copy)]
enum Ink {
    Plain,
    Good,
    Bad,
    Pale,
    Strong,
}

impl Colour {
    /// Colours where standard output is a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn for_stdout() -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if !is_unwanted && std::io::stdout().is_terminal() { Self::Always } else { Self::Never }
    }

    /// A text in a colour. No order for a terminal is in it but that.
    fn paint(self, ink: Ink, text: &str) -> String {
        let text = printable(text);
        let code = match ink {
            Ink::Plain => return text,
            Ink::Good => "32",
            Ink::Bad => "1;31",
            Ink::Pale => "2",
            Ink::Strong => "1",
        };
        match self {
            Self::Never => text,
            Self::Always => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

impl Report {
    /// What people read at the end of a run.
    pub fn to_text(&self, colour: Colour) -> String {
        let mut text = String::new();
        self.push_fleets(&mut text, colour);
        self.push_phases(&mut text, colour);
        self.push_recoveries(&mut text, colour);
        self.push_rehearsal(&mut text, colour);
        self.push_outcomes(&mut text, colour);
        self.push_examples(&mut text, colour);
        self.push_verdict(&mut text, colour);
        text
    }

    /// The verdict in a sentence.
    pub fn headline(&self) -> String {
        let total = self.total();
        let missed = self.outcomes.iter().filter(|outcome| !outcome.passed).count();
        let arrived = match total.lost {
            0 => format!("{} readings arrived, none was lost", count(total.arrived)),
            lost => {
                let accepted = total.arrived.saturating_add(lost);
                let were = if lost == 1 { "was" } else { "were" };
                format!("{} of {} readings {were} lost", count(lost), count(accepted))
            }
        };
        match (self.outcomes.len(), missed) {
            (all, 0) => format!("passed: {arrived}; {all} of {all} thresholds kept"),
            (all, missed) => format!("failed: {missed} of {all} thresholds missed; {arrived}"),
        }
    }

    fn push_fleets(&self, text: &mut String, colour: Colour) {
        let heading = row(
            "fleet",
            ["devices", "sent", "acknowledged", "arrived", "lost", "duplicates", "wrong"]
                .map(str::to_owned),
        );
        push(text, colour, Ink::Pale, &heading);
        for (name, fleet) in &self.fleets {
            push_fleet(text, name, fleet, colour);
        }
        if self.fleets.len() > 1 {
            push_fleet(text, "all", &self.total(), colour);
        }
        if self.unknown > 0 {
            let line = format!("{} arrivals that no device has sent", count(self.unknown));
            push(text, colour, Ink::Bad, &line);
        }
        text.push('\n');
    }

    fn push_rehearsal(&self, text: &mut String, colour: Colour) {
        let Some(rehearsal) = &self.rehearsal else { return };
        push(text, colour, Ink::Pale, "gateway");
        for (name, value, is_bad) in rehearsal.rows() {
            let ink = if is_bad { Ink::Bad } else { Ink::Plain };
            push(text, colour, ink, &format!("{name:<REHEARSAL$}{value}"));
        }
        text.push('\n');
    }

    fn push_phases(&self, text: &mut String, colour: Colour) {
        let heading = row(
            "latency",
            ["count", "min", "p50", "p90", "p99", "p99.9", "max"].map(str::to_owned),
        );
        push(text, colour, Ink::Pale, &heading);
        for Phase { name, latency, .. } in &self.phases {
            let micros = |micros: u64| match latency.count {
                0 => "-".to_owned(),
                _ => duration(Duration::from_micros(micros)),
            };
            let cells = [
                latency.min_us,
                latency.p50_us,
                latency.p90_us,
                latency.p99_us,
                latency.p999_us,
                latency.max_us,
            ]
            .map(micros);
            let [min, p50, p90, p99, p999, max] = cells;
            let line = row(name, [count(latency.count), min, p50, p90, p99, p999, max]);
            push(text, colour, Ink::Plain, &line);
        }
        text.push('\n');
    }

    fn push_recoveries(&self, text: &mut String, colour: Colour) {
        if self.recoveries.is_empty() {
            return;
        }
        let heading = line("recovery", "until the backlog was gone, after the end of the fault");
        push(text, colour, Ink::Pale, &heading);
        for recovery in &self.recoveries {
            let took = recovery.took().map_or_else(|| "never".to_owned(), duration);
            push(text, colour, Ink::Plain, &line(&recovery.span.fault, &took));
        }
        text.push('\n');
    }

    fn push_outcomes(&self, text: &mut String, colour: Colour) {
        let width =
            self.outcomes.iter().map(|outcome| outcome.limit.chars().count()).max().unwrap_or(0);
        for outcome in &self.outcomes {
            let (ink, word) =
                if outcome.passed { (Ink::Good, "kept") } else { (Ink::Bad, "MISSED") };
            let word = colour.paint(ink, &format!("{word:<8}"));
            let (name, limit, reason) = (&outcome.name, &outcome.limit, &outcome.reason);
            let rest = format!("{name:<14}{limit:<width$}  {reason}");
            text.push_str(&word);
            push(text, colour, Ink::Plain, &rest);
        }
        text.push('\n');
    }

    fn push_examples(&self, text: &mut String, colour: Colour) {
        for (failure, example) in &self.examples {
            let fleet = example.fleet.as_deref().unwrap_or("no fleet");
            let Example { device, name, mark, .. } = example;
            let head = format!("first {failure}: {device} {name} of {fleet}, {mark}");
            push(text, colour, Ink::Strong, &head);
            push(text, colour, Ink::Plain, &format!("  {}", example.story()));
            push(text, colour, Ink::Pale, &format!("  {}", example.replay));
        }
        if !self.examples.is_empty() {
            text.push('\n');
        }
    }

    fn push_verdict(&self, text: &mut String, colour: Colour) {
        let ink = if self.passed { Ink::Good } else { Ink::Bad };
        let shard = self.shard.map(|shard| format!(", shard {shard}")).unwrap_or_default();
        push(text, colour, ink, &self.headline());
        let took = duration(Duration::from_micros(self.duration_us));
        let run = format!("{} for {took}, seed {}{shard}", self.scenario, self.seed);
        push(text, colour, Ink::Plain, &run);
    }
}

fn push_fleet(text: &mut String, name: &str, fleet: &Fleet, colour: Colour) {
    let acknowledged = match fleet.acknowledges() {
        true => count(fleet.acknowledged),
        false => "-".to_owned(),
    };
    let cells = [
        count(fleet.devices),
        count(fleet.sent),
        acknowledged,
        count(fleet.arrived),
        count(fleet.lost),
        count(fleet.duplicates),
        count(fleet.wrong_value),
    ];
    let line = row(name, cells);
    let is_bad = fleet.lost > 0 || fleet.wrong_value > 0;
    push(text, colour, if is_bad { Ink::Bad } else { Ink::Plain }, &line);
    let asides: Vec<_> = [
        (fleet.generated.saturating_sub(fleet.sent), "not sent"),
        (fleet.refused, "refused"),
        (fleet.unanswered, "unanswered"),
        (fleet.injured, "injured by faults"),
        (fleet.late, "late"),
        (fleet.out_of_order, "out of order"),
    ]
    .into_iter()
    .filter(|(amount, _)| *amount > 0)
    .map(|(amount, what)| format!("{} {what} ({})", count(amount), share(amount, fleet.generated)))
    .collect();
    if !asides.is_empty() && name != "all" {
        push(text, colour, Ink::Pale, &format!("  {}", asides.join(", ")));
    }
}

fn row(name: &str, cells: [String; 7]) -> String {
    let mut line = fitted(name);
    for (cell, width) in cells.iter().zip([9, 11, 14, 11, 10, 12, 10]) {
        // Writing to a string cannot fail.
        let _ = write!(line, "{cell:>width$}");
    }
    line
}

fn line(name: &str, rest: &str) -> String {
    format!("{}  {rest}", fitted(name))
}

/// A name in its column; one that is too long loses its end.
fn fitted(name: &str) -> String {
    match name.chars().count() {
        0..=NAME => format!("{name:<NAME$}"),
        _ => name.chars().take(NAME - 1).chain(['…']).collect(),
    }
}

fn push(text: &mut String, colour: Colour, ink: Ink, line: &str) {
    text.push_str(&colour.paint(ink, line.trim_end()));
    text.push('\n');
}
