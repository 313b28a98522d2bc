//! The run in time: readings per second above, latency below, faults behind both.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::Report;
use super::super::markup::escape;
use super::super::phase::Span;
use super::super::series::{Series, Window};
use super::super::text::{count, duration};
use super::frame::{Anchor, FRAMES, Frame, line, text};
use super::scale::{self, Linear, Log};

/// Faults that are drawn; of those beyond it the plot says how many there are.
const MAX_SPANS: usize = 100;
/// Rows of their names.
const MAX_ROWS: usize = 3;
const ROW: f64 = 18.0;
/// About the width of a character.
const CHARACTER: f64 = 7.0;
/// The heights of both parts, what is between them, and the labels below.
const RATES: f64 = 170.0;
const GAP: f64 = 34.0;
const LATENCY: f64 = 90.0;
const BELOW: f64 = 26.0;

/// The plot with its legend, and the numbers for the script.
pub(super) fn figure(report: &Report) -> String {
    let plots: String = FRAMES.into_iter().map(|frame| Plot::new(report, frame).draw()).collect();
    let hidden = spans(report).count().saturating_sub(MAX_SPANS);
    let hidden = match hidden {
        0 => String::new(),
        hidden => super::note(&format!("{} more faults are not drawn.", count(hidden as u64))),
    };
    let width = duration(report.series.width());
    format!(
        "<figure class=\"plot\" id=\"timeline-plot\">\n<p class=\"legend\"><span class=\"key sent\">sent</span> \
         <span class=\"key arrived\">arrived</span> <span class=\"key p99\">99 % of latencies within</span> \
         <span class=\"key fault\">fault</span></p>\n{plots}\
         <figcaption id=\"readout\" class=\"quiet\">Windows of {width}; latency by when a reading was \
         meant to be sent.</figcaption>\n{hidden}\
         <script type=\"application/json\" id=\"windows\">{}</script>\n</figure>\n",
        numbers(&report.series)
    )
}

/// Sent, acknowledged, arrived and percentile of each window, for the script.
fn numbers(series: &Series) -> String {
    let mut json = format!("{{\"width_us\":{},\"windows\":[", series.width().as_micros());
    for (index, Window { sent, acknowledged, arrived, p99_us, .. }) in series.windows().enumerate()
    {
        let comma = if index > 0 { "," } else { "" };
        let p99 = p99_us.map_or_else(|| "null".to_owned(), |micros| micros.to_string());
        // Writing to a string cannot fail.
        let _ = write!(json, "{comma}[{sent},{acknowledged},{arrived},{p99}]");
    }
    json + "]}"
}

fn spans(report: &Report) -> impl Iterator<Item = &Span> {
    report.phases.iter().flat_map(|phase| &phase.spans)
}

struct Plot<'a> {
    report: &'a Report,
    frame: Frame,
    /// Where the axis of time begins and ends.
    left: f64,
    right: f64,
    /// Above the plot: the names of faults.
    top: f64,
    end: Duration,
    rates: Linear,
    latency: Log,
    /// Names of faults, with their row.
    names: Vec<(usize, f64, &'a Span)>,
}

impl<'a> Plot<'a> {
    fn new(report: &'a Report, frame: Frame) -> Self {
        let series = &report.series;
        let windows = u32::try_from(series.windows().count()).unwrap_or(u32::MAX);
        let end = series.width().saturating_mul(windows);
        let end = end.max(Duration::from_micros(report.duration_us)).max(Duration::from_secs(1));
        let rate =
            |window: &Window| window.sent.max(window.arrived) as f64 / series.width().as_secs_f64();
        let percentiles = || series.windows().filter_map(|window| window.p99_us);
        let mut plot = Self {
            report,
            frame,
            left: 48.0,
            right: frame.width - 12.0,
            top: 0.0,
            end,
            rates: Linear::holding(series.windows().map(rate).fold(0.0, f64::max)),
            latency: Log::holding(
                percentiles().min().unwrap_or(1000),
                percentiles().max().unwrap_or(1000),
            ),
            names: Vec::new(),
        };
        plot.place_names();
        plot
    }

    /// Gives each name the highest row in which nothing is in its way.
    fn place_names(&mut self) {
        let mut taken = [f64::MIN; MAX_ROWS];
        let mut spans: Vec<_> = spans(self.report).take(MAX_SPANS).collect();
        spans.sort();
        for span in spans {
            let width = span.fault.chars().count() as f64 * CHARACTER;
            let x = self.x(span.from_us).min(self.right - width).max(self.left);
            let row = taken.iter().position(|end| *end < x);
            if let Some((row, end)) = row.and_then(|row| Some((row, taken.get_mut(row)?))) {
                *end = x + width + CHARACTER;
                self.names.push((row, x, span));
            }
        }
        let rows = self.names.iter().map(|(row, ..)| row + 1).max().unwrap_or(0);
        self.top = ROW + 8.0 + rows as f64 * ROW;
    }

    fn x(&self, micros: u64) -> f64 {
        let share = micros as f64 / self.end.as_micros() as f64;
        self.left + share.min(1.0) * (self.right - self.left)
    }

    fn rate_y(&self, rate: f64) -> f64 {
        self.top + RATES * (1.0 - self.rates.at(rate))
    }

    fn latency_y(&self, micros: u64) -> f64 {
        self.top + RATES + GAP + LATENCY * (1.0 - self.latency.at(micros))
    }

    fn bottom(&self) -> f64 {
        self.top + RATES + GAP + LATENCY
    }

    fn draw(&self) -> String {
        let rates = |value: fn(&Window) -> u64| {
            self.steps(move |plot, window| {
                let rate = value(window) as f64 / plot.report.series.width().as_secs_f64();
                Some(plot.rate_y(rate))
            })
        };
        let latency = self.steps(|plot, window| window.p99_us.map(|micros| plot.latency_y(micros)));
        let arrived = rates(|window| window.arrived);
        let zero = self.rate_y(0.0);
        let content = [
            self.faults(),
            self.axes(),
            format!("<path class=\"area\" d=\"{arrived}V{zero:.1}H{:.1}Z\"/>\n", self.left),
            format!("<path class=\"sent\" d=\"{}\"/>\n", rates(|window| window.sent)),
            format!("<path class=\"arrived\" d=\"{arrived}\"/>\n"),
            format!("<path class=\"p99\" d=\"{latency}\"/>\n"),
            line("cursor", [0.0, self.top], [0.0, self.bottom()]),
        ];
        let attributes = format!(
            " data-left=\"{}\" data-right=\"{}\" data-end-us=\"{}\"",
            self.left,
            self.right,
            self.end.as_micros()
        );
        let label = "Readings sent and arrived per second, and latency, while the run lasted";
        self.frame.svg(self.bottom() + BELOW, label, &attributes, &content.concat())
    }

    /// A path with a step for each window; it is lifted where there is no value.
    fn steps(&self, y: impl Fn(&Self, &Window) -> Option<f64>) -> String {
        let mut path = String::new();
        let width = u64::try_from(self.report.series.width().as_micros()).unwrap_or(u64::MAX);
        let mut is_down = false;
        for (index, window) in (0_u64..).zip(self.report.series.windows()) {
            let from = index.saturating_mul(width);
            let Some(y) = y(self, window) else {
                is_down = false;
                continue;
            };
            let to = self.x(from.saturating_add(width));
            // Writing to a string cannot fail.
            let _ = match is_down {
                true => write!(path, "V{y:.1}H{to:.1}"),
                false => write!(path, "M{:.1} {y:.1}H{to:.1}", self.x(from)),
            };
            is_down = true;
        }
        path
    }

    fn faults(&self) -> String {
        let mut svg = String::new();
        for span in spans(self.report).take(MAX_SPANS) {
            let (from, to) = (self.x(span.from_us), self.x(span.to_us));
            let name = escape(&span.fault);
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<rect class=\"fault\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{name}</title></rect>",
                self.top,
                (to - from).max(1.5),
                self.bottom() - self.top,
            );
        }
        for (row, x, span) in &self.names {
            let y = 4.0 + (*row as f64 + 1.7) * ROW;
            svg.push_str(&text("fault-name", [*x, y], Anchor::Start, &escape(&span.fault)));
        }
        svg
    }

    fn axes(&self) -> String {
        let mut svg = String::new();
        for tick in self.rates.ticks() {
            let y = self.rate_y(tick);
            svg.push_str(&line("grid", [self.left, y], [self.right, y]));
            svg.push_str(&text("tick", [self.left - 6.0, y + 4.0], Anchor::End, &tick.to_string()));
        }
        let title = "readings per second";
        svg.push_str(&text("tick", [self.left, 12.0], Anchor::Start, title));
        let decades = self.latency.ticks().count();
        for (index, tick) in self.latency.ticks().enumerate() {
            let y = self.latency_y(tick);
            svg.push_str(&line("grid", [self.left, y], [self.right, y]));
            if decades <= 5 || index % 2 == 0 {
                svg.push_str(&text(
                    "tick",
                    [self.left - 6.0, y + 4.0],
                    Anchor::End,
                    &scale::label(tick),
                ));
            }
        }
        svg.push_str(&text(
            "tick",
            [self.left, self.top + RATES + GAP - 8.0],
            Anchor::Start,
            "99 % of latencies within",
        ));
        let most = if self.frame.is_narrow() { 4 } else { 9 };
        for tick in scale::times(self.end, most) {
            let x = self.x(u64::try_from(tick.as_micros()).unwrap_or(u64::MAX));
            let label = if tick.is_zero() { "0 s".to_owned() } else { time(tick) };
            let anchor = if x > self.right - 20.0 { Anchor::End } else { Anchor::Middle };
            svg.push_str(&text("tick", [x, self.bottom() + 18.0], anchor, &label));
        }
        let stopped = self.x(self.report.duration_us);
        if stopped < self.right - 1.0 {
            svg.push_str(&line("stopped", [stopped, self.top], [stopped, self.bottom()]));
        }
        svg
    }
}

/// A time since the beginning, in whole seconds.
fn time(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => duration(time),
    }
}
