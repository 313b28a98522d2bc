//! What a sample becomes, for people.

use std::fmt::Write as _;
use std::ops::Range;

use proto::{TimeQuality, Value};

use crate::config::{Id, Link, Source};
use crate::explain::{Piece, Routed, Sample, has_senders};
use crate::pipeline::{Explained, Gathered, LeftOut, Publish, Verdict, rfc3339_text};

/// The most bytes of a frame that are shown in hexadecimal.
const MAX_SHOWN: usize = 64;
/// The most characters of a frame that are shown as text: a sentence or a line with its end.
const MAX_SHOWN_TEXT: usize = 256;

pub(super) fn of(name: &Id, source: &Source, sample: &Sample, pieces: &[Piece]) -> String {
    let mut out = String::new();
    let len = sample.bytes.len();
    // Writing to a string cannot fail.
    let _ = write!(out, "source {name}: {}", count(len as u64, "byte"));
    match &source.link {
        Link::Coap(_) | Link::Http(_) => {
            let _ = write!(out, " posted to {}", sample.path());
        }
        Link::CoapPoll(_) => out.push_str(" of a representation"),
        Link::Modbus(_) => out.push_str(" of an answer"),
        Link::Serial(_) | Link::Udp(_) | Link::Tcp(_) | Link::TcpClient(_) => {}
    }
    if let Some(format) = sample.content_format {
        let _ = write!(out, ", content format {format}");
    }
    if let Some(content_type) = &sample.content_type {
        let _ = write!(out, ", {content_type}");
    }
    if has_senders(&source.link) {
        let _ = write!(out, " from {}", sample.from);
    }
    out.push('\n');
    for piece in pieces {
        self::piece(&mut out, piece);
    }
    if pieces.is_empty() {
        out.push_str("\nno frame in it\n");
    }
    out
}

fn piece(out: &mut String, piece: &Piece) {
    let _ = write!(out, "\n{}: ", place(&piece.span));
    match &piece.frame {
        Some(frame) => {
            let _ = writeln!(out, "a frame of {}", count(frame.len() as u64, "byte"));
            let _ = writeln!(out, "  {}", shown(frame));
        }
        None if piece.span.is_empty() => out.push_str("no frame begins here\n"),
        None => out.push_str("thrown away\n"),
    }
    match &piece.outcome {
        Ok(readings) => {
            for routed in readings {
                reading(out, routed);
                routed.routes.iter().for_each(|explained| route(out, explained));
                let is_taken =
                    |route: &Explained| !matches!(route.verdict, Verdict::NotTaken { .. });
                if !routed.routes.iter().any(is_taken) {
                    out.push_str("    dropped and counted as unrouted: no route takes it\n");
                }
            }
        }
        Err(refused) => {
            let _ = writeln!(out, "  {}: {}", refused.reason, refused.why);
        }
    }
}

fn place(span: &Range<u64>) -> String {
    match span.end.saturating_sub(span.start) {
        0 | 1 => format!("byte {}", span.start),
        _ => format!("bytes {} to {}", span.start, span.end - 1),
    }
}

/// Text on one line, other bytes in hexadecimal.
fn shown(frame: &[u8]) -> String {
    let is_shown = |one: char| !one.is_control() || matches!(one, '\r' | '\n' | '\t');
    let is_text = |text: &&str| !text.is_empty() && text.chars().all(is_shown);
    let (start, is_cut) = match std::str::from_utf8(frame).ok().filter(is_text) {
        Some(text) => {
            let start: String = text.chars().take(MAX_SHOWN_TEXT).collect();
            (one_line(&start), start.len() < text.len())
        }
        None => (hex(frame.get(..MAX_SHOWN).unwrap_or(frame)), frame.len() > MAX_SHOWN),
    };
    let rest = if is_cut { " …" } else { "" };
    format!("{start}{rest}")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

fn reading(out: &mut String, Routed { reading, told, .. }: &Routed) {
    let value = match &reading.value {
        Value::Number(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Bytes(bytes) => hex(bytes),
    };
    let unit = reading.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
    let clock = match reading.time_quality {
        TimeQuality::Device => "by the device's clock",
        TimeQuality::Gateway => "by the gateway's clock",
        TimeQuality::Estimated => "estimated",
    };
    let time = rfc3339_text(reading.time);
    let _ = writeln!(out, "\n  {} = {value}{unit}", reading.name);
    let _ = write!(out, "    of {}, at {time} {clock}", reading.device);
    if let Some(epoch) = reading.epoch {
        let _ = write!(out, ", epoch {epoch}");
    }
    if let Some(sequence) = reading.sequence {
        let _ = write!(out, ", number {sequence}");
    }
    if let Some(told) = told {
        let told = rfc3339_text(*told);
        let _ = write!(out, "\n    its own clock cannot be right, which said {told}");
    }
    out.push('\n');
}

fn route(out: &mut String, explained: &Explained) {
    let name = &explained.route;
    match &explained.verdict {
        Verdict::NotTaken { key, wanted } => {
            let _ = writeln!(out, "    route {name} does not take it: its `{key}` is {wanted}");
        }
        Verdict::Taken(publishes) => {
            for (broker, outcome) in publishes {
                publish(out, name, broker, outcome);
            }
            if publishes.is_empty() {
                let _ = writeln!(out, "    route {name} takes it, and goes to no broker");
            }
        }
        Verdict::Gathered(outcome) => gathered(out, name, outcome),
    }
}

fn publish(out: &mut String, route: &str, broker: &str, outcome: &Result<Publish, LeftOut>) {
    match outcome {
        Ok(publish) => {
            let retain = if publish.retain { ", retained" } else { "" };
            let qos = publish.qos as u8;
            let _ = writeln!(out, "    route {route} to broker {broker}, qos {qos}{retain}");
            let _ = writeln!(out, "      {}", publish.topic);
            let _ = writeln!(out, "      {}", shown_payload(&publish.payload));
        }
        Err(left_out) => {
            let why = why(left_out);
            let _ = writeln!(out, "    route {route} to broker {broker}: not sent, {why}");
        }
    }
}

fn gathered(out: &mut String, route: &str, outcome: &Result<Gathered, LeftOut>) {
    let _ = match outcome {
        Ok(Gathered { due, names }) => {
            let (due, names) = (rfc3339_text(*due), names.join(", "));
            writeln!(out, "    route {route} gathers it for {names}, published at {due}")
        }
        Err(left_out) => writeln!(out, "    route {route}: not gathered, {}", why(left_out)),
    };
}

fn why(left_out: &LeftOut) -> String {
    match left_out {
        LeftOut::Meant(key) => format!("because of the route's `{key}`"),
        LeftOut::Failed(reason, why) => format!("counted as {reason}: {why}"),
    }
}

fn shown_payload(payload: &[u8]) -> String {
    std::str::from_utf8(payload).map_or_else(|_| hex(payload), one_line)
}

/// Text on one line.
fn one_line(text: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn count(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
