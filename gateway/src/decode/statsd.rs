//! StatsD: counters, gauges, timers and sets, several lines a datagram, with the tags of DogStatsD.
//!
//! Nothing is added up here: what was sent becomes a reading each, and who consumes them adds up.
//! `gorets:1|c|@0.1` is ten counts, because the sender left nine of ten out; a gauge with a sign is a
//! change, `name.change`; a timer is in milliseconds; a set's element is text. Tags are part of the
//! name.

use proto::{Number, Value};

use super::draft::{DecodeError, Draft, field_error};
use super::scalar::number;

/// Reads the lines of a datagram.
pub(super) fn decode(frame: &[u8]) -> Result<Vec<Draft>, DecodeError> {
    let text = std::str::from_utf8(frame).map_err(|_| DecodeError::NotText)?;
    let mut drafts = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        drafts.extend(metric(line)?);
    }
    Ok(drafts)
}

/// `bucket:value|kind`, with more values, a rate and tags.
fn metric(line: &str) -> Result<Vec<Draft>, DecodeError> {
    let syntax = |problem: &str| {
        let problem = problem.to_owned();
        DecodeError::Syntax { expected: "a StatsD metric", problem }
    };
    let mut parts = line.split('|');
    let metric = parts.next().unwrap_or_default();
    let (bucket, values) = metric.split_once(':').ok_or_else(|| syntax("it has no value"))?;
    let kind = parts.next().ok_or_else(|| syntax("it has no kind"))?;
    let (mut rate, mut name) = (None, bucket.to_owned());
    for part in parts {
        match part.split_at_checked(1) {
            Some(("@", text)) => rate = Some(sample_rate(text)?),
            Some(("#", tags)) => {
                for tag in tags.split(',').filter(|tag| !tag.is_empty()) {
                    let value = tag.split_once(':').map_or(tag, |(_, value)| value);
                    name = format!("{name}.{value}");
                }
            }
            _ => {}
        }
    }
    values.split(':').map(|value| draft(&name, value, kind, rate)).collect()
}

fn draft(name: &str, value: &str, kind: &str, rate: Option<f64>) -> Result<Draft, DecodeError> {
    let number = || number(name, value);
    let (name, value, unit) = match kind {
        "c" => (name.to_owned(), Value::Number(counted(number()?, rate)), Some("count")),
        "g" if value.starts_with(['+', '-']) => {
            (format!("{name}.change"), Value::Number(number()?), None)
        }
        "g" | "h" | "d" => (name.to_owned(), Value::Number(number()?), None),
        "ms" => (name.to_owned(), Value::Number(number()?), Some("ms")),
        "s" => (name.to_owned(), Value::Text(value.to_owned()), None),
        other => {
            return Err(DecodeError::Unsupported {
                what: "kind",
                name: other.chars().take(10).collect(),
            });
        }
    };
    Ok(Draft { unit: unit.map(str::to_owned), ..Draft::new(name, value) })
}

/// How many there were, when only some were sent.
fn counted(sent: Number, rate: Option<f64>) -> Number {
    let all = rate.and_then(|rate| Number::from_f64(sent.as_f64() / rate));
    all.unwrap_or(sent)
}

fn sample_rate(text: &str) -> Result<f64, DecodeError> {
    let rate = number("rate", text)?.as_f64();
    let is_rate = rate > 0.0 && rate <= 1.0;
    is_rate.then_some(rate).ok_or_else(|| field_error("rate", text, "more than 0, and at most 1"))
}
