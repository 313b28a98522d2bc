//! The live view. A function of what is known.
//!
//! ```text
//!  device-sim  greenhouse-flaky-radio                     12 s of 1 min 30 s
//!  ━━━━━━━━━━━━━━━━──────────────────────────────────────────────────────────
//!
//!  fleet    via   devices   sent/s   arr/s    arrived  waiting  lost  latency
//!  ...
//!  faults
//!  ...
//!  events
//!  ...
//!  q stop
//! ```

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::lines::whole;
use super::sparkline::sparkline;
use super::{FleetProgress, LogLine, Progress, Stage};
use crate::report::Colour;
use crate::report::text::{count, duration};

/// Lines of the log that fleets never take.
const LEAST_LOG: u16 = 4;
/// Lines of faults at most; the last of them says how many more there are.
const MAX_FAULTS: usize = 4;
/// Columns of a line of the table besides the latencies.
const TABLE_WIDTH: u16 = 84;
/// Columns of the latencies at least, and at most.
const SPARKLINE: [u16; 2] = [8, 40];

/// The styles; without colour, those that every terminal has.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    title: Style,
    strong: Style,
    dim: Style,
    good: Style,
    bad: Style,
    fault: Style,
}

impl Palette {
    /// The one to use.
    pub fn new(colour: Colour) -> Self {
        let base = Style::new();
        let (strong, dim) = (base.add_modifier(Modifier::BOLD), base.add_modifier(Modifier::DIM));
        match colour {
            Colour::Never => {
                let reversed = strong.add_modifier(Modifier::REVERSED);
                Self { title: strong, strong, dim, good: base, bad: reversed, fault: strong }
            }
            Colour::Always => Self {
                title: strong.fg(Color::Cyan),
                strong,
                dim,
                good: base.fg(Color::Green),
                bad: strong.fg(Color::Red),
                fault: base.fg(Color::Yellow),
            },
        }
    }
}

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, progress: &Progress, stopping: bool, palette: &Palette) {
    let area = frame.area();
    let rows = u16::try_from(progress.fleets.len()).unwrap_or(u16::MAX);
    let faults = u16::try_from(progress.faults.len().clamp(1, MAX_FAULTS)).unwrap_or(u16::MAX);
    // Everything else: title, bar, headings, footer and the lines between them.
    let rest = 8_u16.saturating_add(faults).saturating_add(LEAST_LOG);
    let table = rows.min(area.height.saturating_sub(rest)).saturating_add(1);
    let [title, bar, _, fleets, _, active, _, log, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(table),
        Constraint::Length(1),
        Constraint::Length(faults + 1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_title(frame, title, progress, palette);
    frame.render_widget(time_bar(progress, bar.width, palette), bar);
    frame.render_widget(Paragraph::new(fleet_lines(progress, fleets, palette)), fleets);
    frame.render_widget(Paragraph::new(fault_lines(progress, palette)), active);
    frame.render_widget(Paragraph::new(log_lines(progress, log.height, palette)), log);
    let keys = match stopping {
        true => Span::styled(" stopping: what is on its way arrives first", palette.strong),
        false => Span::styled(" q stop", palette.dim),
    };
    frame.render_widget(Line::from(keys), footer);
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, progress: &Progress, palette: &Palette) {
    let name = vec![
        Span::styled(" device-sim  ", palette.dim),
        Span::styled(progress.scenario.as_str(), palette.title),
    ];
    frame.render_widget(Line::from(name), area);
    let time = match progress.stage {
        Stage::Sending => format!(
            "{} of {}, {} left ",
            time(progress.elapsed),
            time(progress.duration),
            time(progress.left())
        ),
        Stage::Settling => "waiting for what is on its way ".to_owned(),
    };
    frame.render_widget(Line::from(Span::styled(time, palette.dim)).right_aligned(), area);
}

fn time_bar<'a>(progress: &Progress, width: u16, palette: &Palette) -> Line<'a> {
    let room = usize::from(width.saturating_sub(2));
    let share = progress.elapsed.as_secs_f64() / progress.duration.as_secs_f64().max(0.001);
    // No more than there is room for: the rest of the line is made of what is left.
    let done = (0..room).take_while(|column| *column as f64 + 0.5 < share * room as f64).count();
    Line::from(vec![
        Span::raw(" "),
        Span::styled("━".repeat(done), palette.good),
        Span::styled("─".repeat(room - done), palette.dim),
    ])
}

fn fleet_lines<'a>(progress: &Progress, area: Rect, palette: &Palette) -> Vec<Line<'a>> {
    let [least, most] = SPARKLINE;
    let sparkline = usize::from(area.width.saturating_sub(TABLE_WIDTH).clamp(least, most));
    let heading = format!(
        " {:<14}{:<10}{:>8}{:>8}{:>8}{:>10}{:>8}{:>7}  latency",
        "fleet", "via", "devices", "sent/s", "arr/s", "arrived", "waiting", "lost"
    );
    let room = usize::from(area.height.saturating_sub(1));
    let hidden = progress.fleets.len().saturating_sub(room);
    let shown = if hidden > 0 { room.saturating_sub(1) } else { room };
    let mut lines = vec![Line::from(Span::styled(heading, palette.dim))];
    let fleets = progress.fleets.iter().take(shown);
    lines.extend(fleets.map(|fleet| fleet_line(fleet, sparkline, palette)));
    if hidden > 0 {
        let more = format!(" and {} more; a higher terminal shows them", hidden + 1);
        lines.push(Line::from(Span::styled(more, palette.dim)));
    }
    lines
}

fn fleet_line<'a>(fleet: &FleetProgress, width: usize, palette: &Palette) -> Line<'a> {
    let FleetProgress { name, via, devices, sent_per_second, arrived_per_second, .. } = fleet;
    let rates = format!("{devices:>8}{sent_per_second:>8}{arrived_per_second:>8}");
    let counts = format!("{:>10}{:>8}", count(fleet.arrived), count(fleet.on_the_way));
    let worst = fleet.latencies.last().copied().flatten().map(duration).unwrap_or_default();
    Line::from(vec![
        Span::styled(format!(" {:<14}", fitted(name, 13)), palette.strong),
        Span::styled(format!("{:<10}", fitted(via, 9)), palette.dim),
        Span::raw(rates),
        Span::raw(counts),
        Span::styled(
            format!("{:>7}", count(fleet.lost)),
            if fleet.lost > 0 { palette.bad } else { palette.dim },
        ),
        Span::styled(format!("  {}", sparkline(&fleet.latencies, width)), palette.good),
        Span::styled(format!(" {worst}"), palette.dim),
    ])
}

fn fault_lines<'a>(progress: &Progress, palette: &Palette) -> Vec<Line<'a>> {
    let mut lines = vec![Line::from(Span::styled(" faults", palette.dim))];
    if progress.faults.is_empty() {
        lines.push(Line::from(Span::styled(" none", palette.dim)));
    }
    let hidden = progress.faults.len().saturating_sub(MAX_FAULTS);
    let shown = if hidden > 0 { MAX_FAULTS - 1 } else { MAX_FAULTS };
    for (name, left) in progress.faults.iter().take(shown) {
        lines.push(Line::from(vec![
            Span::styled(format!(" ● {name}"), palette.fault),
            Span::styled(format!("  {} left", time(*left)), palette.dim),
        ]));
    }
    if hidden > 0 {
        lines.push(Line::from(Span::styled(format!(" and {} more", hidden + 1), palette.dim)));
    }
    lines
}

fn log_lines<'a>(progress: &Progress, height: u16, palette: &Palette) -> Vec<Line<'a>> {
    let room = usize::from(height.saturating_sub(1));
    let skipped = progress.log.len().saturating_sub(room);
    let mut lines = vec![Line::from(Span::styled(" events", palette.dim))];
    lines.extend(progress.log.iter().skip(skipped).map(|LogLine { at, text, is_bad }| {
        let style = if *is_bad { palette.bad } else { Style::new() };
        Line::from(vec![
            Span::styled(format!(" {:>8.1} s  ", at.as_secs_f64()), palette.dim),
            Span::styled(text.clone(), style),
        ])
    }));
    lines
}

fn time(time: Duration) -> String {
    match whole(time).as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => duration(whole(time)),
    }
}

/// A text that has room in so many columns.
fn fitted(text: &str, columns: usize) -> String {
    match text.chars().count() > columns {
        true => text.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}
