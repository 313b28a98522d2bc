//! The live view: counters, devices, the last arrivals. A function of what is known.
//!
//! ```text
//!  gateway demo                                                        up 12 s
//!
//!  sent    acknowledged    arrived    on the way    lost    duplicates    per second
//!   ...
//!
//!  via      device    trend         last values                              seen
//!  ...
//!
//!  arrivals
//!  ...
//!  q quit     8 devices → gateway demo → mqtt://127.0.0.1:1883
//! ```

use device_sim::Via;
use device_sim::ledger::Verdict;
use proto::{Instant, Timestamp};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::board::{Board, ChannelCell, DeviceRow, Entry, civil};

/// Lines of the log that devices never take.
const LEAST_LOG: u16 = 4;
/// Columns of the trend where there is room for no more.
const LEAST_TREND: u16 = 7;
/// Columns of a line of the table besides the trend.
const TABLE_WIDTH: u16 = 73;
/// Heights of the trend, from low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Where in `2026-11-20T22:39:00.123Z` the time of day is.
const TIME_OF_DAY: std::ops::Range<usize> = 11..23;

/// The styles; without colour, those that every terminal has.
pub(super) struct Palette {
    title: Style,
    strong: Style,
    dim: Style,
    bad: Style,
    vias: [Style; 6],
}

impl Palette {
    pub(super) fn new(colour: bool) -> Self {
        let base = Style::new();
        let strong = base.add_modifier(Modifier::BOLD);
        let dim = base.add_modifier(Modifier::DIM);
        if !colour {
            let bad = strong.add_modifier(Modifier::REVERSED);
            return Self { title: strong, strong, dim, bad, vias: [base; 6] };
        }
        Self {
            title: strong.fg(Color::Cyan),
            strong,
            dim,
            bad: strong.fg(Color::Red),
            vias: [
                Color::Cyan,
                Color::Blue,
                Color::Yellow,
                Color::Green,
                Color::Magenta,
                Color::LightBlue,
            ]
            .map(|colour| base.fg(colour)),
        }
    }

    fn via(&self, via: Via) -> Style {
        let [coap, coap_tcp, udp, tcp, serial, link] = self.vias;
        match via {
            Via::Coap => coap,
            Via::CoapTcp => coap_tcp,
            Via::Udp => udp,
            Via::Tcp | Via::Http | Via::Mqtt | Via::Modbus => tcp,
            Via::Serial => serial,
            Via::LinkSerial | Via::LinkTcp | Via::LinkUdp => link,
        }
    }
}

/// Draws everything.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    board: &Board,
    verdict: &Verdict,
    now: Instant,
    origin: Timestamp,
    palette: &Palette,
) {
    let area = frame.area();
    let rows = u16::try_from(board.devices.len()).unwrap_or(u16::MAX);
    // Everything else: title, counters, headings, footer and the lines between them.
    let rest = 9 + LEAST_LOG;
    let table = rows.min(area.height.saturating_sub(rest)).saturating_add(1);
    let [title, _, counters, _, devices, _, log, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Length(table),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_title(frame, title, now, palette);
    frame.render_widget(Paragraph::new(counter_lines(board, verdict, now, palette)), counters);
    frame.render_widget(Paragraph::new(device_lines(board, now, devices, palette)), devices);
    frame.render_widget(Paragraph::new(log_lines(board, origin, log.height, palette)), log);
    draw_footer(frame, footer, board, palette);
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, now: Instant, palette: &Palette) {
    frame.render_widget(Line::from(Span::styled(" gateway demo", palette.title)), area);
    let up = format!("up {} ", age(now - Instant::ZERO));
    frame.render_widget(Line::from(Span::styled(up, palette.dim)).right_aligned(), area);
}

fn counter_lines<'a>(
    board: &Board,
    verdict: &Verdict,
    now: Instant,
    palette: &Palette,
) -> Vec<Line<'a>> {
    let total = verdict.total();
    let unless_zero = |count: u64| if count > 0 { palette.bad } else { palette.strong };
    let wrong = total.wrong + verdict.unknown;
    let mut counters = vec![
        ("sent", total.sent.to_string(), palette.strong),
        ("acknowledged", total.acknowledged.to_string(), palette.strong),
        ("arrived", total.arrived.to_string(), palette.strong),
        ("on the way", total.waiting.to_string(), palette.strong),
        ("lost", total.lost.to_string(), unless_zero(total.lost)),
        ("duplicates", total.duplicates.to_string(), palette.strong),
        ("per second", format!("{:.1}", board.rate(now)), palette.strong),
    ];
    if wrong > 0 {
        counters.insert(5, ("wrong", wrong.to_string(), palette.bad));
    }
    let (mut names, mut values) = (vec![Span::raw(" ")], vec![Span::raw(" ")]);
    for (name, value, style) in counters {
        let width = name.len().max(6);
        names.push(Span::styled(format!("{name:>width$}   "), palette.dim));
        values.push(Span::styled(format!("{value:>width$}   "), style));
    }
    vec![Line::from(names), Line::from(values)]
}

fn device_lines<'a>(board: &Board, now: Instant, area: Rect, palette: &Palette) -> Vec<Line<'a>> {
    let trend = usize::from(area.width.saturating_sub(TABLE_WIDTH).clamp(LEAST_TREND, 24));
    let heading = format!(
        " {:<12}{:<10}{:<width$}{:<43}{:>5}",
        "via",
        "device",
        "trend",
        "last values",
        "seen",
        width = trend + 2
    );
    let room = usize::from(area.height.saturating_sub(1));
    let hidden = board.devices.len().saturating_sub(room);
    let shown = if hidden > 0 { room.saturating_sub(1) } else { room };
    let mut lines = vec![Line::from(Span::styled(heading, palette.dim))];
    lines.extend(board.devices.iter().take(shown).map(|row| device_line(row, now, trend, palette)));
    if hidden > 0 {
        let more = format!(" and {} more; a higher terminal shows them", hidden + 1);
        lines.push(Line::from(Span::styled(more, palette.dim)));
    }
    lines
}

fn device_line<'a>(row: &DeviceRow, now: Instant, trend: usize, palette: &Palette) -> Line<'a> {
    let via = palette.via(row.via);
    let mut spans = vec![
        Span::styled(format!(" {:<12}", row.via), via),
        Span::styled(format!("{:<10}", row.id), palette.strong),
        Span::styled(format!("{:>trend$}  ", bars(row, trend)), via),
    ];
    for ChannelCell { name, unit, value } in &row.channels {
        spans.push(Span::styled(format!("{name:<9}"), palette.dim));
        let value = value.as_deref().unwrap_or("-");
        spans.push(Span::raw(format!("{value:>8} ")));
        spans.push(Span::styled(format!("{unit:<4}"), palette.dim));
    }
    let seen = row.seen.map_or_else(|| "-".to_owned(), |seen| age(now - seen));
    spans.push(Span::styled(format!("{seen:>4}"), palette.dim));
    Line::from(spans)
}

/// The last values, each between the lowest and the highest of them.
fn bars(row: &DeviceRow, width: usize) -> String {
    let values = || row.trend.iter().skip(row.trend.len().saturating_sub(width));
    let lowest = values().copied().fold(f64::INFINITY, f64::min);
    let highest = values().copied().fold(f64::NEG_INFINITY, f64::max);
    let step = (highest - lowest) / BARS.len() as f64;
    let bar = |value: &f64| {
        // The highest step that it reaches.
        let reached = (1..BARS.len()).rfind(|&level| *value >= lowest + step * level as f64);
        BARS.get(reached.filter(|_| step > 0.0).unwrap_or(0)).copied().unwrap_or(' ')
    };
    values().map(bar).collect()
}

fn log_lines<'a>(
    board: &Board,
    origin: Timestamp,
    height: u16,
    palette: &Palette,
) -> Vec<Line<'a>> {
    let room = usize::from(height.saturating_sub(1));
    let heading = format!(" {:<14}{:<26}{:>10}", "time, UTC", "topic", "value");
    let mut lines = vec![Line::from(Span::styled(heading, palette.dim))];
    let newest = board.log.iter().skip(board.log.len().saturating_sub(room));
    lines.extend(newest.map(|entry| log_line(entry, origin, palette)));
    lines
}

fn log_line<'a>(entry: &Entry, origin: Timestamp, palette: &Palette) -> Line<'a> {
    let Entry { at, topic, value, unit } = entry;
    let time = civil(origin, *at);
    let time = time.get(TIME_OF_DAY).unwrap_or_default();
    Line::from(vec![
        Span::styled(format!(" {time:<14}"), palette.dim),
        Span::raw(format!("{topic:<26}{value:>10} ")),
        Span::styled(*unit, palette.dim),
    ])
}

fn draw_footer(frame: &mut Frame<'_>, area: Rect, board: &Board, palette: &Palette) {
    let Board { gateway, broker, devices, stopping, .. } = board;
    let way = format!("{} devices → gateway {gateway} → {broker} ", devices.len());
    let keys = match stopping {
        true => Span::styled(" ending: what is on its way arrives first", palette.strong),
        false => Span::styled(" q quit", palette.dim),
    };
    frame.render_widget(Line::from(keys), area);
    if !stopping {
        frame.render_widget(Line::from(Span::styled(way, palette.dim)).right_aligned(), area);
    }
}

/// A duration in its largest unit.
fn age(duration: std::time::Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}
