//! What all tests of SenML share.

mod cbor_forms;
mod encoding;
mod golden;
mod json_forms;
mod properties;
mod rules;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Error, Problem, Record, TimeSource, cbor, json};
use crate::{Number, Timestamp, Value};

/// 2023-11-14T22:13:20Z
const NOW: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

fn records(text: &str) -> Vec<Record> {
    json::decode(text.as_bytes(), NOW).unwrap()
}

/// The only record of the pack.
fn record(text: &str) -> Record {
    let mut records = records(text);
    assert_eq!(records.len(), 1, "{text}");
    records.remove(0)
}

fn error(text: &str) -> Error {
    json::decode(text.as_bytes(), NOW).expect_err(text)
}

fn problem(text: &str) -> Problem {
    error(text).problem
}

fn number(text: &str) -> Number {
    text.parse().unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A record in one line: full name, unit, value, time in seconds.
fn line(record: &Record) -> String {
    let value = match &record.value {
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Text(text)) => alloc::format!("{text:?}"),
        Some(Value::Boolean(boolean)) => boolean.to_string(),
        Some(Value::Bytes(bytes)) => alloc::format!("{bytes:02x?}"),
        None => "-".to_string(),
    };
    let unit = record.unit.as_deref().unwrap_or("-");
    let seconds = Number::from_decimal(record.time.as_nanos().into(), -9).unwrap().trimmed();
    [record.full_name().as_str(), unit, &value, &seconds.to_string()].join(" ")
}

fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(line).collect()
}
