//! A report for a terminal or a log.

mod columns;

use std::io::IsTerminal as _;
use std::time::Duration;

use self::columns::Columns;
use super::example::printable;
use super::phase::Phase;
use super::recovery::{Repeated, by_fault};
use super::text::{count, duration, share};
use super::{Example, Fleet, Report};

/// Columns of the name of a threshold, where none is longer.
const NAMES: usize = 14;
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
        self.push_commands(&mut text, colour);
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
        let head = ["devices", "sent", "acknowledged", "arrived", "lost", "duplicates", "wrong"]
            .map(str::to_owned);
        let total = self.total();
        let all = (self.fleets.len() > 1).then_some(("all", &total));
        let fleets = self.fleets.iter().map(|(name, fleet)| (name.as_str(), fleet)).chain(all);
        let rows: Vec<_> = fleets.map(|(name, fleet)| (name, fleet, cells_of(fleet))).collect();
        let cells = rows.iter().map(|(.., cells)| cells).chain([&head]);
        let columns = Columns::holding([9, 11, 14, 11, 10, 12, 10], cells);
        push(text, colour, Ink::Pale, &columns.row("fleet", &head));
        for (name, fleet, cells) in &rows {
            let is_bad = fleet.lost > 0 || fleet.wrong_value > 0;
            let ink = if is_bad { Ink::Bad } else { Ink::Plain };
            push(text, colour, ink, &columns.row(name, cells));
            if *name != "all" {
                push_asides(text, fleet, colour);
            }
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

    fn push_commands(&self, text: &mut String, colour: Colour) {
        let Some(commands) = &self.commands else { return };
        let rows = commands.rows();
        let (head, cells) =
            (rows.map(|(name, ..)| name.to_owned()), rows.map(|(_, amount, _)| count(amount)));
        let columns = Columns::holding([9, 9, 9, 10, 10, 13, 11, 13, 10], [&head, &cells]);
        push(text, colour, Ink::Pale, &columns.row("commands", &head));
        let is_bad = rows.iter().any(|(.., is_bad)| *is_bad);
        push(text, colour, if is_bad { Ink::Bad } else { Ink::Plain }, &columns.row("", &cells));
        for (miss, example) in &commands.examples {
            push(text, colour, Ink::Plain, &format!("  first {miss}: {example}"));
        }
        text.push('\n');
    }

    fn push_phases(&self, text: &mut String, colour: Colour) {
        let head = ["count", "min", "p50", "p90", "p99", "p99.9", "max"].map(str::to_owned);
        let cells = |Phase { latency, .. }: &Phase| {
            let micros = |micros: u64| match latency.count {
                0 => "-".to_owned(),
                _ => duration(Duration::from_micros(micros)),
            };
            [
                count(latency.count),
                micros(latency.min_us),
                micros(latency.p50_us),
                micros(latency.p90_us),
                micros(latency.p99_us),
                micros(latency.p999_us),
                micros(latency.max_us),
            ]
        };
        let rows: Vec<_> = self.phases.iter().map(cells).collect();
        let columns = Columns::holding([9, 11, 11, 11, 11, 11, 11], rows.iter().chain([&head]));
        push(text, colour, Ink::Pale, &columns.row("latency", &head));
        for (phase, cells) in self.phases.iter().zip(&rows) {
            push(text, colour, Ink::Plain, &columns.row(&phase.name, cells));
        }
        text.push('\n');
    }

    fn push_recoveries(&self, text: &mut String, colour: Colour) {
        if self.recoveries.is_empty() {
            return;
        }
        let head = ["times", "in all", "median", "worst"].map(str::to_owned);
        let faults = by_fault(&self.recoveries);
        let cells = |fault: &Repeated<'_>| {
            let took = |took: Option<Duration>| took.map_or_else(|| "never".to_owned(), duration);
            [count(fault.times), duration(fault.lasted), took(fault.median), took(fault.worst)]
        };
        let rows: Vec<_> = faults.iter().map(cells).collect();
        let columns = Columns::holding([9, 11, 11, 11], rows.iter().chain([&head]));
        let what = "from its end until the backlog was gone";
        let head = format!("{}  {what}", columns.row("recovery", &head));
        push(text, colour, Ink::Pale, &head);
        for (fault, cells) in faults.iter().zip(&rows) {
            push(text, colour, Ink::Plain, &columns.row(fault.name, cells));
        }
        text.push('\n');
    }

    fn push_outcomes(&self, text: &mut String, colour: Colour) {
        let width =
            self.outcomes.iter().map(|outcome| outcome.limit.chars().count()).max().unwrap_or(0);
        let longest = self.outcomes.iter().map(|outcome| outcome.name.chars().count()).max();
        let names = longest.map_or(NAMES, |longest| NAMES.max(longest + 1));
        for outcome in &self.outcomes {
            let (ink, word) =
                if outcome.passed { (Ink::Good, "kept") } else { (Ink::Bad, "MISSED") };
            let word = colour.paint(ink, &format!("{word:<8}"));
            let (name, limit, reason) = (&outcome.name, &outcome.limit, &outcome.reason);
            let rest = format!("{name:<names$}{limit:<width$}  {reason}");
            text.push_str(&word);
            push(text, colour, Ink::Plain, &rest);
        }
        for warning in self.thresholds.warnings(self) {
            push(text, colour, Ink::Bad, &format!("warning: {warning}"));
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

fn cells_of(fleet: &Fleet) -> [String; 7] {
    let acknowledged = match fleet.acknowledges() {
        true => count(fleet.acknowledged),
        false => "-".to_owned(),
    };
    [
        count(fleet.devices),
        count(fleet.sent),
        acknowledged,
        count(fleet.arrived),
        count(fleet.lost),
        count(fleet.duplicates),
        count(fleet.wrong_value),
    ]
}

/// What else there is to say of a fleet.
fn push_asides(text: &mut String, fleet: &Fleet, colour: Colour) {
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
    if !asides.is_empty() {
        push(text, colour, Ink::Pale, &format!("  {}", asides.join(", ")));
    }
}

fn push(text: &mut String, colour: Colour, ink: Ink, line: &str) {
    text.push_str(&colour.paint(ink, line.trim_end()));
    text.push('\n');
}
