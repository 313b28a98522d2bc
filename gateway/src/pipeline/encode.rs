//! Payloads.

use std::io::Write as _;

use bytes::Bytes;
use jiff::fmt::temporal::DateTimePrinter;
use proto::senml;
use proto::{Reading, TimeQuality, Timestamp, Value, base64};

use crate::config::Payload;
use crate::store::Record;

/// What is published of a record.
pub(super) fn encode(payload: Payload, gateway: &str, record: &Record) -> Bytes {
    match payload {
        Payload::Json => json(gateway, record).into(),
        Payload::SenmlJson => senml::json::encode(&[pack(record)]).into_bytes().into(),
        Payload::SenmlCbor => senml::cbor::encode(&[pack(record)]).into(),
        Payload::Value => value(&record.reading.value).into(),
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
    let reading = &record.reading;
    let mut out = Vec::with_capacity(320);
    write(&mut out, format_args!(r#"{{"n":{},"#, record.n));
    member(&mut out, "source", &record.source);
    what(&mut out, reading);
    write(
        &mut out,
        format_args!(
            r#""time":"{}","received":"{}""#,
            rfc3339(reading.time),
            rfc3339(record.received)
        ),
    );
    identity(&mut out, reading);
    let quality = match reading.time_quality {
        TimeQuality::Device => "device",
        TimeQuality::Gateway => "gateway",
        TimeQuality::Estimated => "estimated",
    };
    write(&mut out, format_args!(",\"time_quality\":\"{quality}\"}}\n"));
    out
}

/// One object; a member that is not known is left out.
fn json(gateway: &str, record: &Record) -> Vec<u8> {
    let reading = &record.reading;
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    member(&mut out, "gateway", gateway);
    what(&mut out, reading);
    write(&mut out, format_args!(r#""time":"{}","n":{}"#, rfc3339(reading.time), record.n));
    identity(&mut out, reading);
    if reading.time_quality == TimeQuality::Estimated {
        out.extend_from_slice(br#","time_quality":"estimated""#);
    }
    out.push(b'}');
    out
}

/// What was measured, by whom.
fn what(out: &mut Vec<u8>, reading: &Reading) {
    member(out, "device", &reading.device);
    member(out, "name", &reading.name);
    out.extend_from_slice(br#""value":"#);
    match &reading.value {
        Value::Number(number) => write(out, format_args!("{number}")),
        Value::Boolean(boolean) => write(out, format_args!("{boolean}")),
        Value::Text(text) => string(out, text),
        Value::Bytes(bytes) => string(out, &base64_text(bytes)),
    }
    out.push(b',');
    if let Some(unit) = &reading.unit {
        member(out, "unit", unit);
    }
}

/// What the device has numbered it with.
fn identity(out: &mut Vec<u8>, reading: &Reading) {
    if let Some(epoch) = reading.epoch {
        write(out, format_args!(r#","epoch":{epoch}"#));
    }
    if let Some(sequence) = reading.sequence {
        write(out, format_args!(r#","seq":{sequence}"#));
    }
}

fn member(out: &mut Vec<u8>, name: &str, text: &str) {
    string(out, name);
    out.push(b':');
    string(out, text);
    out.push(b',');
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// RFC 3339 in UTC, with milliseconds, or as many digits as the time has.
fn rfc3339(time: Timestamp) -> String {
    let nanos = time.as_nanos();
    let digits = match (nanos % 1_000_000, nanos % 1_000) {
        (0, _) => 3,
        (_, 0) => 6,
        _ => 9,
    };
    let mut text = String::with_capacity(30);
    if let Ok(time) = jiff::Timestamp::from_nanosecond(nanos.into()) {
        let printer = DateTimePrinter::new().precision(Some(digits));
        let _ = printer.print_timestamp(&time, &mut text);
    }
    text
}

/// A pack of one record, named `{device}/{name}`.
fn pack(record: &Record) -> senml::Record {
    let reading = &record.reading;
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

    #[test]
    fn a_json_payload_has_what_is_known_and_nothing_else() {
        let mut record = record("th-0001", 4711);
        record.n = 4711;
        record.reading.name = "temp".to_owned();
        record.reading.value = Value::Number("21.50".parse().unwrap());
        record.reading.time = Timestamp::from_nanos(1_795_214_340_123_000_000);
        let text = |record: &Record| {
            String::from_utf8(encode(Payload::Json, "greenhouse-1", record).to_vec()).unwrap()
        };
        assert_eq!(
            text(&record),
            r#"{"gateway":"greenhouse-1","device":"th-0001","name":"temp","value":21.50,"time":"2026-11-20T22:39:00.123Z","n":4711}"#
        );
        record.reading.unit = Some("Cel".to_owned());
        record.reading.epoch = Some(3);
        record.reading.sequence = Some(12);
        record.reading.time_quality = TimeQuality::Estimated;
        record.reading.time = Timestamp::from_nanos(1_795_214_340_123_456_789);
        record.reading.value = Value::Text("a\"b\n".to_owned());
        assert_eq!(
            text(&record),
            r#"{"gateway":"greenhouse-1","device":"th-0001","name":"temp","value":"a\"b\n","unit":"Cel","time":"2026-11-20T22:39:00.123456789Z","n":4711,"epoch":3,"seq":12,"time_quality":"estimated"}"#
        );
    }

    #[test]
    fn a_line_of_an_export_has_what_a_record_has() {
        let mut record = record("d\n", 1);
        record.n = 7;
        let line = |record: &Record| String::from_utf8(export_line(record)).unwrap();
        let times = r#""time":"2026-11-20T22:39:00.123Z","received":"2026-11-20T22:39:00.123Z""#;
        assert_eq!(
            line(&record),
            format!(
                r#"{{"n":7,"source":"test","device":"d\n","name":"value","value":1,{times},"time_quality":"gateway"}}"#
            ) + "\n"
        );
        record.reading.unit = Some("Cel".to_owned());
        record.reading.epoch = Some(3);
        record.reading.sequence = Some(12);
        record.reading.time_quality = TimeQuality::Device;
        record.reading.value = Value::Bytes(vec![0, 255]);
        assert_eq!(
            line(&record),
            format!(
                r#"{{"n":7,"source":"test","device":"d\n","name":"value","value":"AP8","unit":"Cel",{times},"epoch":3,"seq":12,"time_quality":"device"}}"#
            ) + "\n"
        );
    }

    #[test]
    fn a_senml_payload_reads_back_as_the_reading() {
        let mut record = record("büro 1", 1);
        record.reading.unit = Some("Cel".to_owned());
        let now = Timestamp::from_nanos(1_800_000_000_000_000_000);
        let json = encode(Payload::SenmlJson, "g", &record);
        let cbor = encode(Payload::SenmlCbor, "g", &record);
        for records in [senml::json::decode(&json, now), senml::cbor::decode(&cbor, now)] {
            let [read] = &records.unwrap()[..] else { panic!("one record") };
            assert_eq!((read.base_name.as_str(), read.unit.as_deref()), ("b_ro_1/", Some("Cel")));
            assert_eq!(
                (read.value.as_ref(), read.time),
                (Some(&record.reading.value), record.reading.time)
            );
        }
    }

    #[test]
    fn a_value_payload_is_the_value_alone() {
        let mut record = record("d", 1);
        for (value, expected) in [
            (Value::Number("1.50".parse().unwrap()), &b"1.50"[..]),
            (Value::Boolean(true), b"true"),
            (Value::Text("on".to_owned()), b"on"),
            (Value::Bytes(vec![0, 255]), &[0, 255]),
        ] {
            record.reading.value = value;
            assert_eq!(encode(Payload::Value, "g", &record), expected);
        }
    }
}
