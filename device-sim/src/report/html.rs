//! A report as one page: no other file, nothing from the network, readable without JavaScript.
//!
//! Plots are drawn here, as SVG; each is there twice, wide and for a phone, because text in an SVG
//! shrinks with it. The script shows numbers under the pointer. Colours are those of the gateway's
//! own pages. Everything that comes from a scenario or a device is [escaped](super::markup::escape).

mod frame;
mod percentiles;
mod scale;
mod table;
mod timeline;

use std::borrow::Cow;
use std::time::Duration;

use self::table::{Cell, table};
use super::markup::escape;
use super::recovery::by_fault;
use super::text::{bytes, count, duration};
use super::{Fleet, Report, Wall};
use crate::histogram::Histogram;

/// What the browser may do with the page: use what is in it, and load nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src data:; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

impl Report {
    /// As one page of HTML.
    pub fn to_html(&self) -> String {
        let title = escape(&self.scenario);
        let sections = [
            self.html_verdict(),
            section("thresholds", "Thresholds", &self.html_thresholds()),
            section("timeline", "Timeline", &timeline::figure(self)),
            section("latency", "Latency", &percentiles::figure(self)),
            section("fleets", "Fleets", &self.html_fleets()),
            optional("recovery", "Recovery", self.html_recoveries()),
            optional("gateway", "Gateway", self.html_rehearsal()),
            optional("examples", "Examples", self.html_examples()),
            section("environment", "Environment", &self.html_environment()),
        ];
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
             <style>\n{STYLE}</style>\n<main>\n{}</main>\n<script>\n{SCRIPT}</script>\n</html>\n",
            sections.concat()
        )
    }

    fn html_verdict(&self) -> String {
        let (state, word) = if self.passed { ("good", "Passed") } else { ("bad", "Failed") };
        let headline = self.headline();
        let sentence = headline.split_once(": ").map_or(&*headline, |(_, sentence)| sentence);
        let total = self.total();
        let latency: Histogram = self.latency.iter().map(|mix| &mix.latency).sum();
        let p99 = match latency.is_empty() {
            true => "-".to_owned(),
            false => duration(Duration::from_micros(latency.summary().p99_us)),
        };
        let lost = if total.lost > 0 { " class=\"bad\"" } else { "" };
        let tile = |name: &str, class: &str, value: &str| {
            format!("<div><dt>{name}</dt><dd{class}>{value}</dd></div>")
        };
        let tiles = [
            tile("devices", "", &count(total.devices)),
            tile("sent", "", &count(total.sent)),
            tile("arrived", "", &count(total.arrived)),
            tile("lost", lost, &count(total.lost)),
            tile("99 % within", "", &p99),
        ];
        format!(
            "<header>\n<p class=\"quiet\">device-sim report</p>\n<h1>{}</h1>\n\
             <p id=\"verdict\" class=\"{state}\"><strong>{word}</strong> {}</p>\n\
             <dl class=\"tiles\">{}</dl>\n</header>\n",
            escape(&self.scenario),
            escape(sentence),
            tiles.concat()
        )
    }

    fn html_thresholds(&self) -> String {
        if self.outcomes.is_empty() {
            return note("The scenario asks for nothing.");
        }
        let rows = self.outcomes.iter().map(|outcome| {
            let state = match outcome.passed {
                true => Cell::html("", "<span class=\"good\">✓ kept</span>".to_owned()),
                false => Cell::html("", "<span class=\"bad\">✗ missed</span>".to_owned()),
            };
            vec![
                Cell::head(&outcome.name),
                state,
                Cell::long(&outcome.limit),
                Cell::number(outcome.measured.as_deref().unwrap_or("-")),
                Cell::quiet(&outcome.reason),
            ]
        });
        let warnings = self.thresholds.warnings(self).into_iter();
        let warnings =
            warnings.map(|warning| format!("<p class=\"bad\">Warning: {}</p>\n", escape(&warning)));
        table(&["Name", "Outcome", "Asked", "Measured", "Why"], rows)
            + &warnings.collect::<String>()
    }

    fn html_fleets(&self) -> String {
        let total = self.total();
        let columns: Vec<_> =
            COLUMNS.iter().filter(|column| column.is_kept || (column.of)(&total) > 0).collect();
        let heads: Vec<_> =
            ["Fleet", "Via"].into_iter().chain(columns.iter().map(|column| column.head)).collect();
        let all = (self.fleets.len() > 1).then_some(("all", &total));
        let fleets = self.fleets.iter().map(|(name, fleet)| (name.as_str(), fleet)).chain(all);
        let mut html = table(&heads, fleets.map(|(name, fleet)| fleet_row(name, fleet, &columns)));
        if self.unknown > 0 {
            let arrivals = format!("{} arrivals that no device has sent.", count(self.unknown));
            html.push_str(&format!("<p class=\"bad\">{arrivals}</p>\n"));
        }
        html
    }

    fn html_rehearsal(&self) -> Option<String> {
        let rows = self.rehearsal.as_ref()?.rows();
        let rows = rows.into_iter().map(|(name, value, is_bad)| {
            let value = match is_bad {
                true => Cell::html("bad", escape(&value).into_owned()),
                false => Cell::text(&value),
            };
            vec![Cell::head(&name), value]
        });
        Some(table(&["What", "Value"], rows))
    }

    fn html_recoveries(&self) -> Option<String> {
        let since_end = |micros: Option<u64>| match micros {
            Some(micros) => Cell::number(&duration(Duration::from_micros(micros))),
            None => Cell::number("-"),
        };
        let took = |took: Option<Duration>| match took {
            Some(took) => Cell::number(&duration(took)),
            None => Cell::html("number", "<span class=\"bad\">never</span>".to_owned()),
        };
        let rows = by_fault(&self.recoveries).into_iter().map(|fault| {
            let instant = |micros| Cell::number(&duration(Duration::from_micros(micros)));
            let [from, to] = fault.span_us.map(instant);
            vec![
                Cell::head(fault.name),
                Cell::number(&count(fault.times)),
                from,
                to,
                Cell::number(&duration(fault.lasted)),
                took(fault.median),
                took(fault.worst),
                since_end(fault.first_us),
                since_end(fault.last_us),
                Cell::number(&count(fault.arrived)),
                Cell::count(fault.lost, fault.lost > 0),
            ]
        });
        let heads = [
            "Fault",
            "Times",
            "From",
            "To",
            "In all",
            "Backlog gone, median",
            "Worst",
            "First of it",
            "Last of it",
            "Arrived",
            "Lost",
        ];
        let table = table(&heads, rows);
        let what = note(
            "Since the end of the fault, each time: until everything from before it had arrived, and \
             the first and last reading that was meant to be sent during it.",
        );
        (!self.recoveries.is_empty()).then(|| what + &table)
    }

    fn html_examples(&self) -> Option<String> {
        let example = |(failure, example): (&super::Failure, &super::Example)| {
            format!(
                "<article>\n<h3>First {failure}</h3>\n<p><strong>{} {}</strong> \
                 <span class=\"quiet\">{}{}</span><br>{}</p>\n<pre>{}</pre>\n</article>\n",
                escape(&example.device),
                escape(&example.name),
                example
                    .fleet
                    .as_ref()
                    .map(|fleet| format!("of {}, ", escape(fleet)))
                    .unwrap_or_default(),
                escape(&example.mark.to_string()),
                escape(&example.story()),
                escape(&example.replay),
            )
        };
        let examples: String = self.examples.iter().map(example).collect();
        (!examples.is_empty()).then_some(examples)
    }

    fn html_environment(&self) -> String {
        let mut pairs: Vec<(&str, Cow<'_, str>)> = vec![
            ("Scenario", escape(&self.file)),
            ("Seed", self.seed.to_string().into()),
            ("Devices sent for", duration(Duration::from_micros(self.duration_us)).into()),
        ];
        if let Some(shard) = self.shard {
            pairs.push(("Shard", shard.to_string().into()));
        }
        if let Some(Wall { started, program, system, processors, gateway }) = &self.wall {
            pairs.extend([
                ("Started", escape(started)),
                ("Program", escape(program)),
                ("System", escape(system)),
                ("Processors", processors.to_string().into()),
            ]);
            if let Some(resources) = gateway {
                pairs.push(("Gateway, memory at most", bytes(resources.max_rss_bytes).into()));
                let cpu = Duration::from_micros(resources.cpu_us);
                pairs.push(("Gateway, processor time", duration(cpu).into()));
            }
        }
        let pair =
            |(name, value): &(&str, Cow<'_, str>)| format!("<dt>{name}</dt><dd>{value}</dd>\n");
        format!("<dl class=\"pairs\">\n{}</dl>\n", pairs.iter().map(pair).collect::<String>())
    }
}

/// A column of the table of fleets.
struct Column {
    head: &'static str,
    of: fn(&Fleet) -> u64,
    /// Shown also when it is zero everywhere.
    is_kept: bool,
    /// Red when it is not zero.
    is_bad: bool,
}

const fn column(head: &'static str, of: fn(&Fleet) -> u64) -> Column {
    Column { head, of, is_kept: true, is_bad: false }
}

const COLUMNS: [Column; 13] = [
    column("Devices", |fleet| fleet.devices),
    Column {
        is_kept: false,
        ..column("Not sent", |fleet| fleet.generated.saturating_sub(fleet.sent))
    },
    column("Sent", |fleet| fleet.sent),
    column("Acknowledged", |fleet| fleet.acknowledged),
    Column { is_kept: false, ..column("Refused", |fleet| fleet.refused) },
    Column { is_kept: false, ..column("Unanswered", |fleet| fleet.unanswered) },
    Column { is_kept: false, ..column("Injured", |fleet| fleet.injured) },
    column("Arrived", |fleet| fleet.arrived),
    Column { is_bad: true, ..column("Lost", |fleet| fleet.lost) },
    column("Late", |fleet| fleet.late),
    column("Duplicates", |fleet| fleet.duplicates),
    Column { is_bad: true, ..column("Wrong value", |fleet| fleet.wrong_value) },
    Column { is_kept: false, ..column("Out of order", |fleet| fleet.out_of_order) },
];

fn fleet_row(name: &str, fleet: &Fleet, columns: &[&Column]) -> Vec<Cell> {
    let via: Vec<_> = fleet.via.iter().map(|via| via.name()).collect();
    let cell = |column: &&Column| match (column.of)(fleet) {
        0 if column.head == "Acknowledged" && !fleet.acknowledges() => Cell::number("-"),
        amount => Cell::count(amount, column.is_bad && amount > 0),
    };
    let head = [Cell::head(name), Cell::text(&via.join(", "))];
    head.into_iter().chain(columns.iter().map(cell)).collect()
}

fn section(id: &str, title: &str, content: &str) -> String {
    format!(
        "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{content}</section>\n"
    )
}

fn optional(id: &str, title: &str, content: Option<String>) -> String {
    content.map(|content| section(id, title, &content)).unwrap_or_default()
}

fn note(text: &str) -> String {
    format!("<p class=\"quiet\">{}</p>\n", escape(text))
}
