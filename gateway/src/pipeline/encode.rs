//! Payloads.

use std::io::Write as _;

use bytes::Bytes;
use jiff::fmt::temporal::DateTimePrinter;
use proto::senml;
use proto::{Number, Reading, TimeQuality, Timestamp, Value, base64};

use crate::config::Payload;
use crate::store::{Content, Message, Record};

/// What is published of a reading with the number `n`.
pub(super) fn encode(payload: Payload, gateway: &str, n: u64, reading: &Reading) -> Bytes {
    match payload {
        Payload::Json => json(gateway, n, reading).into(),
        Payload::SenmlJson => senml::json::encode(&[pack(reading)]).into_bytes().into(),
        Payload::SenmlCbor => senml::cbor::encode(&[pack(reading)]).into(),
        Payload::Value => value(&reading.value).into(),
    }
}

/// What a payload is, and whether it is UTF-8.
pub(super) const fn content_type(payload: Payload, value: &Value) -> (&'static str, bool) {
    match (payload, value) {
        (Payload::Json, _) => ("application/json", true),
        (Payload::SenmlJson, _) => ("application/senml+json", true),
        (Payload::SenmlCbor, _) => ("application/senml+cbor", false),
        (Payload::Value, Value::Bytes(_)) => ("application/octet-stream", false),
        (Payload::Value, Value::Number(_) | Value::Boolean(_) | Value::Text(_)) => {
            ("text/plain", true)
        }
    }
}

/// A line of an export: one object that says everything about a record, whatever gateway reads it.
pub(crate) fn export_line(record: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    out.extend_from_slice(br#"{"n":"#);
    integer(&mut out, record.n);
    out.extend_from_slice(br#","source":"#);
    string(&mut out, &record.source);
    match &record.content {
        Content::Reading(reading) => {
            what(&mut out, reading);
            out.extend_from_slice(br#","time":""#);
            rfc3339(&mut out, reading.time);
            out.push(b'"');
        }
        Content::Message(message) => what_message(&mut out, message),
    }
    out.extend_from_slice(br#","received":""#);
    rfc3339(&mut out, record.received);
    out.push(b'"');
    if let Some(reading) = record.reading() {
        identity(&mut out, reading);
        out.extend_from_slice(match reading.time_quality {
            TimeQuality::Device => &br#","time_quality":"device""#[..],
            TimeQuality::Gateway => br#","time_quality":"gateway""#,
            TimeQuality::Estimated => br#","time_quality":"estimated""#,
        });
    }
    out.extend_from_slice(b"}\n");
    out
}

/// Appends what a last value is shown as: the object of a payload, whatever gateway reads it.
pub(crate) fn value_object(out: &mut Vec<u8>, n: u64, reading: &Reading) {
    out.extend_from_slice(br#"{"n":"#);
    integer(out, n);
    what(out, reading);
    out.extend_from_slice(br#","time":""#);
    rfc3339(out, reading.time);
    out.push(b'"');
    identity(out, reading);
    estimated(out, reading);
    out.push(b'}');
}

/// A message: members after another one. A payload that is not UTF-8 is base64url.
fn what_message(out: &mut Vec<u8>, message: &Message) {
    out.extend_from_slice(br#","broker":"#);
    string(out, &message.broker);
    out.extend_from_slice(br#","topic":"#);
    string(out, &message.topic);
    match std::str::from_utf8(&message.payload) {
        Ok(text) => {
            out.extend_from_slice(br#","payload":"#);
            string(out, text);
        }
        Err(_) => {
            out.extend_from_slice(br#","payload_base64":"#);
            string(out, &base64_text(&message.payload));
        }
    }
    if let Some(content_type) = &message.content_type {
        out.extend_from_slice(br#","content_type":"#);
        string(out, content_type);
    }
    let retain = if message.retain { "true" } else { "false" };
    out.extend_from_slice(br#","retain":"#);
    out.extend_from_slice(retain.as_bytes());
}

/// One object; a member that is not known is left out.
fn json(gateway: &str, n: u64, reading: &Reading) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(br#"{"gateway":"#);
    string(&mut out, gateway);
    what(&mut out, reading);
    out.extend_from_slice(br#","time":""#);
    rfc3339(&mut out, reading.time);
    out.extend_from_slice(br#"","n":"#);
    integer(&mut out, n);
    identity(&mut out, reading);
    estimated(&mut out, reading);
    out.push(b'}');
    out
}

/// What was measured, by whom: members after another one.
fn what(out: &mut Vec<u8>, reading: &Reading) {
    out.extend_from_slice(br#","device":"#);
    string(out, &reading.device);
    out.extend_from_slice(br#","name":"#);
    string(out, &reading.name);
    out.extend_from_slice(br#","value":"#);
    match &reading.value {
        Value::Number(value) => number(out, *value),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Text(text) => string(out, text),
        Value::Bytes(bytes) => string(out, &base64_text(bytes)),
    }
    if let Some(unit) = &reading.unit {
        out.extend_from_slice(br#","unit":"#);
        string(out, unit);
    }
}

/// What the device has numbered it with.
fn identity(out: &mut Vec<u8>, reading: &Reading) {
    if let Some(epoch) = reading.epoch {
        out.extend_from_slice(br#","epoch":"#);
        integer(out, epoch.into());
    }
    if let Some(sequence) = reading.sequence {
        out.extend_from_slice(br#","seq":"#);
        integer(out, sequence);
    }
}

/// Whether its time is a guess.
fn estimated(out: &mut Vec<u8>, reading: &Reading) {
    if reading.time_quality == TimeQuality::Estimated {
        out.extend_from_slice(br#","time_quality":"estimated""#);
    }
}

/// A string of JSON (RFC 8259 §7). What needs no escape is copied at once.
fn string(out: &mut Vec<u8>, text: &str) {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if text.bytes().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(out, text);
    }
}

/// A number with the digits that arrived.
fn number(out: &mut Vec<u8>, number: Number) {
    match number.as_integer().map(i64::try_from) {
        Some(Ok(small)) => drop(serde_json::to_writer(out, &small)),
        _ => drop(write!(out, "{number}")),
    }
}

fn integer(out: &mut Vec<u8>, integer: u64) {
    let _ = serde_json::to_writer(out, &integer);
}

/// RFC 3339 in UTC, with milliseconds, or as many digits as the time has.
fn rfc3339(out: &mut Vec<u8>, time: Timestamp) {
    const PRINTER: DateTimePrinter = DateTimePrinter::new();
    let nanos = time.as_nanos();
    let digits = match (nanos % 1_000_000, nanos % 1_000) {
        (0, _) => 3,
        (_, 0) => 6,
        _ => 9,
    };
    if let Ok(time) = jiff::Timestamp::from_nanosecond(nanos.into()) {
        let _ = PRINTER.precision(Some(digits)).print_timestamp(&time, out);
    }
}

/// The same as a text of its own.
pub(crate) fn rfc3339_text(time: Timestamp) -> String {
    let mut out = Vec::with_capacity(30);
    rfc3339(&mut out, time);
    String::from_utf8(out).unwrap_or_default()
}

/// A pack of one reading, named `{device}/{name}`.
fn pack(reading: &Reading) -> senml::Record {
    senml::Record {
        base_name: format!("{}/", senml_name(&reading.device)),
        name: senml_name(&reading.name),
        ..senml::Record::of_reading(reading)
    }
}

/// A name as SenML allows it (RFC 8428 §4.5.1): `_` stands for any other character.
fn senml_name(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '/' | '_');
    let mut clean: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if !clean.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        clean.insert(0, '0');
    }
    clean
}

fn value(value: &Value) -> Vec<u8> {
    match value {
        Value::Number(number) => number.to_string().into_bytes(),
        Value::Boolean(boolean) => boolean.to_string().into_bytes(),
        Value::Text(text) => text.clone().into_bytes(),
        Value::Bytes(bytes) => bytes.clone(),
    }
}

/// base64url without padding, as SenML writes bytes (RFC 8428 §5).
fn base64_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    base64::encode(bytes, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::record;

    fn reading(device: &str) -> Reading {
        record(device, 1).reading().unwrap().clone()
    }

    #[test]
    fn a_json_payload_has_what_is_known_and_nothing_else() {
        let mut reading = reading("th-0001");
        reading.name = "temp".to_owned();
        reading.value = Value::Number("21.50".parse().unwrap());
        reading.time = Timestamp::from_nanos(1_795_214_340_123_000_000);
        let text = |reading: &Reading| {
            let json = encode(Payload::Json, "greenhouse-1", 4711, reading);
            String::from_utf8(json.to_vec()).unwrap()
        };
        assert_eq!(
            text(&reading),
            r#"{"gateway":"greenhouse-1","device":"th-0001","name":"temp","value":21.50,"time":"2026-11-20T22:39:00.123Z","n":4711}"#
        );
        reading.unit = Some("Cel".to_owned());
        reading.epoch = Some(3);
        reading.sequence = Some(12);
        reading.time_quality = TimeQuality::Estimated;
        reading.time = Timestamp::from_nanos(1_795_214_340_123_456_789);
        reading.value = Value::Text("a\"b\n".to_owned());
        assert_eq!(
            text(&reading),
            r#"{"gateway":"greenhouse-1","device":"th-0001","name":"temp","value":"a\"b\n","unit":"Cel","time":"2026-11-20T22:39:00.123456789Z","n":4711,"epoch":3,"seq":12,"time_quality":"estimated"}"#
        );
    }

    #[test]
    fn every_text_and_number_reads_back_as_it_is() {
        let mut reading = reading("d");
        let ascii: String = (0..=127_u8).map(char::from).collect();
        let texts = ["", "plain", "a b", "\"", "\\", "ü", "\u{7f}", "\u{2028}", ascii.as_str()];
        let member = |reading: &Reading, name: &str| {
            let json: serde_json::Value = serde_json::from_slice(&json("g", 1, reading)).unwrap();
            json[name].clone()
        };
        for text in texts {
            reading.value = Value::Text(text.to_owned());
            reading.device = text.to_owned();
            reading.unit = Some(text.to_owned());
            for name in ["value", "device", "unit"] {
                assert_eq!(member(&reading, name), *text);
            }
        }
        for number in ["0", "-1", "1.50", "1e300", "-9223372036854775809", "18446744073709551615"] {
            reading.value = Value::Number(number.parse().unwrap());
            let text = String::from_utf8(json("g", 1, &reading)).unwrap();
            assert!(text.contains(&format!(r#""value":{number},"#)), "{text}");
        }
    }

    #[test]
    fn a_line_of_an_export_has_what_a_record_has() {
        let mut record = Record { n: 7, ..record("d\n", 1) };
        let line = |record: &Record| String::from_utf8(export_line(record)).unwrap();
        let times = r#""time":"2026-11-20T22:39:00.123Z","received":"2026-11-20T22:39:00.123Z""#;
        assert_eq!(
            line(&record),
            format!(
                r#"{{"n":7,"source":"test","device":"d\n","name":"value","value":1,{times},"time_quality":"gateway"}}"#
            ) + "\n"
        );
        record.content = Content::Reading(Reading {
            unit: Some("Cel".to_owned()),
            epoch: Some(3),
            sequence: Some(12),
            time_quality: TimeQuality::Device,
            value: Value::Bytes(vec![0, 255]),
            ..reading("d\n")
        });
        assert_eq!(
            line(&record),
            format!(
                r#"{{"n":7,"source":"test","device":"d\n","name":"value","value":"AP8","unit":"Cel",{times},"epoch":3,"seq":12,"time_quality":"device"}}"#
            ) + "\n"
        );
        let mut message = Message {
            broker: "cloud".into(),
            topic: "a/set".to_owned(),
            payload: Bytes::from_static(b"on"),
            retain: true,
            content_type: Some("text/plain".to_owned()),
            correlation: None,
        };
        record.content = Content::Message(message.clone());
        let received = r#""received":"2026-11-20T22:39:00.123Z"}"#;
        assert_eq!(
            line(&record),
            format!(
                r#"{{"n":7,"source":"test","broker":"cloud","topic":"a/set","payload":"on","content_type":"text/plain","retain":true,{received}"#
            ) + "\n"
        );
        message.payload = Bytes::from_static(&[0, 255]);
        message.content_type = None;
        record.content = Content::Message(message);
        assert!(line(&record).contains(r#""payload_base64":"AP8","retain":true"#));
    }

    #[test]
    fn a_senml_payload_reads_back_as_the_reading() {
        let mut reading = reading("büro 1");
        reading.unit = Some("Cel".to_owned());
        let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let json = encode(Payload::SenmlJson, "g", 1, &reading);
        let cbor = encode(Payload::SenmlCbor, "g", 1, &reading);
        for records in [senml::json::decode(&json, now), senml::cbor::decode(&cbor, now)] {
            let [read] = &records.unwrap()[..] else { panic!("one record") };
            assert_eq!((read.base_name.as_str(), read.unit.as_deref()), ("b_ro_1/", Some("Cel")));
            assert_eq!((read.value.as_ref(), read.time), (Some(&reading.value), reading.time));
        }
    }

    #[test]
    fn a_value_payload_is_the_value_alone() {
        let mut reading = reading("d");
        for (value, expected) in [
            (Value::Number("1.50".parse().unwrap()), &b"1.50"[..]),
            (Value::Boolean(true), b"true"),
            (Value::Text("on".to_owned()), b"on"),
            (Value::Bytes(vec![0, 255]), &[0, 255]),
        ] {
            reading.value = value;
            assert_eq!(encode(Payload::Value, "g", 1, &reading), expected);
        }
    }
}
