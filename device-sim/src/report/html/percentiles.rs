//! Latency of each phase: from the shortest to the longest, with percentiles, on a logarithmic axis.

use std::time::Duration;

use super::super::Report;
use super::super::markup::escape;
use super::super::phase::Phase;
use super::super::text::{count, duration};
use super::frame::{Anchor, FRAMES, Frame, line, text};
use super::scale::{self, Log};
use super::table::{Cell, table};
use crate::histogram::Summary;

/// The height of a phase: its name, and its bar below that.
const ROW: f64 = 46.0;
const BELOW: f64 = 28.0;
const LEFT: f64 = 10.0;

/// The plot, and its numbers as a table.
pub(super) fn figure(report: &Report) -> String {
    let measured: Vec<_> = report.phases.iter().filter(|phase| phase.latency.count > 0).collect();
    let plots: String = match measured.is_empty() {
        true => super::note("Nothing arrived."),
        false => FRAMES.into_iter().map(|frame| draw(&measured, frame)).collect(),
    };
    let legend = "<p class=\"legend\"><span class=\"key range\">shortest to longest</span> \
                  <span class=\"key half\">half of all</span> <span class=\"key ninety\">90 %</span> \
                  <span class=\"key p99\">99 %</span> <span class=\"key p999\">99.9 %</span></p>\n";
    let rows = report.phases.iter().map(|phase| row(&phase.name, &phase.latency));
    let heads = ["Phase", "Count", "Shortest", "50 %", "90 %", "99 %", "99.9 %", "Longest"];
    let what = "From when a reading was meant to be sent to its arrival at the far end; phases by when it was meant to be sent.";
    format!(
        "{}<figure class=\"plot\">\n{legend}{plots}</figure>\n{}",
        super::note(what),
        table(&heads, rows)
    )
}

fn row(name: &str, latency: &Summary) -> Vec<Cell> {
    let Summary { count: amount, min_us, p50_us, p90_us, p99_us, p999_us, max_us } = *latency;
    let cell = |micros| match amount {
        0 => Cell::number("-"),
        _ => Cell::number(&duration(Duration::from_micros(micros))),
    };
    let values = [min_us, p50_us, p90_us, p99_us, p999_us, max_us].map(cell);
    [Cell::head(name), Cell::number(&count(amount))].into_iter().chain(values).collect()
}

fn draw(phases: &[&Phase], frame: Frame) -> String {
    let shortest = phases.iter().map(|phase| phase.latency.min_us).min().unwrap_or(0);
    let longest = phases.iter().map(|phase| phase.latency.max_us).max().unwrap_or(0);
    let axis = Log::holding(shortest, longest);
    let x = |micros| LEFT + axis.at(micros) * (frame.width - 2.0 * LEFT - 14.0);
    let bottom = phases.len() as f64 * ROW;
    let mut svg = String::new();
    let decades = axis.ticks().count();
    for (index, tick) in axis.ticks().enumerate() {
        svg.push_str(&line("grid", [x(tick), 0.0], [x(tick), bottom]));
        if !frame.is_narrow() || decades <= 6 || index % 2 == 0 {
            let anchor = if index == 0 { Anchor::Start } else { Anchor::Middle };
            svg.push_str(&text("tick", [x(tick), bottom + 18.0], anchor, &scale::label(tick)));
        }
    }
    for (phase, top) in phases.iter().zip((0_u32..).map(|index| f64::from(index) * ROW)) {
        svg.push_str(&bar(phase, top, &x));
    }
    let label = "Latency of each phase: shortest, percentiles, longest";
    frame.svg(bottom + BELOW, label, "", &svg)
}

fn bar(phase: &Phase, top: f64, x: &impl Fn(u64) -> f64) -> String {
    let Summary { min_us, p50_us, p90_us, p99_us, p999_us, max_us, .. } = phase.latency;
    let y = top + 31.0;
    let title = |name: &str, micros| {
        let value = duration(Duration::from_micros(micros));
        format!("<title>{name} {value}</title>")
    };
    let mark = |class: &str, name: &str, micros, [width, height]: [f64; 2]| {
        format!(
            "<rect class=\"mark {class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width}\" height=\"{height}\" rx=\"1.5\">{}</rect>\n",
            x(micros) - width / 2.0,
            y - height / 2.0,
            title(name, micros)
        )
    };
    let body = format!(
        "<rect class=\"body\" x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"10\"/>\n",
        x(p50_us),
        y - 5.0,
        x(p99_us) - x(p50_us)
    );
    [
        text("phase", [LEFT, top + 16.0], Anchor::Start, &escape(&phase.name)),
        line("range", [x(min_us), y], [x(max_us), y]),
        body,
        mark("end", "shortest", min_us, [2.0, 8.0]),
        mark("end", "longest", max_us, [2.0, 8.0]),
        mark("p999", "99.9 %", p999_us, [3.5, 18.0]),
        mark("p99", "99 %", p99_us, [3.5, 18.0]),
        mark("ninety", "90 %", p90_us, [3.5, 18.0]),
        mark("half", "50 %", p50_us, [3.5, 18.0]),
    ]
    .concat()
}
